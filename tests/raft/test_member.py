"""The member as a whole: same events, same work; nothing to do, nothing handed out (Figure 2)."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from raftswarm.raft.events import TimePassed
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.member import Member, StartingState
from raftswarm.raft.messages import Heartbeat
from raftswarm.raft.roles import Leader
from raftswarm.raft.settings import RaftSettings

if TYPE_CHECKING:
    from tests.raft.conftest import MakeBench, MakeCluster

ALICE, BOB, CAROL = 1, 2, 3


def test_without_events_there_is_nothing_to_do(make_bench: MakeBench) -> None:
    bench = make_bench()

    assert not bench.step()
    assert not bench.wait(0.5)


def test_an_early_timer_does_nothing(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.step(TimePassed())

    assert bench.take(Heartbeat) == []


def test_leadership_is_told_when_it_changes_and_only_then(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.time_out()

    assert [(told.term, told.leader, told.is_leader) for told in bench.leaderships] == [(1, 0, False), (1, 1, True)]


def test_the_same_events_give_the_same_work(make_cluster: MakeCluster) -> None:
    def story() -> list[str]:
        cluster = make_cluster(ALICE, BOB, CAROL)
        cluster.wait(3.0)
        leader = next(bench for bench in cluster.benches.values() if bench.member.is_leader)
        leader.propose(b"x")
        cluster.isolate(leader.id)
        cluster.wait(3.0)
        return [repr((bench.notes, bench.applied, bench.terms)) for bench in cluster.benches.values()]

    assert story() == story()


def test_clocks_that_run_backwards_are_not_believed(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)
    bench.now = -5.0
    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=1, commit=0))

    assert bench.member.next_deadline >= 1.0


def test_a_term_that_only_the_log_knows_is_written_before_anything_else(make_bench: MakeBench) -> None:
    """A leader's snapshot may be installed just before its term is written, and the power fail between."""
    meta = SnapshotMeta(index=5, term=4, configuration=Configuration(voters=(MemberInfo(id=1), MemberInfo(id=2))))
    bench = make_bench(snapshot=meta, term=2, voted_for=BOB)

    ready = bench.step()

    assert ready.write is not None
    assert ready.write.hard_state == HardState(term=4, voted_for=0)


def test_a_role_changes_only_as_the_table_says(make_bench: MakeBench) -> None:
    bench = make_bench()

    with pytest.raises(AssertionError, match="cannot become"):
        bench.member._core.become(
            Leader(
                term=1,
                deadline=0.0,
                began_at=0.0,
                first_index=1,
                progress={},
                successors=(),
                uncommitted_bytes=0,
                commit_before=0,
            )
        )


def test_a_vote_is_never_taken_back(make_bench: MakeBench) -> None:
    bench = make_bench(term=1, voted_for=ALICE)

    with pytest.raises(AssertionError, match="one vote per term"):
        bench.member._core.set_hard_state(1, voted_for=BOB)


def test_entries_behind_the_snapshot_are_not_applied_again() -> None:
    entries = tuple(
        Entry(index=index, term=1, kind=EntryKind.COMMANDS, first_command=index, command_count=1)
        for index in range(1, 6)
    )
    configuration = Configuration(voters=(MemberInfo(id=1),))
    start = StartingState(
        member_id=1,
        cluster="test",
        boot=2,
        hard_state=HardState(term=1),
        snapshot=SnapshotMeta(index=3, term=1, commands=3, configuration=configuration),
        entries=entries,
    )

    member = Member(start, settings=RaftSettings(), chance=Random(0), now=0.0)

    assert (member.commit_index, member.applied_index, member.last_index, member.durable_index) == (3, 3, 5, 5)
    assert member.configuration == configuration
