"""The role manager: makes what a node is what the user wants it to be (SWARM 12.9).

A worker that is to manage becomes one in the tables at once; it then asks for a manager's certificate and joins the
Raft group by itself. A manager that is to work is first taken out of the group, if a majority of the others is there,
and becomes a worker only when it is out. A leader that demotes itself hands over, and the next one goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import attrs
import trio
from msgspec.structs import replace

from raftswarm.errors import RaftSwarmError
from raftswarm.manager.loops import Tables, keep_serving, write_actions
from raftswarm.objects.records import Node
from raftswarm.raft.log_entry import MemberInfo
from raftswarm.store.contracts import Transaction, Writes

logger = logging.getLogger("raftswarm.manager")

RETRY_SECONDS: Final = 5.0
REMOVAL_SECONDS: Final = 5.0


class Members(Protocol):
    """The Raft group, as its leader sees it."""

    def members(self) -> Sequence[MemberInfo]:
        """Everybody in the configuration in force; names are node ids."""
        ...

    def is_reachable(self, member_id: int, /) -> bool:
        """Tell whether a member answers."""
        ...

    def is_own(self, member_id: int, /) -> bool:
        """Tell whether it is this manager's."""
        ...

    async def hand_over(self) -> None:
        """Let another manager lead, if one can; our own loops end with that."""
        ...

    async def remove_member(self, member_id: int, /) -> None:
        """Take a member out; raises what prevented it."""
        ...


@attrs.frozen
class SetRole:
    """Write what a node is from now on."""

    node_id: str
    role: str

    def write(self, transaction: Transaction) -> None:
        """Write it, if that is still what is wanted."""
        node = transaction.get(Node, self.node_id)
        if node is None or node.spec.role != self.role or node.role == self.role:
            return
        if self.role == "worker":
            node = replace(node, member_id=0, manager_address="", peer_unlock=None)
        transaction.update(replace(node, role=self.role))


@attrs.frozen
class Plan:
    """What to do now."""

    roles: tuple[SetRole, ...]
    leaving: tuple[MemberInfo, ...]
    """Members that have no manager behind them any more, or soon will not."""


def plan_roles(nodes: Iterable[Node], members: Sequence[MemberInfo]) -> Plan:
    """Compare what nodes are with what they should be, and the Raft group with both."""
    roles: list[SetRole] = []
    by_id = {node.id: node for node in nodes}
    taking_part = {member.name for member in members}
    for node in by_id.values():
        if node.spec.role == node.role:
            continue
        if node.spec.role == "manager" or node.id not in taking_part:
            roles.append(SetRole(node.id, node.spec.role))
    leaving = [member for member in members if not _stays(by_id.get(member.name))]
    return Plan(tuple(roles), tuple(leaving))


def _stays(node: Node | None) -> bool:
    return node is not None and node.spec.role == "manager"


def quorum_survives(members: Sequence[MemberInfo], reachable: Iterable[int], *, without: int) -> bool:
    """Tell whether a majority of those who would be left answers."""
    left = {member.id for member in members} - {without}
    return len(left & set(reachable)) > len(left) // 2


@attrs.define(eq=False)
class RoleManager:
    """Carries out what users want nodes to be. Runs on the leader."""

    _store: Tables
    _writes: Writes
    _members: Members

    async def run(self) -> None:
        """Serve until cancelled."""
        await keep_serving(self._serve)

    async def _serve(self) -> None:
        with self._store.watch(Node) as watch:
            while True:
                plan = plan_roles(self._store.find(Node), self._members.members())
                await write_actions(self._writes, plan.roles)
                # One at a time: each change of the group has to be decided before the next (4.1).
                if plan.leaving and await self._remove(plan.leaving[0]):
                    continue
                with trio.move_on_after(RETRY_SECONDS if plan.leaving else float("inf")):
                    await watch.next()

    async def _remove(self, member: MemberInfo) -> bool:
        """Take it out of the group; tell whether that was done."""
        members = self._members.members()
        if self._members.is_own(member.id):
            logger.info("this manager is to be a worker: another one takes over")
            await self._members.hand_over()
            return False
        reachable = [other.id for other in members if self._members.is_reachable(other.id)]
        if not quorum_survives(members, reachable, without=member.id):
            logger.warning("node %s stays a manager for now: without it there would be no quorum", member.name)
            return False
        try:
            with trio.fail_after(REMOVAL_SECONDS):
                await self._members.remove_member(member.id)
        except (RaftSwarmError, trio.TooSlowError) as error:
            logger.info("node %s is not out of the Raft group yet: %s", member.name, error)
            return False
        return True
