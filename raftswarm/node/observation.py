"""What a node knows of itself, as figures and as conditions of being ready (SWARM 9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from raftswarm.engine.node_protocol import LocalState
from raftswarm.engine.observability import Check, Metric, gauge
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.raft.roles import Leader
from raftswarm.store.store import Store

if TYPE_CHECKING:
    from raftswarm.node.manager_role import ManagerRole
    from raftswarm.node.participation import Participation

CLOSE_ENTRIES: Final = 1000
"""Under load a few entries always are on their way to the tables."""


def find_metrics(state: LocalState, participation: Participation | None) -> Iterator[Metric]:
    """All figures of this node, as it is now."""
    yield gauge("raftswarm_locked", "1 while this manager waits for its unlock key", state is LocalState.LOCKED)
    manager = participation.running_manager if participation is not None else None
    yield gauge("swarm_node_manager", "Whether this node is a manager", manager is not None)
    if participation is not None:
        facts = participation.facts
        yield gauge(
            "swarm_node_info", "Of this node and its swarm", 1, swarm_id=facts.cluster_id, node_id=facts.node_id
        )
        yield gauge(
            "raftswarm_certificate_expiry_seconds",
            "When this node's certificate expires, seconds since the epoch",
            participation.certificate_expiry,
        )
    if manager is not None:
        yield from _of_member(manager)
        yield from _of_store(manager.store)


def _of_store(store: Store) -> Iterator[Metric]:
    nodes = Counter(node.state for node in store.find(Node))
    tasks = Counter(task.status.state for task in store.find(Task))
    yield Metric(
        name="swarm_manager_nodes",
        help="Nodes by state, in this manager's tables",
        samples=tuple(({"state": state.value}, nodes[state]) for state in NodeState),
    )
    yield Metric(
        name="swarm_manager_tasks_total",
        help="Tasks by state, in this manager's tables",
        samples=tuple(
            ({"state": state.docker_word}, tasks[state]) for state in TaskState if state is not TaskState.REMOVE
        ),
    )
    services = sum(1 for _ in store.find(Service))
    yield gauge("swarm_manager_services_total", "Services, in this manager's tables", services)


def _of_member(manager: ManagerRole) -> Iterator[Metric]:
    member = manager.driver.replica.member
    role = member.role
    leads = manager.driver.leadership.value.is_leader
    yield gauge("swarm_manager_leader", "Whether this manager leads", leads)
    yield gauge("raftswarm_raft_term", "The term this member knows of", member.term)
    yield gauge("raftswarm_raft_last_index", "The end of this member's log", member.last_index)
    yield gauge("raftswarm_raft_commit_index", "Up to where the log is known to be committed", member.commit_index)
    yield gauge("raftswarm_raft_commands_applied", "Commands that the tables have had", manager.driver.applied.value)
    yield gauge("raftswarm_raft_voters", "Members that vote", len(manager.driver.configuration.value.voters))
    if isinstance(role, Leader):
        names = {info.id: info.name for info in manager.driver.configuration.value.voters}
        yield Metric(
            name="raftswarm_peer_match_index",
            help="Up to where each other member's log is known to be the leader's",
            samples=tuple(
                ({"peer": names.get(peer, str(peer))}, one.match_index) for peer, one in role.progress.items()
            ),
        )
        yield Metric(
            name="raftswarm_peer_reachable",
            help="Whether each other member has answered within an election timeout",
            samples=tuple(
                ({"peer": names.get(peer, str(peer))}, manager.driver.is_reachable(peer)) for peer in role.progress
            ),
        )


def check_readiness(state: LocalState, error: str, participation: Participation | None) -> list[Check]:
    """What has to hold of a node that does its part: it is in a swarm, unlocked, in touch, and up to date."""
    if state is LocalState.LOCKED:
        return [Check("swarm", "locked: it waits for its unlock key")]
    if participation is None:
        return [Check("swarm", error or "this node is in no swarm")]
    checks = [Check("swarm"), Check("agent", "" if participation.is_registered else "no session with a manager")]
    manager = participation.running_manager
    if participation.is_manager and manager is None:
        checks.append(Check("raft", "starting"))
    elif manager is not None:
        member = manager.driver.replica.member
        behind = member.commit_index - manager.driver.replica.applied.index
        no_leader = "" if manager.driver.leaderless_since is None else "no leader is known: there may be no quorum"
        checks += [
            Check("raft", no_leader),
            Check("tables", f"{behind} entries are yet to be applied" if behind > CLOSE_ENTRIES else ""),
        ]
    return checks
