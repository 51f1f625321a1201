"""Tasks as processes of this machine, which outlive the daemon and are adopted by its next life."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from signal import SIGKILL

import attrs
import msgspec
import trio

from raftswarm.agent.addresses import AddressPool
from raftswarm.agent.disk_jobs import run_on_disk
from raftswarm.agent.executors.executor import Exited, TaskFailed
from raftswarm.agent.executors.plan_run import DEFAULT_PATH, Machine, Run, plan_run, stop_grace_seconds, stop_signal
from raftswarm.agent.executors.templates import Host
from raftswarm.objects.records import ContainerStatus, NodeDescription, Task
from raftswarm.objects.specs import ContainerSpec, PortConfig
from raftswarm.world.disk import Disk, DiskRunner
from raftswarm.world.processes import Process, Processes, ProcessLost


@attrs.frozen(kw_only=True)
class ProcessExecutor:
    """Runs tasks below one directory; each in a directory named by the task's id."""

    processes: Processes
    disk: Disk
    runner: DiskRunner
    directory: str
    addresses: AddressPool
    host: Host
    description: Callable[[], NodeDescription]
    base_environment: Mapping[str, str]
    """What every task inherits: see `minimal_environment`."""
    images: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    """Commands for images that are no executable's name."""

    @property
    def machine(self) -> Machine:
        """What it offers its tasks."""
        search_path = self.base_environment.get("PATH", DEFAULT_PATH)
        return Machine(
            host=self.host,
            images=self.images,
            environment=self.base_environment,
            has_program=lambda program: self.processes.find(program, search_path),
        )

    def describe(self) -> NodeDescription:
        """Describe this machine."""
        return self.description()

    async def recover(self, tasks: Sequence[Task]) -> None:
        """Keep the addresses of these tasks; end and remove whatever else runs below our directory."""
        for task in tasks:
            if task.status.address:
                await self.addresses.keep(task.status.address)
        known = {task.id for task in tasks}
        for name in await run_on_disk(self.runner, lambda: self.disk.list(self.directory)):
            if "." not in name and name not in known:  # Records have a suffix.
                await self.processes.remove(f"{self.directory}/{name}")

    def controller(self, task: Task) -> ProcessController:
        """Return a controller; a task that has an address goes on with it."""
        return ProcessController(self, task)


class ProcessController:
    """One task as a process."""

    def __init__(self, executor: ProcessExecutor, task: Task) -> None:
        self._executor = executor
        self._task = task
        self._directory = f"{executor.directory}/{task.id}"
        self._address = task.status.address
        self._container = task.status.container
        self._found: Process | int | None = None

    @property
    def container(self) -> ContainerStatus | None:
        """The process, once started."""
        return self._container

    @property
    def address(self) -> str:
        """The task's own loopback address."""
        return self._address

    @property
    def ports(self) -> tuple[PortConfig, ...]:
        """The ports to publish on this node only."""
        endpoint = self._task.endpoint
        return tuple(port for port in endpoint.ports if port.publish_mode == "host") if endpoint else ()

    async def prepare(self) -> None:
        """Take an address; see whether it can run here at all."""
        if not self._address:
            self._address = await self._executor.addresses.take()
        stop_signal(self._spec)
        self._plan()

    async def start(self) -> None:
        """Spawn it unless an earlier life did."""
        await self._find()
        if self._found is None:
            run = self._plan()
            program, path = run.command[0], run.environment.get("PATH", DEFAULT_PATH)
            if "/" not in program and not self._executor.processes.find(program, path):
                raise TaskFailed(
                    f'starting container failed: exec: "{program}": executable file not found in $PATH', 127
                )
            try:
                self._found = await self._executor.processes.spawn(
                    self._directory, run.command, run.environment, working_directory=run.working_directory
                )
            except OSError as error:
                raise TaskFailed(f'starting container failed: exec: "{program}": {error.strerror}', 126) from error
        self._note(self._found)

    async def wait(self) -> Exited:
        """Wait for its end, also when it came while nobody looked."""
        await self._find()
        if self._found is None:
            raise TaskFailed("task: the process has vanished with its directory")
        if not isinstance(self._found, int):
            try:
                self._found = await self._found.wait()
            except ProcessLost as error:
                raise _lost() from error
        self._note(self._found)
        return Exited(exit_code=self._found)

    async def stop(self) -> None:
        """Signal it, wait for the grace period, kill it."""
        try:
            await self._find()
            process = self._found
            if process is None or isinstance(process, int):
                return
            process.signal(stop_signal(self._spec))
            with trio.move_on_after(stop_grace_seconds(self._spec)):
                self._note(await process.wait())
                return
            process.signal(SIGKILL)
            self._note(await process.wait())
        except (ProcessLost, TaskFailed):
            pass  # Gone, which is what was wanted.

    async def remove(self) -> None:
        """End it if it runs, delete its directory, give back its address."""
        await self._executor.processes.remove(self._directory)
        self._executor.addresses.give_back(self._address)

    @property
    def _spec(self) -> ContainerSpec:
        return self._task.spec.container_spec or ContainerSpec()

    def _plan(self) -> Run:
        return plan_run(self._task, self._address, self._executor.machine)

    async def _find(self) -> None:
        """Learn once what an earlier life of the agent left here."""
        if self._found is None:
            try:
                self._found = await self._executor.processes.adopt(self._directory)
            except ProcessLost as error:
                raise _lost() from error

    def _note(self, found: Process | int) -> None:
        container = self._container or ContainerStatus(container_id=sha256(self._task.id.encode()).hexdigest())
        if isinstance(found, int):
            self._container = msgspec.structs.replace(container, pid=0, exit_code=found)
        else:
            self._container = msgspec.structs.replace(container, pid=found.pid, exit_code=0)


def _lost() -> TaskFailed:
    return TaskFailed("task: the process was killed with everything around it, or its machine stopped", 137)
