"""Placement over random nodes and tasks (SWARM 5.3, 5.5): even, within resources, and complete."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from raftswarm.manager.scheduler.actions import AssignTask, ExplainTask
from raftswarm.manager.scheduler.ledger import Ledger
from raftswarm.manager.scheduler.planner import plan_assignments
from raftswarm.objects.records import Node, NodeDescription, Task, TaskStatus
from raftswarm.objects.specs import (
    NodeSpec,
    Placement,
    PlacementPreference,
    Reservations,
    Resources,
    SpreadOver,
    TaskSpec,
)
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.world.slices import in_one_piece


def make_node(number: int, *, cpus: int = 0, memory: int = 0, zone: str = "") -> Node:
    labels = {"zone": zone} if zone else {}
    description = NodeDescription(nano_cpus=cpus, memory_bytes=memory)
    return Node(id=f"n{number:02}", state=NodeState.READY, spec=NodeSpec(labels=labels), description=description)


def make_task(
    number: int,
    *,
    service: str = "web",
    cpus: int = 0,
    memory: int = 0,
    node: str = "",
    placement: Placement | None = None,
) -> Task:
    reserved = Reservations(nano_cpus=cpus, memory_bytes=memory)
    return Task(
        id=f"t{number:03}",
        spec=TaskSpec(resources=Resources(reservations=reserved), placement=placement),
        service_id=service,
        slot=number + 1,
        node_id=node,
        status=TaskStatus(state=TaskState.RUNNING if node else TaskState.PENDING),
    )


def placed(nodes: list[Node], tasks: list[Task]) -> dict[str, str]:
    """Task ids and the nodes they were given."""
    actions = in_one_piece(plan_assignments(in_one_piece(Ledger.read(nodes, tasks)), now=1))
    given_nodes = {action.task_id: action.node_id for action in actions if isinstance(action, AssignTask)}
    explained = {action.task_id for action in actions if isinstance(action, ExplainTask)}
    waiting = {task.id for task in tasks if task.status.state is TaskState.PENDING}
    assert given_nodes.keys() | explained == waiting, "every waiting task gets a node or a reason"
    return given_nodes


@given(nodes=st.integers(1, 8), tasks=st.integers(0, 40))
def test_tasks_without_further_wishes_are_spread_within_one(nodes: int, tasks: int) -> None:
    all_nodes = [make_node(number) for number in range(nodes)]

    given_nodes = placed(all_nodes, [make_task(number) for number in range(tasks)])

    counts = Counter(given_nodes.values())
    per_node = [counts[node.id] for node in all_nodes]
    assert sum(per_node) == tasks
    assert max(per_node) - min(per_node) <= 1


@given(standing=st.lists(st.integers(0, 6), min_size=1, max_size=6), tasks=st.integers(0, 30))
def test_new_tasks_even_out_what_stands_already(standing: list[int], tasks: int) -> None:
    all_nodes = [make_node(number) for number in range(len(standing))]
    running = [
        make_task(100 + number, node=node.id)
        for number, node in enumerate(
            node for node, count in zip(all_nodes, standing, strict=True) for _ in range(count)
        )
    ]

    counts = Counter(placed(all_nodes, running + [make_task(number) for number in range(tasks)]).values())

    after = [have + counts[node.id] for node, have in zip(all_nodes, standing, strict=True)]
    grown = [total for node, total in zip(all_nodes, after, strict=True) if counts[node.id]]
    assert sum(counts.values()) == tasks
    assert all(top <= min(after) + 1 for top in grown)


@given(
    capacities=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=5),
    demands=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.integers(0, 4)), max_size=25),
)
def test_no_node_gets_more_than_it_has_and_nobody_waits_who_would_fit(
    capacities: list[tuple[int, int]], demands: list[tuple[str, int, int]]
) -> None:
    all_nodes = [make_node(number, cpus=cpus, memory=memory) for number, (cpus, memory) in enumerate(capacities)]
    # Tasks of one service are alike.
    demand_of = {service: (cpus, memory) for service, cpus, memory in demands}
    tasks = [
        make_task(number, service=service, cpus=demand_of[service][0], memory=demand_of[service][1])
        for number, (service, _, _) in enumerate(demands)
    ]

    given_nodes = placed(all_nodes, tasks)

    cpus_used: Counter[str] = Counter()
    memory_used: Counter[str] = Counter()
    for task in tasks:
        if task.id in given_nodes:
            cpus, memory = demand_of[task.service_id]
            cpus_used[given_nodes[task.id]] += cpus
            memory_used[given_nodes[task.id]] += memory
    free = [
        (node.description.nano_cpus - cpus_used[node.id], node.description.memory_bytes - memory_used[node.id])
        for node in all_nodes
    ]
    assert all(cpus_left >= 0 <= memory_left for cpus_left, memory_left in free)
    for task in tasks:
        if task.id not in given_nodes:
            cpus, memory = demand_of[task.service_id]
            assert not any(cpus <= cpus_left and memory <= memory_left for cpus_left, memory_left in free)


@given(standing=st.lists(st.integers(0, 3), min_size=1, max_size=5), limit=st.integers(1, 3), tasks=st.integers(0, 12))
def test_no_node_gets_more_replicas_than_the_service_allows_and_nobody_waits_while_there_is_room(
    standing: list[int], limit: int, tasks: int
) -> None:
    all_nodes = [make_node(number) for number in range(len(standing))]
    places = [node.id for node, count in zip(all_nodes, standing, strict=True) for _ in range(count)]
    running = [make_task(100 + number, node=node_id) for number, node_id in enumerate(places)]
    placement = Placement(max_replicas=limit)

    given_nodes = placed(all_nodes, running + [make_task(number, placement=placement) for number in range(tasks)])

    counts = Counter(given_nodes.values())
    room = [max(0, limit - have) for have in standing]
    assert all(counts[node.id] <= left for node, left in zip(all_nodes, room, strict=True))
    assert sum(counts.values()) == min(tasks, sum(room))


@given(
    capacities=st.lists(st.integers(0, 10), min_size=1, max_size=3),
    bound=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=10),
    free=st.lists(st.integers(0, 4), max_size=10),
)
def test_tasks_of_global_services_share_their_nodes_with_the_others(
    capacities: list[int], bound: list[tuple[int, int]], free: list[int]
) -> None:
    """They come with their node (5.4)."""
    all_nodes = [make_node(number, cpus=cpus) for number, cpus in enumerate(capacities)]
    demands = [cpus for _, cpus in bound] + free
    tasks = [make_task(number, service=f"s{number}", cpus=cpus) for number, cpus in enumerate(demands)]
    for number, (position, _) in enumerate(bound):
        tasks[number] = replace(tasks[number], node_id=all_nodes[position % len(all_nodes)].id)

    given_nodes = placed(all_nodes, tasks)

    used: Counter[str] = Counter()
    for task, cpus in zip(tasks, demands, strict=True):
        if task.id in given_nodes:
            assert task.node_id in {"", given_nodes[task.id]}
            used[given_nodes[task.id]] += cpus
    assert all(used[node.id] <= node.description.nano_cpus for node in all_nodes)


@settings(max_examples=60)
@given(zones=st.lists(st.sampled_from(["east", "west", "north", ""]), min_size=1, max_size=7), tasks=st.integers(0, 30))
def test_branches_of_a_preference_are_levelled_whatever_nodes_they_have(zones: list[str], tasks: int) -> None:
    all_nodes = [make_node(number, zone=zone) for number, zone in enumerate(zones)]
    preference = PlacementPreference(spread=SpreadOver(spread_descriptor="node.labels.zone"))
    placement = Placement(preferences=[preference])

    given_nodes = placed(all_nodes, [make_task(number, placement=placement) for number in range(tasks)])

    zone_of = {node.id: zone for node, zone in zip(all_nodes, zones, strict=True)}
    counts = Counter(zone_of[node_id] for node_id in given_nodes.values())
    per_zone = [counts[zone] for zone in set(zones)]
    assert sum(per_zone) == tasks
    assert max(per_zone) - min(per_zone) <= 1
