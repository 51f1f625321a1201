"""Showing, updating and removing nodes (SWARM 12.9, 14)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from msgspec.structs import replace

from raftswarm.errors import RequestRefused
from raftswarm.manager.control.handler import ControlHandler
from raftswarm.manager.control.requests import (
    Accepted,
    GetNode,
    ListNodes,
    ManagerStatus,
    NodeAnswer,
    NodesAnswer,
    RemoveNode,
    UpdateNode,
)
from raftswarm.objects.records import Cluster, Node, NodeDescription, Task, TaskStatus
from raftswarm.objects.specs import NodeSpec, TaskSpec
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.store.store import Store


def make_node(node_id: str, *, role: str = "worker", state: NodeState = NodeState.READY, **labels: str) -> Node:
    description = NodeDescription(hostname=f"host-{node_id}", engine_labels={"disk": "ssd"} if labels else {})
    spec = NodeSpec(role=role, labels=labels)
    return Node(id=node_id, spec=spec, role=role, state=state, description=description, certificate_expiry=123)


async def update(handler: ControlHandler, store: Store, node_id: str, spec: NodeSpec) -> Node:
    before = store.get(Node, node_id)
    assert before is not None
    assert await handler.handle(UpdateNode(reference=node_id, version=before.version, spec=spec)) == Accepted()
    after = store.get(Node, node_id)
    assert after is not None
    return after


async def listed(handler: ControlHandler, filters: dict[str, list[str]]) -> list[str]:
    answer = await handler.handle(ListNodes(filters=filters))
    assert isinstance(answer, NodesAnswer)
    return [view.node.id for view in answer.nodes]


async def test_a_manager_is_shown_as_raft_sees_it_and_a_worker_is_not(
    handler: ControlHandler, cluster: Cluster, put: Callable[..., None], managers: dict[str, ManagerStatus]
) -> None:
    put(make_node("w1"))

    answers = [await handler.handle(GetNode(reference=reference)) for reference in ("m1", "host-w1")]

    views = [answer.view for answer in answers if isinstance(answer, NodeAnswer)]
    assert [view.manager_status for view in views] == [managers["m1"], None]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["m1", "w1", "w2"]),
        ({"role": ["manager"]}, ["m1"]),
        ({"name": ["host-w"]}, ["w1", "w2"]),
        ({"id": ["w2"]}, ["w2"]),
        ({"node.label": ["zone=a"]}, ["w1"]),
        ({"label": ["disk"]}, ["w1"]),
        ({"membership": ["accepted"]}, ["m1", "w1", "w2"]),
        ({"membership": ["pending"]}, []),
    ],
)
async def test_nodes_are_filtered(
    handler: ControlHandler,
    cluster: Cluster,
    put: Callable[..., None],
    filters: dict[str, list[str]],
    expected: list[str],
) -> None:
    put(make_node("w1", zone="a"), make_node("w2"))

    assert await listed(handler, filters) == expected


async def test_availability_and_labels_can_be_changed(handler: ControlHandler, store: Store, cluster: Cluster) -> None:
    spec = NodeSpec(role="manager", availability="drain", labels={"a": "b"})

    assert (await update(handler, store, "m1", spec)).spec == spec


async def test_an_update_of_an_older_version_is_out_of_sequence(handler: ControlHandler, cluster: Cluster) -> None:
    request = UpdateNode(reference="m1", version=99, spec=NodeSpec(role="manager"))

    with pytest.raises(RequestRefused, match=r"^update out of sequence$") as refused:
        await handler.handle(request)
    assert refused.value.code == "Unknown"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (NodeSpec(role="king"), 'invalid Role: "king"'),
        (NodeSpec(role="manager", availability="nope"), 'invalid Availability: "nope"'),
    ],
)
async def test_a_node_has_a_known_role_and_availability(
    handler: ControlHandler, store: Store, cluster: Cluster, spec: NodeSpec, message: str
) -> None:
    with pytest.raises(RequestRefused, match=f"^{message}$"):
        await update(handler, store, "m1", spec)


async def test_a_promotion_is_written_down_for_others_to_carry_out(
    handler: ControlHandler, store: Store, cluster: Cluster, put: Callable[..., None]
) -> None:
    put(make_node("w1"))

    promoted = await update(handler, store, "w1", NodeSpec(role="manager"))

    assert (promoted.spec.role, promoted.role) == ("manager", "worker")


async def test_the_last_manager_cannot_be_demoted(handler: ControlHandler, store: Store, cluster: Cluster) -> None:
    with pytest.raises(RequestRefused, match=r"^attempting to demote the last manager of the swarm$") as refused:
        await update(handler, store, "m1", NodeSpec(role="worker"))
    assert refused.value.code == "FailedPrecondition"


async def test_a_manager_that_is_no_member_yet_cannot_be_demoted(
    handler: ControlHandler, store: Store, cluster: Cluster, put: Callable[..., None]
) -> None:
    put(make_node("m2", role="manager"))

    with pytest.raises(RequestRefused, match=r"^can't find manager in raft memberlist$") as refused:
        await update(handler, store, "m2", NodeSpec(role="worker"))
    assert (refused.value.code, refused.value.from_engine) == ("NotFound", False)


@pytest.mark.parametrize(("others_reachable", "allowed"), [([True, True], True), ([True, False], False)])
async def test_a_demotion_must_leave_a_quorum(
    handler: ControlHandler,
    store: Store,
    cluster: Cluster,
    *,
    put: Callable[..., None],
    managers: dict[str, ManagerStatus],
    others_reachable: list[bool],
    allowed: bool,
) -> None:
    for node_id, reachable in zip(("m2", "m3"), others_reachable, strict=True):
        put(make_node(node_id, role="manager"))
        managers[node_id] = ManagerStatus(leader=False, reachable=reachable, address="")

    if allowed:
        assert (await update(handler, store, "m1", NodeSpec(role="worker"))).spec.role == "worker"
        return
    with pytest.raises(RequestRefused, match="this would result in a loss of quorum"):
        await update(handler, store, "m1", NodeSpec(role="worker"))


async def test_of_two_managers_demoted_at_once_one_stays(
    handler: ControlHandler,
    store: Store,
    cluster: Cluster,
    put: Callable[..., None],
    managers: dict[str, ManagerStatus],
) -> None:
    put(make_node("m2", role="manager"))
    managers["m2"] = ManagerStatus(leader=False, reachable=True, address="")
    refusals: list[str] = []

    async def demote(node_id: str) -> None:
        try:
            await update(handler, store, node_id, NodeSpec(role="worker"))
        except RequestRefused as refused:
            refusals.append(str(refused))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(demote, "m1")
        nursery.start_soon(demote, "m2")

    assert refusals == ["attempting to demote the last manager of the swarm"]


async def test_a_node_that_is_ready_is_removed_only_by_force(
    handler: ControlHandler, store: Store, cluster: Cluster, put: Callable[..., None]
) -> None:
    put(make_node("w1"))

    with pytest.raises(RequestRefused, match=r"^node w1 is not down and can't be removed$") as refused:
        await handler.handle(RemoveNode(reference="w1"))
    assert refused.value.code == "FailedPrecondition"

    assert await handler.handle(RemoveNode(reference="w1", force=True)) == Accepted()
    assert store.get(Node, "w1") is None


async def test_a_member_is_not_removed_even_by_force(handler: ControlHandler, cluster: Cluster) -> None:
    with pytest.raises(RequestRefused) as refused:
        await handler.handle(RemoveNode(reference="m1", force=True))

    assert str(refused.value) == (
        "node m1 is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal"
    )
    assert refused.value.code == "FailedPrecondition"


async def test_a_removed_node_may_not_come_back_and_its_tasks_are_orphaned(
    handler: ControlHandler, store: Store, cluster: Cluster, put: Callable[..., None]
) -> None:
    put(make_node("w1", state=NodeState.DOWN))
    running = Task(id="running", spec=TaskSpec(), node_id="w1", status=TaskStatus(state=TaskState.RUNNING))
    ended = replace(running, id="ended", status=TaskStatus(state=TaskState.FAILED))
    put(running, ended)
    many = [replace(running, id=f"t{number:03}") for number in range(450)]
    for start in range(0, 450, 150):
        put(*many[start : start + 150])

    await handler.handle(RemoveNode(reference="w1"))

    assert store.cluster is not None
    assert store.cluster.removed_nodes == {"w1": 123}
    states = {task.id: task.status.state for task in store.find(Task)}
    assert states.pop("ended") is TaskState.FAILED
    assert set(states.values()) == {TaskState.ORPHANED}
    assert len(states) == 451
