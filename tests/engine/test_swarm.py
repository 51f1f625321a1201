"""Swarm endpoints: what reaches the node, and what leaving a swarm costs (SWARM 15)."""

from __future__ import annotations

import base64
import json

import pytest
import trio

from raftswarm.engine.node_protocol import InitOptions, JoinOptions, LocalState
from raftswarm.errors import InvalidKey
from raftswarm.http.messages import Response, Streamed
from raftswarm.manager.control import requests as control
from raftswarm.objects.records import Node
from tests.fake_engine import Engine, FakeNode

KEY = "SWMKEY-1-" + "A" * 43
FROM_CLI = {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "", "DataPathPort": 0, "Spec": {"Labels": None}}


async def test_init_with_nothing_said_leaves_addresses_to_the_daemon(node: FakeNode, engine: Engine) -> None:
    node.become(LocalState.INACTIVE)

    response = await engine.call("POST", "/v1.47/swarm/init", FROM_CLI)

    assert (response.status, response.body) == (200, b'"wpb4jpn5onzypdwbuh2r7xayd"\n')
    assert node.options == [InitOptions()]


async def test_init_passes_on_what_was_said(node: FakeNode, engine: Engine) -> None:
    node.become(LocalState.INACTIVE)

    body = FROM_CLI | {"AdvertiseAddr": "127.0.0.2", "AutoLockManagers": True, "Availability": "Drain"}
    await engine.call("POST", "/swarm/init", body | {"DefaultAddrPool": ["10.9.0.0/16"], "SubnetSize": 26})

    [options] = node.options
    assert isinstance(options, InitOptions)
    assert (options.advertise_address, options.availability) == ("127.0.0.2", "drain")
    assert options.spec.encryption_config.auto_lock_managers
    assert (options.default_address_pool, options.subnet_size) == (("10.9.0.0/16",), 26)


async def test_join_passes_on_token_and_addresses(node: FakeNode, engine: Engine) -> None:
    node.become(LocalState.INACTIVE)

    body = {"ListenAddr": "0.0.0.0:2377", "RemoteAddrs": ["127.0.0.1:2377"], "JoinToken": "SWMTKN-1-a-b"}
    response = await engine.call("POST", "/swarm/join", body)

    assert (response.status, response.body) == (200, b"")
    assert node.options == [JoinOptions(remote_addresses=("127.0.0.1:2377",), join_token="SWMTKN-1-a-b")]


@pytest.mark.parametrize("state", [LocalState.ACTIVE, LocalState.PENDING, LocalState.ERROR, LocalState.LOCKED])
@pytest.mark.parametrize("path", ["init", "join"])
async def test_a_node_in_a_swarm_enters_no_other(path: str, state: LocalState, node: FakeNode, engine: Engine) -> None:
    node.become(state)

    status, message = await engine.refused("POST", f"/swarm/{path}", FROM_CLI | {"RemoteAddrs": ["127.0.0.1:2377"]})

    assert status == 503
    assert message.startswith("This node is already part of a swarm.")
    assert node.options == []


async def test_a_new_cluster_can_be_forced_from_within(node: FakeNode, engine: Engine) -> None:
    assert (await engine.call("POST", "/swarm/init", FROM_CLI | {"ForceNewCluster": True})).status == 200


def with_managers(node: FakeNode, reachable: int, unreachable: int) -> None:
    for number in range(reachable + unreachable):
        status = control.ManagerStatus(leader=number == 0, reachable=number < reachable, address="")
        node.nodes.append(control.NodeView(node=Node(id=f"n{number}"), manager_status=status))


@pytest.mark.parametrize(
    ("reachable", "unreachable", "words"),
    [
        (1, 0, "Removing the last manager erases all current state of the swarm. Use `--force`"),
        (2, 0, "Removing this node leaves 1 managers out of 2. Without a Raft quorum your swarm will be inaccessible."),
        (2, 1, "Removing this node leaves 1 managers out of 3. Without a Raft quorum"),
        (3, 0, "The only way to restore a swarm that has lost consensus"),
    ],
)
async def test_a_manager_leaves_only_by_force_and_is_told_what_it_costs(
    reachable: int, unreachable: int, words: str, node: FakeNode, engine: Engine
) -> None:
    with_managers(node, reachable, unreachable)

    status, message = await engine.refused("POST", "/swarm/leave")

    assert status == 503
    assert message.startswith(
        f"You are attempting to leave the swarm on a node that is participating as a manager. {words}"
    )
    assert node.left == []
    assert (await engine.call("POST", "/swarm/leave?force=1")).status == 200
    assert node.left == [True]


async def test_a_worker_leaves_freely(node: FakeNode, engine: Engine) -> None:
    node.become(LocalState.ACTIVE, is_manager=False)

    assert (await engine.call("POST", "/swarm/leave")).status == 200
    assert node.left == [False]


async def test_update_passes_on_spec_version_and_rotations(node: FakeNode, engine: Engine) -> None:
    target = "/swarm/update?version=7&rotateWorkerToken=true&rotateManagerToken=false&rotateManagerUnlockKey=1"

    await engine.call("POST", target, {"EncryptionConfig": {"AutoLockManagers": True}})

    [request] = node.asked
    assert isinstance(request, control.UpdateCluster)
    assert request.version == 7
    assert request.spec.encryption_config.auto_lock_managers
    assert (request.rotate_worker_token, request.rotate_manager_token, request.rotate_unlock_key) == (True, False, True)


async def test_a_locked_manager_is_unlocked_by_its_key(node: FakeNode, engine: Engine) -> None:
    node.become(LocalState.LOCKED, is_manager=True)

    assert (await engine.call("POST", "/swarm/unlock", {"UnlockKey": KEY})).status == 200
    assert node.unlocked_with == [KEY]


async def test_a_key_that_does_not_fit_is_refused(node: FakeNode, engine: Engine) -> None:
    node.become(LocalState.LOCKED, is_manager=True)
    node.refusal = InvalidKey("the unlock key does not fit")

    assert await engine.refused("POST", "/swarm/unlock", {"UnlockKey": KEY}) == (
        401,
        "swarm could not be unlocked: invalid key provided",
    )
    assert await engine.refused("POST", "/swarm/unlock", {"UnlockKey": "nope"}) == (400, "invalid key string")


async def test_a_manager_that_is_not_locked_cannot_be_unlocked(node: FakeNode, engine: Engine) -> None:
    assert await engine.refused("POST", "/swarm/unlock", {"UnlockKey": KEY}) == (409, "swarm is not locked")


async def test_the_unlock_key_is_told_to_whoever_asks_a_manager(node: FakeNode, engine: Engine) -> None:
    node.unlock_key = KEY

    response = await engine.call("GET", "/swarm/unlockkey")

    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {"UnlockKey": KEY}


async def body_of(response: Response) -> bytes:
    assert isinstance(response.body, Streamed)
    pieces: list[bytes] = []

    async def send(piece: bytes) -> None:
        await trio.lowlevel.checkpoint()
        pieces.append(piece)

    await response.body.write(send)
    return b"".join(pieces)


async def test_a_backup_is_streamed_sealed_under_the_key_that_was_sent_or_the_unlock_key(engine: Engine) -> None:
    key = {"Key": base64.b64encode(b"k" * 32).decode(), "Salt": base64.b64encode(b"s" * 16).decode()}

    sent = await engine.call("POST", "/swarm/snapshot", key)
    own = await engine.call("POST", "/swarm/snapshot", {})

    assert await body_of(sent) == b"sealed under " + b"k" * 32
    assert await body_of(own) == b"sealed under the unlock key"


@pytest.mark.parametrize("key", [{"Key": "AAAA", "Salt": ""}, {"Key": "?", "Salt": "?"}])
async def test_a_backup_under_something_that_is_no_key_is_refused(engine: Engine, key: dict[str, str]) -> None:
    status, message = await engine.refused("POST", "/swarm/snapshot", key)

    assert (status, message) == (400, "a backup's key has 32 bytes and its salt 16, both in base64")


async def test_a_worker_makes_no_backups(node: FakeNode, engine: Engine) -> None:
    node.become(LocalState.ACTIVE, is_manager=False)

    assert (await engine.refused("POST", "/swarm/snapshot", {}))[0] == 503


async def test_a_worker_is_told_where_the_managers_are_now(node: FakeNode, engine: Engine) -> None:
    node.become(LocalState.ACTIVE)

    response = await engine.call("POST", "/swarm/rejoin", {"RemoteAddrs": ["10.0.0.9:2377"]})

    assert (response.status, node.rejoined) == (200, [["10.0.0.9:2377"]])
    status, message = await engine.refused("POST", "/swarm/rejoin", {})
    assert (status, message) == (400, "at least 1 RemoteAddr is required to rejoin")


@pytest.mark.parametrize(
    ("asked", "passed_on"), [("", None), ("&unlockByPeers=true", True), ("&unlockByPeers=false", False)]
)
async def test_whether_managers_unlock_each_other_is_passed_on_only_if_it_was_said(
    asked: str, passed_on: bool | None, node: FakeNode, engine: Engine
) -> None:
    await engine.call("POST", f"/swarm/update?version=7{asked}", FROM_CLI["Spec"])

    [request] = node.asked
    assert isinstance(request, control.UpdateCluster)
    assert request.unlock_by_peers is passed_on
