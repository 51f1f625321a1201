"""One service in the middle of its life, to plan for."""

from __future__ import annotations

from itertools import count

import pytest
from msgspec.structs import replace

from raftswarm.manager.loops import Action
from raftswarm.manager.orchestrator.draft import Draft
from raftswarm.manager.orchestrator.planner import Memory, Plan, plan_service
from raftswarm.objects.records import JobStatus, Node, Service, Task, TaskStatus, UpdateStatus
from raftswarm.objects.specs import (
    ContainerSpec,
    Global,
    NodeSpec,
    Placement,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from raftswarm.objects.states import NodeState, TaskState, UpdateState
from raftswarm.objects.tasks import age, is_wanted, new_task
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.store.transaction import StoreTransaction
from raftswarm.store.writes import StoreWrites
from raftswarm.world.slices import in_one_piece

SECOND = 1_000_000_000


class Scene:
    """A service, its tasks and three nodes in a real store; plans are written at once."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND
        self.store = Store()
        self.memory: Memory | None = Memory()
        self.log = LoneProposer(self.store, lambda: self.now + len(self.log.commands))
        self.writes = StoreWrites(self.store, self.log)
        self._numbers = count(1)
        for number in (1, 2, 3):
            self.put(Node(id=f"n{number}", state=NodeState.READY))
        self.put(Service(id="web", spec=ServiceSpec(name="web", task_template=self._template("v1"))))
        self.replicas(1)

    def put(self, thing: Node | Service | Task) -> None:
        transaction = self.store.begin()
        if transaction.get(type(thing), thing.id) is None:
            transaction.create(thing)
        else:
            transaction.update(thing)
        self.commit(transaction)

    def commit(self, transaction: StoreTransaction) -> None:
        if transaction.changes:
            self.log.apply(encode(transaction.change_set()))

    def write(self, action: Action) -> None:
        transaction = self.store.begin()
        action.write(transaction)
        self.commit(transaction)

    # The service.

    @property
    def service(self) -> Service:
        service = self.store.get(Service, "web")
        assert service is not None
        return service

    def _template(self, image: str, restart: RestartPolicy | None = None) -> TaskSpec:
        return TaskSpec(container_spec=ContainerSpec(image=image), restart_policy=restart)

    def _change(self, **changes: object) -> None:
        self.put(replace(self.service, spec=replace(self.service.spec, **changes)))

    def replicas(self, number: int) -> None:
        self._change(mode=ServiceMode(replicated=Replicated(replicas=number)))

    def be_global(self) -> None:
        self._change(mode=ServiceMode(global_=Global()))

    def be_job(self, *, concurrent: int, total: int) -> None:
        """A replicated job in its first run."""
        self._begin_job(ServiceMode(replicated_job=ReplicatedJob(max_concurrent=concurrent, total_completions=total)))

    def be_global_job(self) -> None:
        self._begin_job(ServiceMode(global_job=Global()))

    def _begin_job(self, mode: ServiceMode) -> None:
        self._change(mode=mode)
        self.put(replace(self.service, job_status=JobStatus(last_execution=self.now)))

    def user_runs_again(self) -> None:
        """Any update of a job."""
        status = self.service.job_status
        assert status is not None
        self.put(
            replace(
                self.service,
                spec_version=self.service.version,
                job_status=JobStatus(iteration=status.iteration + 1, last_execution=self.now),
            )
        )

    def user_rolls_back_twice(self) -> None:
        """Two more runs, the last of which has the spec that the present one has."""
        status = self.service.job_status
        assert status is not None
        self.put(replace(self.service, job_status=replace(status, iteration=status.iteration + 2)))

    def constrain(self, *constraints: str) -> None:
        self._change(
            task_template=replace(self.service.spec.task_template, placement=Placement(constraints=[*constraints]))
        )

    def restart(self, **policy: object) -> None:
        policy_ = RestartPolicy(**policy)  # type: ignore[arg-type]  # Fields by name, as tests give them.
        self._change(task_template=replace(self.service.spec.task_template, restart_policy=policy_))

    def update_config(self, *, rollback: UpdateConfig | None = None, **config: object) -> None:
        self._change(
            update_config=UpdateConfig(**config),  # type: ignore[arg-type]  # Fields by name, as tests give them.
            rollback_config=rollback,
        )

    def user_sets_image(self, image: str) -> None:
        service = self.service
        template = replace(service.spec.task_template, container_spec=ContainerSpec(image=image))
        self.put(
            replace(
                service,
                spec=replace(service.spec, task_template=template),
                spec_version=service.version,
                previous_spec=service.spec,
                previous_spec_version=service.spec_version,
                update_status=None,
            )
        )

    @property
    def update_state(self) -> UpdateState | None:
        status = self.service.update_status
        return status.state if status is not None else None

    @property
    def update_status(self) -> UpdateStatus:
        assert self.service.update_status is not None
        return self.service.update_status

    # Nodes.

    def node(self, node_id: str, *, state: NodeState = NodeState.READY, availability: str = "active") -> None:
        node = self.store.get(Node, node_id)
        assert node is not None
        self.put(replace(node, state=state, spec=NodeSpec(availability=availability)))

    def label_node(self, node_id: str, **labels: str) -> None:
        node = self.store.get(Node, node_id)
        assert node is not None
        self.put(replace(node, spec=replace(node.spec, labels=labels)))

    def delete_node(self, node_id: str) -> None:
        transaction = self.store.begin()
        transaction.delete(Node, node_id)
        self.commit(transaction)

    # Tasks.

    def add(
        self,
        *,
        slot: int = 1,
        node: str = "n1",
        state: TaskState = TaskState.RUNNING,
        desired: TaskState = TaskState.RUNNING,
    ) -> str:
        """A task made a second after the one before."""
        self.now += SECOND
        task = new_task(self.service, task_id=f"t{next(self._numbers):02}", now=self.now, slot=slot, node_id=node)
        status = TaskStatus(state=state, timestamp=self.now, applied_at=self.now)
        self.put(replace(task, desired_state=desired, status=status))
        return task.id

    def task(self, task_id: str) -> Task:
        task = self.store.get(Task, task_id)
        assert task is not None
        return task

    def report(self, task_id: str, state: TaskState) -> None:
        task = self.task(task_id)
        status = replace(task.status, state=state, timestamp=self.now, applied_at=self.now)
        self.put(replace(task, node_id=task.node_id or "n1", status=status))

    def stop_all(self) -> None:
        """Agents do as they are told."""
        for task in self.tasks():
            if not is_wanted(task) and not task.status.state.is_terminal:
                self.report(task.id, TaskState.SHUTDOWN)

    def tasks(self, slot: int | None = None) -> list[Task]:
        """In the order in which they were made."""
        tasks = [task for task in self.store.find(Task) if slot in {None, task.slot}]
        return sorted(tasks, key=age)

    def newest(self, slot: int = 1) -> Task:
        return self.tasks(slot)[-1]

    def wanted(self) -> list[Task]:
        return [task for task in self.tasks() if is_wanted(task)]

    def image_of(self, task: Task) -> str:
        assert task.spec.container_spec is not None
        return task.spec.container_spec.image

    # Plans.

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def plan(self) -> Plan:
        """Plan and write."""
        nodes = {node.id: node for node in self.store.find(Node)}
        plan = in_one_piece(
            plan_service(
                self.service,
                self.store.tasks_of_service("web"),
                nodes,
                now=self.now,
                memory=self.memory,
                new_id=lambda: f"t{next(self._numbers):02}",
            )
        )
        self.memory = plan.memory
        for action in plan.actions:
            self.write(action)
        return plan

    def change_leader(self) -> None:
        self.memory = None

    def draft(self) -> Draft:
        nodes = {node.id: node for node in self.store.find(Node)}
        return in_one_piece(
            Draft.begin(
                self.service,
                self.store.tasks_of_service("web"),
                nodes,
                now=self.now,
                waiting_since={},
                new_id=lambda: f"t{next(self._numbers):02}",
            )
        )


@pytest.fixture
def scene() -> Scene:
    return Scene()
