"""What a replica does with proposals and reads that cannot be answered at once, in the simulated world."""

from __future__ import annotations

import pytest

from raftswarm.consensus import applying, proposals
from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.errors import InvalidSpec, MachineFailed, NotLeader, OutcomeUnknown, Overloaded, TransferFailed
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.history import Call
from raftswarm.lab.journal import Journal
from raftswarm.lab.seeds import run_seed
from raftswarm.lab.trace import Trace
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.messages import AppendEntries, InstallSnapshot
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import Context
from raftswarm.transport.snapshot_transfer import OutgoingSnapshot

T = 1.0
"""The election timeout of the default settings."""


def lead(world: CoreWorld) -> int:
    world.run_until(lambda: world.leader is not None, within_seconds=4 * T, what="a first leader")
    assert world.leader is not None
    world.run_for(T)
    return world.leader


def finish(world: CoreWorld, *calls: Call) -> None:
    world.run_until(lambda: all(call.ended_at is not None for call in calls), within_seconds=10 * T, what="answers")


def test_commands_wait_while_the_uncommitted_tail_is_full() -> None:
    world = CoreWorld(1, settings=RaftSettings(uncommitted_bytes=2000))
    leader = lead(world)

    calls = [world.propose(bytes(500), member=leader) for _ in range(50)]
    finish(world, *calls)

    assert [call.error for call in calls] == [None] * 50


def test_a_command_longer_than_the_tail_may_be_goes_alone() -> None:
    world = CoreWorld(2, settings=RaftSettings(uncommitted_bytes=10))
    leader = lead(world)

    calls = [world.propose(bytes(500), member=leader) for _ in range(3)]
    finish(world, *calls)

    assert [call.error for call in calls] == [None] * 3


@pytest.mark.parametrize(("count", "size"), [(10, 10_000), (10_000, 50)], ids=["commands", "bytes"])
def test_only_a_full_queue_refuses(monkeypatch: pytest.MonkeyPatch, count: int, size: int) -> None:
    monkeypatch.setattr(proposals, "MAX_WAITING_COMMANDS", count)
    monkeypatch.setattr(proposals, "MAX_WAITING_BYTES", size)
    world = CoreWorld(3)
    leader = lead(world)

    calls = [world.propose(b"", member=leader) for _ in range(12)]
    finish(world, *calls)

    refused = [call.error for call in calls if call.error is not None]
    assert refused
    assert all(isinstance(error, Overloaded) for error in refused)
    assert str(refused[0]).endswith("wait already; retry when some are answered")


def test_what_waits_at_a_leader_that_is_deposed_did_not_happen() -> None:
    world = CoreWorld(4, settings=RaftSettings(uncommitted_bytes=1000))
    old = lead(world)
    world.isolate(old)

    appended = world.propose(bytes(600), member=old)
    world.run_for(T / 10)

    waiting = [world.propose(bytes(600), member=old) for _ in range(4)]
    finish(world, appended, *waiting)

    assert isinstance(appended.error, OutcomeUnknown)
    assert [type(call.error) for call in waiting] == [NotLeader] * 4


def test_any_member_may_be_read_at() -> None:
    world = CoreWorld(5)
    lead(world)
    write = world.propose(b"one")
    finish(world, write)

    reads = [world.read(member=member) for member in world.hosts]
    finish(world, *reads)

    assert [read.error for read in reads] == [None] * 3


def test_a_read_at_a_member_that_is_cut_off_ends() -> None:
    world = CoreWorld(6)
    leader = lead(world)
    alone = next(member for member in world.hosts if member != leader)
    world.isolate(alone)

    read = world.read(member=alone)
    finish(world, read)

    assert isinstance(read.error, NotLeader)


def test_a_read_outlives_its_leader() -> None:
    world = CoreWorld(7)
    leader = lead(world)
    follower = next(member for member in world.hosts if member != leader)
    world.crash(leader, power_lost=True)

    read = world.read(member=follower)
    finish(world, read)

    assert read.error is None


def test_who_asks_for_a_transfer_learns_who_leads() -> None:
    world = CoreWorld(8)
    leader = lead(world)
    heir = next(member for member in world.hosts if member != leader)

    wish = world.transfer_leadership(heir)
    finish(world, wish)

    assert (wish.error, wish.result) == (None, heir)


def test_commands_wait_for_the_end_of_a_transfer_and_are_told_who_leads() -> None:
    world = CoreWorld(8)
    leader = lead(world)
    heir = next(member for member in world.hosts if member != leader)

    wish = world.transfer_leadership(heir)
    command = world.propose(b"late", member=leader)
    finish(world, wish, command)

    assert wish.error is None
    assert isinstance(command.error, NotLeader)
    assert command.error.leader == heir


def test_commands_wait_for_a_transfer_that_fails_and_take_effect() -> None:
    world = CoreWorld(9)
    leader = lead(world)
    heir = next(member for member in world.hosts if member != leader)
    world.crash(heir, power_lost=True)

    wish = world.transfer_leadership(heir)
    command = world.propose(b"late", member=leader)
    finish(world, wish, command)

    assert isinstance(wish.error, TransferFailed)
    assert command.error is None
    assert command.ended_at is not None
    assert command.ended_at - command.invoked_at < 1.2 * T


def test_a_transfer_to_who_is_away_fails_in_time() -> None:
    world = CoreWorld(9)
    leader = lead(world)
    heir = next(member for member in world.hosts if member != leader)
    world.crash(heir)

    wish = world.transfer_leadership(heir)
    finish(world, wish)

    assert isinstance(wish.error, TransferFailed)
    assert wish.error.leader == leader
    assert wish.ended_at is not None
    assert wish.ended_at - wish.invoked_at < 1.2 * T


def test_a_stopped_replica_leaves_nobody_waiting() -> None:
    world = CoreWorld(10)
    leader = lead(world)
    stopped = world.process(leader).replica
    stopped.shut_down()
    calls = [world.history.begin("read", leader), world.history.begin("transfer", leader)]

    stopped.read_barrier(calls[0])
    stopped.transfer_leadership(0, calls[1])

    assert [type(call.error) for call in calls] == [NotLeader, NotLeader]


def test_members_that_make_no_sense_are_the_callers_mistake() -> None:
    world = CoreWorld(40)
    lead(world)

    nobody = world.change_members(world.list_members([]))
    twice = world.change_members(world.list_members([1, 2], learners=[2]))
    finish(world, nobody, twice)

    assert isinstance(nobody.error, InvalidSpec)
    assert str(nobody.error) == "a cluster needs a voter"
    assert str(twice.error) == "member 2 is listed twice"


def test_a_change_beside_another_may_be_tried_again() -> None:
    world = CoreWorld(41)
    lead(world)

    first, second = world.remove_member(1), world.remove_member(1)
    finish(world, first, second)

    assert first.error is None
    assert isinstance(second.error, Overloaded)
    assert "retry when it is" in str(second.error)


# What is committed is applied in slices.


def test_a_turn_applies_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "APPLIED_AT_ONCE", 3)
    world = CoreWorld(11)
    leader = lead(world)
    calls = [world.propose(b"", member=leader) for _ in range(20)]
    shares = []
    while (before := count_applied(world, leader)) < 20:
        world.heap.run_next()
        shares.append(count_applied(world, leader) - before)

    finish(world, *calls)

    assert max(shares) == 3
    assert [call.result for call in calls] == list(range(1, 21))


def count_applied(world: CoreWorld, member: int) -> int:
    machine = world.process(member).machine.machine
    assert isinstance(machine, Journal)
    return machine.count


def test_what_is_committed_is_answered_although_leadership_is_lost_before_it_is_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(applying, "APPLIED_AT_ONCE", 1)
    world = CoreWorld(12)
    leader = lead(world)
    world.hosts[leader].turn_seconds = 0.05
    calls: list[Call] = []
    for _ in range(5):  # As many entries: the last are not begun when leadership is lost.
        calls += [world.propose(b"", member=leader) for _ in range(20)]
        world.run_for(0.06)
    last = world.process(leader).member.last_index
    world.run_until(lambda: world.process(leader).member.commit_index == last, within_seconds=T, what="a commit")
    world.isolate(leader)

    finish(world, *calls)

    assert [call.error for call in calls] == [None] * 100
    assert world.leader != leader


def test_a_machine_that_fails_in_the_middle_of_an_entry_leaves_nobody_waiting() -> None:
    class Failing(Journal):
        def apply(self, command: bytes, context: Context) -> int:
            if command == b"fatal":
                raise ZeroDivisionError
            return super().apply(command, context)

    world = CoreWorld(13, make_machine=Failing)
    leader = lead(world)

    calls = [world.propose(command, member=leader) for command in (b"", b"fatal", b"")]
    with pytest.raises(MachineFailed, match=r"command 2 .*ZeroDivisionError"):
        world.run_for(T)

    assert [type(call.error) for call in calls] == [type(None), OutcomeUnknown, OutcomeUnknown]


@pytest.mark.parametrize("seed", range(10))
def test_any_share_of_a_turn_will_do(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(applying, "APPLIED_AT_ONCE", 1 + seed % 3)

    assert run_seed(seed, seconds=10.0).failure is None


def test_a_read_waits_for_the_machine_and_not_only_for_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that has a long way to go applies it over many turns; a read that came meanwhile sees all of it."""
    monkeypatch.setattr(applying, "APPLIED_AT_ONCE", 1)
    world = CoreWorld(16)
    leader = lead(world)
    follower = next(member for member in world.hosts if member != leader)
    world.isolate(follower)
    for _ in range(40):
        finish(world, world.propose(b"", member=leader))
    world.hosts[follower].turn_seconds = 0.01
    world.heal()
    member = world.process(follower).member
    world.run_until(lambda: member.commit_index > 40, within_seconds=5 * T, what="news of all that is committed")

    read = world.read(member=follower)
    finish(world, read)

    assert read.error is None
    assert world.process(follower).replica.applied.commands >= 40


def test_a_snapshot_whose_data_never_came_is_not_installed() -> None:
    world = CoreWorld(14, trace=Trace(enabled=True))
    leader = lead(world)
    follower = next(member for member in world.hosts if member != leader)
    term = world.process(leader).leadership.term
    snapshot = SnapshotMeta(index=1000, term=term, configuration=world.process(leader).member.configuration)

    world.process(follower).received(InstallSnapshot(sender=leader, to=follower, term=term, snapshot=snapshot))
    world.run_for(T)

    assert any(f"ignored a snapshot from {leader} whose data never arrived" in line for line in world.trace.lines)
    finish(world, world.propose(b""))


def test_a_snapshot_of_what_is_committed_needs_no_data_and_is_answered() -> None:
    """A follower that was started again after it had installed one, and before its leader heard of that."""
    trace = Trace(enabled=True)
    world = CoreWorld(5, trace=trace)
    leader = lead(world)
    follower = next(member for member in world.running if member != leader)
    member = world.process(follower).member
    reminder = InstallSnapshot(
        sender=leader,
        to=follower,
        term=member.term,
        boot=1,
        snapshot=SnapshotMeta(index=member.commit_index, term=member.term, configuration=member.configuration),
    )

    world.process(follower).received(reminder)
    world.run_for(0.05)

    assert any(f"{follower}->{leader} SnapshotReply" in line for line in trace.lines)


def test_who_waits_for_what_a_snapshot_stands_for_learns_that_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deposed leader is slow to apply what it committed, and gets the state of all that from its successor."""
    monkeypatch.setattr(applying, "APPLIED_AT_ONCE", 1)
    monkeypatch.setattr(proposals, "MAX_BATCH_COMMANDS", 1)
    compaction = CompactionPolicy(snapshot_every_commands=1, keep_entries=0, keep_bytes_for_followers=0)
    world = CoreWorld(15, compaction=compaction)
    old = lead(world)
    world.hosts[old].turn_seconds = 0.2
    calls = [world.propose(b"", member=old) for _ in range(60)]
    world.run_for(T)
    world.isolate(old)
    world.run_until(lambda: world.leader not in {None, old}, within_seconds=4 * T, what="another leader")
    finish(world, world.propose(b""))
    world.heal()

    finish(world, *calls)

    assert isinstance(calls[-1].error, OutcomeUnknown)


def test_a_snapshot_that_comes_while_another_is_installed_takes_its_place() -> None:
    """What is committed behind the second waits for that one."""
    world = CoreWorld(16, compaction=CompactionPolicy(snapshot_every_commands=5, keep_entries=0))
    leader = lead(world)
    behind = next(member for member in world.hosts if member != leader)
    world.isolate(behind)
    leading, following = world.process(leader), world.process(behind)

    def take_snapshot() -> OutgoingSnapshot:
        for _ in range(5):
            finish(world, world.propose(b""))
        world.run_for(T / 10)
        newest = leading.storage.open_snapshot()
        assert newest is not None
        return OutgoingSnapshot(*newest)

    def install(outgoing: OutgoingSnapshot) -> None:
        incoming = following.replica.receive_snapshot()
        answer = incoming.take(outgoing.begin())
        assert answer is not None
        outgoing.take(answer)
        for frame in outgoing.read():
            incoming.take(frame)
        assert incoming.arrived is not None
        following.replica.snapshot_received(incoming.arrived)
        message = InstallSnapshot(sender=leader, to=behind, term=leading.member.term, snapshot=incoming.arrived)
        following.received(message)
        following.replica.turn(world.now)

    snapshots = [take_snapshot(), take_snapshot()]
    finish(world, world.propose(b""))
    for snapshot in snapshots:
        install(snapshot)
    second = snapshots[1].offer.snapshot
    following.received(
        AppendEntries(
            sender=leader,
            to=behind,
            term=leading.member.term,
            previous_index=second.index,
            previous_term=second.term,
            entries=leading.member.entries(second.index + 1, leading.member.last_index),
            commit=leading.member.commit_index,
        )
    )
    world.run_for(T / 10)

    assert following.replica.applied == leading.replica.applied
    world.heal()
    finish(world, world.propose(b""))
