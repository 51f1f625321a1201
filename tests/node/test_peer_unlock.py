"""Managers that give each other the unlock key: only by policy, only to whom it is meant for, and it leaves a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from raftswarm.ca.tokens import root_digest
from raftswarm.engine.node_protocol import LocalState
from raftswarm.errors import CorruptLog, RequestRefused
from raftswarm.manager.control.requests import ListNodes, NodesAnswer, UpdateCluster, UpdateNode
from raftswarm.node.identity_files import ROOT_FILE
from raftswarm.node.peer_unlock import encode_credential, read_credential
from raftswarm.node.state_directory import StateDirectory
from raftswarm.objects.peer_unlock import digest_of
from raftswarm.objects.records import Node, PeerUnlock
from raftswarm.objects.specs import EncryptionConfig, NodeSpec, SwarmSpec
from raftswarm.transport.calls import use_caller
from raftswarm.wire.requests import AnyRequest, AskUnlockKey, GetAssignments, IssueCertificate, UnlockKeyGiven
from tests.node.swarms import LOCKED, cluster_of, form, refusal_of, service_names, unlock_key_of, update_autolock

if TYPE_CHECKING:
    from tests.node.conftest import Hall, Room

FILE = "state/certificates/peer-credential"


def directory_of(room: Room) -> StateDirectory:
    return StateDirectory("state", room.disk)


def credential_of(room: Room) -> bytes:
    credential = read_credential(directory_of(room))
    assert credential is not None
    return credential


async def node_of(asked: Room, name: str) -> Node:
    answer = await asked.machine.control(ListNodes())
    assert isinstance(answer, NodesAnswer)
    [node] = [view.node for view in answer.nodes if view.node.description.hostname == name]
    return node


async def say_by_peers(room: Room, *, allowed: bool) -> None:
    cluster = (await cluster_of(room)).cluster
    spec = SwarmSpec(encryption_config=EncryptionConfig(auto_lock_managers=True))
    await room.machine.control(UpdateCluster(version=cluster.version, spec=spec, unlock_by_peers=allowed))


async def until_settled(asked: Room, *rooms: Room, allowed: bool = True) -> None:
    """Wait until each manager's credential is the one that the leader knows; or until there are none."""
    with trio.fail_after(30):
        for room in rooms:
            while not await is_settled(asked, room, allowed=allowed):  # noqa: ASYNC110 - on a mocked clock
                await trio.sleep(0.1)


async def is_settled(asked: Room, room: Room, *, allowed: bool) -> bool:
    known = (await node_of(asked, room.settings.hostname)).peer_unlock or PeerUnlock()
    try:
        credential = read_credential(directory_of(room))
    except CorruptLog:
        return False
    if not allowed:
        return credential is None and not known.digest
    return credential is not None and known.digest == digest_of(credential) and not known.is_used


async def form_allowed(hall: Hall, managers: int = 3, workers: int = 0) -> list[Room]:
    rooms = await form(hall, managers=managers, workers=workers, options=LOCKED)
    await trio.sleep(2)
    await say_by_peers(rooms[0], allowed=True)
    await until_settled(rooms[0], *rooms[:managers])
    return rooms


async def until_unlocked(room: Room) -> None:
    with trio.fail_after(60):
        while room.machine.info().state is not LocalState.ACTIVE:  # noqa: ASYNC110 - on a mocked clock
            await trio.sleep(0.1)


async def ask(hall: Hall, whom: Room, host: str, request: AnyRequest) -> object:
    """Ask as somebody without a certificate, from that address."""
    stranger = hall.cable.plug(host, whom.world.wall_clock)
    link, _ = await stranger.bootstrap_connect(whom.address, root_digest(directory_of(whom).read_public(ROOT_FILE)))
    async with use_caller(link) as caller:
        return await caller.call(request)


# By policy.


async def test_nobody_has_a_credential_unless_the_swarm_says_so(autojump_clock: MockClock, hall: Hall) -> None:
    rooms = await form(hall, managers=2, options=LOCKED)
    await trio.sleep(30)

    assert not any(room.disk.exists(FILE) for room in rooms)
    await hall.stop(rooms[1])
    await hall.restart(rooms[1])
    await trio.sleep(60)
    assert rooms[1].machine.info().state is LocalState.LOCKED


async def test_a_restarted_manager_unlocks_itself_and_gets_another_credential(
    autojump_clock: MockClock, hall: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob, carol = await form_allowed(hall)
    used, key = credential_of(carol), await unlock_key_of(alice)
    await hall.stop(carol)

    with caplog.at_level("INFO"):
        await hall.restart(carol)
        await until_unlocked(carol)

    assert await unlock_key_of(carol) == key
    node = carol.machine.info().node_id
    assert f"unlock key given to node {node} at {carol.address.partition(':')[0]}" in caplog.text
    assert "unlocked with the key from peers" in caplog.text
    assert key not in caplog.text
    assert used.hex() not in caplog.text
    await until_settled(bob, carol)
    known = (await node_of(bob, "carol")).peer_unlock
    assert known is not None
    assert known.given_at > 0
    assert credential_of(carol) != used


async def test_a_leader_that_restarts_is_unlocked_by_its_successor(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob, _ = await form_allowed(hall)
    await hall.kill(alice)
    await hall.restart(alice)

    await until_unlocked(alice)

    assert await service_names(alice) == []
    assert await unlock_key_of(bob)


async def test_when_all_restart_at_once_there_is_nobody_to_ask_until_a_majority_is_unlocked(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, bob, carol = rooms = await form_allowed(hall)
    key = await unlock_key_of(alice)
    for room in rooms:
        await hall.kill(room)
    for room in rooms:
        await hall.restart(room)
    await trio.sleep(120)
    assert [room.machine.info().state for room in rooms] == [LocalState.LOCKED] * 3

    for room in (alice, bob):
        await room.machine.unlock(key)

    await until_unlocked(carol)


async def test_the_key_of_a_swarm_that_is_not_locked_cannot_be_asked_for(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall)
    cluster = (await cluster_of(alice)).cluster

    refusal = await refusal_of(
        alice.machine.control(UpdateCluster(version=cluster.version, spec=SwarmSpec(), unlock_by_peers=True))
    )

    assert refusal == "managers can give each other the unlock key only while autolock is on"


# Revoked.


async def test_turned_off_all_credentials_are_void_and_removed(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob, carol = await form_allowed(hall)
    stolen = credential_of(carol)
    node = carol.machine.info().node_id

    await say_by_peers(bob, allowed=False)

    request = AskUnlockKey(node_id=node, credential=stolen)
    refusal = await refusal_of(ask(hall, alice, carol.address.partition(":")[0], request))
    assert refusal.startswith("this manager is not given the unlock key")
    await until_settled(alice, alice, bob, carol, allowed=False)


async def test_a_new_unlock_key_brings_new_credentials(autojump_clock: MockClock, hall: Hall) -> None:
    rooms = await form_allowed(hall)
    before = [credential_of(room) for room in rooms]

    await update_autolock(rooms[0], on=True, rotate=True)
    await until_settled(rooms[0], *rooms)

    assert not set(before) & {credential_of(room) for room in rooms}
    await hall.stop(rooms[2])
    await hall.restart(rooms[2])
    await until_unlocked(rooms[2])


async def test_who_was_down_when_the_key_changed_needs_a_person(autojump_clock: MockClock, hall: Hall) -> None:
    alice, _, carol = await form_allowed(hall)
    old = await unlock_key_of(alice)
    await hall.stop(carol)
    await update_autolock(alice, on=True, rotate=True)

    await hall.restart(carol)
    await trio.sleep(120)
    assert carol.machine.info().state is LocalState.LOCKED

    await carol.machine.unlock(old)
    await until_settled(alice, carol)


async def test_a_manager_that_was_demoted_while_it_was_away_is_given_nothing(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, _, carol = await form_allowed(hall)
    credential, node = credential_of(carol), await node_of(alice, "carol")
    await hall.kill(carol)
    await trio.sleep(30)

    await alice.machine.control(
        UpdateNode(reference=node.id, version=(await node_of(alice, "carol")).version, spec=NodeSpec())
    )

    request = AskUnlockKey(node_id=node.id, credential=credential)
    assert "not given" in await refusal_of(ask(hall, alice, carol.address.partition(":")[0], request))
    await hall.restart(carol)
    await trio.sleep(120)
    assert carol.machine.info().state is LocalState.LOCKED


# Good for nothing else, for nobody else.


async def test_the_credential_opens_only_for_its_node_at_its_address(
    autojump_clock: MockClock, hall: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob, carol = await form_allowed(hall)
    credential, node = credential_of(carol), carol.machine.info().node_id
    host = carol.address.partition(":")[0]
    right = AskUnlockKey(node_id=node, credential=credential)
    wrong = AskUnlockKey(node_id=node, credential=bytes(32))
    others = AskUnlockKey(node_id=bob.machine.info().node_id, credential=credential)
    nobodys = AskUnlockKey(node_id="nobody", credential=credential)

    for where, request, reason in (
        ("10.9.9.9", right, f"its credential is for {host}"),
        (host, wrong, "not the one that it was given last"),
        (host, others, "its credential is"),
        (host, nobodys, "there is no such node"),
    ):
        caplog.clear()
        with pytest.raises(RequestRefused, match="this manager is not given the unlock key") as refusal:
            await ask(hall, alice, where, request)
        assert refusal.value.code == "PermissionDenied"
        assert reason in caplog.text
        assert credential.hex() not in caplog.text
    given = await ask(hall, alice, host, right)
    assert isinstance(given, UnlockKeyGiven)
    assert given.unlock_key == await unlock_key_of(alice)


async def test_who_asks_too_often_waits_and_keeps_nobody_else_from_asking(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, _, carol = await form_allowed(hall)
    node, host = carol.machine.info().node_id, carol.address.partition(":")[0]
    guess = AskUnlockKey(node_id=node, credential=bytes(32))
    codes = []
    for _ in range(7):
        with pytest.raises(RequestRefused) as refusal:
            await ask(hall, alice, "10.9.9.9", guess)
        codes.append(refusal.value.code)

    assert codes == ["PermissionDenied"] * 5 + ["ResourceExhausted"] * 2
    right = AskUnlockKey(node_id=node, credential=credential_of(carol))
    assert isinstance(await ask(hall, alice, host, right), UnlockKeyGiven)
    await trio.sleep(61)
    with pytest.raises(RequestRefused, match="not given"):
        await ask(hall, alice, "10.9.9.9", guess)


async def test_whoever_has_it_is_served_nothing_else(autojump_clock: MockClock, hall: Hall) -> None:
    """It is a secret, not a certificate: on a link it makes nobody of its owner."""
    alice, _, carol = await form_allowed(hall)
    host = carol.address.partition(":")[0]

    for request in (IssueCertificate(csr="x", token=credential_of(carol).hex()), GetAssignments(session_id="x")):
        with pytest.raises(RequestRefused):
            await ask(hall, alice, host, request)


async def test_a_worker_has_none_and_a_manager_that_becomes_one_loses_it(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob, dave = await form_allowed(hall, managers=2, workers=1)
    assert not dave.disk.exists(FILE)
    node = await node_of(alice, "bob")

    await alice.machine.control(UpdateNode(reference=node.id, version=node.version, spec=NodeSpec()))
    with trio.fail_after(30):
        while bob.machine.info().is_manager:  # noqa: ASYNC110 - on a mocked clock
            await trio.sleep(0.1)

    assert not bob.disk.exists(FILE)
    assert not ((await node_of(alice, "bob")).peer_unlock or PeerUnlock()).digest


# On the disk.


def test_the_file_is_as_documented() -> None:
    image = encode_credential(bytes(range(32)))

    assert image[:10] == b"RSWMASK\n\x00\x01"
    assert image[10:42] == bytes(range(32))
    assert len(image) == 46


async def test_a_damaged_file_is_said_and_replaced(autojump_clock: MockClock, hall: Hall) -> None:
    alice, _, carol = await form_allowed(hall)
    key = await unlock_key_of(alice)
    await hall.stop(carol)
    file = carol.disk.open(FILE)
    file.write(20, [b"\xff"])
    with pytest.raises(CorruptLog, match="peer-credential is damaged"):
        read_credential(directory_of(carol))

    await hall.restart(carol)
    await trio.sleep(30)
    assert carol.machine.info().state is LocalState.LOCKED

    await carol.machine.unlock(key)
    await until_settled(alice, carol)
