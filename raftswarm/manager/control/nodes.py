"""Nodes: shown, changed, removed (SWARM 12.9, 14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import attrs
from msgspec.structs import replace

from raftswarm.errors import RequestRefused
from raftswarm.manager.control.filters import (
    begins_with_any,
    check_keys,
    check_values,
    equals_any,
    has_labels,
)
from raftswarm.manager.control.references import look_up
from raftswarm.manager.control.refusals import gone, invalid, not_now, out_of_sequence
from raftswarm.manager.control.requests import (
    Accepted,
    GetNode,
    ListNodes,
    ManagerStatus,
    NodeAnswer,
    NodesAnswer,
    NodeView,
    RemoveNode,
    UpdateNode,
)
from raftswarm.objects.records import Node, Task
from raftswarm.objects.specs import NodeSpec
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.objects.swarm_status import MemberStatus
from raftswarm.store.store import Reader, Store, Transaction, Writes
from raftswarm.world.clock import WallClock

FILTER_KEYS: Final = ("id", "label", "membership", "name", "node.label", "role")
ROLES: Final = ("worker", "manager")
AVAILABILITIES: Final = ("active", "pause", "drain")


class Membership(Protocol):
    """The managers as Raft sees them."""

    def manager_status(self, node_id: str, /) -> ManagerStatus | None:
        """How that node's member stands; None for a node that has none."""
        ...

    def member_statuses(self) -> Sequence[MemberStatus]:
        """All members, as the leader sees them."""
        ...

    @property
    def term(self) -> int:
        """Of the leader."""
        ...


@attrs.frozen
class NodeRequests:
    """Answers requests about nodes."""

    _store: Store
    _writes: Writes
    _membership: Membership
    _wall_clock: WallClock

    def get(self, request: GetNode) -> NodeAnswer:
        """Show one."""
        return NodeAnswer(view=self._view(look_up(self._store, Node, request.reference)))

    def list_all(self, request: ListNodes) -> NodesAnswer:
        """Show those that match."""
        check_keys(request.filters, FILTER_KEYS)
        check_values(request.filters, "role", ROLES)
        check_values(request.filters, "membership", ("accepted", "pending"))
        found = (node for node in self._store.find(Node) if _matches(node, request))
        return NodesAnswer(nodes=tuple(self._view(node) for node in found))

    async def update(self, request: UpdateNode) -> Accepted:
        """Replace the spec; a changed role is carried out later, by whoever reconciles roles."""
        _check_spec(request.spec)
        node_id = look_up(self._store, Node, request.reference).id

        def build(transaction: Transaction) -> None:
            node = transaction.get(Node, node_id)
            if node is None:
                raise gone("node", node_id)
            if node.spec.role == "manager" and request.spec.role == "worker":
                self._check_demotion(transaction, node)
            if node.version != request.version:
                raise out_of_sequence()
            transaction.update(replace(node, spec=request.spec))

        await self._writes.write(build)
        return Accepted()

    async def remove(self, request: RemoveNode) -> Accepted:
        """Forget a node for good: its certificate is refused from now on, and its tasks are given up."""
        node_id = look_up(self._store, Node, request.reference).id
        self._check_removal(self._store.get(Node, node_id), node_id, force=request.force)
        # A node may have more tasks than fit in one transaction; without it, nobody would ever speak for them.
        live = [task.id for task in self._store.tasks_of_node(node_id)]
        await self._writes.write_each(live, _orphan)
        now = self._wall_clock.now_ns()

        def build(transaction: Transaction) -> None:
            node = transaction.get(Node, node_id)
            self._check_removal(node, node_id, force=request.force)
            assert node is not None
            for task in transaction.tasks_of_node(node_id):
                _orphan(transaction, task.id)
            transaction.delete(Node, node_id)
            cluster = transaction.cluster
            if cluster is not None:
                expiry = node.certificate_expiry or now + cluster.spec.ca_config.node_cert_expiry
                transaction.update(replace(cluster, removed_nodes={**cluster.removed_nodes, node_id: expiry}))

        await self._writes.write(build)
        return Accepted()

    def _view(self, node: Node) -> NodeView:
        return NodeView(node=node, manager_status=self._membership.manager_status(node.id))

    def _check_demotion(self, transaction: Transaction, node: Node) -> None:
        transaction.expect_unchanged(Node)  # Or two managers could be demoted, each because of the other.
        others = [
            other
            for other in transaction.find(Node)
            if other.id != node.id and other.role == "manager" and other.spec.role == "manager"
        ]
        if not others:
            raise not_now("attempting to demote the last manager of the swarm")
        if self._membership.manager_status(node.id) is None:
            raise RequestRefused("can't find manager in raft memberlist", code="NotFound")
        if not self._quorum_survives(transaction, without=node.id):
            raise not_now("can't remove member from the raft: this would result in a loss of quorum")

    def _quorum_survives(self, reader: Reader, *, without: str) -> bool:
        """SWARM 12.3: enough of the others are there for a majority of what would be left."""
        statuses = {node.id: self._membership.manager_status(node.id) for node in reader.find(Node)}
        members = [node_id for node_id, status in statuses.items() if status is not None]
        reachable = [status for node_id, status in statuses.items() if status is not None and node_id != without]
        needed = (len(members) - 1) // 2 + 1
        return sum(status.reachable for status in reachable) >= needed

    def _check_removal(self, node: Node | None, node_id: str, *, force: bool) -> None:
        if node is None:
            raise gone("node", node_id)
        if node.spec.role == "manager" and self._membership.manager_status(node_id) is not None:
            raise not_now(
                f"node {node_id} is a cluster manager and is a member of the raft cluster. "
                "It must be demoted to worker before removal"
            )
        if node.state is NodeState.READY and not force:
            raise not_now(f"node {node_id} is not down and can't be removed")


def _check_spec(spec: NodeSpec) -> None:
    if spec.role not in ROLES:
        raise invalid(f'invalid Role: "{spec.role}"')
    if spec.availability not in AVAILABILITIES:
        raise invalid(f'invalid Availability: "{spec.availability}"')


def _matches(node: Node, request: ListNodes) -> bool:
    return (
        begins_with_any(request.filters, "id", node.id)
        and begins_with_any(request.filters, "name", node.description.hostname)
        and has_labels(request.filters, "node.label", node.spec.labels)
        and has_labels(request.filters, "label", node.description.engine_labels)
        and equals_any(request.filters, "role", node.role)
        and equals_any(request.filters, "membership", "accepted")
    )


def _orphan(transaction: Transaction, task_id: str) -> None:
    """SWARM 2.1: whoever removes a node says that nobody will hear of its tasks again."""
    task = transaction.get(Task, task_id)
    if task is not None and task.status.state < TaskState.COMPLETE:
        transaction.update(replace(task, status=replace(task.status, state=TaskState.ORPHANED)))
