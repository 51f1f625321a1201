"""An agent that dies and comes back, over a slow disk and links that break (SWARM 7.4, 8.1, 8.2).

Each task is started once, the next life of the agent knows the address of whatever runs, and in the end managers know
how far each task has come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from raftswarm.agent import PublishedPorts, TaskRecords, Worker
from raftswarm.agent.executors.fake import FakeController, FakeExecutor
from raftswarm.agent.session import Session
from raftswarm.errors import LinkClosed, RaftSwarmError
from raftswarm.objects.records import Node, NodeDescription, Task, TaskStatus
from raftswarm.objects.specs import TaskSpec
from raftswarm.objects.states import TaskState
from raftswarm.wire.requests import (
    AnyAnswer,
    AnyRequest,
    Assignments,
    BeatHeart,
    Done,
    GetAssignments,
    HeartBeaten,
    OpenSession,
    ReportStatus,
    SessionMessage,
)
from raftswarm.world.chance import SeededEntropy
from raftswarm.world.simulated_disk import SimulatedDisk

IDS = tuple("abcde")
LOSS = 0.4
"""Of reports, while links are bad: nobody knows whether they arrived, and the session is over."""
SESSION_SECONDS = 0.5
LIFE_SECONDS = 0.5
DISK_SECONDS = 0.05

_Job = Callable[[], object]
_Done = Callable[[BaseException | None], None]


class SlowRunner:
    """Runs disk jobs in order, each in its time; what is left when it ends is lost."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._jobs: deque[tuple[_Job, _Done]] = deque()
        self._something = trio.Event()

    def submit(self, job: _Job, done: _Done) -> None:
        self._jobs.append((job, done))
        self._something.set()

    async def run(self) -> None:
        while True:
            await self._something.wait()
            self._something = trio.Event()
            while self._jobs:
                await trio.sleep(self._chance.uniform(0.0, DISK_SECONDS))
                job, done = self._jobs.popleft()
                job()
                done(None)


class InlineRunner:
    def submit(self, job: _Job, done: _Done) -> None:
        job()
        done(None)


class TrioWallClock:
    def now_ns(self) -> int:
        return round(trio.current_time() * 1e9)


def make_records(disk: SimulatedDisk, runner: SlowRunner | InlineRunner) -> TaskRecords:
    return TaskRecords(disk, runner, "tasks", bytes(32), SeededEntropy(Random(1)))


@attrs.frozen(kw_only=True)
class WatchedExecutor(FakeExecutor):
    """Looks at what is on record when something starts."""

    disk: SimulatedDisk
    unknown: list[str] = attrs.field(factory=list)
    """What was started while the record lacked its address."""

    def controller(self, task: Task) -> FakeController:
        return WatchedController(self, task, self)


class WatchedController(FakeController):
    def __init__(self, executor: FakeExecutor, task: Task, watched: WatchedExecutor) -> None:
        super().__init__(executor, task)
        self._name = task.id
        self._watched = watched

    async def start(self) -> None:
        known = {task.id: task for task in await make_records(self._watched.disk.copy(), InlineRunner()).load()}
        if self._name not in known or known[self._name].status.address != self.address:
            self._watched.unknown.append(self._name)
        await super().start()


@attrs.define(eq=False)
class Managers:
    """All managers, seen from one agent."""

    chance: Random
    are_far: bool = True
    """Links break and reports get lost."""
    known: dict[str, TaskState] = attrs.field(factory=dict)

    async def call(self, request: AnyRequest) -> AnyAnswer:
        await trio.sleep(self.chance.uniform(0.0, 0.02))
        match request:
            case BeatHeart():
                return HeartBeaten(period_seconds=5.0)
            case ReportStatus(statuses=statuses):
                if self.are_far and self.chance.random() < LOSS:
                    raise LinkClosed("the link broke")
                for task_id, status in statuses:
                    self.known[task_id] = max(status.state, self.known.get(task_id, status.state))
                return Done()
            case _:
                raise AssertionError(f"an agent does not call {request}")

    @asynccontextmanager
    async def stream(self, request: AnyRequest) -> AsyncIterator[AsyncIterator[AnyAnswer]]:
        await trio.lowlevel.checkpoint()
        match request:
            case OpenSession():
                yield self._session()
            case GetAssignments():
                yield self._assignments()
            case _:
                raise AssertionError(f"an agent does not stream {request}")

    async def _session(self) -> AsyncIterator[AnyAnswer]:
        yield SessionMessage(session_id="s", node=Node(id="n1"), managers=(), heartbeat_seconds=5.0)
        if not self.are_far:
            await trio.sleep_forever()
        await trio.sleep(self.chance.expovariate(1.0 / SESSION_SECONDS))

    async def _assignments(self) -> AsyncIterator[AnyAnswer]:
        tasks = tuple(
            Task(id=name, spec=TaskSpec(), desired_state=TaskState.RUNNING, status=TaskStatus(state=TaskState.ASSIGNED))
            for name in IDS
        )
        yield Assignments(complete=True, tasks=tasks)
        await trio.sleep_forever()


async def live(managers: Managers, executor: WatchedExecutor, seconds: float) -> None:
    """One life of the agent: it dies where it stands, and what its disk had not done is not done."""
    async with trio.open_nursery() as machine:
        runner = SlowRunner(managers.chance)
        machine.start_soon(runner.run)
        worker = Worker(executor, make_records(executor.disk, runner), TrioWallClock())
        await machine.start(worker.run)
        with trio.move_on_after(seconds):
            while True:
                session = Session(managers, worker, PublishedPorts(lambda _: None), NodeDescription, lambda _: None)
                with suppress(RaftSwarmError):
                    await session.hold("")
                await trio.sleep(0.1)
        machine.cancel_scope.cancel()
    executor.disk.lose_process()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), lives=st.integers(0, 4))
def test_tasks_start_once_with_their_addresses_on_record_and_managers_know_of_all(seed: int, lives: int) -> None:
    chance = Random(seed)
    managers = Managers(chance)
    executor = WatchedExecutor(disk=SimulatedDisk(), prepare_seconds=0.02, start_seconds=0.02)
    executor.disk.make_directory("tasks")

    async def run() -> None:
        for _ in range(lives):
            await live(managers, executor, chance.expovariate(1.0 / LIFE_SECONDS))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live, managers, executor, 5.0)
            await trio.sleep(2.0)
            managers.are_far = False

    trio.run(run, clock=MockClock(autojump_threshold=0.0))

    assert not executor.unknown, "what runs is known by its address"
    assert executor.machine.starts == dict.fromkeys(IDS, 1)
    assert managers.known == dict.fromkeys(IDS, TaskState.RUNNING)
