"""Entering a swarm is all or nothing, wherever it is interrupted."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from raftswarm.ca import MANAGER, WORKER
from raftswarm.engine.node_protocol import InitOptions
from raftswarm.node.entering import Entered, change_role, enter_by_init
from raftswarm.node.facts import read_facts
from raftswarm.node.identity_files import NODE_KEY, TASKS_KEY, read_credentials
from raftswarm.node.state_directory import StateDirectory
from raftswarm.objects.specs import EncryptionConfig, SwarmSpec
from raftswarm.storage.keys import KeyRing, new_unlock_key
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.sealing import key_id
from raftswarm.storage.segment import sealed_under
from raftswarm.wire.requests import IssuedCertificate
from raftswarm.world.simulated_disk import PowerLost

if TYPE_CHECKING:
    from tests.node.conftest import Hall, Room

LOCKED = SwarmSpec(encryption_config=EncryptionConfig(auto_lock_managers=True))


def enter(room: Room, spec: SwarmSpec | None = None) -> Entered:
    directory = StateDirectory("state", room.disk)
    options = InitOptions(spec=spec or SwarmSpec())
    return enter_by_init(room.world, directory, options, room.address, room.address, room.settings)


def assert_in_the_swarm(room: Room, cluster_id: str, unlock_key: str | None = None) -> None:
    """Everything is there that taking part needs, and fits together."""
    directory = StateDirectory("state", room.disk)
    facts = read_facts(room.disk, "state")
    assert facts is not None
    assert facts.cluster_id == cluster_id
    keys = KeyRing.open(room.disk, directory.certificates, room.world.entropy, unlock_key=unlock_key)
    assert keys.get(NODE_KEY) is not None
    assert keys.get(TASKS_KEY) is not None
    assert read_credentials(directory, keys).certificate.startswith("-----BEGIN CERTIFICATE-----")
    storage, recovered = MemberStorage.open(room.disk, directory.raft, keys, room.world.entropy)
    assert (recovered.cluster, recovered.member_id) == (cluster_id, facts.member_id)
    assert len(recovered.entries) >= 1
    storage.close()


async def test_whoever_enters_by_init_has_all_it_needs_after_a_power_loss(
    autojump_clock: MockClock, hall: Hall
) -> None:
    room = hall.furnish("alice")

    entered = enter(room)
    room.disk.lose_power(Random(1))

    assert_in_the_swarm(room, entered.facts.cluster_id)


async def test_with_autolock_the_keys_are_sealed_from_the_first_moment(autojump_clock: MockClock, hall: Hall) -> None:
    room = hall.furnish("alice")

    entered = enter(room, LOCKED)
    room.disk.lose_power(Random(1))

    assert entered.keys.locked_by is not None
    assert "kek" not in room.disk.list("state/certificates")
    assert_in_the_swarm(room, entered.facts.cluster_id, entered.keys.locked_by)


@pytest.mark.parametrize("spec", [SwarmSpec(), LOCKED], ids=["open", "autolock"])
async def test_wherever_the_power_fails_the_node_is_in_the_swarm_or_out_of_it(
    autojump_clock: MockClock, hall: Hall, spec: SwarmSpec
) -> None:
    outside = 0
    calls = 0
    while True:
        room = hall.furnish("alice")
        room.disk.cut_after(calls)
        try:
            entered = enter(room, spec)
        except PowerLost:
            entered = None
        room.disk.lose_power(Random(calls))

        facts = read_facts(room.disk, "state")
        if facts is None:
            assert entered is None, "what was answered is durable"
            outside += 1
            again = enter(room, spec)
            assert_in_the_swarm(room, again.facts.cluster_id, again.keys.locked_by)
        elif spec is LOCKED:
            assert "kek" not in room.disk.list("state/certificates")
        else:
            assert_in_the_swarm(room, facts.cluster_id)
        if entered is not None:
            break
        calls += 1
    assert outside > 20


async def test_entering_anew_forgets_the_swarm_before(autojump_clock: MockClock, hall: Hall) -> None:
    room = hall.furnish("alice")
    first = enter(room)

    second = enter(room)

    assert first.facts.cluster_id != second.facts.cluster_id
    assert_in_the_swarm(room, second.facts.cluster_id)


async def test_who_becomes_a_manager_of_a_locked_swarm_is_locked_before_its_log_begins(
    autojump_clock: MockClock, hall: Hall
) -> None:
    room = hall.furnish("alice")
    entered, directory = enter(room), StateDirectory("state", room.disk)
    open_key, unlock_key = entered.keys.data_key, new_unlock_key(room.world.entropy)

    def become(role: str, unlock_key: str = "") -> None:
        issued = IssuedCertificate(
            node_id="alice",
            cluster_id=entered.facts.cluster_id,
            role=role,
            certificate="",
            root_certificate="",
            unlock_key=unlock_key,
            cluster_version=7,
        )
        change_role(room.world, directory, entered.keys, entered.facts, issued, room.settings)

    become(WORKER)
    become(MANAGER, unlock_key)

    keys = KeyRing.open(room.disk, directory.certificates, room.world.entropy, unlock_key=unlock_key)
    assert keys.data_key != open_key
    for name in room.disk.list("state/raft/log"):
        assert sealed_under(room.disk.open(f"state/raft/log/{name}")) == key_id(keys.data_key)
    become(WORKER)
    assert KeyRing.open(room.disk, directory.certificates, room.world.entropy).locked_by is None
