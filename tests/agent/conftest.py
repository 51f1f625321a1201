"""What the agent takes from its world, made simple."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock
from raftswarm.world.disk import DiskRunner
from raftswarm.world.simulated_disk import SimulatedDisk


class InlineRunner:
    """Runs each job at once."""

    def submit(self, job: Callable[[], object], done: Callable[[BaseException | None], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - the protocol: whatever it raised goes to `done`
            done(error)
        else:
            done(None)


class SeededEntropy:
    """The same bytes in each run."""

    def __init__(self) -> None:
        self._random = Random(1)

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


class CountingClock:
    """A nanosecond later each time it is asked."""

    def __init__(self) -> None:
        self._now = 0

    def now_ns(self) -> int:
        self._now += 1
        return self._now


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


@pytest.fixture
def runner() -> DiskRunner:
    return InlineRunner()


@pytest.fixture
def entropy() -> Entropy:
    return SeededEntropy()


@pytest.fixture
def wall_clock() -> WallClock:
    return CountingClock()
