"""Leadership transfer (dissertation 3.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.raft.events import TransferLeadership
from raftswarm.raft.messages import HeartbeatReply, TimeoutNow

if TYPE_CHECKING:
    from tests.raft.conftest import MakeBench, MakeCluster

ALICE, BOB, CAROL = 1, 2, 3


def test_a_voter_with_the_whole_log_is_told_at_once(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.step(TransferLeadership(BOB))

    assert [message.to for message in bench.take(TimeoutNow)] == [BOB]


def test_another_is_first_brought_up_to_date(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(TransferLeadership(CAROL))
    assert bench.take(TimeoutNow) == []

    bench.acknowledge(CAROL)

    assert [message.to for message in bench.take(TimeoutNow)] == [CAROL]


def test_the_leader_chooses_the_one_with_the_best_log(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(CAROL)

    bench.step(TransferLeadership())

    assert [message.to for message in bench.take(TimeoutNow)] == [CAROL]


def test_proposals_are_refused_meanwhile(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(TransferLeadership(CAROL))

    bench.propose(b"x")

    assert "being handed to member 3" in bench.proposals[-1].refused


def test_after_t_it_leads_on(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(TransferLeadership(CAROL))
    start = bench.now

    while bench.now < start + 1.0:
        bench.time_out()
        bench.receive(HeartbeatReply(sender=BOB, to=ALICE, term=1))
    bench.time_out()
    bench.propose(b"x")

    assert bench.proposals[-1].refused == ""
    assert any("did not take over in time" in note for note in bench.notes)


def test_it_goes_to_voters_only(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, learners=[CAROL])
    cluster.elect(ALICE)

    cluster[ALICE].step(TransferLeadership(CAROL))

    assert "not another voter" in cluster[ALICE].notes[-1]


def test_who_does_not_lead_says_so(make_bench: MakeBench) -> None:
    bench = make_bench()

    bench.step(TransferLeadership(BOB))

    assert "does not lead" in bench.notes[-1]


def test_a_cluster_changes_its_leader_without_a_timeout(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    start = cluster.now

    cluster[ALICE].step(TransferLeadership(CAROL))
    cluster.settle()

    assert [bench.member.leader for bench in cluster.benches.values()] == [CAROL, CAROL, CAROL]
    assert cluster.now == start
