"""One task, from its assignment to its end: the progress rule of SWARM 8.3 and the loop that follows it.

Observed state only grows. One operation runs at a time; a raised desired state cancels it, and the rule is asked again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final

import attrs
import msgspec
import trio

from raftswarm.agent.executors.executor import Controller, Executor, TaskFailed, TaskRejected, TryAgain
from raftswarm.objects.records import ContainerStatus, Task, TaskStatus
from raftswarm.objects.states import TaskState
from raftswarm.world.clock import WallClock

logger = logging.getLogger("raftswarm.agent")

RETRY_SECONDS: Final = 1.0


class Work(Enum):
    """What a step asks of the controller."""

    NONE = auto()
    PREPARE = auto()
    START = auto()
    WAIT = auto()
    STOP = auto()


@attrs.frozen
class Step:
    """Work, and the state and message that tell it is done."""

    work: Work
    done: TaskState
    message: str


_STEPS: Final[dict[TaskState, Step]] = {
    TaskState.NEW: Step(Work.NONE, TaskState.ACCEPTED, "accepted"),
    TaskState.PENDING: Step(Work.NONE, TaskState.ACCEPTED, "accepted"),
    TaskState.ASSIGNED: Step(Work.NONE, TaskState.ACCEPTED, "accepted"),
    TaskState.ACCEPTED: Step(Work.NONE, TaskState.PREPARING, "preparing"),
    TaskState.PREPARING: Step(Work.PREPARE, TaskState.READY, "prepared"),
    TaskState.READY: Step(Work.NONE, TaskState.STARTING, "starting"),
    TaskState.STARTING: Step(Work.START, TaskState.RUNNING, "started"),
    TaskState.RUNNING: Step(Work.WAIT, TaskState.COMPLETE, "finished"),
}
_STOP: Final = Step(Work.STOP, TaskState.SHUTDOWN, "shutdown")


def next_step(observed: TaskState, desired: TaskState) -> Step | None:
    """Return what to do next; None while there is nothing to do (SWARM 8.3)."""
    if desired >= TaskState.SHUTDOWN:
        return None if observed >= TaskState.COMPLETE else _STOP
    step = _STEPS.get(observed)
    if observed > desired or step is None:
        return None
    # What has begun is finished, although it leads past the desired state; nothing new is begun at it.
    return None if step.work is Work.NONE and observed >= desired else step


class TaskManager:
    """Owns one task and its controller."""

    def __init__(
        self,
        task: Task,
        executor: Executor,
        wall_clock: WallClock,
        report: Callable[[Task], None],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        """Go on from `task.status`; `report` is given the task with every new status.

        `settle` returns when what was reported is on record. It comes before a start: the next life of the agent has to
        know the address of whatever it finds running.
        """
        self._task = task
        self._executor = executor
        self._wall_clock = wall_clock
        self._report = report
        self._settle = settle
        self._is_retired = False
        self._changed = trio.Event()
        self._operation: trio.CancelScope | None = None

    @property
    def task(self) -> Task:
        """The task as it is now."""
        return self._task

    def update(self, task: Task) -> None:
        """Take over what managers want now; what was observed here stays, and desired states never fall."""
        raised = task.desired_state > self._task.desired_state
        desired = max(task.desired_state, self._task.desired_state)
        self._task = msgspec.structs.replace(task, status=self._task.status, desired_state=desired)
        if raised:
            self._interrupt()

    def retire(self) -> None:
        """The task is no longer ours: stop and remove it, then let `run` return."""
        if not self._is_retired:
            self._is_retired = True
            self._task = msgspec.structs.replace(self._task, desired_state=TaskState.REMOVE)
            self._interrupt()

    async def run(self) -> None:
        """Bring the task where it should be, until it is retired and gone."""
        controller = self._make_controller()
        while True:
            step = next_step(self._task.status.state, self._task.desired_state)
            if controller is not None and step is not None:
                await self._attempt(controller, step)
            elif self._is_retired:
                if controller is None or await self._remove(controller):
                    return
            else:
                await self._wait_change()

    def _interrupt(self) -> None:
        self._changed.set()
        if self._operation is not None:
            self._operation.cancel()

    async def _wait_change(self) -> None:
        await self._changed.wait()
        self._changed = trio.Event()

    def _make_controller(self) -> Controller | None:
        try:
            return self._executor.controller(self._task)
        except Exception as error:
            logger.exception("task %s has no controller", self._task.id)
            if not self._task.status.state.is_terminal:
                self._fail(None, "resolving controller failed", str(error))
            return None

    async def _attempt(self, controller: Controller, step: Step) -> None:
        """Do a step. A failure is final, except of a stop: who reports an end too early gets a second task."""
        with trio.CancelScope() as self._operation:
            try:
                await self._do(controller, step.work)
            except (TryAgain, trio.TooSlowError) as error:
                await self._try_later(controller, str(error) or "timed out")
            except (TaskRejected, TaskFailed) as error:
                code = error.exit_code if isinstance(error, TaskFailed) else 0
                self._fail(controller, self._task.status.message, str(error), code)
            except Exception as error:
                logger.exception("task %s: %s failed", self._task.id, step.work.name.lower())
                if step.work is Work.STOP:
                    await self._try_later(controller, str(error))
                else:
                    self._fail(controller, self._task.status.message, str(error) or type(error).__name__)
            else:
                self._observe(controller, step.done, step.message)
        self._operation = None

    async def _do(self, controller: Controller, work: Work) -> None:
        match work:
            case Work.NONE:
                pass
            case Work.PREPARE:
                await controller.prepare()
            case Work.START:
                await self._settle()
                await controller.start()
            case Work.WAIT:
                exited = await controller.wait()
                if exited.exit_code:
                    more = f": {exited.message}" if exited.message else ""
                    raise TaskFailed(f"task: non-zero exit ({exited.exit_code}){more}", exited.exit_code)
            case Work.STOP:
                await controller.stop()

    async def _try_later(self, controller: Controller, reason: str) -> None:
        status = self._task.status
        if status.error != reason:
            self._observe(controller, status.state, status.message, reason)
        await trio.sleep(RETRY_SECONDS)

    async def _remove(self, controller: Controller) -> bool:
        try:
            await controller.remove()
        except Exception:
            logger.exception("task %s could not be removed", self._task.id)
            await trio.sleep(RETRY_SECONDS)
            return False
        return True

    def _fail(self, controller: Controller | None, message: str, error: str, exit_code: int = 0) -> None:
        before_start = self._task.status.state < TaskState.STARTING
        state = TaskState.REJECTED if before_start else TaskState.FAILED
        self._observe(controller, state, message, error, exit_code)

    def _observe(
        self, controller: Controller | None, state: TaskState, message: str, error: str = "", exit_code: int = 0
    ) -> None:
        assert state >= self._task.status.state, "an observed state never falls"
        before = self._task.status
        container = controller.container if controller is not None and state >= TaskState.STARTING else before.container
        if exit_code:
            container = msgspec.structs.replace(container or ContainerStatus(), exit_code=exit_code)
        status = TaskStatus(
            state=state,
            timestamp=self._wall_clock.now_ns(),
            message=message,
            error=error,
            container=container,
            ports=controller.ports if controller is not None and state >= TaskState.STARTING else before.ports,
            address=controller.address if controller is not None else before.address,
        )
        self._task = msgspec.structs.replace(self._task, status=status)
        self._report(self._task)
