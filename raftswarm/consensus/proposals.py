"""Commands on their way into the log, and who waits for what comes of them.

The one big idea: the unit is the run. Commands that were proposed together, or one after another by single callers,
stand in one list beside whoever waits for their results. A batch takes from the front what fits and notes whose it is,
run by run, so no command needs an object of its own on its way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Protocol

import attrs

from raftswarm.errors import Overloaded, PayloadTooLarge, RaftSwarmError
from raftswarm.wire.batch import LENGTH_BYTES, MAX_BATCH_BYTES, MAX_BATCH_COMMANDS, MAX_COMMAND_BYTES

MAX_WAITING_COMMANDS = 65_536
MAX_WAITING_BYTES = 64 * 1024 * 1024


class Waiter(Protocol):
    """Whoever waits for one outcome; told exactly once."""

    def complete(self, result: object) -> None:
        """Succeed with the state machine's result, the configuration's or the read's index, or the new leader."""
        ...

    def fail(self, error: RaftSwarmError) -> None:
        """Fail: nothing happened, or the outcome is unknown, as the error's type says."""
        ...


class Proposers(Protocol):
    """Whoever waits for the results of a run; told of each of its commands exactly once, in any order."""

    def settle(self, first: int, results: Sequence[object], failed: Mapping[int, RaftSwarmError]) -> None:
        """Take the results of the commands from place `first` of the run on.

        `failed` has the errors of those that were refused, by their place among the results, which is empty there.
        """
        ...

    def fail(self, first: int, count: int, error: RaftSwarmError) -> None:
        """So many commands, from place `first` on, fail alike."""
        ...


NOBODY_FAILED: Mapping[int, RaftSwarmError] = {}


class SingleCallers:
    """Callers that proposed one command each: a run of theirs."""

    __slots__ = ("waiters",)

    def __init__(self, waiters: list[Waiter]) -> None:
        self.waiters = waiters

    def settle(self, first: int, results: Sequence[object], failed: Mapping[int, RaftSwarmError]) -> None:
        """Tell each its own."""
        waiters = self.waiters[first : first + len(results)]
        if not failed:
            for waiter, result in zip(waiters, results, strict=True):
                waiter.complete(result)
            return
        for place, (waiter, result) in enumerate(zip(waiters, results, strict=True)):
            error = failed.get(place)
            if error is None:
                waiter.complete(result)
            else:
                waiter.fail(error)

    def fail(self, first: int, count: int, error: RaftSwarmError) -> None:
        """Tell all of them."""
        for waiter in self.waiters[first : first + count]:
            waiter.fail(error)


@attrs.define(eq=False)
class Part:
    """Neighbouring commands of one batch that belong to one run."""

    proposers: Proposers
    first: int
    """Place of the first of them in the run."""
    count: int


@attrs.frozen(eq=False)
class Proposals:
    """Who waits for the commands of one batch, or for whatever else one entry of the log holds."""

    commands: Sequence[bytes] = ()
    parts: Sequence[Part] = ()

    @classmethod
    def of_one(cls, waiter: Waiter) -> Proposals:
        """Return those of a single caller, who proposes something that is no command."""
        return cls(parts=(Part(SingleCallers([waiter]), 0, 1),))

    @property
    def count(self) -> int:
        """How many commands are waited for."""
        return sum(part.count for part in self.parts)

    def settle(self, begin: int, results: Sequence[object], failed: Mapping[int, RaftSwarmError]) -> None:
        """Hand out the results of the batch's commands from place `begin` on; `failed` as of `Proposers.settle`."""
        end = begin + len(results)
        place = 0
        for part in self.parts:
            low, high = max(begin, place), min(end, place + part.count)
            if low < high:
                skipped = low - begin
                part.proposers.settle(
                    part.first + low - place,
                    results if high - low == len(results) else results[skipped : high - begin],
                    {at - skipped: error for at, error in failed.items() if low <= at + begin < high}
                    if failed
                    else failed,
                )
            place += part.count

    def fail_from(self, begin: int, error: RaftSwarmError) -> None:
        """Fail the batch's commands from place `begin` on."""
        for part in self.parts:
            skipped = min(begin, part.count)
            part.proposers.fail(part.first + skipped, part.count - skipped, error)
            begin -= skipped


@attrs.define(eq=False)
class _Run:
    commands: Sequence[bytes]
    proposers: Proposers
    first: int
    """Place of the first of these commands among the proposers'."""
    taken: int = 0


class ProposalQueue:
    """Commands that wait for a turn, or for room in the leader's uncommitted tail. Only a full queue refuses."""

    def __init__(self) -> None:
        self._runs: deque[_Run] = deque()
        self._open_commands: list[bytes] | None = None
        """Of the newest run, if single callers may still join it."""
        self._open_waiters: list[Waiter] = []
        self._count = 0
        self._bytes = 0

    def __len__(self) -> int:
        """How many commands wait."""
        return self._count

    @property
    def size(self) -> int:
        """How many bytes they have together."""
        return self._bytes

    def add(self, command: bytes, waiter: Waiter) -> None:
        """Queue one command, or refuse it."""
        size = len(command)
        held = self._bytes + size
        if (
            size > MAX_COMMAND_BYTES
            or self._count >= MAX_WAITING_COMMANDS
            or (held > MAX_WAITING_BYTES and self._bytes)
        ):
            waiter.fail(self._refusal(size))
            return
        self._count += 1
        self._bytes = held
        if self._open_commands is None:
            self._open_commands = [command]
            self._open_waiters = [waiter]
            self._runs.append(_Run(self._open_commands, SingleCallers(self._open_waiters), 0))
        else:
            self._open_commands.append(command)
            self._open_waiters.append(waiter)

    def add_run(self, commands: Sequence[bytes], proposers: Proposers) -> None:
        """Queue commands that belong together, in order; those that are refused fail, and the others go their way."""
        if not commands:
            return
        self._open_commands = None
        size = sum(map(len, commands))
        if max(map(len, commands)) <= MAX_COMMAND_BYTES and not self._is_full(len(commands), size):
            self._add_run(commands, proposers, 0, size)
            return
        for place, command in enumerate(commands):
            size = len(command)
            if size > MAX_COMMAND_BYTES or self._is_full(1, size):
                proposers.fail(place, 1, self._refusal(size))
            else:
                self._add_run([command], proposers, place, size)

    def _add_run(self, commands: Sequence[bytes], proposers: Proposers, first: int, size: int) -> None:
        self._runs.append(_Run(commands, proposers, first))
        self._count += len(commands)
        self._bytes += size

    def _is_full(self, count: int, size: int) -> bool:
        too_many = self._count + count > MAX_WAITING_COMMANDS
        return too_many or (self._bytes > 0 and self._bytes + size > MAX_WAITING_BYTES)

    def _refusal(self, size: int) -> RaftSwarmError:
        if size > MAX_COMMAND_BYTES:
            return PayloadTooLarge(f"a command of {size} bytes; the most is {MAX_COMMAND_BYTES}")
        return Overloaded(f"{self._count} commands of {self._bytes} bytes wait already; retry when some are answered")

    def take_batch(self, room: float) -> Proposals:
        """Take what fits in a batch of at most `room` bytes once it is encoded; nothing if the first does not fit."""
        self._open_commands = None
        commands: list[bytes] = []
        parts: list[Part] = []
        limit = min(room, MAX_BATCH_BYTES) - LENGTH_BYTES
        while self._runs and len(commands) < MAX_BATCH_COMMANDS:
            run = self._runs[0]
            chunk = run.commands[run.taken : run.taken + MAX_BATCH_COMMANDS - len(commands)]
            fitting = _count_within(chunk, limit)
            if not fitting and not commands and _weigh(chunk[0]) + LENGTH_BYTES <= room:
                fitting = 1  # A batch may be too large for the sake of one command.
            if not fitting:
                break
            chunk = chunk[:fitting]
            size = sum(map(len, chunk))
            limit -= size + LENGTH_BYTES * fitting
            self._bytes -= size
            self._count -= fitting
            commands += chunk
            parts.append(Part(run.proposers, run.first + run.taken, fitting))
            run.taken += fitting
            if run.taken < len(run.commands):
                break
            self._runs.popleft()
        return Proposals(commands, parts)

    def fail_all(self, error: RaftSwarmError) -> None:
        """Fail whatever waits."""
        self._open_commands = None
        self._count = self._bytes = 0
        runs, self._runs = self._runs, deque()
        for run in runs:
            run.proposers.fail(run.first + run.taken, len(run.commands) - run.taken, error)


def _weigh(command: bytes) -> int:
    return len(command) + LENGTH_BYTES


def _count_within(commands: Sequence[bytes], limit: float) -> int:
    """Return how many of the first commands weigh at most so much together."""
    if sum(map(len, commands)) + LENGTH_BYTES * len(commands) <= limit:
        return len(commands)
    return sum(1 for size in accumulate(map(_weigh, commands)) if size <= limit)
