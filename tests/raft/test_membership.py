"""Changes of the members, one voter at a time (dissertation 4.1, 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo
from raftswarm.raft.membership import why_not_change
from raftswarm.raft.messages import AppendEntries, PreVote

if TYPE_CHECKING:
    from tests.raft.conftest import MakeBench, MakeCluster

ALICE, BOB, CAROL, DAVE = 1, 2, 3, 4


def members(*voters: int, learners: Sequence[int] = (), outgoing: Sequence[int] = ()) -> Configuration:
    return Configuration(
        voters=tuple(MemberInfo(id=member) for member in voters),
        learners=tuple(MemberInfo(id=member) for member in learners),
        outgoing=tuple(MemberInfo(id=member) for member in outgoing),
    )


@pytest.mark.parametrize(
    "new",
    [
        members(1, 2, 3, 4),
        members(1, 2),
        members(1, 2, 3, learners=[4, 5]),
        members(1, 2, learners=[3]),
    ],
)
def test_one_voter_more_or_less_is_a_safe_step(new: Configuration) -> None:
    assert why_not_change(members(1, 2, 3), new) == ""


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (members(), "needs a voter"),
        (members(1, 2, 4), "2 voters would change at once"),
        (members(1, 2, 3, 4, 5), "2 voters would change at once"),
        (members(1, 2, 3, learners=[3]), "listed twice"),
        (members(2, 1, 3), "sorted"),
        (members(1, 2, 3, outgoing=[1]), "joint changes are not supported"),
    ],
)
def test_other_steps_are_refused_with_a_reason(new: Configuration, reason: str) -> None:
    assert reason in why_not_change(members(1, 2, 3), new)


def test_a_change_is_in_force_when_it_is_appended(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.change_members(members(1, 2, 3, 4))

    assert bench.member.configuration.member_ids == (1, 2, 3, 4)
    bench.write()
    bench.acknowledge(BOB)
    assert bench.member.commit_index == 1  # Two of four are no majority.
    bench.acknowledge(CAROL)
    assert bench.member.commit_index == 2


def test_a_new_member_is_sent_entries_at_once(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.sent.clear()

    bench.change_members(members(1, 2, 3, learners=[DAVE]))

    assert DAVE in {message.to for message in bench.take(AppendEntries)}


def test_a_second_change_waits_for_the_first(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(1, 2, 3, learners=[DAVE]))

    refused = bench.change_members(members(1, 2, 3, 4))

    assert "not committed yet" in refused.refused
    assert refused.leader == ALICE


def test_a_leader_changes_nothing_before_it_has_committed_in_its_term(make_bench: MakeBench) -> None:
    """Single-server changes are unsafe without this (raft-dev, 2015)."""
    bench = make_bench([ALICE])
    bench.time_out()
    bench.write(1)
    assert bench.member.is_leader

    outcome = bench.change_members(members(1, 2))

    assert "committed nothing in its term" in outcome.refused


def test_who_does_not_lead_refuses_a_change(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(BOB, term=1)

    outcome = bench.change_members(members(1, 2))

    assert (outcome.refused, outcome.leader) == ("this member does not lead", BOB)


def test_learners_get_everything_and_count_for_nothing(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, learners=[CAROL])
    cluster.elect(ALICE)
    cluster.isolate(BOB)
    cluster[ALICE].propose(b"x")
    cluster.settle()

    assert cluster[CAROL].member.last_index == 2
    assert cluster[ALICE].member.commit_index == 1


def test_a_change_is_undone_with_its_entry(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(1, 2, 3, 4))
    other = Entry(index=2, term=2, kind=EntryKind.BLANK, first_command=1)

    bench.receive(
        AppendEntries(sender=BOB, to=ALICE, term=2, previous_index=1, previous_term=1, entries=(other,), commit=0)
    )

    assert bench.member.configuration.member_ids == (1, 2, 3)


def test_a_leader_that_is_removed_leads_until_that_is_committed_and_hands_over(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    start = cluster.now

    cluster[ALICE].change_members(members(2, 3))
    assert cluster[ALICE].member.is_leader
    cluster.settle()

    assert not cluster[ALICE].member.is_leader
    assert cluster[BOB].member.is_leader
    assert cluster.now == start  # Nobody had to wait for a timeout.


def test_a_removed_leader_does_not_count_itself(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(2, 3))
    bench.write()

    bench.acknowledge(BOB)
    assert bench.member.commit_index == 1

    bench.acknowledge(CAROL)
    assert bench.member.commit_index == 2


def test_a_cluster_grows_from_one_to_three_and_a_joiner_needs_no_configuration(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE)
    cluster.elect(ALICE)
    for joiner in (BOB, CAROL):
        cluster.benches[joiner] = cluster.join(joiner)
        grown = members(*range(1, joiner + 1))
        assert cluster[ALICE].change_members(grown).refused == ""
        cluster.settle()

    assert [bench.member.commit_index for bench in cluster.benches.values()] == [3, 3, 3]
    cluster.elect(CAROL)
    assert cluster[CAROL].member.configuration == members(1, 2, 3)


def test_who_is_removed_by_an_uncommitted_change_may_still_campaign(make_bench: MakeBench) -> None:
    """Its log may be the only one with what was committed, so that nobody else could win (4.2.2)."""
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(2, 3))
    bench.write()
    bench.time_out_until(lambda: not bench.member.is_leader)
    bench.sent.clear()

    bench.time_out()

    assert [request.to for request in bench.take(PreVote)] == [BOB, CAROL]


def test_who_is_removed_for_good_stays_passive(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.change_members(members(2, 3))
    bench.write()
    bench.acknowledge(BOB)
    bench.acknowledge(CAROL)
    bench.sent.clear()

    bench.wait(100.0)

    assert not bench.member.is_leader
    assert bench.take(PreVote) == []
