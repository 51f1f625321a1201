"""The agent finds the leader, keeps a session with it, and its tasks do not care when it is lost (SWARM 7.1, 8.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.agent import Agent, PublishedPorts, TaskRecords, Worker
from raftswarm.agent.executors.fake import FakeExecutor
from raftswarm.errors import ConnectionRefused, LinkClosed, NotLeader, RaftSwarmError, RequestRefused, StorageError
from raftswarm.objects.records import Node, NodeDescription, Task, TaskStatus
from raftswarm.objects.specs import PortConfig, TaskSpec
from raftswarm.objects.states import TaskState
from raftswarm.wire.requests import (
    AnyAnswer,
    AnyRequest,
    Assignments,
    BeatHeart,
    Done,
    GetAssignments,
    HeartBeaten,
    ManagerPeer,
    OpenSession,
    ReportStatus,
    Route,
    SessionMessage,
)
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock
from raftswarm.world.disk import DiskRunner
from raftswarm.world.simulated_disk import SimulatedDisk

PEERS = (ManagerPeer(node_id="n1", address="m1:2377"), ManagerPeer(node_id="n2", address="m2:2377"))


@attrs.define(eq=False)
class FakeDispatcher:
    """The dispatchers of all managers, seen from one agent."""

    leader: str = "m1:2377"
    known: list[str] = attrs.field(factory=lambda: ["m1:2377"])
    refusal: RaftSwarmError | None = None
    """What a new session is answered with."""
    silent: bool = False
    """Answers nothing, as a manager that was paused."""
    period: float = 5.0
    tasks: tuple[Task, ...] = ()
    routes: tuple[Route, ...] | None = None
    attempts: list[tuple[float, str]] = attrs.field(factory=list)
    sessions: list[OpenSession] = attrs.field(factory=list)
    beats: list[float] = attrs.field(factory=list)
    reports: list[tuple[tuple[str, TaskStatus], ...]] = attrs.field(factory=list)
    fail_reports: int = 0
    _broken: trio.Event = attrs.field(factory=trio.Event)
    _failure: RaftSwarmError | None = None

    def addresses(self) -> list[str]:
        return self.known

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[FakeManager]:
        self.attempts.append((trio.current_time(), address))
        await trio.lowlevel.checkpoint()
        if not self.leader:
            raise ConnectionRefused("nobody is there")
        yield FakeManager(self, address)

    def break_sessions(self, failure: RaftSwarmError | None = None) -> None:
        """End every stream, with an error or without."""
        self._failure = failure
        self._broken.set()
        self._broken = trio.Event()

    async def wait_broken(self) -> None:
        await self._broken.wait()
        if self._failure is not None:
            raise self._failure


@attrs.frozen(eq=False)
class FakeManager:
    """One of them."""

    all: FakeDispatcher
    address: str

    async def call(self, request: AnyRequest) -> AnyAnswer:
        await self._answer()
        match request:
            case BeatHeart():
                self.all.beats.append(trio.current_time())
                return HeartBeaten(period_seconds=self.all.period)
            case ReportStatus(statuses=statuses):
                if self.all.fail_reports:
                    self.all.fail_reports -= 1
                    raise LinkClosed("the link broke")
                self.all.reports.append(statuses)
                return Done()
            case _:
                raise AssertionError(f"an agent does not call {request}")

    @asynccontextmanager
    async def stream(self, request: AnyRequest) -> AsyncIterator[AsyncIterator[AnyAnswer]]:
        await self._answer()
        match request:
            case OpenSession():
                yield self._session(request)
            case GetAssignments():
                yield self._assignments()
            case _:
                raise AssertionError(f"an agent does not stream {request}")

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.all.silent:
            await trio.sleep_forever()
        if self.address != self.all.leader:
            raise NotLeader("this manager does not lead", address=self.all.leader)

    async def _session(self, request: OpenSession) -> AsyncIterator[AnyAnswer]:
        if self.all.refusal is not None:
            raise self.all.refusal
        self.all.sessions.append(request)
        session_id = request.session_id or f"session{len(self.all.sessions)}"
        yield SessionMessage(
            session_id=session_id, node=Node(id="n1"), managers=PEERS, heartbeat_seconds=self.all.period
        )
        await self.all.wait_broken()

    async def _assignments(self) -> AsyncIterator[AnyAnswer]:
        yield Assignments(complete=True, tasks=self.all.tasks, routes=self.all.routes)
        await trio.sleep_forever()


def make_task(task_id: str) -> Task:
    return Task(
        id=task_id, spec=TaskSpec(), desired_state=TaskState.RUNNING, status=TaskStatus(state=TaskState.ASSIGNED)
    )


@attrs.define
class Machine:
    """What it says of itself may change."""

    hostname: str = "docker1"


@attrs.define(eq=False)
class Setting:
    """An agent and all around it."""

    agent: Agent
    dispatcher: FakeDispatcher
    executor: FakeExecutor
    disk: SimulatedDisk
    published: list[tuple[Route, ...]]
    heard: list[SessionMessage]
    machine: Machine


@pytest.fixture
def setting(disk: SimulatedDisk, runner: DiskRunner, entropy: Entropy, wall_clock: WallClock) -> Setting:
    executor = FakeExecutor()
    published: list[tuple[Route, ...]] = []
    heard: list[SessionMessage] = []
    ports = PublishedPorts(published.append)
    worker = Worker(executor, TaskRecords(disk, runner, "tasks", bytes(32), entropy), wall_clock, ports.set_tasks)
    dispatcher = FakeDispatcher()
    machine = Machine()
    agent = Agent(
        managers=dispatcher,
        worker=worker,
        ports=ports,
        describe=lambda: NodeDescription(hostname=machine.hostname),
        chance=Random(1),
        heard=heard.append,
    )
    return Setting(agent, dispatcher, executor, disk, published, heard, machine)


async def test_an_agent_registers_and_runs_what_it_is_assigned(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    route = Route(service_id="s1", port=PortConfig(target_port=80, published_port=8080))
    setting.dispatcher.tasks, setting.dispatcher.routes = (make_task("a"),), (route,)

    nursery.start_soon(setting.agent.run)
    await setting.agent.wait_registered()
    await trio.sleep(1)

    assert setting.dispatcher.sessions == [OpenSession(description=NodeDescription(hostname="docker1"))]
    assert setting.heard[0].managers == PEERS
    assert setting.executor.machine.running == ("a",)
    assert setting.published == [(route,)]
    [(task_id, status)] = setting.dispatcher.reports[-1]
    assert (task_id, status.state) == ("a", TaskState.RUNNING)


async def test_the_heart_beats_at_once_and_then_as_told(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    nursery.start_soon(setting.agent.run)
    await trio.sleep(11)
    setting.dispatcher.period = 1.0
    await trio.sleep(6.5)

    beats = [round(beat) for beat in setting.dispatcher.beats]
    assert beats == [0, 5, 10, 15, 16, 17]


async def test_a_manager_that_does_not_lead_sends_the_agent_on_to_the_one_that_does(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    setting.dispatcher.leader = "m2:2377"

    nursery.start_soon(setting.agent.run)
    await setting.agent.wait_registered()

    assert setting.dispatcher.attempts == [(0.0, "m1:2377"), (0.0, "m2:2377")]


async def test_managers_that_send_each_other_do_not_keep_the_agent_running(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    setting.dispatcher.refusal = NotLeader("not I", address="m9:2377")
    nursery.start_soon(setting.agent.run)
    await trio.sleep(60)

    assert len(setting.dispatcher.attempts) < 60


async def test_a_lost_session_is_resumed_and_its_tasks_run_on(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    setting.dispatcher.tasks = (make_task("a"),)
    nursery.start_soon(setting.agent.run)
    await trio.sleep(1)
    setting.dispatcher.reports.clear()
    setting.dispatcher.break_sessions(LinkClosed("the leader died"))
    await trio.sleep(1)

    assert [session.session_id for session in setting.dispatcher.sessions] == ["", "session1"]
    assert setting.executor.machine.starts == {"a": 1}
    assert [dict(report)["a"].state for report in setting.dispatcher.reports] == [TaskState.RUNNING]


async def test_a_session_that_was_deposed_is_followed_to_the_new_leader_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    nursery.start_soon(setting.agent.run)
    await trio.sleep(1)
    setting.dispatcher.leader = "m2:2377"
    setting.dispatcher.break_sessions(NotLeader("deposed", address="m2:2377"))
    await trio.sleep(1)

    assert setting.dispatcher.attempts[1:] == [(1.0, "m2:2377")]


async def test_a_refused_session_is_registered_anew(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    nursery.start_soon(setting.agent.run)
    await trio.sleep(1)
    setting.dispatcher.break_sessions(RequestRefused("session invalid", code="InvalidArgument"))
    await trio.sleep(1)

    assert [session.session_id for session in setting.dispatcher.sessions] == ["", ""]


async def test_attempts_slow_down_to_one_in_eight_seconds(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    setting.dispatcher.leader = ""
    nursery.start_soon(setting.agent.run)
    await trio.sleep(600)

    times = [time for time, _ in setting.dispatcher.attempts]
    delays = [after - before for before, after in pairwise(times)]
    assert max(delays) <= 8
    assert sum(times < 1 for times in times) >= 3
    assert 3 < sum(delays[20:]) / len(delays[20:]) < 5


async def test_a_session_that_stands_ends_the_slow_down(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    setting.dispatcher.leader = ""
    nursery.start_soon(setting.agent.run)
    await trio.sleep(100)
    setting.dispatcher.leader = "m1:2377"
    await setting.agent.wait_registered()
    await trio.sleep(0.1)
    setting.dispatcher.break_sessions()

    before = trio.current_time()
    await trio.sleep(0.2)

    assert setting.dispatcher.attempts[-1][0] - before < 0.1
    assert len(setting.dispatcher.sessions) == 2


async def test_a_silent_manager_is_given_up_after_five_seconds(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    nursery.start_soon(setting.agent.run)
    await trio.sleep(1)
    setting.dispatcher.silent = True
    await trio.sleep(10)
    setting.dispatcher.silent = False
    await trio.sleep(6)

    assert setting.dispatcher.attempts[1][0] == pytest.approx(10, abs=0.2)  # The beat at 5 s had no answer until 10 s.
    assert len(setting.dispatcher.sessions) == 2


async def test_a_report_is_made_until_it_is_delivered(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    setting.dispatcher.tasks = (make_task("a"),)
    setting.dispatcher.fail_reports = 3
    nursery.start_soon(setting.agent.run)
    await trio.sleep(10)

    assert dict(setting.dispatcher.reports[-1])["a"].state is TaskState.RUNNING


async def test_a_machine_that_changed_is_described_anew_in_the_same_session(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    nursery.start_soon(setting.agent.run)
    await trio.sleep(30)
    setting.machine.hostname = "renamed"
    await trio.sleep(20)

    assert [(session.description.hostname, session.session_id) for session in setting.dispatcher.sessions] == [
        ("docker1", ""),
        ("renamed", "session1"),
    ]


async def test_an_agent_without_managers_waits_for_some(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    setting.dispatcher.known = []
    nursery.start_soon(setting.agent.run)
    await trio.sleep(60)
    setting.dispatcher.known = ["m1:2377"]

    with trio.fail_after(9):
        await setting.agent.wait_registered()


async def test_an_agent_that_cannot_record_its_tasks_stops_and_says_why(
    autojump_clock: MockClock, setting: Setting
) -> None:
    setting.dispatcher.tasks = (make_task("a"),)
    setting.disk.fail_from_now(OSError(28, "No space left on device"))

    with pytest.raises(StorageError, match="No space left"):
        await setting.agent.run()


async def test_a_node_that_leaves_stops_its_tasks(
    nursery: trio.Nursery, autojump_clock: MockClock, setting: Setting
) -> None:
    setting.dispatcher.tasks = (make_task("a"),)
    nursery.start_soon(setting.agent.run)
    await trio.sleep(1)

    await setting.agent.stop_tasks()

    assert setting.executor.machine.running == ()
    await wait_all_tasks_blocked()
