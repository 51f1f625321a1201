"""The swarm's settings, tokens and keys (SWARM 10.2, 11, 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from raftswarm.errors import RequestRefused
from raftswarm.manager.control.cluster import FORGET_REMOVED_AFTER_NS, HOUR_NS
from raftswarm.manager.control.handler import ControlHandler
from raftswarm.manager.control.requests import (
    Accepted,
    ClusterAnswer,
    GetCluster,
    GetUnlockKey,
    UnlockKeyAnswer,
    UpdateCluster,
)
from raftswarm.objects.records import Cluster, Node, PeerUnlock
from raftswarm.objects.specs import CAConfig, DispatcherConfig, EncryptionConfig, RaftConfig, SwarmSpec
from raftswarm.store.store import Store

AUTOLOCK = SwarmSpec(encryption_config=EncryptionConfig(auto_lock_managers=True))


async def update(handler: ControlHandler, store: Store, spec: SwarmSpec | None = None, **rotations: Any) -> Cluster:
    assert store.cluster is not None
    request = UpdateCluster(version=store.cluster.version, spec=spec or store.cluster.spec, **rotations)
    assert await handler.handle(request) == Accepted()
    return store.cluster


async def test_the_keys_of_the_swarm_are_not_shown(handler: ControlHandler, store: Store, cluster: Cluster) -> None:
    await update(handler, store, AUTOLOCK)

    answer = await handler.handle(GetCluster())

    assert isinstance(answer, ClusterAnswer)
    assert (answer.cluster.root_key, answer.cluster.unlock_key) == ("", "")
    assert answer.cluster.join_tokens == cluster.join_tokens
    assert answer.cluster.root_certificate == cluster.root_certificate


async def test_before_init_has_committed_there_is_no_swarm(handler: ControlHandler) -> None:
    with pytest.raises(RequestRefused) as refused:
        await handler.handle(GetCluster())
    assert refused.value.code == "Unavailable"


async def test_each_token_is_rotated_on_its_own(handler: ControlHandler, store: Store, cluster: Cluster) -> None:
    first = cluster.join_tokens

    second = (await update(handler, store, rotate_worker_token=True)).join_tokens
    third = (await update(handler, store, rotate_manager_token=True)).join_tokens

    assert (second.worker != first.worker, second.manager) == (True, first.manager)
    assert (third.worker, third.manager != second.manager) == (second.worker, True)
    assert third.manager.rpartition("-")[0] == first.manager.rpartition("-")[0]


async def test_autolock_makes_a_key_that_stays_until_it_is_rotated_or_turned_off(
    handler: ControlHandler, store: Store, cluster: Cluster
) -> None:
    on = (await update(handler, store, AUTOLOCK)).unlock_key
    kept = (await update(handler, store, AUTOLOCK)).unlock_key
    rotated = (await update(handler, store, AUTOLOCK, rotate_unlock_key=True)).unlock_key
    shown = await handler.handle(GetUnlockKey())
    off = (await update(handler, store, SwarmSpec(), rotate_unlock_key=True)).unlock_key

    assert on.startswith("SWMKEY-1-")
    assert kept == on
    assert rotated.startswith("SWMKEY-1-")
    assert rotated != on
    assert shown == UnlockKeyAnswer(unlock_key=rotated)
    assert off == ""


async def test_an_update_of_an_older_version_is_out_of_sequence(handler: ControlHandler, cluster: Cluster) -> None:
    with pytest.raises(RequestRefused, match=r"^update out of sequence$") as refused:
        await handler.handle(UpdateCluster(version=99, spec=SwarmSpec()))
    assert refused.value.code == "Unknown"


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        (
            SwarmSpec(ca_config=CAConfig(node_cert_expiry=HOUR_NS - 1)),
            "InvalidArgument",
            "minimum certificate expiry time is: 1h0m0s",
        ),
        (
            SwarmSpec(dispatcher=DispatcherConfig(heartbeat_period=-1)),
            "InvalidArgument",
            "heartbeat time period cannot be a negative duration",
        ),
        (SwarmSpec(name="other"), "InvalidArgument", "modification of cluster name is not allowed"),
        (SwarmSpec(raft=RaftConfig(snapshot_interval=-1)), "InvalidArgument", "raft settings cannot be negative"),
        (
            SwarmSpec(ca_config=CAConfig(force_rotate=1)),
            "Unimplemented",
            "rotating the root certificate is not supported",
        ),
        (
            SwarmSpec(ca_config=CAConfig(signing_ca_cert="x")),
            "Unimplemented",
            "external certificate authorities are not supported",
        ),
    ],
)
async def test_settings_that_make_no_sense_are_refused(
    handler: ControlHandler, store: Store, cluster: Cluster, *, spec: SwarmSpec, code: str, message: str
) -> None:
    with pytest.raises(RequestRefused, match=f"^{message}$") as refused:
        await update(handler, store, spec)
    assert refused.value.code == code


async def test_the_shortest_certificates_last_an_hour(handler: ControlHandler, store: Store, cluster: Cluster) -> None:
    spec = SwarmSpec(ca_config=CAConfig(node_cert_expiry=HOUR_NS))

    assert (await update(handler, store, spec)).spec == spec


async def test_removed_nodes_are_forgotten_a_week_after_their_certificates_expired(
    handler: ControlHandler, store: Store, cluster: Cluster, put: Callable[..., None], wall_clock: Any
) -> None:
    assert store.cluster is not None
    now = wall_clock.now_ns()
    removed = {"old": now - FORGET_REMOVED_AFTER_NS, "recent": now - FORGET_REMOVED_AFTER_NS + 1}
    put(replace(store.cluster, removed_nodes=removed))

    assert list((await update(handler, store)).removed_nodes) == ["recent"]


async def test_peers_unlock_each_other_only_while_that_is_said_and_the_key_stays(
    handler: ControlHandler, store: Store, put: Callable[..., None], cluster: Cluster
) -> None:
    def digest() -> bytes:
        node = store.get(Node, "m1")
        assert node is not None
        assert node.peer_unlock is not None
        return node.peer_unlock.digest

    def keep() -> None:
        known = store.get(Node, "m1") or Node(id="m1", role="manager")
        put(replace(known, peer_unlock=PeerUnlock(digest=b"d", host="10.0.0.1", given_at=5)))

    assert (await update(handler, store, AUTOLOCK, unlock_by_peers=True)).unlock_by_peers
    keep()
    assert (await update(handler, store, AUTOLOCK)).unlock_by_peers, "who says nothing of it leaves it as it is"
    assert digest() == b"d"

    await update(handler, store, AUTOLOCK, rotate_unlock_key=True)
    assert digest() == b"", "another key, other credentials"
    keep()
    assert not (await update(handler, store, AUTOLOCK, unlock_by_peers=False)).unlock_by_peers
    assert digest() == b""
    node = store.get(Node, "m1")
    assert node is not None
    assert node.peer_unlock is not None
    assert node.peer_unlock.given_at == 5, "what happened stays written down"
    await update(handler, store, AUTOLOCK, unlock_by_peers=True)
    keep()
    assert not (await update(handler, store, SwarmSpec())).unlock_by_peers, "there is no key any more"
    assert digest() == b""
