"""The contract between a task and whatever runs it (SWARM 8.3); each step may be cancelled and asked for again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from raftswarm.objects.records import ContainerStatus, NodeDescription, Task
from raftswarm.objects.specs import PortConfig


class TaskRejected(Exception):
    """The task can never run here; the text is for the user (no such image, bad mount)."""


class TaskFailed(Exception):
    """It ran and went wrong; the text is for the user, such as ``task: non-zero exit (137)``."""

    def __init__(self, message: str, exit_code: int = 0) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class TryAgain(Exception):
    """It did not work now and may work soon (no free address); the text is shown until it does."""


@attrs.frozen(kw_only=True)
class Exited:
    """How a task ended."""

    exit_code: int
    message: str = ""
    """What is known besides, such as ``unhealthy container``."""


class Controller(Protocol):
    """Runs one task. After a restart of the agent, the same calls find what is already done."""

    @property
    def container(self) -> ContainerStatus | None:
        """The process or container, once there is one."""
        ...

    @property
    def address(self) -> str:
        """Where the task listens; empty before `prepare`."""
        ...

    @property
    def ports(self) -> tuple[PortConfig, ...]:
        """Host-mode ports as bound."""
        ...

    async def prepare(self) -> None:
        """Find the image, make directories, take an address; TaskRejected when it cannot be."""
        ...

    async def start(self) -> None:
        """Start it, or adopt what an earlier life of the agent started; exactly once."""
        ...

    async def wait(self) -> Exited:
        """Return when it has ended."""
        ...

    async def stop(self) -> None:
        """Stop signal, grace period, SIGKILL; returns when it is gone."""
        ...

    async def remove(self) -> None:
        """Give back address and directory; ends what still runs."""
        ...


class Executor(Protocol):
    """Makes controllers."""

    def describe(self) -> NodeDescription:
        """This machine: platform, CPUs, memory, plugins. The agent adds host name and TLS facts."""
        ...

    async def recover(self, tasks: Sequence[Task]) -> None:
        """Begin with what an earlier life left: keep what these tasks hold, end and remove everything else. Once."""
        ...

    def controller(self, task: Task) -> Controller:
        """A controller for that task; `task.status` is what was last known of it."""
        ...
