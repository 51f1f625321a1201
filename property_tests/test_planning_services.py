"""Services under random spec changes, crashes of tasks, losses of nodes and changes of leaders (SWARM 4).

The planners run over a real store against toy agents: nothing is faked but time and processes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from raftswarm.manager.allocator.planner import plan_allocation
from raftswarm.manager.loops import Action
from raftswarm.manager.orchestrator.planner import Memory, plan_service
from raftswarm.manager.orchestrator.reaper import plan_reaping
from raftswarm.manager.scheduler.ledger import Ledger
from raftswarm.manager.scheduler.planner import plan_assignments
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.specs import (
    ContainerSpec,
    NodeSpec,
    Replicated,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from raftswarm.objects.states import NodeState, TaskState, UpdateState
from raftswarm.objects.tasks import is_wanted
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.store.transaction import StoreTransaction
from raftswarm.world.slices import in_one_piece

SECOND = 1_000_000_000
BAD = "bad"
"""An image whose tasks fail as soon as they start."""


def service_spec(
    *, image: str = "v1", replicas: int = 3, update: UpdateConfig | None = None, restart: RestartPolicy | None = None
) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        mode=ServiceMode(replicated=Replicated(replicas=replicas)),
        task_template=TaskSpec(container_spec=ContainerSpec(image=image), restart_policy=restart),
        update_config=update,
        rollback_config=update,
    )


class ToySwarm:
    """Managers that plan, and agents that obey, over one store and a clock that is turned by hand."""

    def __init__(self, spec: ServiceSpec, nodes: int = 3) -> None:
        self.now = 1_000 * SECOND
        self.store = Store()
        self.log = LoneProposer(self.store, lambda: self.now)
        self.memory: Memory | None = None
        self.wake_at: int | None = None
        self._numbers = count(1)
        self.put(*(Node(id=f"node{number}", state=NodeState.READY) for number in range(1, nodes + 1)))
        self.put(Service(id="service", spec=spec))

    # The store.

    @property
    def service(self) -> Service:
        service = self.store.get(Service, "service")
        assert service is not None
        return service

    @property
    def tasks(self) -> list[Task]:
        return list(self.store.find(Task))

    def put(self, *objects: Service | Node | Task) -> None:
        transaction = self.store.begin()
        for thing in objects:
            if transaction.get(type(thing), thing.id) is None:
                transaction.create(thing)
            else:
                transaction.update(thing)
        self._commit(transaction)

    def _commit(self, transaction: StoreTransaction) -> None:
        if transaction.changes:
            self.log.apply(encode(transaction.change_set()))

    def write(self, actions: Sequence[Action]) -> None:
        for action in actions:
            transaction = self.store.begin()
            action.write(transaction)
            self._commit(transaction)

    # What users do.

    def update(self, spec: ServiceSpec) -> None:
        service = self.service
        self.put(
            replace(
                service,
                spec=spec,
                spec_version=service.version,
                previous_spec=service.spec,
                previous_spec_version=service.spec_version,
                update_status=None,
            )
        )

    # What managers do.

    def orchestrate(self) -> Sequence[Action]:
        nodes = {node.id: node for node in self.store.find(Node)}
        plan = in_one_piece(
            plan_service(
                self.service,
                self.tasks,
                nodes,
                now=self.now,
                memory=self.memory,
                new_id=lambda: f"task{next(self._numbers):04}",
            )
        )
        self.memory, self.wake_at = plan.memory, plan.wake_at
        self.write(plan.actions)
        return plan.actions

    def place(self) -> None:
        plan = in_one_piece(plan_allocation(self.store.find(Service), self.tasks, {}, now=self.now))
        self.write(plan.actions)
        ledger = in_one_piece(Ledger.read(self.store.find(Node), self.store.find(Task)))
        self.write(in_one_piece(plan_assignments(ledger, now=self.now)))

    def reap(self, limit: int) -> None:
        slots: dict[int, list[Task]] = {}
        for task in self.tasks:
            slots.setdefault(task.slot, []).append(task)
        node_ids = {node.id for node in self.store.find(Node)}
        for slot in slots.values():
            self.write(plan_reaping(slot, self.service, node_ids=node_ids, history_limit=limit))

    # What agents do.

    def report(self, task: Task, state: TaskState) -> None:
        status = replace(task.status, state=state, timestamp=self.now, applied_at=self.now)
        self.put(replace(task, status=status))

    def obey(self, task: Task) -> None:
        """One step of one task, if its node lives."""
        node = self.store.get(Node, task.node_id)
        state = task.status.state
        if node is None or node.state is not NodeState.READY or not TaskState.ASSIGNED <= state <= TaskState.RUNNING:
            return
        if task.desired_state > TaskState.RUNNING:
            self.report(task, TaskState.SHUTDOWN)
        elif state < TaskState.READY:
            self.report(task, TaskState.READY)
        elif task.desired_state is TaskState.RUNNING and state < TaskState.RUNNING:
            container = task.spec.container_spec
            fails = container is not None and container.image == BAD
            self.report(task, TaskState.FAILED if fails else TaskState.RUNNING)

    # Time.

    def settle(self, seconds: int = 600) -> None:
        """Let everybody act until nothing is left to do, for so long at most."""
        end = self.now + seconds * SECOND
        while self.now < end:
            before = len(self.log.commands)
            self.orchestrate()
            self.place()
            for task in self.tasks:
                self.obey(task)
            if len(self.log.commands) == before:
                if self.wake_at is None:
                    return
                self.now = max(self.now + 1, self.wake_at)

    def in_state(self, state: TaskState) -> list[Task]:
        return [task for task in self.tasks if task.status.state is state]

    def image_of(self, task: Task) -> str:
        container = task.spec.container_spec
        return container.image if container is not None else ""


def slots_running(swarm: ToySwarm) -> set[int]:
    return {task.slot for task in swarm.in_state(TaskState.RUNNING)}


def act_in_some_order(swarm: ToySwarm, chance: random.Random) -> None:
    """One turn of somebody."""
    match chance.choice(["orchestrate", "place", "obey", "obey", "obey", "wait", "lead"]):
        case "orchestrate":
            swarm.orchestrate()
        case "place":
            swarm.place()
        case "obey":
            swarm.obey(chance.choice(swarm.tasks))
        case "wait":
            swarm.now += SECOND // 2
        case _:
            swarm.memory = None


@settings(max_examples=60, deadline=None)
@given(
    replicas=st.integers(1, 6),
    parallelism=st.integers(1, 3),
    order=st.sampled_from(["stop-first", "start-first"]),
    delay=st.sampled_from([0, SECOND]),
    seed=st.integers(0, 2**32),
)
def test_an_update_never_has_more_slots_down_than_it_may(
    replicas: int, parallelism: int, order: str, delay: int, seed: int
) -> None:
    update = UpdateConfig(parallelism=parallelism, order=order, delay=delay, failure_action="continue")
    swarm = ToySwarm(service_spec(replicas=replicas, update=update))
    swarm.settle()
    swarm.update(service_spec(image="v2", replicas=replicas, update=update))
    may_be_down = parallelism if order == "stop-first" else 0
    chance = random.Random(seed)

    for _ in range(150):
        act_in_some_order(swarm, chance)

        assert replicas - len(slots_running(swarm)) <= may_be_down
        new = {task.slot for task in swarm.tasks if swarm.image_of(task) == "v2"}
        new_and_up = {task.slot for task in swarm.in_state(TaskState.RUNNING) if swarm.image_of(task) == "v2"}
        assert len(new - new_and_up) <= parallelism
        if order == "stop-first":
            running = swarm.in_state(TaskState.RUNNING)
            assert len({task.slot for task in running}) == len(running), "one stops before the next one starts"

    swarm.settle()
    assert [swarm.image_of(task) for task in swarm.in_state(TaskState.RUNNING)] == ["v2"] * replicas
    status = swarm.service.update_status
    assert status is not None
    assert status.state is UpdateState.COMPLETED


@settings(max_examples=40, deadline=None)
@given(
    replicas=st.integers(1, 6),
    parallelism=st.integers(1, 3),
    order=st.sampled_from(["stop-first", "start-first"]),
    seed=st.integers(0, 2**32),
)
def test_an_update_that_fails_is_rolled_back_before_it_spreads(
    replicas: int, parallelism: int, order: str, seed: int
) -> None:
    update = UpdateConfig(parallelism=parallelism, order=order, failure_action="rollback")
    swarm = ToySwarm(service_spec(replicas=replicas, update=update))
    swarm.settle()
    swarm.update(service_spec(image=BAD, replicas=replicas, update=update))
    chance = random.Random(seed)

    for _ in range(100):
        act_in_some_order(swarm, chance)
    swarm.settle()

    assert [swarm.image_of(task) for task in swarm.in_state(TaskState.RUNNING)] == ["v1"] * replicas
    assert len({task.slot for task in swarm.tasks if swarm.image_of(task) == BAD}) <= parallelism
    status = swarm.service.update_status
    assert status is not None
    assert status.state is UpdateState.ROLLBACK_COMPLETED


@settings(max_examples=40, deadline=None)
@given(attempts=st.integers(1, 4), replicas=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_a_task_that_always_fails_is_tried_again_as_often_as_it_may(attempts: int, replicas: int, seed: int) -> None:
    restart = RestartPolicy(condition="any", delay=SECOND, max_attempts=attempts)
    swarm = ToySwarm(service_spec(image=BAD, replicas=replicas, restart=restart))
    swarm.orchestrate()
    chance = random.Random(seed)

    for _ in range(100):
        act_in_some_order(swarm, chance)
    swarm.settle()

    tried = Counter(task.slot for task in swarm.tasks)
    assert tried == dict.fromkeys(range(1, replicas + 1), 1 + attempts)


RESTARTS = st.builds(
    RestartPolicy,
    condition=st.sampled_from(["any", "on-failure"]),
    delay=st.sampled_from([0, SECOND, 5 * SECOND]),
    max_attempts=st.just(None),
)
UPDATES = st.builds(
    UpdateConfig,
    parallelism=st.integers(0, 3),
    delay=st.sampled_from([0, 2 * SECOND]),
    order=st.sampled_from(["", "start-first"]),
    failure_action=st.just("continue"),
)


class Services(RuleBasedStateMachine):
    """Whatever happens, in whatever order, each slot has one task that is to run, and in the end it does."""

    @initialize(replicas=st.integers(0, 5), restart=RESTARTS, update=UPDATES)
    def begin(self, replicas: int, restart: RestartPolicy, update: UpdateConfig) -> None:
        self.spec = service_spec(replicas=replicas, restart=restart, update=update)
        self.swarm = ToySwarm(self.spec)

    def _change(self, spec: ServiceSpec) -> None:
        self.spec = spec
        self.swarm.update(spec)

    @rule()
    def orchestrate(self) -> None:
        self.swarm.orchestrate()

    @rule()
    def planning_again_changes_nothing(self) -> None:
        self.swarm.orchestrate()
        assert self.swarm.orchestrate() == ()

    @rule()
    def place(self) -> None:
        self.swarm.place()

    @rule(limit=st.integers(0, 3))
    def reap(self, limit: int) -> None:
        self.swarm.reap(limit)

    @rule(data=st.data())
    def obey(self, data: st.DataObject) -> None:
        if self.swarm.tasks:
            self.swarm.obey(data.draw(st.sampled_from(self.swarm.tasks)))

    @rule()
    def obey_all(self) -> None:
        for task in self.swarm.tasks:
            self.swarm.obey(task)

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        running = self.swarm.in_state(TaskState.RUNNING)
        if running:
            self.swarm.report(data.draw(st.sampled_from(running)), TaskState.FAILED)

    @rule(seconds=st.integers(1, 10))
    def wait(self, seconds: int) -> None:
        self.swarm.now += seconds * SECOND

    @rule(replicas=st.integers(0, 5))
    def scale(self, replicas: int) -> None:
        self._change(replace(self.spec, mode=ServiceMode(replicated=Replicated(replicas=replicas))))

    @rule(image=st.sampled_from(["v1", "v2", "v3"]), update=UPDATES)
    def change_image(self, image: str, update: UpdateConfig) -> None:
        template = replace(self.spec.task_template, container_spec=ContainerSpec(image=image))
        self._change(replace(self.spec, task_template=template, update_config=update))

    @rule(number=st.integers(2, 3), availability=st.sampled_from(["active", "pause", "drain"]))
    def node_availability(self, number: int, availability: str) -> None:
        node = self.swarm.store.get(Node, f"node{number}")
        assert node is not None
        self.swarm.put(replace(node, spec=NodeSpec(availability=availability)))

    @rule(number=st.integers(2, 3), state=st.sampled_from([NodeState.READY, NodeState.DOWN, NodeState.UNKNOWN]))
    def node_state(self, number: int, state: NodeState) -> None:
        node = self.swarm.store.get(Node, f"node{number}")
        assert node is not None
        self.swarm.put(replace(node, state=state))

    @rule()
    def another_leader(self) -> None:
        self.swarm.memory = None

    @rule()
    def all_is_well_in_the_end(self) -> None:
        for number in (2, 3):
            node = self.swarm.store.get(Node, f"node{number}")
            assert node is not None
            self.swarm.put(replace(node, state=NodeState.READY))
        self.swarm.settle()

        replicated = self.spec.mode.replicated
        assert replicated is not None
        running = self.swarm.in_state(TaskState.RUNNING)
        assert len(running) == replicated.replicas
        assert all(task.spec == self.spec.task_template for task in running)
        assert len({task.slot for task in running}) == len(running)
        status = self.swarm.service.update_status
        assert status is None or status.state is UpdateState.COMPLETED

    @invariant()
    def a_slot_has_one_task_that_is_to_run_or_two_while_it_changes(self) -> None:
        slots: dict[int, list[Task]] = {}
        for task in self.swarm.tasks if hasattr(self, "swarm") else []:
            if is_wanted(task):
                slots.setdefault(task.slot, []).append(task)
        for wanted in slots.values():
            assert len(wanted) <= 2
            assert len({(task.spec_version) for task in wanted}) == len(wanted)


Services.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestServices = Services.TestCase
