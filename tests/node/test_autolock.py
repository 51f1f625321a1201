"""Autolock on machines (SWARM 11): the key changes while they run, are down, or restart all at once."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from raftswarm.engine.node_protocol import InitOptions, LocalState
from raftswarm.errors import InvalidKey
from raftswarm.manager.control.requests import CreateService, ListNodes, NodesAnswer, UpdateNode
from raftswarm.node.identity_files import CERTIFICATE_FILE, NODE_KEY, read_credentials
from raftswarm.node.machine import Machine
from raftswarm.node.state_directory import StateDirectory
from raftswarm.objects.specs import NodeSpec
from raftswarm.storage.keys import KeyRing, new_unlock_key
from raftswarm.storage.sealing import key_id
from raftswarm.world.chance import SeededEntropy
from raftswarm.world.secret_sources import SecretUnavailable
from raftswarm.world.simulated_disk import SimulatedDisk
from tests.node.swarms import (
    LOCKED,
    form,
    refusal_of,
    service,
    service_names,
    unlock_key_of,
    update_autolock,
)

if TYPE_CHECKING:
    from tests.node.conftest import Hall, Room

INVALID = "swarm could not be unlocked: invalid key provided"


def ring_of(room: Room, unlock_key: str | None) -> KeyRing:
    return KeyRing.open(room.disk, "state/certificates", SeededEntropy(Random(1)), unlock_key=unlock_key)


def sealed_under(disk: SimulatedDisk) -> set[bytes]:
    """Ids of the data keys that anything in ``raft/`` was sealed under."""
    found = set()
    for directory, place in (("state/raft/log", 136), ("state/raft/snapshots", 96)):
        for name in disk.list(directory):
            found.add(disk.open(f"{directory}/{name}").read(place, 8))
    return found


async def until_rotated(key: str | None, *rooms: Room) -> None:
    """Wait until each manager's ring is sealed under the key, and nothing is left under an earlier data key."""
    with trio.fail_after(10):
        for room in rooms:
            while not is_rotated(room, key):  # noqa: ASYNC110 - on a mocked clock
                await trio.sleep(0.05)


def is_rotated(room: Room, key: str | None) -> bool:
    participation = room.machine._participation
    assert participation is not None
    keys = participation.keys
    return keys.locked_by == key and sealed_under(room.disk) == {key_id(keys.data_key)}


async def test_autolock_is_turned_on_and_off_while_the_swarm_runs(autojump_clock: MockClock, hall: Hall) -> None:
    rooms = await form(hall, managers=3)
    open_keys = [ring_of(room, None).data_key for room in rooms]
    assert await unlock_key_of(rooms[1]) == ""

    key = await update_autolock(rooms[2], on=True)
    await until_rotated(key, *rooms)

    for room, before in zip(rooms, open_keys, strict=True):
        assert not room.disk.exists("state/certificates/kek")
        assert key_id(before) not in sealed_under(room.disk)
        assert ring_of(room, key).earlier_data_keys == ()
    assert await update_autolock(rooms[0], on=False) == ""
    await until_rotated(None, *rooms)
    for room in rooms:
        assert room.disk.exists("state/certificates/kek")


async def test_a_rotated_key_opens_what_the_old_one_does_not_open_any_more(
    autojump_clock: MockClock, hall: Hall
) -> None:
    [alice] = await form(hall, options=LOCKED)
    old = await unlock_key_of(alice)
    stolen = alice.disk.copy()  # Somebody has the old key and a copy of the disk of that time.

    new = await update_autolock(alice, on=True, rotate=True)
    await alice.machine.control(CreateService(spec=service("secret")))
    await until_rotated(new, alice)

    stolen_key = KeyRing.open(stolen, "state/certificates", SeededEntropy(Random(1)), unlock_key=old).data_key
    assert sealed_under(alice.disk).isdisjoint({key_id(stolen_key)})
    with pytest.raises(InvalidKey):
        ring_of(alice, old)
    await hall.stop(alice)
    await hall.restart(alice)
    assert await refusal_of(alice.machine.unlock(old)) == INVALID
    await alice.machine.unlock(new)
    assert await service_names(alice) == ["secret"]


async def test_a_restart_does_not_go_back_to_what_its_log_says_first(autojump_clock: MockClock, hall: Hall) -> None:
    """The log begins with a swarm that was not locked: whoever reads it again must not unseal the keys meanwhile."""
    [alice] = await form(hall)
    key = await update_autolock(alice, on=True)
    await until_rotated(key, alice)
    await hall.kill(alice)
    await hall.restart(alice)
    await alice.machine.unlock(key)

    for _ in range(200):
        assert not alice.disk.exists("state/certificates/kek")
        await trio.sleep(0.02)
    assert await unlock_key_of(alice) == key


async def test_a_manager_that_was_down_needs_the_key_of_that_time_and_then_follows(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, bob, carol = await form(hall, managers=3, options=LOCKED)
    old = await unlock_key_of(alice)
    await hall.stop(carol)
    new = await update_autolock(bob, on=True, rotate=True)
    await until_rotated(new, alice, bob)
    await hall.restart(carol)
    assert await refusal_of(carol.machine.unlock(new)) == INVALID

    await carol.machine.unlock(old)

    await until_rotated(new, carol)
    await hall.stop(carol)
    await hall.restart(carol)
    assert await refusal_of(carol.machine.unlock(old)) == INVALID
    await carol.machine.unlock(new)
    assert await unlock_key_of(carol) == new


async def test_all_managers_restart_at_once_and_the_swarm_lives_when_a_majority_is_unlocked(
    autojump_clock: MockClock, hall: Hall
) -> None:
    rooms = await form(hall, managers=3, options=LOCKED)
    key = await unlock_key_of(rooms[0])
    await rooms[0].machine.control(CreateService(spec=service("web")))
    for room in rooms:
        await hall.kill(room)
    for room in rooms:
        await hall.restart(room)
    assert [room.machine.info().state for room in rooms] == [LocalState.LOCKED] * 3

    await rooms[0].machine.unlock(key)
    assert "does not have a leader" in await refusal_of(rooms[0].machine.control(CreateService(spec=service("no"))))
    await rooms[1].machine.unlock(key)

    assert await service_names(rooms[1]) == ["web"]
    await rooms[2].machine.unlock(key)
    assert await service_names(rooms[2]) == ["web"]


async def test_a_manager_that_joins_a_locked_swarm_is_locked_from_the_beginning(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, bob = await form(hall, managers=2, options=LOCKED)
    key = await unlock_key_of(alice)

    assert not bob.disk.exists("state/certificates/kek")
    await hall.stop(bob)
    await hall.restart(bob)

    assert bob.machine.info().state is LocalState.LOCKED
    await bob.machine.unlock(key)


async def test_a_worker_is_never_locked(autojump_clock: MockClock, hall: Hall) -> None:
    _, dave = await form(hall, workers=1, options=LOCKED)
    await hall.stop(dave)
    await hall.restart(dave)

    assert dave.machine.info().state is LocalState.ACTIVE


async def test_the_key_of_another_swarm_opens_nothing(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall, options=LOCKED)
    dave = await hall.start("dave")
    await dave.machine.init(LOCKED)
    others = await unlock_key_of(dave)
    await hall.stop(alice)
    await hall.restart(alice)

    assert await refusal_of(alice.machine.unlock(others)) == INVALID
    assert alice.machine.info().state is LocalState.LOCKED


# Keys that nobody has to type.


@attrs.define
class Source:
    """A place where a key is, or not."""

    secret: str = ""
    asked: int = 0

    async def fetch(self, question: str, /) -> str:  # noqa: ARG002 - the protocol's
        await trio.lowlevel.checkpoint()
        self.asked += 1
        if not self.secret:
            raise SecretUnavailable("the safe is shut")
        return self.secret


async def test_a_locked_manager_unlocks_itself_with_the_first_key_that_fits(
    autojump_clock: MockClock, hall: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    [alice] = await form(hall, options=LOCKED)
    key = await unlock_key_of(alice)
    await hall.stop(alice)
    shut, wrong, right, unneeded = Source(), Source(new_unlock_key(SeededEntropy(Random(2)))), Source(key), Source(key)
    sources = [("safe", shut), ("file", wrong), ("command", right), ("prompt", unneeded)]

    with caplog.at_level("INFO"):
        await hall.restart(alice, unlock_sources=sources)
        await trio.sleep(3)

    assert alice.machine.info().state is LocalState.ACTIVE
    assert [source.asked for _, source in sources] == [1, 1, 1, 0]
    assert "the unlock key from safe does not help: the safe is shut" in caplog.text
    assert "SWMKEY" not in caplog.text


async def test_when_no_source_helps_the_manager_waits_for_a_person(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall, options=LOCKED)
    key = await unlock_key_of(alice)
    await hall.stop(alice)
    await hall.restart(alice, unlock_sources=[("file", Source("SWMKEY-1-nonsense"))])
    await trio.sleep(3)
    assert alice.machine.info().state is LocalState.LOCKED

    await alice.machine.unlock(key)

    assert alice.machine.info().state is LocalState.ACTIVE


async def test_who_is_not_locked_asks_nobody(autojump_clock: MockClock, hall: Hall) -> None:
    source = Source("x")
    room = hall.furnish("alice")
    room.machine = Machine(room.settings, room.world, [("file", source)])
    await hall.nursery.start(hall._run, room)
    await room.machine.init(InitOptions())

    assert source.asked == 0


# What lay open before.


def certificate_of(room: Room) -> str:
    return StateDirectory("state", room.disk).read_public(CERTIFICATE_FILE)


async def until_renewed(room: Room, before: str) -> None:
    with trio.fail_after(20):
        while certificate_of(room) == before or NODE_KEY in keys_of(room).exposed:  # noqa: ASYNC110 - a mocked clock
            await trio.sleep(0.05)


def keys_of(room: Room) -> KeyRing:
    participation = room.machine._participation
    assert participation is not None
    return participation.keys


async def test_a_key_that_lay_beside_its_key_until_then_is_replaced(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob = await form(hall, managers=2)
    before = {room.address: (certificate_of(room), ring_of(room, None).get(NODE_KEY)) for room in (alice, bob)}

    key = await update_autolock(alice, on=True)

    for room in (alice, bob):
        certificate, private = before[room.address]
        await until_renewed(room, certificate)
        ring = ring_of(room, key)
        assert ring.get(NODE_KEY) not in {private, None}
        assert read_credentials(StateDirectory("state", room.disk), ring).certificate == certificate_of(room)
    await until_rotated(key, alice, bob)


async def test_a_crash_between_the_lock_and_the_new_certificate_only_puts_it_off(
    autojump_clock: MockClock, hall: Hall
) -> None:
    [alice] = await form(hall)
    before = certificate_of(alice)
    await hall.stop(alice)
    key = new_unlock_key(SeededEntropy(Random(3)))
    ring_of(alice, None).lock_with(key, 10**6)
    assert NODE_KEY in ring_of(alice, key).exposed

    await hall.restart(alice)
    await alice.machine.unlock(key)

    await until_renewed(alice, before)


async def test_keys_have_one_writer(autojump_clock: MockClock, hall: Hall) -> None:
    """A renewal that is stored while the lock changes: neither may undo the other. The disk's thread does both."""
    [alice] = await form(hall)
    writers = set[str]()
    keys = keys_of(alice)
    write, submit = keys._write, alice.world.runner.submit
    running = False

    def submit_marked(job: Callable[[], object], done: Callable[[BaseException | None], None]) -> None:
        def marked() -> object:
            nonlocal running
            running = True
            try:
                return job()
            finally:
                running = False

        submit(marked, done)

    def write_noted(values: dict[str, bytes]) -> None:
        writers.add("the disk's runner" if running else "somebody else")
        write(values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alice.world.runner, "submit", submit_marked)
        patch.setattr(keys, "_write", write_noted)
        before = certificate_of(alice)
        await update_autolock(alice, on=True)
        await until_renewed(alice, before)

    assert writers == {"the disk's runner"}


# Roles.


async def set_role(asked: Room, room: Room, role: str) -> None:
    answer = await asked.machine.control(ListNodes())
    assert isinstance(answer, NodesAnswer)
    [node] = [view.node for view in answer.nodes if view.node.description.hostname == room.settings.hostname]
    await asked.machine.control(UpdateNode(reference=node.id, version=node.version, spec=NodeSpec(role=role)))
    with trio.fail_after(30):
        while room.machine.info().is_manager != (role == "manager"):  # noqa: ASYNC110 - on a mocked clock
            await trio.sleep(0.1)


async def test_a_manager_that_becomes_a_worker_is_not_locked_any_more(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob = await form(hall, managers=2, options=LOCKED)
    await trio.sleep(2)

    await set_role(alice, bob, "worker")
    await hall.stop(bob)
    await hall.restart(bob)

    assert bob.machine.info().state is LocalState.ACTIVE


async def test_a_worker_that_becomes_a_manager_is_locked_again_and_again(autojump_clock: MockClock, hall: Hall) -> None:
    alice, dave = await form(hall, workers=1, options=LOCKED)
    key = await unlock_key_of(alice)
    for _ in range(2):
        await set_role(alice, dave, "manager")
        assert not dave.disk.exists("state/certificates/kek"), "before it has anything to hide"
        await hall.stop(dave)
        await hall.restart(dave)
        assert dave.machine.info().state is LocalState.LOCKED
        await dave.machine.unlock(key)
        await trio.sleep(3)
        await set_role(alice, dave, "worker")
        assert dave.disk.exists("state/certificates/kek")
