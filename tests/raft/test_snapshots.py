"""Snapshots: compaction, transfer to slow followers, installation (section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.raft.events import SnapshotSent
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo, SnapshotMeta
from raftswarm.raft.log_view import ENTRY_OVERHEAD_BYTES
from raftswarm.raft.messages import AppendEntries, HeartbeatReply, InstallSnapshot, SnapshotReply
from raftswarm.raft.progress import Stage

if TYPE_CHECKING:
    from tests.raft.conftest import Bench, MakeBench, MakeCluster

ALICE, BOB, CAROL = 1, 2, 3
MEMBERS = Configuration(voters=tuple(MemberInfo(id=member) for member in (1, 2, 3)))


def log_of(*terms: int) -> tuple[Entry, ...]:
    return tuple(
        Entry(index=index, term=term, kind=EntryKind.COMMANDS, first_command=index, command_count=1)
        for index, term in enumerate(terms, start=1)
    )


def install(index: int, term: int, *, leader_term: int = 2) -> InstallSnapshot:
    meta = SnapshotMeta(index=index, term=term, commands=100, configuration=MEMBERS)
    return InstallSnapshot(sender=BOB, to=ALICE, term=leader_term, snapshot=meta)


def lead_with_a_compacted_log(bench: Bench) -> SnapshotMeta:
    """Carol is left behind: what she needs exists only in a snapshot."""
    bench.lead(BOB)
    for _ in range(3):
        bench.propose(b"x")
    bench.write()
    bench.acknowledge(BOB)
    snapshot = bench.save_snapshot()
    bench.receive(HeartbeatReply(sender=CAROL, to=ALICE, term=1))
    bench.wait(0.1)
    bench.receive(HeartbeatReply(sender=CAROL, to=ALICE, term=1))
    return snapshot


# The leader's side.


def test_a_follower_that_needs_compacted_entries_gets_the_snapshot(make_bench: MakeBench) -> None:
    bench = make_bench()

    snapshot = lead_with_a_compacted_log(bench)

    assert [(transfer.to, transfer.snapshot) for transfer in bench.transfers] == [(CAROL, snapshot)]
    assert bench.member.progress[CAROL].stage is Stage.SNAPSHOT


def test_when_the_data_is_there_it_is_told_to_install_it(make_bench: MakeBench) -> None:
    bench = make_bench()
    snapshot = lead_with_a_compacted_log(bench)

    bench.step(SnapshotSent(CAROL, snapshot.index, delivered=True))

    assert [message.snapshot for message in bench.take(InstallSnapshot)] == [snapshot]


def test_a_lost_instruction_is_repeated(make_bench: MakeBench) -> None:
    bench = make_bench()
    snapshot = lead_with_a_compacted_log(bench)
    bench.step(SnapshotSent(CAROL, snapshot.index, delivered=True))
    bench.sent.clear()

    bench.receive(HeartbeatReply(sender=CAROL, to=ALICE, term=1))

    assert len(bench.take(InstallSnapshot)) == 1


def test_entries_go_on_behind_an_installed_snapshot(make_bench: MakeBench) -> None:
    bench = make_bench()
    snapshot = lead_with_a_compacted_log(bench)
    bench.step(SnapshotSent(CAROL, snapshot.index, delivered=True))
    bench.propose(b"y")
    bench.sent.clear()

    bench.receive(SnapshotReply(sender=CAROL, to=ALICE, term=1, installed=True, match_index=snapshot.index))

    appends = [message for message in bench.take(AppendEntries) if message.to == CAROL]
    assert [message.previous_index for message in appends] == [snapshot.index]


def test_a_failed_transfer_begins_again_when_the_follower_is_heard_from(make_bench: MakeBench) -> None:
    bench = make_bench()
    snapshot = lead_with_a_compacted_log(bench)
    bench.step(SnapshotSent(CAROL, snapshot.index, delivered=False))
    assert len(bench.transfers) == 1

    bench.wait(0.1)
    bench.receive(HeartbeatReply(sender=CAROL, to=ALICE, term=1))

    assert len(bench.transfers) == 2


def test_news_of_another_snapshot_than_the_one_that_is_sent_is_ignored(make_bench: MakeBench) -> None:
    bench = make_bench()
    snapshot = lead_with_a_compacted_log(bench)

    bench.step(SnapshotSent(CAROL, snapshot.index - 1, delivered=True))

    assert bench.take(InstallSnapshot) == []
    assert bench.member.progress[CAROL].stage is Stage.SNAPSHOT


def test_a_transfer_that_broke_off_goes_on_although_there_is_a_newer_snapshot(make_bench: MakeBench) -> None:
    bench = make_bench()
    snapshot = lead_with_a_compacted_log(bench)
    commit_more(bench)
    bench.save_snapshot(keep_bytes=1000)

    break_off_and_hear(bench, snapshot)

    assert [transfer.snapshot for transfer in bench.transfers] == [snapshot, snapshot]


def test_a_transfer_that_broke_off_is_void_when_the_log_no_longer_goes_on_from_there(make_bench: MakeBench) -> None:
    bench = make_bench()
    snapshot = lead_with_a_compacted_log(bench)
    commit_more(bench)
    newer = bench.save_snapshot()

    break_off_and_hear(bench, snapshot)

    assert [transfer.snapshot for transfer in bench.transfers] == [snapshot, newer]


def commit_more(bench: Bench) -> None:
    bench.propose(b"y")
    bench.write()
    bench.acknowledge(BOB)


def test_a_transfer_whose_snapshot_is_gone_gives_way_to_the_newest(make_bench: MakeBench) -> None:
    bench = make_bench()
    snapshot = lead_with_a_compacted_log(bench)
    commit_more(bench)
    newer = bench.save_snapshot(keep_bytes=1000)
    break_off_and_hear(bench, snapshot)

    break_off_and_hear(bench, snapshot, can_go_on=False)

    assert [transfer.snapshot for transfer in bench.transfers] == [snapshot, snapshot, newer]


def break_off_and_hear(bench: Bench, snapshot: SnapshotMeta, *, can_go_on: bool = True) -> None:
    bench.step(SnapshotSent(CAROL, snapshot.index, delivered=False, can_go_on=can_go_on))
    bench.wait(0.1)
    bench.receive(HeartbeatReply(sender=CAROL, to=ALICE, term=1))


def test_a_follower_that_lost_the_data_again_is_sent_it_anew_after_a_while(make_bench: MakeBench) -> None:
    """One that was restarted has forgotten what it received and not installed: it ignores all reminders."""
    bench = make_bench()
    snapshot = lead_with_a_compacted_log(bench)
    bench.step(SnapshotSent(CAROL, snapshot.index, delivered=True))

    for _ in range(115):
        bench.wait(0.1)
        bench.receive(HeartbeatReply(sender=BOB, to=ALICE, term=1))
        bench.receive(HeartbeatReply(sender=CAROL, to=ALICE, term=1))

    assert [transfer.to for transfer in bench.transfers] == [CAROL, CAROL]


def test_nothing_is_streamed_to_a_silent_follower(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    for _ in range(15):
        bench.wait(0.1)
        bench.receive(HeartbeatReply(sender=BOB, to=ALICE, term=1))
    bench.propose(b"x")
    bench.write()
    bench.acknowledge(BOB)
    bench.save_snapshot()
    bench.member.progress[CAROL].probe()

    bench.step()

    assert bench.transfers == []


def test_kept_entries_spare_a_slow_follower_the_snapshot(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB, CAROL)
    bench.propose(b"x")
    bench.write()
    bench.acknowledge(BOB)
    bench.save_snapshot(keep_entries=10)
    bench.member.progress[CAROL].probe()
    bench.sent.clear()

    bench.step()

    assert [message.previous_index for message in bench.take(AppendEntries) if message.to == CAROL] == [1]


def compact_behind_a_slow_follower(bench: Bench, *, keep_bytes: int) -> int:
    """Carol follows, and has not answered for entries 2 and 3; return the first entry that is left."""
    bench.lead(BOB, CAROL)
    for _ in range(2):
        bench.propose(bytes(100))
        bench.write()
        bench.acknowledge(BOB)
    bench.save_snapshot(keep_bytes=keep_bytes)
    return bench.member.first_index


def test_what_a_follower_that_answers_still_lacks_is_kept(make_bench: MakeBench) -> None:
    assert compact_behind_a_slow_follower(make_bench(), keep_bytes=1000) == 2


def test_no_more_is_kept_for_a_slow_follower_than_the_bound(make_bench: MakeBench) -> None:
    assert compact_behind_a_slow_follower(make_bench(), keep_bytes=200) == 4


def test_a_dead_follower_holds_nothing_back(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB, CAROL)
    for _ in range(15):
        bench.wait(0.1)
        bench.receive(HeartbeatReply(sender=BOB, to=ALICE, term=1))
    commit_more(bench)

    snapshot = bench.save_snapshot(keep_bytes=1000)

    assert bench.member.first_index == snapshot.index + 1


def test_what_follows_the_snapshot_that_is_being_sent_is_kept(make_bench: MakeBench) -> None:
    bench = make_bench()
    snapshot = lead_with_a_compacted_log(bench)
    commit_more(bench)

    bench.save_snapshot(keep_bytes=1000)

    assert bench.member.first_index == snapshot.index + 1


# The follower's side.


def test_an_installed_snapshot_replaces_the_log_before_its_write(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1, 1), term=1)

    ready = bench.receive(install(9, 2))

    assert ready.install is not None
    assert ready.write is not None
    assert (ready.write.last_index, ready.write.last_term, ready.write.entries) == (9, 2, ())
    assert (bench.member.commit_index, bench.member.last_index, bench.member.first_index) == (9, 9, 10)


def test_it_is_answered_when_it_is_on_disk(make_bench: MakeBench) -> None:
    bench = make_bench(term=2)
    bench.receive(install(9, 2))
    assert bench.take(SnapshotReply) == []

    bench.write()

    assert [(reply.installed, reply.match_index) for reply in bench.take(SnapshotReply)] == [(True, 9)]
    assert bench.member.durable_index == 9


def test_where_the_log_already_goes_that_far_only_the_commit_index_moves(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1, 1, 1, 1), term=1)

    ready = bench.receive(install(3, 1))
    bench.write()

    assert ready.install is None
    assert bench.member.commit_index == 3
    assert bench.member.last_index == 4
    assert [(reply.installed, reply.match_index) for reply in bench.take(SnapshotReply)] == [(False, 3)]


def test_an_old_snapshot_is_not_installed(make_bench: MakeBench) -> None:
    bench = make_bench(snapshot=SnapshotMeta(index=20, term=2, configuration=MEMBERS), term=2)

    ready = bench.receive(install(9, 2))

    assert ready.install is None
    assert [reply.match_index for reply in bench.take(SnapshotReply)] == [20]


def test_entries_that_came_in_the_same_turn_follow_the_snapshot(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1, 1), term=1)
    entry = Entry(index=10, term=2, kind=EntryKind.COMMANDS, first_command=101, command_count=1)
    old = Entry(index=3, term=1, kind=EntryKind.COMMANDS, first_command=3, command_count=1)
    append = AppendEntries(sender=BOB, to=ALICE, term=2, previous_index=9, previous_term=2, entries=(entry,), commit=10)

    ready = bench.receive(
        AppendEntries(sender=BOB, to=ALICE, term=2, previous_index=2, previous_term=1, entries=(old,)),
        install(9, 2),
        append,
    )

    assert ready.write is not None
    assert [e.index for e in ready.write.entries] == [10]
    assert [e.index for e in ready.committed] == [10]


def test_an_earlier_write_proves_nothing_of_the_log_that_was_replaced(make_bench: MakeBench) -> None:
    bench = make_bench(log=log_of(1), term=1)
    entries = log_of(1, 2, 2)[1:]
    bench.receive(
        AppendEntries(sender=BOB, to=ALICE, term=2, previous_index=1, previous_term=1, entries=entries, commit=1)
    )
    bench.receive(install(9, 2))

    bench.write(1)

    assert bench.member.durable_index == 1


def test_a_restart_goes_on_from_snapshot_and_log(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(ALICE, BOB, CAROL)
    cluster.elect(ALICE)
    for _ in range(5):
        cluster[ALICE].propose(b"x", b"y")
    cluster.settle()
    cluster[ALICE].save_snapshot()
    cluster.restart(ALICE)

    assert (cluster[ALICE].member.commit_index, cluster[ALICE].member.last_index) == (6, 6)
    cluster.connect()
    cluster.elect(BOB)
    cluster[BOB].propose(b"z")
    cluster.settle()

    assert cluster[ALICE].applied[-1].first_command == 11


def test_of_the_entries_that_stay_only_so_many_bytes_do(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.lead(BOB)
    for _ in range(5):
        bench.propose(bytes(100))
    bench.write()
    bench.acknowledge(BOB)

    bench.save_snapshot(keep_entries=10, keep_entries_bytes=2 * (100 + ENTRY_OVERHEAD_BYTES))

    assert bench.member.first_index == bench.member.last_index - 1
