"""Key and certificate are two files, and always fit each other."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from raftswarm.ca import (
    MANAGER,
    Credentials,
    Identity,
    create_root,
    issue_certificate,
    key_to_pem,
    make_signing_request,
    new_key,
)
from raftswarm.engine.node_protocol import InitOptions
from raftswarm.errors import CorruptLog
from raftswarm.node.entering import enter_by_init
from raftswarm.node.identity_files import CERTIFICATE_FILE, ROOT_FILE, read_credentials, store_renewed
from raftswarm.node.state_directory import StateDirectory
from raftswarm.storage.keys import KeyRing
from raftswarm.world.simulated_disk import PowerLost

if TYPE_CHECKING:
    from tests.node.conftest import Hall, Room


def test_names_are_what_documentation_says() -> None:
    assert (CERTIFICATE_FILE, ROOT_FILE) == ("swarm-node.crt", "swarm-root-ca.crt")


@pytest.fixture
def room(hall: Hall) -> Room:
    room = hall.furnish("alice")
    enter_by_init(
        room.world, StateDirectory("state", room.disk), InitOptions(), room.address, room.address, room.settings
    )
    return room


def open_keys(room: Room) -> KeyRing:
    return KeyRing.open(room.disk, "state/certificates", room.world.entropy)


def renewed(room: Room, number: int) -> Credentials:
    """Another key with a certificate; who signed it does not matter here."""
    entropy = room.world.entropy
    key = new_key(entropy.token_bytes(48))
    root_key = new_key(bytes([number]) * 48)
    now = room.world.wall_clock.now_ns()
    root = create_root(root_key, now_ns=now, serial_bytes=bytes([1]) * 16)
    certificate = issue_certificate(
        make_signing_request(key),
        Identity("node", MANAGER, "cluster"),
        root=root,
        root_key=key_to_pem(root_key),
        now_ns=now,
        serial_bytes=entropy.token_bytes(16),
    )
    return Credentials(certificate=certificate, key=key_to_pem(key), roots=root)


async def test_what_was_stored_is_read(room: Room) -> None:
    directory = StateDirectory("state", room.disk)
    credentials = renewed(room, 1)

    store_renewed(directory, open_keys(room), credentials)
    room.disk.lose_power(Random(1))

    assert read_credentials(directory, open_keys(room)) == credentials


async def test_wherever_the_power_fails_the_key_fits_the_certificate(room: Room) -> None:
    directory = StateDirectory("state", room.disk)
    first, second = renewed(room, 1), renewed(room, 2)
    store_renewed(directory, open_keys(room), first)
    seen: set[str] = set()
    calls = 0
    while True:
        room.disk.cut_after(calls)
        try:
            store_renewed(directory, open_keys(room), second)
            is_done = True
        except PowerLost:
            is_done = False
        room.disk.lose_power(Random(calls))
        found = read_credentials(directory, open_keys(room))
        seen.add(found.certificate)
        assert (found.certificate, found.key) in {
            (first.certificate, first.key),
            (second.certificate, second.key),
        }
        if is_done:
            break
        calls += 1
        store_renewed(directory, open_keys(room), first)

    assert seen == {first.certificate, second.certificate}


async def test_a_certificate_without_its_key_is_refused_with_a_way_out(room: Room) -> None:
    directory = StateDirectory("state", room.disk)
    directory.write_public(CERTIFICATE_FILE, renewed(room, 3).certificate)

    with pytest.raises(CorruptLog, match=r"no key of this node fits .*swarm-node.crt: restore that file, or remove"):
        read_credentials(directory, open_keys(room))
