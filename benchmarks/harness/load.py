"""A closed loop of commands or reads: as many outstanding as asked, all the time; and what it found.

What is sent is made before the clock starts, and latency is measured by a few of the callers, so that the generator
costs little beside what it measures.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any, Final, Protocol

import attrs
import trio

from benchmarks.harness.statistics import percentile
from raftswarm.errors import RaftSwarmError

CALLERS_OF_MANY: Final = 4
"""Calls of `propose_many` at a time; the outstanding commands are shared out among them."""
TIMED_OF: Final = 16
"""One caller in so many measures how long its calls take."""
RETRY_SECONDS: Final = 0.01
LAG_SECONDS: Final = 0.001
KEY_BYTES: Final = 8


class Target(Protocol):
    """A member or a client."""

    async def propose(self, command: bytes) -> object: ...

    async def propose_many(self, commands: Sequence[bytes]) -> list[object]: ...

    async def query(self, question: bytes) -> object: ...


def make_commands(count: int, size: int) -> list[bytes]:
    """Return commands of that size, each with a key of its own."""
    padding = b"x" * (size - KEY_BYTES)
    return [number.to_bytes(KEY_BYTES, "big") + padding for number in range(count)]


@attrs.frozen(kw_only=True)
class Order:
    """What load to make."""

    mode: str
    """`one`: an await per command; `many`: `propose_many`; `read`: linearizable reads."""
    outstanding: int
    seconds: float
    warm_seconds: float = 1.0
    interval_seconds: float = 0.0
    """Report each interval of that length on its own, too."""
    lag: bool = False
    """Measure how late the loop wakes who sleeps."""


@attrs.define
class Load:
    """One load, from its first command to its last answer."""

    target: Target
    commands: Sequence[bytes]
    order: Order
    acknowledged: int = 0
    failures: int = 0
    is_over: bool = False
    latencies: array[float] = attrs.field(factory=lambda: array("d"))
    lags: array[float] = attrs.field(factory=lambda: array("d"))
    _due: float | None = None
    """When the sleeper is to wake; that it is late by now is a lag, too."""

    async def run(self) -> dict[str, Any]:
        """Make the load; return what was found between the warm-up and the end, and the count of all."""
        intervals: list[dict[str, Any]] = []
        order = self.order
        async with trio.open_nursery() as nursery:
            for caller in self._callers():
                nursery.start_soon(caller)
            if order.lag:
                nursery.start_soon(self._measure_lag)
            await trio.sleep(order.warm_seconds)
            self._forget()
            first, begin = self.acknowledged, perf_counter()
            if order.interval_seconds:
                end = begin + order.seconds
                while perf_counter() < end:
                    intervals.append(await self._interval(order.interval_seconds))
                    self._forget()
            else:
                await trio.sleep(order.seconds)
            count, seconds = self.acknowledged - first, perf_counter() - begin
            found = self._times()
            self.is_over = True
        return {
            "rate": count / seconds,
            "measured_seconds": seconds,
            "acknowledged": self.acknowledged,
            "failures": self.failures,
            "intervals": intervals,
            **found,
        }

    def _forget(self) -> None:
        del self.latencies[:], self.lags[:]

    async def _interval(self, seconds: float) -> dict[str, Any]:
        first, begin = self.acknowledged, perf_counter()
        await trio.sleep(seconds)
        return {"rate": (self.acknowledged - first) / (perf_counter() - begin), **self._times()}

    def _times(self) -> dict[str, float]:
        """Latencies and lags, in milliseconds."""
        found: dict[str, float] = {}
        if self._due is not None:
            self.lags.append(max(0.0, trio.current_time() - self._due))
        for title, seconds in (("latency", self.latencies), ("lag", self.lags)):
            if seconds:
                ordered = sorted(seconds)
                found |= {
                    f"{title}_{name}_ms": percentile(ordered, share) * 1000
                    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
                }
        return found

    async def _measure_lag(self) -> None:
        while not self.is_over:
            self._due = trio.current_time() + LAG_SECONDS
            await trio.sleep_until(self._due)
            self.lags.append(trio.current_time() - self._due)

    def _callers(self) -> Iterator[Callable[[], Awaitable[None]]]:
        order, target = self.order, self.target
        match order.mode:
            case "one":
                for number in range(order.outstanding):
                    yield self._caller(number, target.propose, self.commands[number :: order.outstanding], 1, None)
            case "many":
                callers = min(CALLERS_OF_MANY, order.outstanding)
                size = order.outstanding // callers
                calls = [self.commands[start : start + size] for start in range(0, len(self.commands) - size, size)]
                for number in range(callers):
                    yield self._caller(0, target.propose_many, calls[number::callers], size, [None] * size)
            case "read":
                questions = [command[:KEY_BYTES] for command in self.commands]
                for number in range(order.outstanding):
                    yield self._reader(number, questions[number :: order.outstanding])
            case other:
                raise ValueError(f"no such mode: {other}")

    def _caller(
        self, number: int, call: Callable[[Any], Awaitable[object]], arguments: Sequence[Any], size: int, good: object
    ) -> Callable[[], Awaitable[None]]:
        """A caller that sends one argument after another, each `size` commands, answered by `good` if all is well."""
        is_timed = number % TIMED_OF == 0

        async def keep_calling() -> None:
            begin = 0.0
            for argument in itertools.cycle(arguments):
                if self.is_over:
                    return
                if is_timed:
                    begin = perf_counter()
                try:
                    answers = await call(argument)
                except RaftSwarmError:
                    await self._note_failures(size)
                    continue
                if is_timed:
                    self.latencies.append(perf_counter() - begin)
                if answers == good:
                    self.acknowledged += size
                else:
                    acknowledged = _count_good(answers)
                    self.acknowledged += acknowledged
                    await self._note_failures(size - acknowledged)

        return keep_calling

    def _reader(self, number: int, questions: Sequence[bytes]) -> Callable[[], Awaitable[None]]:
        query = self.target.query

        async def keep_asking() -> None:
            is_timed = number % TIMED_OF == 0
            for question in itertools.cycle(questions):
                if self.is_over:
                    return
                begin = perf_counter()
                try:
                    found = await query(question)
                except RaftSwarmError:
                    await self._note_failures(1)
                    continue
                assert found, "the value is not there: measured something else"
                self.acknowledged += 1
                if is_timed:
                    self.latencies.append(perf_counter() - begin)

        return keep_asking

    async def _note_failures(self, count: int) -> None:
        self.failures += count
        await trio.sleep(RETRY_SECONDS)


def _count_good(answers: object) -> int:
    assert isinstance(answers, Iterable)
    return sum(not isinstance(answer, Exception) for answer in answers)
