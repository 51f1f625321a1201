"""Nodes and pending tasks, as schedulers see them."""

from __future__ import annotations

from itertools import count

import pytest
from msgspec.structs import replace

from raftswarm.manager.scheduler.ledger import Ledger
from raftswarm.objects.records import Endpoint, Node, NodeDescription, Service, Task, TaskStatus
from raftswarm.objects.specs import (
    EndpointSpec,
    NodeSpec,
    Placement,
    PlacementPreference,
    PortConfig,
    Reservations,
    Resources,
    SpreadOver,
    TaskSpec,
)
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.store.transaction import StoreTransaction
from raftswarm.store.writes import StoreWrites
from raftswarm.world.slices import in_one_piece


class Yard:
    """A store with nodes and tasks."""

    def __init__(self) -> None:
        self.store = Store()
        self.log = LoneProposer(self.store)
        self.writes = StoreWrites(self.store, self.log)
        self._numbers = count(1)

    def put(self, *things: Node | Task | Service) -> None:
        transaction = self.store.begin()
        for thing in things:
            if transaction.get(type(thing), thing.id) is None:
                transaction.create(thing)
            else:
                transaction.update(thing)
        self.commit(transaction)

    def commit(self, transaction: StoreTransaction) -> None:
        if transaction.changes:
            self.log.apply(encode(transaction.change_set()))

    def node(
        self,
        node_id: str,
        *,
        state: NodeState = NodeState.READY,
        availability: str = "active",
        cpus: int = 0,
        memory: int = 0,
        **labels: str,
    ) -> Node:
        description = NodeDescription(nano_cpus=cpus, memory_bytes=memory)
        spec = NodeSpec(availability=availability, labels=labels)
        self.put(Node(id=node_id, state=state, spec=spec, description=description))
        return self.at(node_id)

    def at(self, node_id: str) -> Node:
        node = self.store.get(Node, node_id)
        assert node is not None
        return node

    def task(
        self,
        *,
        service: str = "web",
        version: int = 0,
        node: str = "",
        slot: int = 1,
        state: TaskState = TaskState.PENDING,
        desired: TaskState = TaskState.RUNNING,
        cpus: int = 0,
        memory: int = 0,
        port: int = 0,
        spread: str = "",
        placement: Placement | None = None,
        spec: TaskSpec | None = None,
    ) -> Task:
        if spread:
            preference = PlacementPreference(spread=SpreadOver(spread_descriptor=spread))
            placement = Placement(preferences=[preference])
        ports = (PortConfig(published_port=port, publish_mode="host"),) if port else ()
        reservations = Reservations(nano_cpus=cpus, memory_bytes=memory)
        task = Task(
            id=f"t{next(self._numbers):03}",
            spec=spec or TaskSpec(resources=Resources(reservations=reservations), placement=placement),
            spec_version=version,
            service_id=service,
            slot=slot,
            node_id=node,
            desired_state=desired,
            status=TaskStatus(state=state, message="pending task scheduling"),
            endpoint=Endpoint(spec=EndpointSpec(), ports=ports),
        )
        self.put(task)
        return task

    def tasks(self, number: int, **same: object) -> list[Task]:
        return [self.task(**same) for _ in range(number)]  # type: ignore[arg-type]  # Fields by name.

    def report(self, task: Task, state: TaskState) -> None:
        stored = self.stored(task)
        self.put(replace(stored, status=replace(stored.status, state=state)))

    def stored(self, task: Task) -> Task:
        stored = self.store.get(Task, task.id)
        assert stored is not None
        return stored

    def ledger(self) -> Ledger:
        return in_one_piece(Ledger.read(self.store.find(Node), self.store.find(Task)))

    def nodes_of(self, tasks: list[Task]) -> list[str]:
        return [self.stored(task).node_id for task in tasks]


@pytest.fixture
def yard() -> Yard:
    return Yard()
