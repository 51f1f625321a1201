"""Tasks that only exist in memory: for tests, for simulated worlds, and for more tasks than a machine could run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256

import attrs
import trio

from raftswarm.agent.executors.executor import Exited, TaskFailed, TaskRejected
from raftswarm.objects.records import ContainerStatus, NodeDescription, Platform, Task
from raftswarm.objects.specs import PortConfig


class _FakeProcess:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = trio.Event()
        self.exit_code: int | None = None
        """None after the end: lost."""

    def end(self, exit_code: int | None) -> None:
        if not self.ended.is_set():
            self.exit_code = exit_code
            self.ended.set()


class FakeMachine:
    """Where fake tasks run. It outlives the agents: give it to the next one to restart the first."""

    def __init__(self) -> None:
        self.starts: Counter[str] = Counter()
        """How often each task was started; more than once is a bug of the agent."""
        self._processes: dict[str, _FakeProcess] = {}
        self._next_pid = 1000

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the tasks that run, oldest first."""
        return tuple(task_id for task_id, process in self._processes.items() if not process.ended.is_set())

    def end(self, task_id: str, exit_code: int = 0) -> None:
        """End a task by itself."""
        self._processes[task_id].end(exit_code)

    def lose_power(self) -> None:
        """End every task, with nobody to tell how."""
        for process in self._processes.values():
            process.end(None)

    def start(self, task_id: str) -> _FakeProcess:
        """Start a task, or find it."""
        if task_id not in self._processes:
            self._next_pid += 1
            self.starts[task_id] += 1
            self._processes[task_id] = _FakeProcess(self._next_pid)
        return self._processes[task_id]

    def find(self, task_id: str) -> _FakeProcess | None:
        """Find a task that was started and not removed."""
        return self._processes.get(task_id)

    def remove(self, task_id: str) -> None:
        """End and forget a task."""
        process = self._processes.pop(task_id, None)
        if process is not None:
            process.end(137)

    def keep_only(self, task_ids: set[str]) -> None:
        """Remove all others."""
        for task_id in [task_id for task_id in self._processes if task_id not in task_ids]:
            self.remove(task_id)


def _fits(task: Task) -> str:
    """Refuse nothing."""
    del task
    return ""


@attrs.frozen(kw_only=True)
class FakeExecutor:
    """Starts what it is given, after as long as it is told to take."""

    machine: FakeMachine = attrs.field(factory=FakeMachine)
    description: NodeDescription = NodeDescription(
        platform=Platform(architecture="x86_64", os="linux"), nano_cpus=4_000_000_000, memory_bytes=1 << 32
    )
    prepare_seconds: float = 0.0
    start_seconds: float = 0.0
    stop_seconds: float = 0.0
    refuse: Callable[[Task], str] = _fits
    """Returns why a task is rejected; empty if it is not."""

    def describe(self) -> NodeDescription:
        """Describe the machine it pretends to be."""
        return self.description

    async def recover(self, tasks: Sequence[Task]) -> None:
        """End what no record knows."""
        await trio.lowlevel.checkpoint()
        self.machine.keep_only({task.id for task in tasks})

    def controller(self, task: Task) -> FakeController:
        """Return a controller for that task."""
        return FakeController(self, task)


class FakeController:
    """One task in memory."""

    def __init__(self, executor: FakeExecutor, task: Task) -> None:
        self._executor = executor
        self._machine = executor.machine
        self._task = task
        self._address = task.status.address

    @property
    def container(self) -> ContainerStatus | None:
        """The process, once started."""
        process = self._machine.find(self._task.id)
        if process is None:
            return None
        name = sha256(self._task.id.encode()).hexdigest()
        if process.ended.is_set():
            return ContainerStatus(container_id=name, exit_code=process.exit_code or 0)
        return ContainerStatus(container_id=name, pid=process.pid)

    @property
    def address(self) -> str:
        """An address that nobody answers at."""
        return self._address

    @property
    def ports(self) -> tuple[PortConfig, ...]:
        """Host-mode ports, as if bound."""
        endpoint = self._task.endpoint
        return tuple(port for port in endpoint.ports if port.publish_mode == "host") if endpoint else ()

    async def prepare(self) -> None:
        """Take the time it takes."""
        await trio.sleep(self._executor.prepare_seconds)
        if reason := self._executor.refuse(self._task):
            raise TaskRejected(reason)
        digest = sha256(self._task.id.encode()).digest()
        self._address = self._address or f"127.{64 + digest[0] % 64}.{digest[1]}.{1 + digest[2] % 254}"

    async def start(self) -> None:
        """Start it once."""
        if self._machine.find(self._task.id) is None:
            await trio.sleep(self._executor.start_seconds)
        self._machine.start(self._task.id)

    async def wait(self) -> Exited:
        """Wait until `FakeMachine.end`."""
        process = self._machine.find(self._task.id)
        if process is None:
            raise TaskFailed("task: the process has vanished with its machine")
        await process.ended.wait()
        if process.exit_code is None:
            raise TaskFailed("task: its machine stopped", 137)
        return Exited(exit_code=process.exit_code)

    async def stop(self) -> None:
        """End it, after as long as it takes."""
        process = self._machine.find(self._task.id)
        if process is not None and not process.ended.is_set():
            await trio.sleep(self._executor.stop_seconds)
            process.end(143)

    async def remove(self) -> None:
        """Forget it."""
        await trio.lowlevel.checkpoint()
        self._machine.remove(self._task.id)
