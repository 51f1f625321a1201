"""A swarm in one process: the leader's real loops over one store, whose log is late and forgetful, and toy agents.

Only consensus, links and processes are played. What is played draws from one seeded source, and `run_seeded` orders the
turns by the seed, so that a seed is a run.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from random import Random

import attrs
import trio
from msgspec.structs import replace

from raftswarm.agent.task import Step, Work, next_step
from raftswarm.errors import OutcomeUnknown, RaftSwarmError, Rejected
from raftswarm.lab.swarm_rules import Facts, SwarmRules, check_at_rest
from raftswarm.manager.allocator.loop import Allocator
from raftswarm.manager.control.bootstrap import create_cluster, make_first_node
from raftswarm.manager.control.nodes import NodeRequests
from raftswarm.manager.control.requests import ManagerStatus
from raftswarm.manager.control.services import ServiceRequests
from raftswarm.manager.dispatcher.dispatcher import Dispatcher
from raftswarm.manager.leadership import run_while_leading
from raftswarm.manager.orchestrator.enforcer import ConstraintEnforcer
from raftswarm.manager.orchestrator.loop import Orchestrator
from raftswarm.manager.orchestrator.reaper import Reaper
from raftswarm.manager.scheduler.loop import Scheduler
from raftswarm.objects.records import Cluster, JoinTokens, Node, NodeDescription, Task, TaskStatus
from raftswarm.objects.specs import SwarmSpec
from raftswarm.objects.states import TaskState
from raftswarm.objects.swarm_status import MemberStatus
from raftswarm.raft.state_machine import Context
from raftswarm.store.changes import TableWatch
from raftswarm.store.store import Store, Transaction
from raftswarm.store.writes import StoreWrites
from raftswarm.wire.requests import BeatHeart, OpenSession, ReportStatus
from raftswarm.world.chance import SeededEntropy
from raftswarm.world.clock import LoopWallClock

LATENCIES = (0.001, 0.001, 0.004, 0.02, 0.15)


@attrs.define(eq=False)
class _Proposal:
    command: bytes
    done: trio.Event = attrs.field(factory=trio.Event)
    refused: Rejected | OutcomeUnknown | None = None
    result: object = None


class LateLog:
    """The `Proposer` of a leader: commands are applied in order, some time later, or lost with their leader."""

    def __init__(self, store: Store, watch: TableWatch, chance: Random, rules: SwarmRules) -> None:
        self._store = store
        self._watch = watch
        self._chance = chance
        self._rules = rules
        self._clock = LoopWallClock()
        self._queue: deque[_Proposal] = deque()
        self._filled = trio.Event()
        self._time = 0
        self.applied = 0

    async def propose(self, command: bytes) -> object:
        """Wait until it is applied."""
        proposal = _Proposal(command)
        self._queue.append(proposal)
        self._filled.set()
        await proposal.done.wait()
        if proposal.refused is not None:
            raise proposal.refused
        return proposal.result

    async def run(self) -> None:
        while True:
            await self._filled.wait()
            await trio.sleep(self._chance.choice(LATENCIES))
            for _ in range(self._chance.randint(1, len(self._queue)) if self._queue else 0):
                self._apply(self._queue.popleft())
            if not self._queue:
                self._filled = trio.Event()

    def lose_leader(self) -> None:
        """Some of what is on its way is committed by the next leader, before it does anything; the rest is lost."""
        for _ in range(self._chance.randint(0, len(self._queue))):
            self._apply(self._queue.popleft())
        while self._queue:
            lost = self._queue.popleft()
            lost.refused = OutcomeUnknown("the leader is gone")
            lost.done.set()

    def _apply(self, proposal: _Proposal) -> None:
        self.applied += 1
        self._time = max(self._time + 1, self._clock.now_ns())
        context = Context(command_number=self.applied, time_ns=self._time, index=self.applied, term=1)
        try:
            proposal.result = self._store.apply(proposal.command, context)
        except Rejected as refused:
            proposal.refused = refused
        proposal.done.set()
        self._rules.observe("manager", self.applied, self._watch._take(), self._store)


class Leadership:
    """Tells when this manager leads, as it is told."""

    def __init__(self) -> None:
        self._gained, self._lost = trio.Event(), trio.Event()

    def gain(self) -> None:
        self._lost = trio.Event()
        self._gained.set()

    def lose(self) -> None:
        self._gained = trio.Event()
        self._lost.set()

    async def wait_gained(self) -> None:
        await self._gained.wait()

    async def wait_lost(self) -> None:
        await self._lost.wait()


@attrs.define(eq=False)
class _LocalTask:
    task: Task
    desired: TaskState
    step: Step | None = None
    due: float = math.inf
    ends_at: float = math.inf
    has_process: bool = False


class ToyAgent:
    """Obeys as `agent.task` does, in its own time. Its machine may lose power or touch, and processes may end.

    What a task does follows from its image: `bad` fails at once, `flaky` later, `short` completes, others run on.
    """

    def __init__(self, swarm: SmallSwarm, node_id: str, description: NodeDescription) -> None:
        self._swarm = swarm
        self._chance = swarm.chance
        self.node_id = node_id
        self.description = description
        self.is_in_touch = True
        self.tasks: dict[str, _LocalTask] = {}
        self._session_id = ""
        self._is_registered = False
        self._unreported: dict[str, TaskStatus] = {}

    async def run(self) -> None:
        while self._swarm.agents.get(self.node_id) is self:
            await trio.sleep(self._chance.uniform(0.02, 0.4))
            for local in list(self.tasks.values()):
                self._advance(local)
            if self.is_in_touch:
                try:
                    await self._talk(self._swarm.dispatcher)
                except RaftSwarmError:
                    self._is_registered = False  # The leader has changed, or has given this node up meanwhile.

    def lose_power(self) -> None:
        """Every process is gone; the record of the tasks is not."""
        for local in self.tasks.values():
            if local.has_process and not local.task.status.state.is_terminal:
                local.has_process = False
                self._observe(local, TaskState.FAILED, "the machine lost power")

    def processes(self) -> list[str]:
        return [task_id for task_id, local in self.tasks.items() if local.has_process]

    def describe(self, description: NodeDescription) -> None:
        """The machine has changed."""
        self.description = description
        self._is_registered = False

    async def _talk(self, dispatcher: Dispatcher) -> None:
        if not self._is_registered:
            request = OpenSession(description=self.description, session_id=self._session_id)
            async with dispatcher.open_session(self.node_id, "10.0.0.1:7", request) as messages:
                self._session_id = (await anext(messages)).session_id
            self._is_registered = True
            for local in self.tasks.values():
                if local.task.status.state > TaskState.ASSIGNED:
                    self._unreported[local.task.id] = local.task.status
        dispatcher.beat_heart(self.node_id, BeatHeart(session_id=self._session_id))
        self._fetch()
        if self._unreported:
            statuses = tuple(self._unreported.items())
            await dispatcher.report_status(self.node_id, ReportStatus(session_id=self._session_id, statuses=statuses))
            self._unreported.clear()

    def _fetch(self) -> None:
        named = {}
        for task in self._swarm.store.tasks_of_node(self.node_id):
            if task.status.state >= TaskState.ASSIGNED:
                named[task.id] = task
        for task_id, task in named.items():
            local = self.tasks.setdefault(task_id, _LocalTask(task, task.desired_state))
            local.desired = max(local.desired, task.desired_state)
        for task_id, local in list(self.tasks.items()):
            if task_id in named:
                continue
            local.desired = TaskState.REMOVE
            if local.task.status.state.is_terminal:
                del self.tasks[task_id]
                self._unreported.pop(task_id, None)

    def _advance(self, local: _LocalTask) -> None:
        now = trio.current_time()
        step = next_step(local.task.status.state, local.desired)
        if step != local.step:
            local.step = step
            local.due = now + self._duration(local, step) if step is not None else math.inf
        if step is None or now < local.due:
            return
        image = self._swarm.image_of(local.task)
        if step.work is Work.START and image.startswith("bad"):
            self._observe(local, TaskState.FAILED, "task: non-zero exit (1)")
        elif step.work is Work.WAIT and image.startswith("flaky"):
            self._observe(local, TaskState.FAILED, "task: non-zero exit (137)")
        else:
            self._observe(local, step.done, step.message)
        local.has_process = local.task.status.state is TaskState.RUNNING

    def _duration(self, local: _LocalTask, step: Step | None) -> float:
        match step.work if step is not None else Work.NONE:
            case Work.PREPARE:
                return self._chance.choice([0.0, 0.1, 2.0])
            case Work.WAIT if self._swarm.image_of(local.task).startswith(("flaky", "short")):
                return self._chance.choice([0.1, 3.0, 12.0])
            case Work.WAIT:
                return math.inf
            case Work.STOP if local.has_process:
                return self._chance.choice([0.0, 0.3, 3.0, 3.0, 9.0, 75.0])
        return 0.0

    def _observe(self, local: _LocalTask, state: TaskState, message: str) -> None:
        status = TaskStatus(state=state, timestamp=self._swarm.clock.now_ns(), message=message)
        local.task = replace(local.task, status=status)
        self._unreported[local.task.id] = status


class NoMembers:
    """No node of a small swarm has a Raft member."""

    term = 1

    def manager_status(self, _: str) -> ManagerStatus | None:
        return None

    def member_statuses(self) -> list[MemberStatus]:
        return []


class SmallSwarm:
    """One leader after another, and some nodes. `run` serves until cancelled."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.clock = LoopWallClock()
        self.store = Store()
        self.rules = SwarmRules()
        self.agents: dict[str, ToyAgent] = {}
        self.crashes: Counter[str] = Counter()
        """Of loops, which must not have any."""
        self._entropy = SeededEntropy(self.chance)
        self._leadership = Leadership()
        self._open = ExitStack()
        watch = self._open.enter_context(self.store.watch())
        assert isinstance(watch, TableWatch)
        self.log = LateLog(self.store, watch, self.chance, self.rules)
        self.writes = StoreWrites(self.store, self.log)
        self.services = ServiceRequests(self.store, self.writes, self._entropy, self.clock)
        self.nodes = NodeRequests(self.store, self.writes, NoMembers(), self.clock)
        self.dispatcher = Dispatcher(
            self.store,
            self.writes,
            node_id="manager",
            managers=list,
            entropy=self._entropy,
            chance=self.chance,
            wall_clock=self.clock,
        )
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.log.run)
            await self.writes.write(self._found)
            nursery.start_soon(run_while_leading, self._leadership, self._loops(), self.crashes)
            self._leadership.gain()
            task_status.started()
            await trio.sleep_forever()

    def _found(self, transaction: Transaction) -> None:
        cluster = Cluster(
            id="cluster",
            spec=SwarmSpec(),
            root_certificate="root",
            root_key="-----KEY OF THE ROOT-----",
            join_tokens=JoinTokens(worker="SWMTKN-1-worker", manager="SWMTKN-1-manager"),
        )
        first = make_first_node(node_id="first", member_id=1, manager_address="first:2377", availability="drain")
        create_cluster(transaction, cluster, first)

    def _loops(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.dispatcher.run,
            Allocator(self.store, self.writes, self.clock).run,
            Orchestrator(self.store, self.writes, self.clock, self._entropy).run,
            Scheduler(self.store, self.writes, self.clock).run,
            ConstraintEnforcer(self.store, self.writes, self.clock).run,
            Reaper(self.store, self.writes).run,
        ]

    # What operators do.

    async def add_node(self, node: Node) -> None:
        await self.writes.write(lambda transaction: transaction.create(node))
        self.agents[node.id] = agent = ToyAgent(self, node.id, node.description)
        assert self._nursery is not None
        self._nursery.start_soon(agent.run)

    async def change_leader(self, seconds: float) -> None:
        """Nobody leads for a while."""
        self._leadership.lose()
        self.log.lose_leader()
        await trio.sleep(seconds)
        self._leadership.gain()

    def image_of(self, task: Task) -> str:
        container = task.spec.container_spec
        return container.image if container is not None else ""

    async def come_to_rest(self) -> None:
        """Wait until nothing has been written for two minutes, and check."""
        assert not self.crashes, "a loop raised what it should not"
        with trio.fail_after(1800):
            before = -1
            while before != self.log.applied:
                before = self.log.applied
                await trio.sleep(120)
        in_touch = {agent.node_id for agent in self.agents.values() if agent.is_in_touch}
        processes = {agent.node_id: agent.processes() for agent in self.agents.values()}
        check_at_rest(self.store, Facts(reachable=in_touch, processes=processes))
