"""A leader that should not be the one hands over by itself (dissertation 3.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.messages import AppendEntries, HeartbeatReply, TimeoutNow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.raft.conftest import Bench, MakeBench

ALICE, BOB, CAROL = 1, 2, 3
T = 1.0


def prefers(**priorities: int) -> Configuration:
    ids = {"alice": ALICE, "bob": BOB, "carol": CAROL}
    return Configuration(
        voters=tuple(MemberInfo(id=ids[name], priority=priorities.get(name, 0)) for name in ("alice", "bob", "carol"))
    )


def wait_in_contact(bench: Bench, seconds: float, peers: Iterable[int] = (BOB, CAROL)) -> None:
    """Let time pass while these answer every heartbeat."""
    until = bench.now + seconds
    while bench.member.next_deadline <= until:
        bench.time_out()
        for peer in peers:
            bench.receive(HeartbeatReply(sender=peer, to=ALICE, term=bench.member.term))


def told(bench: Bench) -> list[int]:
    """Who was told to campaign since the last look."""
    return [message.to for message in bench.take(TimeoutNow)]


# Priorities.


def test_a_leader_gives_way_to_a_higher_priority_once_it_has_led_for_a_while(make_bench: MakeBench) -> None:
    bench = make_bench(prefers(carol=1))
    bench.lead(BOB, CAROL)

    wait_in_contact(bench, 4.5 * T)
    assert told(bench) == []
    wait_in_contact(bench, T)

    assert told(bench) == [CAROL]


def test_the_highest_is_chosen(make_bench: MakeBench) -> None:
    bench = make_bench(prefers(bob=1, carol=2))
    bench.lead(BOB, CAROL)

    wait_in_contact(bench, 5.5 * T)

    assert told(bench) == [CAROL]


def test_it_does_not_give_way_to_its_like_or_to_lower_ones(make_bench: MakeBench) -> None:
    bench = make_bench(prefers(alice=1, carol=1))
    bench.lead(BOB, CAROL)

    wait_in_contact(bench, 20 * T)

    assert told(bench) == []


def test_nor_to_one_that_is_away(make_bench: MakeBench) -> None:
    bench = make_bench(prefers(carol=1))
    bench.lead(BOB, CAROL)

    wait_in_contact(bench, 20 * T, peers=[BOB])

    assert told(bench) == []


def test_nor_to_one_that_lacks_what_is_committed(make_bench: MakeBench) -> None:
    bench = make_bench(prefers(carol=1))
    bench.lead(BOB)

    wait_in_contact(bench, 20 * T)

    assert told(bench) == []


def test_who_failed_to_take_over_is_left_alone_for_long(make_bench: MakeBench) -> None:
    bench = make_bench(prefers(carol=1))
    bench.lead(BOB, CAROL)

    wait_in_contact(bench, 60 * T)

    assert told(bench) == [CAROL]
    assert bench.propose(b"x").write is not None


def test_among_equal_logs_the_higher_priority_is_the_first_successor(make_bench: MakeBench) -> None:
    bench = make_bench(prefers(carol=1))
    bench.lead(BOB, CAROL)
    bench.time_out()
    bench.propose(b"x")
    assert {message.successors for message in bench.take(AppendEntries)} == {(CAROL, BOB)}

    bench.acknowledge(BOB)
    bench.time_out()
    bench.propose(b"y")

    assert {message.successors for message in bench.take(AppendEntries)} == {(BOB, CAROL)}


def test_the_higher_priority_campaigns_sooner(make_bench: MakeBench) -> None:
    deadlines = {
        member: [make_bench(prefers(carol=1), member_id=member, seed=seed).member.next_deadline for seed in range(20)]
        for member in (BOB, CAROL)
    }

    assert min(deadlines[CAROL]) >= T
    assert max(deadlines[CAROL]) <= min(deadlines[BOB])
    assert max(deadlines[BOB]) <= 2 * T


# A slow disk.


def test_a_leader_whose_disk_holds_up_only_itself_hands_over(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB, CAROL)
    bench.propose(b"x")
    bench.acknowledge(BOB, 2)
    bench.acknowledge(CAROL, 2)
    assert bench.member.commit_index == 2
    assert bench.member.durable_index == 1

    wait_in_contact(bench, 0.4)
    assert told(bench) == []
    wait_in_contact(bench, 0.2)

    assert told(bench) == [BOB]


def test_it_stays_if_the_others_are_as_slow(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB, CAROL)
    bench.propose(b"x")

    wait_in_contact(bench, T)
    bench.propose(b"y")

    assert bench.proposals[-1].refused == ""  # As it would be while leadership is handed over.


def test_it_stays_if_its_disk_did_the_write_in_the_end(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB, CAROL)
    bench.propose(b"x")
    bench.acknowledge(BOB, 2)
    bench.acknowledge(CAROL, 2)
    wait_in_contact(bench, 0.4)
    bench.write()

    wait_in_contact(bench, 20 * T)

    assert told(bench) == []


def test_it_hands_over_to_who_has_its_writes(make_bench: MakeBench) -> None:
    bench = make_bench([1, 2, 3, 4, 5])
    bench.lead(BOB, CAROL)
    bench.propose(b"x")
    for peer in (CAROL, 4, 5):
        bench.acknowledge(peer, 2)

    wait_in_contact(bench, 0.7, peers=[BOB, CAROL, 4, 5])

    assert told(bench) == [CAROL]
