"""A store whose every command the rules see; tests write lawful lives into it by hand, and then one breach."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from typing import Any

from msgspec.structs import replace

from raftswarm.lab.swarm_rules import SwarmRules
from raftswarm.objects.records import (
    AnyObject,
    Cluster,
    Endpoint,
    JoinTokens,
    Node,
    NodeDescription,
    Service,
    Task,
    UpdateStatus,
)
from raftswarm.objects.specs import (
    ContainerSpec,
    EndpointSpec,
    NodeSpec,
    Placement,
    PortConfig,
    Replicated,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    SwarmSpec,
    TaskSpec,
    UpdateConfig,
)
from raftswarm.objects.states import NodeState, TaskState, UpdateState
from raftswarm.objects.tasks import new_task
from raftswarm.raft.state_machine import Context
from raftswarm.store.change_set import encode
from raftswarm.store.changes import TableWatch
from raftswarm.store.store import Store

SECOND = 1_000_000_000
ON_THE_WAY = (TaskState.PENDING, TaskState.ASSIGNED, TaskState.ACCEPTED, TaskState.READY, TaskState.RUNNING)


class Bench:
    """Two ready nodes, n1 and n2, a cluster, and the service web."""

    def __init__(self) -> None:
        self.store = Store()
        self.rules = SwarmRules()
        self.now = 1_000 * SECOND
        self.index = 0
        self._numbers = count(1)
        self._open = ExitStack()
        watch = self._open.enter_context(self.store.watch())
        assert isinstance(watch, TableWatch)
        self._watch = watch
        tokens = JoinTokens(worker="SWMTKN-1-worker", manager="SWMTKN-1-manager")
        self.write(Cluster(id="c1", spec=SwarmSpec(), root_certificate="root", root_key="ROOT-KEY", join_tokens=tokens))
        self.write(make_node("n1"), make_node("n2"))
        self.write(Service(id="web", spec=make_spec(replicas=3)))
        self.pass_commands()

    # Commands.

    def write(self, *things: AnyObject, delete: Sequence[AnyObject] = ()) -> None:
        """One command; what is new is created, what is known replaced by a version made from the present one."""
        transaction = self.store.begin()
        for thing in things:
            known = transaction.get(type(thing), thing.id)
            if known is None:
                transaction.create(thing)
            else:
                transaction.update(replace(thing, version=known.version))
        for thing in delete:
            transaction.delete(type(thing), thing.id)
        self.index += 1
        context = Context(command_number=self.index, time_ns=self.now, index=self.index, term=1)
        self.store.apply(encode(transaction.change_set()), context)
        self.rules.observe("m1", self.index, self._watch._take(), self.store)

    def pass_commands(self) -> None:
        """So many commands that what was before them is no plan's reason any more."""
        for _ in range(25):
            self.write(replace(self.node("n2"), message=str(self.index)))

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    # What is there.

    @property
    def web(self) -> Service:
        service = self.store.get(Service, "web")
        assert service is not None
        return service

    @property
    def cluster(self) -> Cluster:
        assert self.store.cluster is not None
        return self.store.cluster

    def node(self, node_id: str) -> Node:
        node = self.store.get(Node, node_id)
        assert node is not None
        return node

    def task(self, task: Task) -> Task:
        stored = self.store.get(Task, task.id)
        assert stored is not None
        return stored

    # Tasks.

    def new(
        self, *, slot: int = 1, node: str = "", desired: TaskState = TaskState.RUNNING, service: str = "web"
    ) -> Task:
        """A new task, not yet written."""
        owner = self.store.get(Service, service)
        assert owner is not None
        task_id = f"t{next(self._numbers):02}"
        return new_task(
            owner, task_id=task_id, now=self.now, slot=0 if node else slot, node_id=node, desired_state=desired
        )

    def make(self, **kind: Any) -> Task:
        task = self.new(**kind)
        self.write(task)
        return self.task(task)

    def moved(self, task: Task, state: TaskState, node: str = "n1") -> Task:
        """The task in another observed state, not yet written."""
        task = self.task(task)
        status = replace(task.status, state=state, timestamp=self.now, applied_at=self.now)
        if state is TaskState.PENDING:
            service = self.store.get(Service, task.service_id)
            endpoint = service.endpoint if service is not None else None
            return replace(task, status=status, endpoint=endpoint or task.endpoint)
        if task.status.state is TaskState.PENDING and state is TaskState.ASSIGNED:
            return replace(task, status=status, node_id=task.node_id or node)
        return replace(task, status=status)

    def move(self, task: Task, state: TaskState, node: str = "n1") -> Task:
        self.write(self.moved(task, state, node))
        return self.task(task)

    def bring(self, task: Task, state: TaskState, node: str = "n1") -> Task:
        """Through all states on the way up, to RUNNING at most."""
        for on_the_way in ON_THE_WAY:
            if self.task(task).status.state < on_the_way <= state:
                self.move(task, on_the_way, node)
        return self.task(task)

    def run(self, *, on: str = "n1", **kind: Any) -> Task:
        """A new task that runs."""
        return self.bring(self.make(**kind), TaskState.RUNNING, on)

    def wanted(self, task: Task, state: TaskState) -> Task:
        return replace(self.task(task), desired_state=state)

    # Services.

    def user_writes(self, **fields: Any) -> None:
        """The user replaces parts of web's spec."""
        web = self.web
        self.write(
            replace(
                web,
                spec=replace(web.spec, **fields),
                spec_version=web.version,
                previous_spec=web.spec,
                previous_spec_version=web.spec_version,
                update_status=None,
            )
        )

    def update_is(self, state: UpdateState) -> Service:
        """The service with that update state, not yet written."""
        return replace(self.web, update_status=UpdateStatus(state=state, started_at=self.now))


def make_node(
    node_id: str,
    *,
    state: NodeState = NodeState.READY,
    availability: str = "active",
    cpus: int = 4,
    plugins: tuple[tuple[str, str], ...] = (),
    **labels: str,
) -> Node:
    return Node(
        id=node_id,
        spec=NodeSpec(availability=availability, labels=labels),
        state=state,
        description=NodeDescription(hostname=node_id, nano_cpus=cpus * SECOND, memory_bytes=1 << 33, plugins=plugins),
    )


def make_template(
    image: str = "v1", *, cpus: int = 0, restart: RestartPolicy | None = None, **placement: Any
) -> TaskSpec:
    return TaskSpec(
        container_spec=ContainerSpec(image=image),
        restart_policy=restart,
        placement=Placement(**placement) if placement else None,
        resources=Resources(reservations=Reservations(nano_cpus=cpus * SECOND)) if cpus else None,
    )


def make_spec(
    name: str = "web",
    *,
    template: TaskSpec | None = None,
    replicas: int = 1,
    mode: ServiceMode | None = None,
    update: UpdateConfig | None = None,
    ports: Sequence[PortConfig] = (),
) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        task_template=template or make_template(),
        mode=mode or ServiceMode(replicated=Replicated(replicas=replicas)),
        update_config=update,
        endpoint_spec=EndpointSpec(ports=list(ports)) if ports else None,
    )


def given(service: Service, *ports: PortConfig) -> Service:
    """The service with these ports, not yet written."""
    return replace(service, endpoint=Endpoint(spec=service.spec.endpoint_spec or EndpointSpec(), ports=ports))
