"""Every change of a member is told as an event with the state that follows from it (docs/formats.md)."""

from __future__ import annotations

import json
from random import Random

from raftswarm.raft.events import Event, Propose, Receive, TimePassed, Written
from raftswarm.raft.log_entry import Batch, Configuration, Entry, EntryKind, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.member import Member, StartingState
from raftswarm.raft.messages import AppendEntries, Heartbeat, RequestVote
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.tracing import TraceEvent, json_lines


class Traced:
    """A member whose writes are done at once, and its trace."""

    def __init__(self, *voters: int, hard_state: HardState | None = None, entries: tuple[Entry, ...] = ()) -> None:
        self.events: list[TraceEvent] = []
        members = Configuration(voters=tuple(MemberInfo(id=voter) for voter in voters))
        start = StartingState(
            member_id=1,
            cluster="test",
            boot=1,
            hard_state=hard_state or HardState(),
            snapshot=SnapshotMeta(configuration=members),
            entries=entries,
        )
        settings = RaftSettings(pre_vote=False)
        self.member = Member(start, settings=settings, chance=Random(1), now=0.0, trace=self.events.append)

    def step(self, event: Event, now: float = 0.0) -> None:
        self.member.step(event, now)
        while write := self.member.take_ready().write:
            self.member.step(Written(write.number, write.last_term, write.last_index), now)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events if event.name != "Rule"]


def test_a_start_tells_what_was_on_disk() -> None:
    entry = Entry(index=1, term=3, kind=EntryKind.BLANK, first_command=1)

    [event] = Traced(1, 2, 3, hard_state=HardState(term=4, voted_for=2), entries=(entry,)).events

    assert event.name == "InitState"
    assert (event.state.term, event.state.vote, event.state.commit) == (4, "2", 0)
    assert event.prop == {"first": 1, "terms": [3]}
    assert event.conf == (("1", "2", "3"), ())


def test_an_election_and_a_command_are_told_in_their_order() -> None:
    traced = Traced(1)

    traced.step(TimePassed())
    traced.step(Propose(1, Batch(1, b"x"), 0))

    told = [name for name in traced.names if name != "Ready"]
    assert told == [
        "InitState",
        "BecomeCandidate",
        "SendRequestVoteResponse",
        "ReceiveRequestVoteResponse",
        "BecomeLeader",
        "Replicate",
        "Commit",
        "Replicate",
        "Commit",
    ]
    assert traced.events[-1].state.commit == 2


def test_a_vote_is_in_the_state_when_it_is_sent() -> None:
    traced = Traced(1, 2, 3)

    traced.step(Receive(RequestVote(sender=2, to=1, term=5, last_index=0, last_term=0)))

    assert traced.names[1:4] == ["ReceiveRequestVoteRequest", "BecomeFollower", "SendRequestVoteResponse"]
    received, _, sent = [event for event in traced.events if event.name != "Rule"][1:4]
    assert (received.state.term, received.state.vote) == (0, "0")
    assert (sent.state.term, sent.state.vote) == (5, "2")
    assert sent.message is not None
    assert not sent.message.reject


def test_entries_of_a_leader_are_told_by_their_terms() -> None:
    traced = Traced(1, 2, 3)
    entry = Entry(index=1, term=2, kind=EntryKind.BLANK, first_command=1)

    traced.step(Receive(AppendEntries(sender=2, to=1, term=2, previous_index=0, previous_term=0, entries=(entry,))))

    [received] = [event for event in traced.events if event.name == "ReceiveAppendEntriesRequest"]
    [answered] = [event for event in traced.events if event.name == "SendAppendEntriesResponse"]
    assert (received.log, received.prop) == (0, {"terms": [2]})
    assert answered.log == 1
    assert answered.message is not None
    assert answered.message.index == 1


def test_a_line_of_json_has_the_names_that_validation_looks_for() -> None:
    lines: list[bytes] = []
    traced = Traced(1, 2, 3)
    traced.step(Receive(Heartbeat(sender=2, to=1, term=1, commit=0)))

    for event in traced.events:
        json_lines(lines.append)(event)

    received = json.loads(lines[1])
    assert received == {
        "name": "ReceiveAppendEntriesRequest",
        "nid": "1",
        "state": {"term": 0, "vote": "0", "commit": 0},
        "role": "StateFollower",
        "log": 0,
        "conf": [["1", "2", "3"], []],
        "msg": {
            "type": "MsgHeartbeat",
            "term": 1,
            "from": "2",
            "to": "1",
            "entries": 0,
            "logTerm": 0,
            "index": 0,
            "commit": 0,
            "reject": False,
        },
    }
