"""Explanations: what a step did, by which rule, and why; of a failure, what led to it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec
import pytest

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.errors import InvalidSpec
from raftswarm.lab.explaining import Explanation, explain
from raftswarm.lab.fault_events import Crash, Cut, Mend, Pause, Start
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.journal import Journal
from raftswarm.lab.recording import Recording
from raftswarm.lab.replaying import look_at_steps, run_recording
from raftswarm.raft import elections
from raftswarm.raft.core import Core
from raftswarm.raft.log_view import LogView
from raftswarm.raft.messages import PreVote, RequestVote
from raftswarm.raft.rules import Refusal
from raftswarm.raft.settings import RaftSettings
from raftswarm.storage import replay
from raftswarm.storage.records import Content
from tests.lab.recorded import LEADER, nobody_leads_from, scripted

FAILOVER = scripted((2.0, Crash(LEADER)), (3.0, Start(LEADER)), seconds=4.0)


def explain_rule(recording: Recording, rule: str, place: int = 0) -> Explanation:
    """Explain the step in which that rule was named for the first time, or a later one."""
    steps = [
        step.number
        for step, _ in look_at_steps(recording, 0, 100_000)
        if any(event.prop.get("rule") == rule for event in step.engine)
    ]
    return explain(recording, steps[place])


def test_a_vote_is_explained_by_the_question_the_rule_and_the_change() -> None:
    explanation = explain_rule(FAILOVER, "VOTE_GIVEN")

    texts = [str(sentence) for sentence in explanation.sentences]
    [voter] = {sentence.member for sentence in explanation.sentences}
    assert f"member {voter} gives its vote in term 2 to member 2, whose log ends with entry 1 of term 1; " in "".join(
        texts
    )
    assert any(text.endswith("(5.2, 5.4.1)") for text in texts)
    [change] = explanation.changes
    assert change.before is not None
    assert (change.before.voted_for, change.after.voted_for) == (0, 2)
    assert explanation.event == f"member {voter} takes its turn"


def test_a_message_is_traced_back_to_the_step_that_sent_it() -> None:
    explanation = explain_rule(FAILOVER, "VOTE_GIVEN")
    [origin] = [sentence for sentence in explanation.sentences if "sent in step" in sentence.text]

    sent = explain(FAILOVER, int(origin.text.rpartition(" ")[2]))

    assert any("makes RequestVote of term 2" in sentence.text for sentence in sent.sentences)
    assert any(sentence.rule == "CAMPAIGN" for sentence in sent.sentences)


def test_a_fault_is_told_with_the_step_that_it_follows() -> None:
    [step] = [step.number for step, _ in look_at_steps(FAILOVER, 0, 100_000) if step.faults and step.at > 2.5]

    explanation = explain(FAILOVER, step)

    assert explanation.sentences[-1].text == "then a fault strikes: start member 2"


def test_a_deposed_leader_is_told_why_it_steps_down_and_cuts_its_log() -> None:
    links = ((2, 1), (1, 2), (2, 3), (3, 2))
    cuts, mends = [(2.0, Cut(*link)) for link in links], [(4.0, Mend(*link)) for link in links]
    recording = scripted(*cuts, *mends)

    steps_down = explain_rule(recording, "STEPS_DOWN")
    later_term = explain_rule(recording, "LATER_TERM", -1)

    assert any(sentence.section == "dissertation 6.2" for sentence in steps_down.sentences)
    assert any(sentence.member == LEADER and sentence.section == "5.1" for sentence in later_term.sentences)


def test_there_is_no_step_behind_the_last() -> None:
    with pytest.raises(InvalidSpec, match=r"has \d+ steps, .* no step 1000000"):
        explain(FAILOVER, 1_000_000)


def test_a_run_that_goes_well_has_no_failure_to_explain() -> None:
    with pytest.raises(InvalidSpec, match="violates nothing"):
        explain(FAILOVER)


def test_a_failure_comes_with_the_story_of_the_terms_that_it_names() -> None:
    check = nobody_leads_from(3)

    explanation = explain(FAILOVER, check=check)

    assert explanation.violation == run_recording(FAILOVER, check=check).violation
    told = [(sentence.rule, sentence.member) for sentence in explanation.story]
    assert ("CAMPAIGN", 1) in told or ("CAMPAIGN", 3) in told
    assert told[-1][0] in {"ELECTION_WON", "COMMITS", "FOLLOWS"}
    assert explanation.contradictions == []


def test_who_votes_for_a_log_that_ends_before_its_own_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug forgets 5.4.1. Member 1 misses entries, and then its leader falls asleep."""
    find = elections._find_unworthiness

    def forget(core: Core, request: PreVote | RequestVote) -> Refusal | None:
        found = find(core, request)
        return None if found is Refusal.LOG else found

    monkeypatch.setattr(elections, "_find_unworthiness", forget)
    recording = scripted((1.6, Cut(LEADER, 1)), (1.6, Cut(1, LEADER)), (3.0, Pause(LEADER)))

    explanation = explain(recording)

    assert explanation.violation.startswith("Violation: 4: 1 leads term 3 without entry")
    [contradiction] = explanation.contradictions
    assert contradiction.member == 3
    assert "gave its vote in term 3 to member 1, whose log ends with entry " in contradiction.text
    assert contradiction.section == "5.4.1 forbids it"
    assert explanation.promise is not None
    assert explanation.promise.section == "Leader Completeness, 5.4"


def test_of_what_never_happens_it_is_told_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: what is committed is never counted off a leader's uncommitted tail, which is short here."""
    monkeypatch.setattr(LogView, "weigh_between", lambda *_: 0)
    mix = FaultMix(priority_levels=3, settings=RaftSettings(uncommitted_bytes=512))

    explanation = explain(msgspec.structs.replace(scripted(heals=True), mix=mix))

    assert "did not happen within" in explanation.violation
    assert explanation.promise is not None
    assert "a majority has a leader, serves whoever asks" in explanation.promise.text
    [contradiction] = explanation.contradictions
    assert re.search(r"leads term 2, and takes no more than fits beside [\d,]+ bytes", contradiction.text)
    assert all(sentence.at > 6.0 for sentence in explanation.story)


def test_of_a_state_that_differs_it_is_told_which_snapshot_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: a picture of the state counts one too few."""
    restore = Journal.restore

    def forget(journal: Journal, chunks: Iterable[bytes]) -> None:
        restore(journal, chunks)
        journal.count -= 1

    monkeypatch.setattr(Journal, "restore", forget)
    mix = FaultMix(priority_levels=3, compaction=CompactionPolicy(snapshot_every_commands=5, keep_entries=0))
    recording = msgspec.structs.replace(FAILOVER, mix=mix, seconds=6.0)

    explanation = explain(recording)

    assert explanation.violation.startswith("Violation: 5: ")
    assert explanation.clue is not None
    assert explanation.clue.member == LEADER
    assert "goes on from the state of the snapshot up to entry " in explanation.clue.text
    assert {sentence.member for sentence in explanation.story} == {LEADER}


def test_of_a_disk_that_holds_something_else_it_is_told_where_its_log_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: reading a log back leaves the first of the entries in that a record cuts off."""
    apply = replay._Replaying._apply

    def forget(replaying: replay._Replaying, content: Content) -> None:
        cut = content.truncate_after
        place = replaying.last_index if cut is None else cut - replaying.base_index
        left = replaying.entries[place : place + 1]
        apply(replaying, content)
        if cut is not None:
            replaying.entries[place:place] = left

    monkeypatch.setattr(replay._Replaying, "_apply", forget)
    links = ((2, 1), (1, 2), (2, 3), (3, 2))
    cuts, mends = [(2.0, Cut(*link)) for link in links], [(4.0, Mend(*link)) for link in links]
    mix = FaultMix(priority_levels=3, call_every=0.02)
    recording = msgspec.structs.replace(scripted(*cuts, *mends, heals=True), mix=mix)

    explanation = explain(recording)

    assert explanation.violation.startswith("Violation: 7: the disk of 2 ")
    assert explanation.clue is not None
    assert explanation.clue.rule == "CONFLICT_CUT"
    assert "whoever reads its disk has to leave these out as well" in explanation.clue.text
