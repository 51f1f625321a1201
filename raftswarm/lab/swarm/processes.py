"""The processes of tasks on a simulated machine: they outlive the daemon, and do what their program does.

A program is known by name, as an image is: `PROGRAMS`, and what a user of the lab adds.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

import attrs
import trio

from raftswarm.lab.swarm.agenda import LoopAgenda
from raftswarm.world.processes import ProcessLost

SPAWN_SECONDS: Final = 0.02
ADOPT_SECONDS: Final = 0.002
_FIRST_PID: Final = 1000


@attrs.frozen(kw_only=True)
class Run:
    """How one run of a program goes."""

    seconds: float | None = None
    """Until it ends by itself; None if it never does."""
    exit_code: int = 0
    """What it ends with then."""
    stops_seconds: float | None = 0.05
    """How long it takes to end once it is told to; None if it does not listen."""


Program = Callable[[Random], Run]
"""Draws a run."""

PROGRAMS: Final[Mapping[str, Program]] = {
    "serve": lambda chance: Run(stops_seconds=chance.uniform(0.01, 0.5)),
    "stubborn": lambda _: Run(stops_seconds=None),
    "crash": lambda _: Run(seconds=0.0, exit_code=1),
    "flaky": lambda chance: Run(seconds=chance.expovariate(1 / 20), exit_code=chance.choice((0, 1, 137))),
    "job": lambda chance: Run(seconds=chance.uniform(0.1, 10.0)),
}


@attrs.define(eq=False)
class SimulatedProcess:
    """One process (`world.processes.Process`)."""

    pid: int
    command: tuple[str, ...]
    environment: Mapping[str, str]
    _run: Run
    _agenda: LoopAgenda
    _ended: Callable[[SimulatedProcess], None]
    exit_code: int | None = None
    """None while it runs, and of one that was lost."""
    _has_ended: trio.Event = attrs.field(factory=trio.Event)

    @property
    def is_running(self) -> bool:
        """Tell whether it does."""
        return not self._has_ended.is_set()

    def begin(self) -> None:
        """Run; called once."""
        if self._run.seconds is not None:
            self._agenda.after(self._run.seconds, self.end, self._run.exit_code)

    async def wait(self) -> int:
        """Return when it has ended: its exit status, 128 + N after signal N. ProcessLost when nobody knows it."""
        await self._has_ended.wait()
        if self.exit_code is None:
            raise ProcessLost
        return self.exit_code

    def signal(self, number: int) -> None:
        """Send a signal; nothing if it has ended."""
        if number == signal.SIGKILL:
            self.end(128 + number)
        elif self._run.stops_seconds is not None:
            self._agenda.after(self._run.stops_seconds, self.end, 128 + number)

    def end(self, exit_code: int | None) -> None:
        """End it, with nobody to tell how if there is no exit code; nothing if it has ended."""
        if self.is_running:
            self.exit_code = exit_code
            self._has_ended.set()
            self._ended(self)


class SimulatedProcesses:
    """One machine's (`world.processes.Processes`), by the directory that each has for itself."""

    def __init__(
        self, agenda: LoopAgenda, chance: Random, programs: Mapping[str, Program], note: Callable[[str], None]
    ) -> None:
        """`note` hears of every beginning and end."""
        self.starts: Counter[str] = Counter()
        """How often something was started in each directory: more than once is a bug of the agent."""
        self._agenda = agenda
        self._chance = chance
        self._programs = programs
        self._note = note
        self._processes: dict[str, SimulatedProcess] = {}
        self._spawned = 0

    @property
    def running(self) -> dict[str, SimulatedProcess]:
        """Those that run, by directory, oldest first."""
        return {directory: process for directory, process in self._processes.items() if process.is_running}

    def lose_power(self) -> None:
        """End all of them, with nobody to tell how."""
        for process in self._processes.values():
            process.end(None)

    # The protocol.

    def find(self, program: str, search_path: str) -> bool:  # noqa: ARG002 - the protocol's
        """Tell whether there is a program of that name."""
        return program in self._programs

    async def spawn(
        self, directory: str, command: Sequence[str], environment: Mapping[str, str], *, working_directory: str = ""
    ) -> SimulatedProcess:
        """Start `command`; whoever is killed meanwhile has started it or has not."""
        del working_directory
        await trio.sleep(self._chance.random() * SPAWN_SECONDS)
        run = self._programs.get(command[0], PROGRAMS["serve"])(self._chance)
        self._spawned += 1
        self.starts[directory] += 1
        process = SimulatedProcess(
            _FIRST_PID + self._spawned, tuple(command), dict(environment), run, self._agenda, self._process_ended
        )
        self._processes[directory] = process
        self._note(f"{directory} runs {' '.join(command)}")
        process.begin()
        await trio.sleep(self._chance.random() * SPAWN_SECONDS)
        return process

    def _process_ended(self, process: SimulatedProcess) -> None:
        for directory, found in self._processes.items():
            if found is process:
                self._note(f"{directory} ended with {process.exit_code}")

    async def adopt(self, directory: str) -> SimulatedProcess | int | None:
        """Find what was spawned there: it runs, it ended with that status, or it never started."""
        await trio.sleep(self._chance.random() * ADOPT_SECONDS)
        process = self._processes.get(directory)
        if process is None or process.is_running:
            return process
        if process.exit_code is None:
            raise ProcessLost
        return process.exit_code

    async def remove(self, directory: str) -> None:
        """Kill whatever of it still runs and forget it; nothing if there is none."""
        await trio.sleep(self._chance.random() * ADOPT_SECONDS)
        process = self._processes.get(directory)
        if process is not None:
            process.end(128 + signal.SIGKILL)
            del self._processes[directory]
