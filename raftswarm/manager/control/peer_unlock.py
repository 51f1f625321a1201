"""Giving the unlock key to a locked manager that asks for it, where the swarm's policy says so. Runs on the leader.

Off by default. Whoever asks shows a secret that is good for nothing else, as the node that it was made for and from the
address that it was made at. Nobody is told why it was refused; the leader's log says it. What is given is written down
first: no key leaves before its trace is committed.
"""

from __future__ import annotations

import logging
from typing import Final

import attrs
from msgspec.structs import replace

from raftswarm.ca.identity import Identity
from raftswarm.errors import RequestRefused
from raftswarm.manager.control.cluster import require_cluster
from raftswarm.objects.peer_unlock import is_digest_of
from raftswarm.objects.records import Cluster, Node, PeerUnlock
from raftswarm.store.store import Reader, Store, Transaction, Writes
from raftswarm.wire.requests import AskUnlockKey, Done, KeepUnlockCredential, UnlockKeyGiven
from raftswarm.world.clock import WallClock

logger = logging.getLogger("raftswarm.audit")

TRIES: Final = 5
PER_NS: Final = 60_000_000_000
"""So many tries in that time for each node at its address, and as many for all others together."""
REFUSED: Final = "this manager is not given the unlock key; unlock it yourself, the leader's log says why"


@attrs.define(eq=False)
class PeerUnlocks:
    """Keeps the digests of the managers' credentials, and gives the key for one of them."""

    _store: Store
    _writes: Writes
    _wall_clock: WallClock
    _tries: dict[str, list[int]] = attrs.field(factory=dict)
    """When each node has asked lately."""

    async def keep(self, caller: Identity, remote_address: str, request: KeepUnlockCredential) -> Done:
        """Take a manager's new credential in place of the one before; FailedPrecondition where the swarm wants none."""
        host, now = _host(remote_address), self._wall_clock.now_ns()

        def build(transaction: Transaction) -> None:
            node = transaction.get(Node, caller.node_id)
            if node is None or not _manages(node):
                raise RequestRefused(f"node {caller.node_id} is no manager", code="FailedPrecondition")
            if not _is_allowed(require_cluster(transaction)):
                raise RequestRefused("managers do not give each other the unlock key", code="FailedPrecondition")
            before = node.peer_unlock or PeerUnlock()
            fresh = replace(before, digest=request.digest, host=host, made_at=now)
            transaction.update(replace(node, peer_unlock=fresh))

        await self._writes.write(build)
        return Done()

    async def give(self, remote_address: str, request: AskUnlockKey) -> UnlockKeyGiven:
        """Give the key; RequestRefused, without saying why, to whoever it is not meant for."""
        host, now = _host(remote_address), self._wall_clock.now_ns()
        known = self._store.get(Node, request.node_id)
        name = "a node that nobody knows" if known is None else f"node {known.id}"
        if self._is_too_often(_counted_as(known, host), now):
            logger.warning("unlock key not given to %s at %s: it asks too often", name, host)
            raise RequestRefused("asked too often; try again later", code="ResourceExhausted")

        def build(transaction: Transaction) -> str:
            node = transaction.get(Node, request.node_id)
            reason = _why_not(transaction, node, host, request.credential)
            if node is None or node.peer_unlock is None or reason:
                logger.warning("unlock key not given to %s at %s: %s", name, host, reason)
                raise RequestRefused(REFUSED, code="PermissionDenied")
            transaction.update(replace(node, peer_unlock=replace(node.peer_unlock, given_at=now)))
            return require_cluster(transaction).unlock_key

        key = await self._writes.write(build)
        logger.warning("unlock key given to %s at %s, which asked with its credential", name, host)
        return UnlockKeyGiven(unlock_key=key)

    def _is_too_often(self, node_id: str, now: int) -> bool:
        lately = [time for time in self._tries.get(node_id, []) if 0 <= now - time < PER_NS]
        is_too_often = len(lately) >= TRIES
        self._tries[node_id] = lately if is_too_often else [*lately, now]
        return is_too_often


def _counted_as(node: Node | None, host: str) -> str:
    """Nobody else uses up the tries of a node."""
    return node.id if node is not None and node.peer_unlock is not None and node.peer_unlock.host == host else ""


def _why_not(  # noqa: PLR0911 - a table
    reader: Reader, node: Node | None, host: str, credential: bytes
) -> str:
    if not _is_allowed(require_cluster(reader)):
        return "managers do not give each other the key in this swarm"
    if node is None:
        return "there is no such node"
    if not _manages(node):
        return "it is no manager any more"
    if node.peer_unlock is None or not node.peer_unlock.digest:
        return "it has no credential, or that was revoked"
    if not is_digest_of(node.peer_unlock.digest, credential):
        return "its credential is not the one that it was given last"
    if node.peer_unlock.host != host:
        return f"its credential is for {node.peer_unlock.host}"
    return ""


def _is_allowed(cluster: Cluster) -> bool:
    return cluster.unlock_by_peers and bool(cluster.unlock_key)


def _manages(node: Node) -> bool:
    return node.role == node.spec.role == "manager"


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
