"""A leader's work: appending, pipelining, backing up, committing (5.3, 5.4.2, Figure 8)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from raftswarm.raft.events import PeerConnected, PeerUnreachable, Propose, Receive, TimePassed
from raftswarm.raft.log_entry import Batch, Entry, EntryKind, HardState
from raftswarm.raft.messages import AppendEntries, AppendReply, Heartbeat, HeartbeatReply, PreVoteReply, VoteReply
from raftswarm.raft.progress import Stage
from raftswarm.raft.settings import RaftSettings

if TYPE_CHECKING:
    from tests.raft.conftest import Bench, MakeBench, MakeCluster

ALICE, BOB, CAROL = 1, 2, 3


def log_of(*terms: int) -> tuple[Entry, ...]:
    return tuple(
        Entry(index=index, term=term, kind=EntryKind.COMMANDS, first_command=index, command_count=1)
        for index, term in enumerate(terms, start=1)
    )


def lead_without_commit(bench: Bench, supporter: int) -> None:
    """Win an election; nothing is acknowledged yet."""
    bench.time_out()
    term = bench.member.term + 1
    bench.receive(PreVoteReply(sender=supporter, to=bench.id, term=term, granted=True))
    bench.write()
    bench.receive(VoteReply(sender=supporter, to=bench.id, term=term, granted=True))
    assert bench.member.is_leader
    bench.sent.clear()


def indexes(messages: list[AppendEntries], to: int) -> list[list[int]]:
    return [[entry.index for entry in message.entries] for message in messages if message.to == to]


# Appending.


def test_a_new_leader_begins_with_a_blank_entry(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1, 1), term=1)
    bench.lead(BOB)

    last = bench.member.entries(3, 3)[0]
    assert (last.kind, last.term, last.first_command, last.command_count) == (EntryKind.BLANK, 2, 3, 0)


def test_a_batch_is_one_entry_and_its_commands_are_numbered_on(make_bench: MakeBench) -> None:
    bench = make_bench([ALICE])
    bench.lead()
    bench.propose(b"a", b"b", b"c")
    bench.propose(b"d")
    bench.write()

    batches = [entry for entry in bench.applied if entry.kind is EntryKind.COMMANDS]
    assert [(entry.first_command, entry.command_count) for entry in batches] == [(1, 3), (4, 1)]


def test_numbers_of_commands_that_were_truncated_are_given_again(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.propose(b"lost", b"lost")
    blank = Entry(index=2, term=2, kind=EntryKind.BLANK, first_command=1)
    command = Entry(index=3, term=2, kind=EntryKind.COMMANDS, first_command=1, command_count=1)

    bench.receive(
        AppendEntries(
            sender=BOB, to=ALICE, term=2, previous_index=1, previous_term=1, entries=(blank, command), commit=3
        )
    )

    assert bench.terms == [1, 2, 2]
    assert bench.member.describe_snapshot(3).commands == 1


def test_time_always_moves_on_along_the_log(make_bench: MakeBench) -> None:
    bench = make_bench([ALICE])
    bench.lead()
    for time_ns in (100, 50, 200):
        bench.propose(b"x", time_ns=time_ns)
    bench.write()

    assert [entry.time_ns for entry in bench.applied if entry.command_count] == [100, 101, 200]


def test_who_does_not_lead_refuses_and_names_the_leader(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.follow(CAROL, term=1)

    bench.propose(b"x")

    assert (bench.proposals[-1].refused, bench.proposals[-1].leader) == ("this member does not lead", CAROL)


def test_too_much_uncommitted_is_refused_until_some_is_committed(make_bench: MakeBench) -> None:
    bench = make_bench(settings=RaftSettings(uncommitted_bytes=1000))
    bench.lead(BOB)
    bench.propose(bytes(2000))  # One may always go.
    bench.propose(b"x")
    assert "bytes wait to be committed" in bench.proposals[-1].refused
    assert bench.proposals[-1].leader == ALICE

    bench.write()
    bench.acknowledge(BOB)
    bench.propose(b"x")

    assert bench.proposals[-1].refused == ""


def test_entries_leave_before_they_are_on_our_own_disk(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    ready = bench.propose(b"x")

    assert ready.write is not None
    assert indexes([m for m in ready.messages if isinstance(m, AppendEntries)], BOB) == [[2]]


# Committing.


def test_a_quorum_of_disks_commits_with_or_without_the_leaders_own(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.propose(b"x")

    bench.acknowledge(BOB)
    assert bench.member.commit_index == 1

    bench.acknowledge(CAROL)
    assert bench.member.commit_index == 2


def test_the_leaders_own_disk_is_one_acknowledgement(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.propose(b"x")
    bench.acknowledge(BOB)

    bench.write()

    assert bench.member.commit_index == 2


def test_an_earlier_terms_entry_is_not_committed_by_counting(make_bench: MakeBench) -> None:
    """Figure 8: it may still be overwritten, until an entry of the leader's own term is behind it."""
    bench = make_bench(log=log_of(1, 2), term=3)
    lead_without_commit(bench, BOB)
    bench.write()

    bench.acknowledge(BOB, 2)
    bench.acknowledge(CAROL, 2)
    assert bench.member.commit_index == 0

    bench.acknowledge(BOB, 3)
    assert bench.member.commit_index == 3


def test_followers_learn_of_a_commit_in_the_next_turn(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB, CAROL)
    bench.propose(b"x")
    bench.write()
    bench.sent.clear()

    bench.acknowledge(BOB)
    assert bench.take(AppendEntries) == [], "whoever proposed it may have more, and that takes the news along"
    assert bench.member.has_news
    bench.step(TimePassed())

    news = bench.take(AppendEntries)
    assert [(message.to, message.commit, message.entries) for message in news] == [(BOB, 2, ()), (CAROL, 2, ())]
    assert not bench.member.has_news


def test_news_of_a_commit_that_waited_travel_with_entries(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB, CAROL)
    bench.propose(b"x")
    bench.write()
    bench.acknowledge(BOB)
    bench.sent.clear()

    bench.propose(b"y")

    assert [(m.to, m.commit, len(m.entries)) for m in bench.take(AppendEntries)] == [(BOB, 2, 1), (CAROL, 2, 1)]
    assert not bench.member.has_news


def test_news_of_a_commit_travel_with_entries_when_there_are_some(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB, CAROL)
    bench.propose(b"x")
    bench.write()
    bench.sent.clear()
    reply = AppendReply(sender=BOB, to=ALICE, term=1, success=True, match_index=2)

    bench.step(Receive(reply), Propose(7, Batch(1, b"y"), 0))

    assert [(m.to, m.commit, len(m.entries)) for m in bench.take(AppendEntries)] == [(BOB, 2, 1), (CAROL, 2, 1)]


def test_an_acknowledgement_of_what_nobody_has_is_noted_and_ignored(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.acknowledge(CAROL, 99)

    assert bench.member.progress[CAROL].match_index == 0
    assert "acknowledges entry 99" in bench.notes[-1]


def test_an_answer_from_no_member_is_dropped_with_a_note(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)

    bench.acknowledge(77)

    assert "its sender is not a member" in bench.notes[-1]


# Flow.


def test_probing_sends_one_message_until_it_is_answered(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    for _ in range(3):
        bench.propose(b"x")

    assert indexes(bench.take(AppendEntries), CAROL) == []
    bench.acknowledge(CAROL, 1)
    assert indexes(bench.take(AppendEntries), CAROL) == [[2, 3, 4]]


def test_entries_are_pipelined_within_the_window(make_bench: MakeBench) -> None:
    bench = make_bench(settings=RaftSettings(append_window_messages=2))
    bench.lead(BOB)
    for _ in range(4):
        bench.propose(b"x")
    assert indexes(bench.take(AppendEntries), BOB) == [[2], [3]]

    bench.acknowledge(BOB, 2)

    assert indexes(bench.take(AppendEntries), BOB) == [[4, 5]]


def test_bytes_bound_the_window_but_one_entry_may_exceed_an_empty_one(make_bench: MakeBench) -> None:
    bench = make_bench(settings=RaftSettings(append_window_bytes=1000))
    bench.lead(BOB)
    bench.propose(bytes(5000))
    bench.propose(b"x")
    assert indexes(bench.take(AppendEntries), BOB) == [[2]]

    bench.acknowledge(BOB, 2)

    assert indexes(bench.take(AppendEntries), BOB) == [[3]]


def test_what_is_lost_on_the_way_is_sent_again(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.propose(b"x")
    bench.sent.clear()

    for _ in range(3):
        bench.time_out()
        bench.receive(HeartbeatReply(sender=BOB, to=ALICE, term=1))

    assert indexes(bench.take(AppendEntries), BOB) == [[2]]


def test_an_unreachable_follower_gets_nothing_until_it_is_heard_from(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.step(PeerUnreachable(BOB))
    bench.propose(b"x")
    assert indexes(bench.take(AppendEntries), BOB) == []

    bench.time_out()
    bench.receive(HeartbeatReply(sender=BOB, to=ALICE, term=1))

    assert indexes(bench.take(AppendEntries), BOB) == [[2]]


def beats(bench: Bench, count: int) -> list[float]:
    """When a leader that Bob follows sends so many rounds of heartbeats."""
    moments: list[float] = []
    while len(moments) < count:
        bench.time_out()
        if bench.take(Heartbeat):
            moments.append(bench.now)
        bench.receive(HeartbeatReply(sender=BOB, to=ALICE, term=bench.member.term))
    return moments


def test_leaders_of_many_groups_send_their_heartbeats_at_the_same_moments(make_bench: MakeBench) -> None:
    leaders = [make_bench(seed=seed) for seed in range(5)]
    for bench in leaders:
        bench.lead(BOB)
    latest = max(bench.now for bench in leaders) + 0.2

    later = [[moment for moment in beats(bench, 30) if moment >= latest][:10] for bench in leaders]

    assert later == [later[0]] * 5


def test_heartbeats_are_never_much_further_apart_than_their_interval(make_bench: MakeBench) -> None:
    for interval in (0.1, 0.05, 1 / 3, 0.07):
        bench = make_bench(settings=RaftSettings(heartbeat_seconds=interval))
        bench.lead(BOB)

        first, second, *others = beats(bench, 200)

        assert 0 < second - first <= 1.01 * interval
        assert all(0.9 * interval <= gap <= 1.01 * interval for gap in gaps([second, *others]))


def gaps(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


def test_a_new_link_begins_with_a_probe(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.propose(b"x")
    bench.sent.clear()

    bench.step(PeerConnected(BOB))

    assert indexes(bench.take(AppendEntries), BOB) == [[2]]
    assert bench.member.progress[BOB].stage is Stage.PROBE


def test_heartbeats_claim_only_what_the_follower_has(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    bench.time_out()

    assert {message.to: message.commit for message in bench.take(Heartbeat)} == {BOB: 1, CAROL: 0}


# Backing up.


def test_a_leader_backs_up_by_whole_terms(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1, 1, 1, 4, 4, 5, 5, 6, 6, 6), term=7)
    lead_without_commit(bench, BOB)

    bench.receive(
        AppendReply(sender=CAROL, to=ALICE, term=8, success=False, match_index=10, conflict_term=3, conflict_index=7)
    )

    assert [message.previous_index for message in bench.take(AppendEntries) if message.to == CAROL] == [3]


def test_where_the_leader_has_the_conflicting_term_it_goes_on_behind_it(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1, 1, 1, 4, 4, 6, 6), term=7)
    lead_without_commit(bench, BOB)

    bench.receive(
        AppendReply(sender=CAROL, to=ALICE, term=8, success=False, match_index=7, conflict_term=4, conflict_index=4)
    )

    assert [message.previous_index for message in bench.take(AppendEntries) if message.to == CAROL] == [5]


def test_a_late_refusal_changes_nothing(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    for _ in range(3):
        bench.propose(b"x")
    bench.write()
    bench.acknowledge(BOB)
    bench.step(TimePassed())
    bench.sent.clear()

    bench.receive(AppendReply(sender=BOB, to=ALICE, term=1, success=False, match_index=2, conflict_index=1))

    assert bench.member.progress[BOB].stage is Stage.REPLICATE
    assert bench.take(AppendEntries) == []


def test_figure_7_every_follower_ends_with_the_leaders_log(make_cluster: MakeCluster) -> None:
    logs = {
        2: (1, 1, 1, 4, 4, 5, 5, 6, 6),
        3: (1, 1, 1, 4),
        4: (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
        5: (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
        6: (1, 1, 1, 4, 4, 4, 4),
        7: (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
    }
    cluster = make_cluster(1, *logs)
    for member, terms in {1: (1, 1, 1, 4, 4, 5, 5, 6, 6, 6), **logs}.items():
        cluster[member].disk.entries = list(log_of(*terms))
        cluster[member].disk.hard_state = HardState(term=7)
        cluster.restart(member)
    cluster.connect()

    cluster.elect(1)

    for member in logs:
        assert cluster[member].terms == [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8]
        assert [entry.term for entry in cluster[member].disk.entries] == cluster[member].terms
        assert cluster[member].member.commit_index == 11


def test_an_isolated_leaders_entries_give_way(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    cluster.isolate(ALICE)
    cluster[ALICE].propose(b"lost")
    cluster.settle()
    cluster.elect(BOB)
    cluster[BOB].propose(b"kept")
    cluster.settle()

    cluster.heal()
    cluster.wait(1.0)

    assert cluster[ALICE].terms == [1, 2, 2]
    assert [entry.data for entry in cluster[ALICE].applied if entry.data] == [b"kept"]
