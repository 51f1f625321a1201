"""How one task goes from state to state (SWARM 2.1, 8.3)."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.agent.executors.executor import Exited, TaskFailed, TryAgain
from raftswarm.agent.executors.fake import FakeController, FakeExecutor
from raftswarm.agent.task import Step, TaskManager, Work, next_step
from raftswarm.objects.records import Task, TaskStatus
from raftswarm.objects.specs import TaskSpec
from raftswarm.objects.states import TaskState as S
from raftswarm.world.clock import WallClock


@pytest.mark.parametrize(
    ("observed", "desired", "step"),
    [
        (S.NEW, S.RUNNING, Step(Work.NONE, S.ACCEPTED, "accepted")),
        (S.ASSIGNED, S.READY, Step(Work.NONE, S.ACCEPTED, "accepted")),
        (S.ACCEPTED, S.RUNNING, Step(Work.NONE, S.PREPARING, "preparing")),
        (S.PREPARING, S.RUNNING, Step(Work.PREPARE, S.READY, "prepared")),
        (S.READY, S.READY, None),
        (S.READY, S.RUNNING, Step(Work.NONE, S.STARTING, "starting")),
        (S.STARTING, S.RUNNING, Step(Work.START, S.RUNNING, "started")),
        (S.STARTING, S.READY, None),
        (S.RUNNING, S.RUNNING, Step(Work.WAIT, S.COMPLETE, "finished")),
        (S.RUNNING, S.COMPLETE, Step(Work.WAIT, S.COMPLETE, "finished")),
        (S.COMPLETE, S.RUNNING, None),
        (S.FAILED, S.RUNNING, None),
        (S.ASSIGNED, S.SHUTDOWN, Step(Work.STOP, S.SHUTDOWN, "shutdown")),
        (S.RUNNING, S.REMOVE, Step(Work.STOP, S.SHUTDOWN, "shutdown")),
        (S.FAILED, S.SHUTDOWN, None),
        (S.SHUTDOWN, S.REMOVE, None),
    ],
)
def test_the_progress_rule(observed: S, desired: S, step: Step | None) -> None:
    assert next_step(observed, desired) == step


def make_task(desired: S = S.RUNNING, state: S = S.ASSIGNED) -> Task:
    return Task(id="t1", spec=TaskSpec(), desired_state=desired, status=TaskStatus(state=state))


class Reports:
    """What a task manager said, in order."""

    def __init__(self) -> None:
        self.statuses: list[TaskStatus] = []

    def add(self, task: Task) -> None:
        self.statuses.append(task.status)

    @property
    def states(self) -> list[S]:
        return [status.state for status in self.statuses]

    @property
    def last(self) -> TaskStatus:
        return self.statuses[-1]


@pytest.fixture
def reports() -> Reports:
    return Reports()


async def test_a_task_is_reported_at_every_step_in_swarms_words(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    executor = FakeExecutor(prepare_seconds=1, start_seconds=1)
    manager = TaskManager(make_task(), executor, wall_clock, reports.add, trio.lowlevel.checkpoint)

    nursery.start_soon(manager.run)
    await trio.sleep(3)
    executor.machine.end("t1")
    await wait_all_tasks_blocked()

    assert [(status.state, status.message) for status in reports.statuses] == [
        (S.ACCEPTED, "accepted"),
        (S.PREPARING, "preparing"),
        (S.READY, "prepared"),
        (S.STARTING, "starting"),
        (S.RUNNING, "started"),
        (S.COMPLETE, "finished"),
    ]
    timestamps = [status.timestamp for status in reports.statuses]
    assert timestamps == sorted(set(timestamps))


async def test_a_running_task_has_a_process_and_an_address(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    manager = TaskManager(make_task(), FakeExecutor(), wall_clock, reports.add, trio.lowlevel.checkpoint)

    nursery.start_soon(manager.run)
    await trio.sleep(1)

    assert [status.container is not None for status in reports.statuses] == [False, False, False, False, True]
    assert reports.last.address.startswith("127.")
    assert reports.last.container is not None
    assert reports.last.container.pid > 0


async def test_a_task_waits_at_its_desired_state(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    manager = TaskManager(make_task(S.READY), FakeExecutor(), wall_clock, reports.add, trio.lowlevel.checkpoint)
    nursery.start_soon(manager.run)
    await trio.sleep(1)
    assert reports.states[-1:] == [S.READY]

    manager.update(make_task(S.RUNNING))
    await trio.sleep(1)

    assert reports.states[-1:] == [S.RUNNING]


async def test_a_lower_desired_state_is_ignored(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    manager = TaskManager(
        make_task(S.SHUTDOWN, S.RUNNING), FakeExecutor(), wall_clock, reports.add, trio.lowlevel.checkpoint
    )

    manager.update(make_task(S.RUNNING))
    nursery.start_soon(manager.run)
    await trio.sleep(1)

    assert reports.states == [S.SHUTDOWN]


async def test_what_managers_remember_does_not_undo_what_was_seen_here(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    executor = FakeExecutor()
    manager = TaskManager(make_task(), executor, wall_clock, reports.add, trio.lowlevel.checkpoint)
    nursery.start_soon(manager.run)
    await trio.sleep(1)

    manager.update(make_task(state=S.ASSIGNED))
    await trio.sleep(1)

    assert manager.task.status == reports.last
    assert reports.last.state is S.RUNNING
    assert executor.machine.starts["t1"] == 1


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5])
async def test_a_task_can_be_stopped_at_any_step(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports, seconds: float
) -> None:
    executor = FakeExecutor(prepare_seconds=1, start_seconds=1, stop_seconds=0.1)
    manager = TaskManager(make_task(), executor, wall_clock, reports.add, trio.lowlevel.checkpoint)
    nursery.start_soon(manager.run)
    await trio.sleep(seconds)

    manager.update(make_task(S.SHUTDOWN))
    await trio.sleep(0.2)

    assert (reports.last.state, reports.last.message) == (S.SHUTDOWN, "shutdown")
    assert executor.machine.running == ()


async def test_a_task_that_is_refused_is_rejected(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    executor = FakeExecutor(refuse=lambda _: "No such image: web")
    nursery.start_soon(TaskManager(make_task(), executor, wall_clock, reports.add, trio.lowlevel.checkpoint).run)
    await trio.sleep(1)

    assert (reports.last.state, reports.last.message, reports.last.error) == (
        S.REJECTED,
        "preparing",
        "No such image: web",
    )


async def test_a_non_zero_exit_is_a_failure_in_dockers_words(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    executor = FakeExecutor()
    nursery.start_soon(TaskManager(make_task(), executor, wall_clock, reports.add, trio.lowlevel.checkpoint).run)
    await trio.sleep(1)
    executor.machine.end("t1", 137)
    await wait_all_tasks_blocked()

    assert (reports.last.state, reports.last.message, reports.last.error) == (
        S.FAILED,
        "started",
        "task: non-zero exit (137)",
    )
    assert reports.last.container is not None
    assert reports.last.container.exit_code == 137


async def test_a_task_goes_on_where_the_last_agent_left_it(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    executor = FakeExecutor()
    executor.machine.start("t1")

    nursery.start_soon(
        TaskManager(make_task(state=S.STARTING), executor, wall_clock, reports.add, trio.lowlevel.checkpoint).run
    )
    await trio.sleep(1)

    assert reports.states == [S.RUNNING]
    assert executor.machine.starts["t1"] == 1


async def test_a_task_whose_machine_stopped_has_failed(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    nursery.start_soon(
        TaskManager(make_task(state=S.RUNNING), FakeExecutor(), wall_clock, reports.add, trio.lowlevel.checkpoint).run
    )
    await trio.sleep(1)

    assert reports.states == [S.FAILED]


async def test_nothing_starts_before_its_address_is_on_record(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    executor, written = FakeExecutor(), trio.Event()
    nursery.start_soon(TaskManager(make_task(), executor, wall_clock, reports.add, written.wait).run)
    await trio.sleep(1)
    assert (reports.last.state, reports.last.address != "") == (S.STARTING, True)
    assert executor.machine.starts == {}

    written.set()
    await trio.sleep(1)

    assert executor.machine.starts == {"t1": 1}


async def test_a_retired_task_is_stopped_and_removed(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    executor = FakeExecutor()
    manager = TaskManager(make_task(), executor, wall_clock, reports.add, trio.lowlevel.checkpoint)
    ended = trio.Event()

    async def run() -> None:
        await manager.run()
        ended.set()

    nursery.start_soon(run)
    await trio.sleep(1)
    manager.retire()
    await ended.wait()

    assert reports.last.state is S.SHUTDOWN
    assert executor.machine.find("t1") is None


@attrs.frozen(kw_only=True)
class BalkyExecutor(FakeExecutor):
    """Fails each kind of work with these errors first, then does it."""

    failures: dict[str, Sequence[Exception]]

    def controller(self, task: Task) -> BalkyController:
        self.fail("resolve")
        return BalkyController(self, task)

    def fail(self, work: str) -> None:
        if self.failures.get(work):
            error, *self.failures[work] = self.failures[work]
            raise error


class BalkyController(FakeController):
    """Asks its executor first."""

    def __init__(self, executor: BalkyExecutor, task: Task) -> None:
        super().__init__(executor, task)
        self._fail = executor.fail

    async def prepare(self) -> None:
        self._fail("prepare")
        await super().prepare()

    async def start(self) -> None:
        self._fail("start")
        await super().start()

    async def wait(self) -> Exited:
        self._fail("wait")
        return await super().wait()

    async def stop(self) -> None:
        self._fail("stop")
        await super().stop()

    async def remove(self) -> None:
        self._fail("remove")
        await super().remove()


def make_balky(**failures: Sequence[Exception]) -> BalkyExecutor:
    return BalkyExecutor(failures=failures)


async def test_what_may_work_soon_is_tried_again_each_second(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    executor = make_balky(prepare=[TryAgain("no free address"), TryAgain("no free address")])
    nursery.start_soon(TaskManager(make_task(), executor, wall_clock, reports.add, trio.lowlevel.checkpoint).run)

    await trio.sleep(1.5)
    assert (reports.last.state, reports.last.error) == (S.PREPARING, "no free address")
    assert reports.states.count(S.PREPARING) == 2

    await trio.sleep(1)
    assert (reports.last.state, reports.last.error) == (S.RUNNING, "")


@pytest.mark.parametrize("case", [("prepare", S.REJECTED), ("start", S.FAILED), ("wait", S.FAILED)])
async def test_a_failing_executor_fails_the_task_only(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports, case: tuple[str, S]
) -> None:
    work, state = case
    executor = make_balky(**{work: [OSError("the executor is broken")]})
    nursery.start_soon(TaskManager(make_task(), executor, wall_clock, reports.add, trio.lowlevel.checkpoint).run)
    await trio.sleep(1)

    assert (reports.last.state, reports.last.error) == (state, "the executor is broken")


async def test_a_failure_keeps_its_exit_code(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    executor = make_balky(start=[TaskFailed("executable file not found in $PATH", 127)])
    nursery.start_soon(TaskManager(make_task(), executor, wall_clock, reports.add, trio.lowlevel.checkpoint).run)
    await trio.sleep(1)

    assert reports.last.container is not None
    assert reports.last.container.exit_code == 127


async def test_a_stop_that_fails_is_tried_until_it_works(
    nursery: trio.Nursery, autojump_clock: MockClock, wall_clock: WallClock, reports: Reports
) -> None:
    executor = make_balky(stop=[OSError("stuck")], remove=[OSError("stuck")])
    manager = TaskManager(make_task(), executor, wall_clock, reports.add, trio.lowlevel.checkpoint)
    nursery.start_soon(manager.run)
    await trio.sleep(1)

    manager.retire()
    await trio.sleep(0.5)
    assert reports.states[-1:] == [S.RUNNING]
    assert executor.machine.running == ("t1",)

    await trio.sleep(2)
    assert reports.last.state is S.SHUTDOWN
    assert executor.machine.find("t1") is None


@pytest.mark.parametrize(("observed", "state"), [(S.ASSIGNED, S.REJECTED), (S.RUNNING, S.FAILED)])
async def test_a_task_that_no_executor_takes_has_failed(
    nursery: trio.Nursery, wall_clock: WallClock, reports: Reports, observed: S, state: S
) -> None:
    executor = make_balky(resolve=[ValueError("unknown runtime")])
    nursery.start_soon(
        TaskManager(make_task(state=observed), executor, wall_clock, reports.add, trio.lowlevel.checkpoint).run
    )
    await wait_all_tasks_blocked()

    assert (reports.last.state, reports.last.message, reports.last.error) == (
        state,
        "resolving controller failed",
        "unknown runtime",
    )
