"""How much work a slice is, counted in function calls: the same on every machine, whoever else is busy."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TypeVar

from raftswarm.world.slices import OBJECTS_AT_ONCE, Slices

T = TypeVar("T")


def measure_slices(work: Slices[T]) -> tuple[T, int]:
    """Do the work as `run_sliced` would; return its result, and the calls made in the busiest slice."""
    calls = most = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        while True:
            calls = 0
            try:
                for _ in range(OBJECTS_AT_ONCE):
                    next(work)
            except StopIteration as end:
                return end.value, max(most, calls)
            most = max(most, calls)
    finally:
        sys.setprofile(before)
