"""With 10,000 tasks on 1,000 nodes nothing that the control loops do at once grows with the swarm, but a sort."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import attrs
import pytest
from msgspec.structs import replace

from raftswarm.manager.allocator.loop import Allocator
from raftswarm.manager.allocator.planner import plan_allocation
from raftswarm.manager.control.requests import (
    ListServices,
    ListTasks,
    ServiceTaskCounts,
    TasksAnswer,
    decode_answer,
    encode_answer,
)
from raftswarm.manager.control.services import ServiceRequests
from raftswarm.manager.control.tasks import TaskRequests
from raftswarm.manager.dispatcher.routes import find_routes
from raftswarm.manager.orchestrator.planner import plan_service
from raftswarm.manager.orchestrator.reaper import Reaper
from raftswarm.manager.scheduler.actions import AssignTask
from raftswarm.manager.scheduler.ledger import Ledger
from raftswarm.manager.scheduler.loop import Scheduler
from raftswarm.manager.scheduler.planner import plan_assignments
from raftswarm.objects.records import AnyObject, Endpoint, Node, Service, Task, TaskStatus
from raftswarm.objects.specs import (
    EndpointSpec,
    PortConfig,
    Replicated,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.objects.tasks import new_task
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.contracts import Change
from raftswarm.store.store import Store
from raftswarm.store.writes import StoreWrites
from raftswarm.world.chance import SystemEntropy
from raftswarm.world.clock import SystemWallClock
from raftswarm.world.slices import Slices
from tests.slicing import measure_slices

TASKS = 10_000
NODES = 1_000
PORTS = EndpointSpec(ports=[PortConfig(target_port=80, published_port=80)])
WEB = Service(
    id="web",
    spec=ServiceSpec(
        name="web",
        task_template=TaskSpec(),
        mode=ServiceMode(replicated=Replicated(replicas=TASKS)),
        endpoint_spec=PORTS,
        update_config=UpdateConfig(parallelism=0, order="start-first"),
    ),
    endpoint=Endpoint(spec=PORTS, ports=tuple(PORTS.ports or ())),
)


@attrs.frozen
class Swarm:
    """One large service whose tasks run."""

    store: Store
    nodes: Mapping[str, Node]

    @property
    def service(self) -> Service:
        service = self.store.get(Service, "web")
        assert service is not None
        return service

    @property
    def tasks(self) -> list[Task]:
        return list(self.store.find(Task))

    def waiting(self, state: TaskState) -> list[Task]:
        return [replace(task, node_id="", status=TaskStatus(state=state)) for task in self.tasks]


@pytest.fixture(scope="module")
def swarm() -> Swarm:
    store = Store()
    log = LoneProposer(store)

    def put(*things: AnyObject) -> None:
        for start in range(0, len(things), 200):
            transaction = store.begin()
            for thing in things[start : start + 200]:
                transaction.create(thing)
            log.apply(encode(transaction.change_set()))

    put(WEB)
    put(*(Node(id=f"n{number:04}", state=NodeState.READY) for number in range(NODES)))
    running = TaskStatus(state=TaskState.RUNNING, address="127.0.0.1")
    put(
        *(
            replace(
                new_task(WEB, task_id=f"t{slot:05}", now=1, slot=slot, node_id=f"n{slot % NODES:04}"), status=running
            )
            for slot in range(1, TASKS + 1)
        )
    )
    return Swarm(store, {node.id: node for node in store.find(Node)})


def plan(swarm: Swarm, service: Service, tasks: list[Task], nodes: Mapping[str, Node] | None = None) -> Slices[object]:
    ids = count()
    nodes = swarm.nodes if nodes is None else nodes
    return plan_service(service, tasks, nodes, now=5, memory=None, new_id=lambda: f"new{next(ids)}")


def spare(work: Slices[object], *, calls_per_task: int) -> object:
    """Do it; a slice may make so many calls for each task of the swarm, where it sorts them."""
    result, calls = measure_slices(work)
    assert calls < calls_per_task * TASKS
    return result


def test_a_service_is_planned_in_slices(swarm: Swarm) -> None:
    service, tasks = swarm.service, swarm.tasks
    down = {node_id: replace(node, state=NodeState.DOWN) for node_id, node in swarm.nodes.items()}
    template = replace(service.spec.task_template, force_update=1)
    updated = replace(service, spec=replace(service.spec, task_template=template), spec_version=9)
    half = ServiceMode(replicated=Replicated(replicas=TASKS // 2))

    spare(plan(swarm, service, []), calls_per_task=3)
    spare(plan(swarm, service, tasks), calls_per_task=3)
    spare(plan(swarm, service, tasks, down), calls_per_task=3)
    spare(plan(swarm, updated, tasks), calls_per_task=3)
    spare(plan(swarm, replace(service, spec=replace(service.spec, mode=half)), tasks), calls_per_task=3)


def test_tasks_are_placed_in_slices(swarm: Swarm) -> None:
    waiting = swarm.waiting(TaskState.PENDING)
    ledger, calls = measure_slices(Ledger.read(swarm.nodes.values(), waiting))
    nowhere, _ = measure_slices(Ledger.read([], waiting))

    actions, more_calls = measure_slices(plan_assignments(ledger, now=5))
    _, calls_for_reasons = measure_slices(plan_assignments(nowhere, now=5))

    assert sum(isinstance(action, AssignTask) for action in actions) == TASKS
    assert max(calls, more_calls, calls_for_reasons) < TASKS


def test_ports_and_routes_are_found_in_slices(swarm: Swarm) -> None:
    new = swarm.waiting(TaskState.NEW)

    spare(plan_allocation([swarm.service], new, {}, now=5), calls_per_task=1)
    (route,), calls = measure_slices(find_routes(swarm.store))

    assert len(route.backends) == TASKS
    assert calls < TASKS


def test_history_is_reaped_in_slices(swarm: Swarm) -> None:
    reaper = Reaper(swarm.store, StoreWrites(swarm.store, LoneProposer(swarm.store)))
    dirty = {("web", slot): None for slot in range(1, TASKS + 1)}

    spare(reaper._plan(dirty), calls_per_task=2)


def test_changes_are_taken_in_in_slices(swarm: Swarm) -> None:
    before = swarm.waiting(TaskState.NEW)
    changes = [Change(old, new, 7) for old, new in zip(before, swarm.tasks, strict=True)]
    ledger, _ = measure_slices(Ledger.read(swarm.nodes.values(), before))
    wall, writes = SystemWallClock(), StoreWrites(swarm.store, LoneProposer(swarm.store))

    spare(Scheduler(swarm.store, writes, wall)._note(changes, ledger, 5), calls_per_task=1)
    spare(Allocator(swarm.store, writes, wall)._note(changes, {}, retry=False), calls_per_task=1)
    spare(Reaper(swarm.store, writes)._note(changes, {}), calls_per_task=1)


def test_tasks_are_listed_and_go_over_links_in_slices(swarm: Swarm) -> None:
    filters = {"desired-state": ["running"], "_up-to-date": ["true"]}
    listed, calls = measure_slices(TaskRequests(swarm.store).list_all(ListTasks(filters=filters)))
    body, calls_to_encode = measure_slices(encode_answer(listed))
    received, calls_to_decode = measure_slices(decode_answer(body))

    assert received == TasksAnswer(tasks=tuple(swarm.tasks))
    assert max(calls, calls_to_encode, calls_to_decode) < TASKS


def test_the_tasks_of_services_are_counted_in_slices(swarm: Swarm) -> None:
    wall, writes = SystemWallClock(), StoreWrites(swarm.store, LoneProposer(swarm.store))
    services = ServiceRequests(swarm.store, writes, SystemEntropy(), wall)

    answer, calls = measure_slices(services.list_all(ListServices(with_counts=True)))

    assert answer.services[0].counts == ServiceTaskCounts(running=TASKS, desired=TASKS)
    assert calls < TASKS
