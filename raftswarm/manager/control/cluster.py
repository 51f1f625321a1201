"""The swarm itself: its settings, tokens and keys (SWARM 10.2, 11, 14)."""

from __future__ import annotations

from typing import Final

import attrs
from msgspec.structs import replace

from raftswarm.ca.tokens import SECRET_RANDOM_BYTES, make_join_token
from raftswarm.errors import RequestRefused
from raftswarm.manager.control.refusals import invalid, out_of_sequence, unimplemented
from raftswarm.manager.control.requests import (
    Accepted,
    ClusterAnswer,
    GetCluster,
    GetUnlockKey,
    UnlockKeyAnswer,
    UpdateCluster,
)
from raftswarm.objects.records import Cluster, JoinTokens, Node
from raftswarm.objects.specs import SwarmSpec
from raftswarm.storage.keys import new_unlock_key
from raftswarm.store.store import Reader, Store, Transaction, Writes
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock

HOUR_NS: Final = 3_600_000_000_000
FORGET_REMOVED_AFTER_NS: Final = 7 * 24 * HOUR_NS
"""How long a removed node's id is kept after its certificate has expired."""


def require_cluster(reader: Reader) -> Cluster:
    """The cluster; it is there from the first command on."""
    cluster = reader.cluster
    if cluster is None:
        raise RequestRefused("the swarm is not initialized yet; try again", code="Unavailable")
    return cluster


@attrs.frozen
class ClusterRequests:
    """Answers requests about the swarm as a whole."""

    _store: Store
    _writes: Writes
    _entropy: Entropy
    _wall_clock: WallClock

    def get(self, _: GetCluster) -> ClusterAnswer:
        """Show it, without the keys that only managers may hold."""
        return ClusterAnswer(cluster=replace(require_cluster(self._store), root_key="", unlock_key=""))

    def get_unlock_key(self, _: GetUnlockKey) -> UnlockKeyAnswer:
        """Tell the key that unlocks a restarted manager."""
        return UnlockKeyAnswer(unlock_key=require_cluster(self._store).unlock_key)

    async def update(self, request: UpdateCluster) -> Accepted:
        """Replace the spec; make new tokens and keys where asked to."""
        check_cluster_spec(request.spec)
        # Drawn once: a transaction may be built several times.
        worker_secret, manager_secret = (self._entropy.token_bytes(SECRET_RANDOM_BYTES) for _ in range(2))
        unlock_key = new_unlock_key(self._entropy)
        now = self._wall_clock.now_ns()

        def build(transaction: Transaction) -> None:
            cluster = require_cluster(transaction)
            if cluster.version != request.version:
                raise out_of_sequence()
            if request.spec.ca_config.force_rotate != cluster.spec.ca_config.force_rotate:
                raise unimplemented("rotating the root certificate is not supported")
            root, tokens = cluster.root_certificate, cluster.join_tokens
            if request.rotate_worker_token:
                tokens = JoinTokens(worker=make_join_token(root, worker_secret), manager=tokens.manager)
            if request.rotate_manager_token:
                tokens = JoinTokens(worker=tokens.worker, manager=make_join_token(root, manager_secret))
            next_key = _next_unlock_key(cluster, request, unlock_key)
            by_peers = _is_unlocked_by_peers(cluster, request)
            if cluster.unlock_by_peers and not (by_peers and next_key == cluster.unlock_key):
                _revoke_credentials(transaction)
            transaction.update(
                replace(
                    cluster,
                    spec=request.spec,
                    join_tokens=tokens,
                    unlock_key=next_key,
                    unlock_by_peers=by_peers,
                    removed_nodes=_not_yet_forgotten(cluster, now),
                )
            )

        await self._writes.write(build)
        return Accepted()


def check_cluster_spec(spec: SwarmSpec) -> None:
    """Refuse settings that make no sense; 0 stands for the default."""
    expiry = spec.ca_config.node_cert_expiry
    if expiry and expiry < HOUR_NS:
        raise invalid("minimum certificate expiry time is: 1h0m0s")
    if spec.dispatcher.heartbeat_period < 0:
        raise invalid("heartbeat time period cannot be a negative duration")
    if spec.name != "default":
        raise invalid("modification of cluster name is not allowed")
    raft = spec.raft
    if min(raft.snapshot_interval, raft.keep_old_snapshots or 0, raft.log_entries_for_slow_followers) < 0:
        raise invalid("raft settings cannot be negative")
    if spec.ca_config.external_cas or spec.ca_config.signing_ca_cert or spec.ca_config.signing_ca_key:
        raise unimplemented("external certificate authorities are not supported")


def _next_unlock_key(cluster: Cluster, request: UpdateCluster, fresh: str) -> str:
    if not request.spec.encryption_config.auto_lock_managers:
        return ""
    return fresh if request.rotate_unlock_key or not cluster.unlock_key else cluster.unlock_key


def _revoke_credentials(transaction: Transaction) -> None:
    """Forget with what managers may ask their peers: the policy is off, or the key is another one."""
    for node in list(transaction.find(Node)):
        if node.peer_unlock is not None:
            transaction.update(replace(node, peer_unlock=replace(node.peer_unlock, digest=b"")))


def _is_unlocked_by_peers(cluster: Cluster, request: UpdateCluster) -> bool:
    if request.spec.encryption_config.auto_lock_managers:
        return cluster.unlock_by_peers if request.unlock_by_peers is None else request.unlock_by_peers
    if request.unlock_by_peers:
        text = "managers can give each other the unlock key only while autolock is on"
        raise RequestRefused(text, code="FailedPrecondition")
    return False


def _not_yet_forgotten(cluster: Cluster, now: int) -> dict[str, int]:
    return {
        node_id: expiry for node_id, expiry in cluster.removed_nodes.items() if now < expiry + FORGET_REMOVED_AFTER_NS
    }
