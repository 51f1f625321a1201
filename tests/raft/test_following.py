"""A follower's work: idempotent appends, cuts only on conflict, acknowledgements of what is durable (5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.raft.log_entry import Entry, EntryKind
from raftswarm.raft.messages import AppendEntries, AppendReply, Heartbeat, HeartbeatReply
from raftswarm.raft.roles import Follower, Leader

if TYPE_CHECKING:
    from tests.raft.conftest import MakeBench

ALICE, BOB, CAROL = 1, 2, 3


def log_of(*terms: int, first_index: int = 1) -> tuple[Entry, ...]:
    return tuple(
        Entry(index=index, term=term, kind=EntryKind.COMMANDS, first_command=index, command_count=1)
        for index, term in enumerate(terms, start=first_index)
    )


def append(
    *terms: int, after: tuple[int, int] = (0, 0), term: int = 1, commit: int = 0, sender: int = BOB
) -> AppendEntries:
    """Entries with these terms behind `after`, a pair of term and index."""
    return AppendEntries(
        sender=sender,
        to=ALICE,
        term=term,
        previous_term=after[0],
        previous_index=after[1],
        entries=log_of(*terms, first_index=after[1] + 1),
        commit=commit,
    )


def test_an_acknowledgement_leaves_only_when_the_entries_are_on_disk(make_bench: MakeBench) -> None:
    bench = make_bench()

    bench.receive(append(1, 1))
    assert bench.take(AppendReply) == []

    bench.write()
    assert [(reply.success, reply.match_index) for reply in bench.take(AppendReply)] == [(True, 2)]
    assert len(bench.disk.entries) == 2


def test_two_writes_in_flight_acknowledge_each_its_own(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.receive(append(1))
    bench.receive(append(1, after=(1, 1)))

    bench.write(1)
    assert [reply.match_index for reply in bench.take(AppendReply)] == [1]

    bench.write(1)
    assert [reply.match_index for reply in bench.take(AppendReply)] == [2]


def test_a_repeated_message_waits_for_the_write_that_is_still_under_way(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.receive(append(1))

    bench.receive(append(1))
    assert bench.take(AppendReply) == []

    bench.write()
    assert [reply.match_index for reply in bench.take(AppendReply)] == [1, 1]


def test_a_late_message_cuts_nothing(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.receive(append(1, 1, 1))
    bench.write()

    bench.receive(append(1), append(1, after=(1, 1)))
    bench.write()

    assert bench.member.last_index == 3
    assert [reply.match_index for reply in bench.take(AppendReply)] == [3, 1, 2]


def test_messages_out_of_order_are_refused_and_do_no_harm(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.receive(append(1, after=(1, 1)))
    bench.write()
    refusal = bench.take(AppendReply)[0]
    assert (refusal.success, refusal.match_index) == (False, 1)
    assert (refusal.conflict_term, refusal.conflict_index) == (0, 1)

    bench.receive(append(1))
    bench.receive(append(1, after=(1, 1)))

    assert bench.terms == [1, 1]


def test_a_conflict_is_cut_on_disk_too(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1, 1, 1), term=1)

    ready = bench.receive(append(2, after=(1, 1), term=2))
    assert ready.write is not None
    assert ready.write.truncate_after == 1
    bench.write()

    assert bench.terms == [entry.term for entry in bench.disk.entries] == [1, 2]


def test_a_refusal_names_the_conflicting_term_and_where_it_begins(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1, 3, 3, 3), term=3)

    bench.receive(append(5, after=(4, 4), term=5))
    bench.write()

    refusal = bench.take(AppendReply)[0]
    assert (refusal.conflict_term, refusal.conflict_index) == (3, 2)


def test_what_is_committed_is_never_cut(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1, 1), term=1)
    bench.receive(append(after=(1, 2), commit=2))

    bench.receive(append(2, 2, term=2))

    assert bench.terms == [1, 1]
    assert "contradicts what is committed" in bench.notes[-1]


def test_commit_goes_only_as_far_as_the_message_proves(make_bench: MakeBench) -> None:
    """Entries behind those of the message may be another leader's."""
    bench = make_bench(log=log_of(1, 1, 1), term=1)

    bench.receive(append(after=(1, 1), commit=3, term=2))

    assert bench.member.commit_index == 1


def test_a_commit_index_never_falls(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.receive(append(1, 1, commit=2))

    bench.receive(append(after=(1, 1), commit=1), Heartbeat(sender=BOB, to=ALICE, term=1, commit=0))

    assert bench.member.commit_index == 2
    assert [entry.index for entry in bench.applied] == [1, 2]


def test_entries_are_handed_out_once_and_only_when_committed(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.receive(append(1, 1, 1, commit=1))
    bench.receive(append(after=(1, 3), commit=3))
    bench.receive(append(after=(1, 3), commit=3))

    assert [entry.index for entry in bench.applied] == [1, 2, 3]


def test_a_heartbeat_that_counts_on_more_than_we_have_commits_nothing(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1), term=1)

    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=1, commit=5))

    assert bench.member.commit_index == 0
    assert "counts on entry 5" in bench.notes[-1]


def test_a_heartbeat_is_answered_with_its_round_and_what_is_durable(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.receive(append(1))
    bench.write()
    bench.receive(append(1, after=(1, 1)))

    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=1, commit=0, round=7))

    assert [(reply.round, reply.last_index) for reply in bench.take(HeartbeatReply)] == [(7, 1)]


def test_an_acknowledgement_to_a_deposed_leader_is_not_sent(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.receive(append(1, 1))
    bench.receive(append(2, term=2, sender=3))

    bench.write()

    assert [(reply.to, reply.match_index) for reply in bench.take(AppendReply)] == [(3, 1)]


def test_entries_that_count_commands_otherwise_are_dropped_with_a_note(make_bench: MakeBench) -> None:
    bench = make_bench()
    wrong = Entry(index=1, term=1, kind=EntryKind.COMMANDS, first_command=5, command_count=1)

    bench.receive(AppendEntries(sender=BOB, to=ALICE, term=1, previous_index=0, previous_term=0, entries=(wrong,)))

    assert bench.member.last_index == 0
    assert "counts the commands before it otherwise" in bench.notes[-1]


def test_nonsense_is_dropped_before_it_raises_our_term(make_bench: MakeBench) -> None:
    bench = make_bench()

    bench.receive(AppendEntries(sender=BOB, to=ALICE, term=9, previous_index=-3, previous_term=0))

    assert bench.member.term == 0
    assert "negative" in bench.notes[-1]


def test_a_new_term_is_told_only_when_it_is_on_disk(make_bench: MakeBench) -> None:
    """Otherwise a crash could take back a term that a peer relies on."""
    bench = make_bench()

    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=4, commit=0))
    assert bench.sent == []

    bench.write()
    assert [reply.term for reply in bench.take(HeartbeatReply)] == [4]


def test_heartbeats_tell_who_is_to_campaign_first(make_bench: MakeBench) -> None:
    """Entries leave for each follower at another moment: without this two of them may each wait for the other."""
    bench = make_bench()
    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=1, commit=0, successors=(CAROL, ALICE)))
    assert isinstance(bench.member.role, Follower)
    assert bench.member.role.successors == (CAROL, ALICE)

    leader = make_bench()
    leader.lead(BOB)
    leader.sent.clear()
    leader.time_out()
    assert isinstance(leader.member.role, Leader)
    told = {message.successors for message in leader.take(Heartbeat)}
    assert told == {leader.member.role.successors}
