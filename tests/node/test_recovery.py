"""Going on after most managers are lost, and from a backup: a new epoch, fenced off from the old one (SWARM 12.7)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, NoReturn

import attrs
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from raftswarm.ca import MANAGER, Identity
from raftswarm.engine.node_protocol import InitOptions, JoinOptions, LocalState
from raftswarm.errors import ForeignState, InvalidSpec
from raftswarm.manager.control.requests import CreateService, ListNodes, ListTasks, NodesAnswer, TasksAnswer
from raftswarm.node.facts import ManagerAddress, read_facts
from raftswarm.node.recovery import Survivor, choose, recover, restore, survey
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.storage.backup import BackupFile, BackupKey, SealedBy
from raftswarm.wire.requests import JoinMembers
from raftswarm.world.chance import SeededEntropy
from raftswarm.world.simulated_disk import PowerLost
from tests.node.swarms import (
    LOCKED,
    cluster_of,
    form,
    refusal_of,
    service,
    service_names,
    tokens_of,
    unlock_key_of,
    until_started,
)

if TYPE_CHECKING:
    from tests.node.conftest import Hall, Room

FORCED = InitOptions(force_new_cluster=True)
KEY = BackupKey(SealedBy.PASSPHRASE, b"k" * 32, b"s" * 16)
NOW_NS = 1_800_000_100 * 1_000_000_000


def never_locked() -> NoReturn:
    raise AssertionError("it is not locked")


def look_at(room: Room, unlock: Callable[[], str] = never_locked) -> Survivor:
    return survey(room.disk, room.world.entropy, "state", unlock)


def recover_on(room: Room, unlock: Callable[[], str] = never_locked) -> int:
    return recover(room.disk, room.world.entropy, NOW_NS, "state", unlock)


def epoch_of(room: Room) -> int:
    participation = room.machine._participation
    assert participation is not None
    return participation.manager.driver.epoch


async def until_left_behind(room: Room) -> str:
    """Wait until a manager is told that it is none any more; return what it says then."""
    with trio.fail_after(20):
        while room.machine.info().is_manager:  # noqa: ASYNC110 - on a mocked clock
            await trio.sleep(0.1)
    return room.machine.info().error


async def managers_seen_by(room: Room) -> list[str]:
    answer = await room.machine.control(ListNodes())
    assert isinstance(answer, NodesAnswer)
    return sorted(view.node.description.hostname for view in answer.nodes if view.manager_status is not None)


async def ready_nodes(room: Room) -> list[str]:
    answer = await room.machine.control(ListNodes())
    assert isinstance(answer, NodesAnswer)
    return sorted(view.node.description.hostname for view in answer.nodes if view.node.state is NodeState.READY)


async def node_ids(room: Room) -> dict[str, str]:
    answer = await room.machine.control(ListNodes())
    assert isinstance(answer, NodesAnswer)
    return {view.node.description.hostname: view.node.id for view in answer.nodes}


# One node, in Docker's words.


async def test_a_survivor_makes_itself_the_only_manager_and_keeps_services_workers_and_tasks(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, bob, carol, dave = await form(hall, managers=3, workers=1)
    await bob.machine.control(CreateService(spec=service("web", replicas=4)))
    await until_started(4, alice, bob, carol, dave)
    node, swarm = alice.machine.info().node_id, (await cluster_of(alice)).cluster.id
    await trio.sleep(2)
    kept = [*alice.processes.running.values(), *dave.processes.running.values()]
    await hall.kill(bob)
    await hall.kill(carol)
    await trio.sleep(5)

    assert await alice.machine.init(FORCED) == node

    assert (await cluster_of(alice)).cluster.id == swarm
    assert await service_names(alice) == ["web"]
    assert await managers_seen_by(alice) == ["alice"]
    await trio.sleep(60)  # The lost nodes are noticed, and their tasks run elsewhere.
    answer = await alice.machine.control(ListTasks())
    assert isinstance(answer, TasksAnswer)
    running = [task for task in answer.tasks if task.status.state is task.desired_state is TaskState.RUNNING]
    alive = {alice.machine.info().node_id, dave.machine.info().node_id}
    assert [task.node_id in alive for task in running] == [True] * 4
    now = [*alice.processes.running.values(), *dave.processes.running.values()]
    assert all(process in now for process in kept)


async def test_managers_of_the_old_epoch_stop_when_they_meet_the_new_one_and_cannot_divide_it(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, bob, carol = await form(hall, managers=3)
    await hall.kill(bob)
    await hall.kill(carol)
    await trio.sleep(5)
    await alice.machine.init(FORCED)
    await alice.machine.control(CreateService(spec=service("after")))

    await hall.restart(bob)
    await hall.restart(carol)

    for room in (bob, carol):
        assert "the cluster goes on in epoch 1-" in await until_left_behind(room)
        assert "let it leave and join again" in room.machine.info().error
        assert "Worker nodes can't be used" in await refusal_of(service_names(room))
    assert await service_names(alice) == ["after"]
    assert await managers_seen_by(alice) == ["alice"]
    await trio.sleep(20)
    assert await ready_nodes(alice) == ["alice", "bob", "carol"], "they are workers now"
    await bob.machine.leave(force=False)
    token, _ = await tokens_of(alice)
    await bob.machine.join(JoinOptions(remote_addresses=(alice.address,), join_token=token))
    assert await service_names(bob) == ["after"]
    assert epoch_of(bob) == epoch_of(alice) > 0


async def test_a_member_of_the_old_epoch_is_not_added_again(autojump_clock: MockClock, hall: Hall) -> None:
    """It asks before it has heard what happened: as a voter that nobody hears, it would take the majority away."""
    alice, bob = await form(hall, managers=2)
    await trio.sleep(2)
    bobs = bob.machine._participation
    assert bobs is not None
    asking = JoinMembers(member_id=bobs.facts.member_id, address=bob.address)
    caller = Identity(bobs.facts.node_id, MANAGER, bobs.facts.cluster_id)
    await hall.kill(bob)
    await alice.machine.init(FORCED)
    participation = alice.machine._participation
    assert participation is not None

    refusal = await refusal_of(participation.manager.join_member(caller, asking))

    assert refusal.startswith("the swarm goes on in epoch 1-")
    assert await managers_seen_by(alice) == ["alice"]


async def test_a_manager_that_was_left_behind_can_be_chosen_after_all(autojump_clock: MockClock, hall: Hall) -> None:
    """The operator finds that it knew more. Its epoch is later than the one that it was told of."""
    alice, bob, carol = await form(hall, managers=3, options=LOCKED)
    key = await unlock_key_of(alice)
    await hall.kill(alice)
    await bob.machine.control(CreateService(spec=service("only-bob-knows")))
    await trio.sleep(1)
    await hall.kill(carol)
    await hall.kill(bob)
    await hall.restart(alice)
    await alice.machine.unlock(key)
    await alice.machine.init(FORCED)
    assert await service_names(alice) == []
    await hall.restart(bob)
    await bob.machine.unlock(key)
    await until_left_behind(bob)
    await trio.sleep(20)

    await bob.machine.init(FORCED)

    assert await service_names(bob) == ["only-bob-knows"]
    assert epoch_of(bob) >> 32 == 2
    assert await managers_seen_by(bob) == ["bob"]


async def test_it_can_be_done_again_and_the_epoch_grows(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall)
    seen = [epoch_of(alice)]
    for name in ("one", "two"):
        await alice.machine.init(FORCED)
        await alice.machine.control(CreateService(spec=service(name)))
        seen.append(epoch_of(alice))
    await hall.stop(alice)
    await hall.restart(alice)

    assert await service_names(alice) == ["one", "two"]
    assert [epoch >> 32 for epoch in [*seen, epoch_of(alice)]] == [0, 1, 2, 2]


async def test_on_a_machine_outside_it_is_a_plain_init(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await hall.start("alice")

    await alice.machine.init(FORCED)

    assert epoch_of(alice) == 0


async def test_a_worker_and_a_locked_manager_refuse(autojump_clock: MockClock, hall: Hall) -> None:
    alice, dave = await form(hall, workers=1, options=LOCKED)
    key = await unlock_key_of(alice)
    await alice.machine.control(CreateService(spec=service("web")))
    assert "Worker nodes can't be used" in await refusal_of(dave.machine.init(FORCED))
    await hall.stop(alice)
    await hall.restart(alice)

    assert (await refusal_of(alice.machine.init(FORCED))).startswith("Swarm is encrypted")
    assert alice.machine.info().state is LocalState.LOCKED
    await alice.machine.unlock(key)
    await alice.machine.init(FORCED)  # Its keys are open: there is nothing in the way.

    assert await service_names(alice) == ["web"]
    assert await unlock_key_of(alice) == key


# From the state directories of those that are left.


async def test_the_most_advanced_survivor_is_found_and_the_swarm_goes_on_from_it(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, bob, carol, *_ = await form(hall, managers=3, workers=2)
    await hall.kill(bob)
    await alice.machine.control(CreateService(spec=service("late")))
    await trio.sleep(3)
    before = [room.disk.copy() for room in (alice, bob)]
    await hall.kill(alice)
    await hall.kill(carol)

    choice = choose([look_at(bob), look_at(alice)])

    assert choice.best.facts.node_id == look_at(alice).facts.node_id
    assert choice.best.end.commands > look_at(bob).end.commands
    assert choice.has_majority, "two of three"
    assert [room.disk.sizes("state") for room in (alice, bob)] == [disk.sizes("state") for disk in before]
    only = choose([look_at(alice)])
    assert not only.has_majority
    assert {info.address for info in only.missing} == {bob.address, carol.address}
    epoch = recover_on(alice)
    await hall.restart(alice)
    assert await service_names(alice) == ["late"]
    assert epoch_of(alice) == epoch
    await trio.sleep(60)
    assert await ready_nodes(alice) == ["alice", "dave", "erin"]


async def test_a_locked_survivor_is_opened_with_its_key(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob = await form(hall, managers=2, options=LOCKED)
    key = await unlock_key_of(alice)
    await alice.machine.control(CreateService(spec=service("web")))
    await hall.stop(bob)
    await hall.stop(alice)

    recover_on(alice, lambda: key)

    await hall.restart(alice)
    await alice.machine.unlock(key)
    assert await service_names(alice) == ["web"]


async def test_a_later_epoch_beats_a_longer_log(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob = await form(hall, managers=2)
    await hall.stop(alice)
    await hall.stop(bob)
    recover_on(bob)
    longer = attrs.evolve(look_at(alice), end=replace(look_at(alice).end, index=10_000))

    choice = choose([look_at(bob), longer])

    assert choice.best.facts == look_at(bob).facts


async def test_what_is_no_manager_is_told_from_what_is(autojump_clock: MockClock, hall: Hall) -> None:
    alice, dave = await form(hall, workers=1)
    other = await hall.start("bob")
    await other.machine.init(InitOptions())
    for room in (alice, dave, other):
        await hall.stop(room)
    outside = hall.furnish("carol")

    with pytest.raises(ForeignState, match="belongs to a worker"):
        look_at(dave)
    with pytest.raises(ForeignState, match="not the state directory of a node in a swarm"):
        look_at(outside)
    with pytest.raises(InvalidSpec, match="of different swarms"):
        choose([look_at(alice), look_at(other)])


# From a backup.


async def backup_of(room: Room) -> bytes:
    return b"".join(await room.machine.backup(KEY))


def restore_on(room: Room, image: bytes) -> None:
    file = room.disk.open("backup", create=True)
    file.write(0, [image])
    restore(
        room.disk,
        SeededEntropy(Random(5)),
        NOW_NS,
        "state",
        BackupFile(file, "backup").open(KEY),
        listen=room.address,
        advertise=room.address,
        hostname="restored",
    )


async def test_a_backup_is_restored_at_another_address_as_the_same_swarm(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob = await form(hall, managers=2)
    await alice.machine.control(CreateService(spec=service("web", replicas=2)))
    await until_started(2, alice, bob)
    swarm = (await cluster_of(alice)).cluster
    image = await backup_of(bob)
    await alice.machine.control(CreateService(spec=service("later")))
    await hall.kill(alice)
    await hall.kill(bob)
    carol = hall.furnish("carol")
    restore_on(carol, image)

    await hall.restart(carol)
    await trio.sleep(60)  # The nodes that are not there any more are noticed.
    await until_started(2, carol)

    assert await service_names(carol) == ["web"]
    assert await managers_seen_by(carol) == ["carol"]
    restored = (await cluster_of(carol)).cluster
    assert (restored.id, restored.join_tokens) == (swarm.id, swarm.join_tokens)
    assert epoch_of(carol) >> 32 == 1
    dave = await hall.start("dave")
    await dave.machine.join(JoinOptions(remote_addresses=(carol.address,), join_token=swarm.join_tokens.manager))
    assert await service_names(dave) == ["web"]


async def test_a_restored_swarm_and_the_old_one_do_not_speak(autojump_clock: MockClock, hall: Hall) -> None:
    """Restored at the address of a manager that is not there, while a majority of the old ones runs on."""
    alice, bob, carol = await form(hall, managers=3)
    image = await backup_of(alice)
    await hall.kill(carol)
    restored = hall.furnish("carol")
    restore_on(restored, image)
    await alice.machine.control(CreateService(spec=service("old")))

    await hall.restart(restored)
    await trio.sleep(10)

    assert await service_names(restored) == []
    assert await managers_seen_by(restored) == ["carol"]
    assert await service_names(bob) == ["old"]


async def test_workers_that_survive_find_the_restored_manager_elsewhere_and_their_tasks_are_adopted(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, dave, erin = await form(hall, workers=2)
    await alice.machine.control(CreateService(spec=service("web", replicas=6)))
    await until_started(6, alice, dave, erin)
    await trio.sleep(2)
    image = await backup_of(alice)
    nodes = {name: (await node_ids(alice))[name] for name in ("dave", "erin")}
    kept = {room.settings.hostname: dict(room.processes.running) for room in (dave, erin)}
    assert all(kept.values())
    await hall.kill(alice)
    carol = hall.furnish("carol")
    restore_on(carol, image)
    await hall.restart(carol)

    for room in (dave, erin):
        await room.machine.rejoin([carol.address])

    with trio.fail_after(60):
        while not {"dave", "erin"} <= set(await ready_nodes(carol)):  # noqa: ASYNC110 - on a mocked clock
            await trio.sleep(0.5)
    assert {name: (await node_ids(carol))[name] for name in ("dave", "erin")} == nodes
    await trio.sleep(60)  # Time enough to start something twice, and to miss the old manager.
    for room in (dave, erin):
        for directory, process in kept[room.settings.hostname].items():
            assert room.processes.running.get(directory) is process, "adopted, and not begun again"
    answer = await carol.machine.control(ListTasks())
    assert isinstance(answer, TasksAnswer)
    running = [task for task in answer.tasks if task.status.state is task.desired_state is TaskState.RUNNING]
    assert len(running) == 6
    assert sum(len(room.processes.running) for room in (carol, dave, erin)) == 6


async def test_where_managers_are_is_told_to_workers_only_and_has_to_be_an_address(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, dave = await form(hall, workers=1, options=LOCKED)
    outside = await hall.start("bob")

    assert "finds the others by what its own log says" in await refusal_of(alice.machine.rejoin(["10.0.0.9:2377"]))
    assert "not part of a swarm" in await refusal_of(outside.machine.rejoin(["10.0.0.9:2377"]))
    assert "port 70000" in await refusal_of(dave.machine.rejoin(["10.0.0.9:70000"]))

    await dave.machine.rejoin(["10.0.0.250:2377"])  # Nobody is there: the managers that it knew are not forgotten.
    await hall.stop(dave)
    await hall.restart(dave)
    await trio.sleep(30)
    assert await ready_nodes(alice) == ["alice", "dave"]


async def test_the_backup_of_a_locked_swarm_makes_a_locked_manager(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall, options=LOCKED)
    key = await unlock_key_of(alice)
    image = await backup_of(alice)
    await hall.kill(alice)
    carol = hall.furnish("carol")
    restore_on(carol, image)
    assert not carol.disk.exists("state/certificates/kek")

    await hall.restart(carol)

    assert carol.machine.info().state is LocalState.LOCKED
    await carol.machine.unlock(key)
    assert await unlock_key_of(carol) == key


async def test_a_backup_under_the_unlock_key_needs_autolock(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall)

    assert "autolock is off; give a passphrase" in await refusal_of(alice.machine.backup(None))


async def test_a_backup_is_not_restored_over_a_node(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall)
    image = await backup_of(alice)
    await hall.stop(alice)

    with pytest.raises(ForeignState, match="belongs to a node in a swarm"):
        restore_on(alice, image)


async def test_a_worker_that_has_heard_of_the_new_epoch_does_not_follow_managers_of_the_old_one(
    autojump_clock: MockClock, hall: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob, carol, dave = await form(hall, managers=3, workers=1)
    await hall.kill(bob)
    await hall.kill(carol)
    await trio.sleep(5)
    await alice.machine.init(FORCED)
    await trio.sleep(30)
    participation = dave.machine._participation
    assert participation is not None
    epoch = epoch_of(alice)
    assert participation.facts.epoch == epoch
    await hall.kill(alice)  # So that nobody tells the others of it.

    await hall.restart(bob)
    await hall.restart(carol)
    await trio.sleep(1)
    participation.facts = replace(
        participation.facts,
        managers=tuple(ManagerAddress("", room.address) for room in (bob, carol)),
    )
    with caplog.at_level("INFO"):
        await trio.sleep(20)

    assert "the manager is of epoch 0, and the swarm goes on in 1-" in caplog.text
    assert participation.facts.epoch == epoch > 0


async def test_a_restore_that_is_interrupted_leaves_no_node_behind(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall)
    await alice.machine.control(CreateService(spec=service("web")))
    image = await backup_of(alice)
    restored = 0
    for calls in range(0, 400, 10):
        carol = hall.furnish("carol")
        file = carol.disk.open("backup", create=True)
        file.write(0, [image])
        carol.disk.cut_after(calls)
        with contextlib.suppress(PowerLost):
            restore_on(carol, image)
        carol.disk.lose_power(Random(calls))

        if read_facts(carol.disk, "state") is not None:
            restored += 1
            assert look_at(carol).end.commands > 1

    assert 0 < restored < 40, "some of them got to the end, and some did not"
