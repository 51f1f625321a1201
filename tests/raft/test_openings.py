"""Openings: nobody who lost something decides anything (docs/raft.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.raft.events import PeerConnected
from raftswarm.raft.log_entry import Entry, EntryKind
from raftswarm.raft.messages import (
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Opening,
    PreVote,
    Regressed,
    RequestVote,
    VoteReply,
)

if TYPE_CHECKING:
    from tests.raft.conftest import Bench, MakeBench, MakeCluster

ALICE, BOB, CAROL = 1, 2, 3


def log_of(*terms: int) -> tuple[Entry, ...]:
    return tuple(
        Entry(index=index, term=term, kind=EntryKind.COMMANDS, first_command=index, command_count=1)
        for index, term in enumerate(terms, start=1)
    )


def opening(
    sender: int, *, cluster: str = "test", boot: int = 1, term: int = 0, last_index: int = 0, answers: int = 0
) -> Opening:
    return Opening(
        sender=sender,
        to=ALICE,
        term=term,
        boot=boot,
        cluster=cluster,
        incarnation=1,
        start=1000 * sender + boot,
        last_index=last_index,
        last_term=term,
        answers=answers,
    )


def own_start(bench: Bench) -> int:
    bench.step(PeerConnected(BOB))
    return bench.take(Opening)[0].start


def test_an_opening_goes_first_on_a_link_and_tells_what_this_start_found(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1, 2), term=2, boot=7)

    bench.step(PeerConnected(BOB))

    told = bench.take(Opening)[0]
    assert (told.to, told.cluster, told.boot, told.term, told.last_index, told.last_term) == (BOB, "test", 7, 2, 2, 2)


def test_an_opening_is_answered_once(make_bench: MakeBench) -> None:
    bench = make_bench()

    bench.receive(opening(BOB))
    bench.receive(opening(CAROL, answers=5))

    assert [(answer.to, answer.answers) for answer in bench.take(Opening)] == [(BOB, 2001)]


def test_an_opening_of_another_cluster_is_dropped_with_a_note(make_bench: MakeBench) -> None:
    bench = make_bench()

    bench.receive(opening(BOB, cluster="other"))

    assert bench.sent == []
    assert "it is of cluster 'other', this is 'test'" in bench.notes[-1]


def test_a_restarted_member_neither_votes_nor_campaigns_before_a_majority_has_answered(make_bench: MakeBench) -> None:
    bench = make_bench(boot=2, term=1, meet=False)
    bench.wait(10.0)
    bench.receive(RequestVote(sender=BOB, to=ALICE, term=2, last_index=0, last_term=0))
    bench.write()
    assert [reply.granted for reply in bench.take(VoteReply)] == [False]

    bench.receive(opening(BOB, answers=own_start(bench)))
    bench.receive(RequestVote(sender=BOB, to=ALICE, term=2, last_index=0, last_term=0))
    bench.write()
    assert [reply.granted for reply in bench.take(VoteReply)] == [True]


def test_an_answer_to_an_earlier_start_does_not_count(make_bench: MakeBench) -> None:
    bench = make_bench(boot=2, term=1, meet=False)

    bench.receive(opening(BOB, answers=own_start(bench) + 1), opening(CAROL))

    assert not bench.member.may_vote


def test_the_very_first_start_and_a_single_voter_need_nobody(make_bench: MakeBench) -> None:
    assert make_bench(meet=False).member.may_vote
    assert make_bench([ALICE], boot=9, log=log_of(1), term=1, meet=False).member.may_vote


def test_what_a_leader_remembers_of_an_earlier_start_commits_nothing(make_bench: MakeBench) -> None:
    """Its disk may have been set back since: the entries there need not be those that the leader was told of."""
    bench = make_bench(boot=2, log=log_of(1, 1, 1), term=1, meet=False)

    bench.take(Opening)
    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=2, commit=3))
    assert bench.member.commit_index == 0
    assert [message.to for message in bench.take(Opening)] == [BOB], "it is to compare"

    bench.receive(opening(BOB, answers=own_start(bench)))
    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=2, commit=3))
    assert bench.member.commit_index == 3


def test_it_asks_again_until_it_is_answered(make_bench: MakeBench) -> None:
    bench = make_bench(boot=2, meet=False)

    for _ in range(3):
        bench.time_out()
    assert [message.to for message in bench.take(Opening)] == [BOB, CAROL] * 3

    bench.receive(opening(BOB, answers=own_start(bench)))
    bench.wait(0.1)
    assert bench.take(Opening) == []


def test_a_member_that_once_voted_goes_on_voting_when_the_cluster_grows(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1, 2, 3)
    cluster.restart(1)
    cluster.connect()
    assert cluster[1].member.may_vote

    cluster[1].member._core.log.replace(make_cluster(1, 2, 3, 4, 5, 6, 7)[1].member.snapshot)

    assert cluster[1].member.may_vote


def test_all_members_restarted_at_once_find_each_other_whole(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    for member in (ALICE, BOB, CAROL):
        cluster.restart(member)

    cluster.wait(3.0)  # No link reports anything: they ask by themselves.

    assert sum(bench.member.is_leader for bench in cluster.benches.values()) == 1


def test_a_restarted_member_is_welcome_on_a_link_that_its_peers_never_saw_break(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    cluster.restart(CAROL)

    cluster.wait(0.2)
    cluster[ALICE].propose(b"x")
    cluster.settle()

    assert cluster[CAROL].member.may_vote
    assert cluster[CAROL].member.commit_index == 2


def test_a_disk_that_was_set_back_is_found_out_and_decides_nothing(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    cluster[ALICE].propose(b"x")
    cluster.settle()
    cluster[CAROL].disk.entries.clear()

    cluster.restart(CAROL)
    cluster.connect()

    assert not cluster[CAROL].member.may_vote
    assert any("its disk was set back" in note for note in cluster[CAROL].notes)
    assert any("remembers less than it once claimed" in note for note in cluster[ALICE].notes)
    assert cluster[ALICE].member.progress[CAROL].match_index == 0
    cluster[CAROL].wait(100.0)
    assert cluster[CAROL].take(PreVote) == []


def test_what_a_regressed_member_acknowledges_does_not_count(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    cluster[CAROL].disk.entries.clear()
    cluster.restart(CAROL)
    cluster.connect()
    cluster.isolate(BOB)

    cluster[ALICE].propose(b"x")
    cluster.settle()
    cluster[ALICE].receive(AppendReply(sender=CAROL, to=ALICE, term=1, boot=2, success=True, match_index=2))

    assert cluster[ALICE].member.commit_index == 1


def test_what_was_acknowledged_to_a_leader_may_be_gone_in_the_next_term(make_bench: MakeBench) -> None:
    """It was not committed, and gave way to the entries of the leader that came then."""
    bench = make_bench()
    bench.lead(BOB)
    bench.propose(b"x")
    bench.receive(AppendReply(sender=BOB, to=ALICE, term=1, boot=1, success=True, match_index=2))
    bench.receive(AppendReply(sender=CAROL, to=ALICE, term=1, boot=1, success=True, match_index=2))
    bench.propose(b"y")
    bench.receive(AppendReply(sender=CAROL, to=ALICE, term=1, boot=1, success=True, match_index=3))
    bench.receive(Heartbeat(sender=BOB, to=ALICE, term=2, boot=1, commit=0))

    bench.receive(opening(CAROL, boot=2, term=2, last_index=2))

    assert not [note for note in bench.notes if "remembers less" in note]
    bench.receive(opening(CAROL, boot=3, term=2, last_index=1))
    assert [note for note in bench.notes if "remembers less" in note], "what was committed has to be there"


def test_a_copy_of_an_old_disk_is_found_out_by_its_boot_number(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.restart(CAROL)
    cluster.restart(CAROL)
    cluster.connect()
    cluster[CAROL].disk.boot = 1

    cluster.restart(CAROL)
    cluster.connect()

    assert not cluster[CAROL].member.may_vote


def test_what_an_earlier_life_sent_is_dropped(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.receive(HeartbeatReply(sender=CAROL, to=ALICE, term=1, boot=2))

    bench.receive(AppendReply(sender=CAROL, to=ALICE, term=1, boot=1, success=True, match_index=1))

    assert bench.member.progress[CAROL].match_index == 0
    assert "it is from boot 1" in bench.notes[-1]


def test_a_warning_that_meant_an_earlier_start_is_ignored(make_bench: MakeBench) -> None:
    bench = make_bench(boot=2, meet=True)

    bench.receive(Regressed(sender=BOB, to=ALICE, term=1, start=99, known_boot=2, known_term=1, known_index=1))

    assert bench.member.may_vote


def test_a_warning_that_meant_an_earlier_incarnation_is_answered_with_an_opening(make_bench: MakeBench) -> None:
    bench = make_bench(incarnation=2)

    bench.receive(Regressed(sender=BOB, to=ALICE, term=1, incarnation=1, known_boot=9, known_term=1, known_index=1))

    assert bench.member.may_vote
    assert [message.incarnation for message in bench.take(Opening)] == [2]


def test_a_leader_that_was_set_back_steps_down(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.receive(Regressed(sender=BOB, to=ALICE, term=1, known_boot=9, known_term=1, known_index=1))

    assert not bench.member.is_leader
