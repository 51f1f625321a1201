"""What came of a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

Verdict = Literal["passed", "failed", "skipped"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One case: what differs when it failed, why when it was skipped, how it was compared when that needs a word."""

    name: str
    verdict: Verdict
    details: tuple[str, ...] = ()


def judge(name: str, differences: list[str]) -> Outcome:
    """Return an outcome: passed without differences."""
    return Outcome(name=name, verdict="failed" if differences else "passed", details=tuple(differences))


def compare(name: str, **expected_and_got: tuple[object, object]) -> Outcome:
    """Return an outcome: each keyword names what is compared, and gives what is expected and what came out."""
    return judge(
        name,
        [
            f"{what} is {got}, expected {expected}"
            for what, (expected, got) in expected_and_got.items()
            if expected != got
        ],
    )


def attempt(name: str, check: Callable[[], Outcome]) -> Outcome:
    """Check a case; a member that contradicts itself has failed it."""
    try:
        return check()
    except AssertionError as contradiction:
        return judge(name, [f"the engine stopped: {contradiction}"])
