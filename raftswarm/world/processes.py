"""Local processes, for the ``process`` executor. Real ones outlive the daemon that spawned them.

Each process has a directory of its own, named by the caller. What was begun there is found there again by the next life
of the daemon, so that nothing is started twice and no exit status is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class ProcessLost(Exception):
    """It was started and is gone without an exit status: the machine stopped, or something killed its shim too."""


class Process(Protocol):
    """A process that runs, spawned by us or adopted."""

    @property
    def pid(self) -> int:
        """Its process id, which is also its session's."""
        ...

    async def wait(self) -> int:
        """Return when it has ended: its exit status, 128 + N after signal N. ProcessLost when nobody knows it."""
        ...

    def signal(self, number: int) -> None:
        """Send a signal to its whole session; nothing if it has ended."""
        ...


class Processes(Protocol):
    """Spawns and adopts."""

    def find(self, program: str, search_path: str) -> bool:
        """Tell whether `search_path` (``/bin:/usr/bin``) has an executable of that name."""
        ...

    async def spawn(
        self, directory: str, command: Sequence[str], environment: Mapping[str, str], *, working_directory: str = ""
    ) -> Process:
        """Start `command` with its record in `directory`, exactly once even if we are killed at any point.

        Only where `adopt` has answered None. Command and environment are never written to disk. The process begins in
        `working_directory`, by default one of its own within `directory`.
        """
        ...

    async def adopt(self, directory: str) -> Process | int | None:
        """Find what an earlier life spawned there: it runs, it ended with that status, or it never started.

        Raises:
            ProcessLost: it ran and is gone without a status. What was left of its session has been killed.
        """
        ...

    async def remove(self, directory: str) -> None:
        """Kill whatever of it still runs and delete the directory; nothing if there is none."""
        ...
