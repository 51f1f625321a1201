"""What has to hold at the end of a run, whatever struck: decided from what was seen, without asking anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from raftswarm.lab.chaos.report import Check
from raftswarm.lab.linearizability import MODELS, Operation, Outcome, check

SHOWN = 5


@attrs.frozen(kw_only=True)
class Endings:
    """What is known when all is over."""

    operations: Sequence[Operation]
    values: Mapping[str, str]
    """What the registers hold."""
    convergence_seconds: float | None
    started_twice: Sequence[str]
    """Tasks."""
    left_over: Sequence[str]
    """Processes that should be gone."""
    troubles: Sequence[str]
    """What could not be struck or mended."""


def judge(endings: Endings) -> list[Check]:
    """Say of each promise whether it was kept."""
    lost = find_lost(endings.operations, endings.values)
    converged = endings.convergence_seconds
    return [
        _judge_order(endings.operations),
        _none("nothing acknowledged is lost", lost, f"{count_acknowledged(endings.operations)} writes, none lost"),
        Check(
            name="replicas and nodes converge",
            held=converged is not None,
            seen="not within the time" if converged is None else f"{converged:.1f} s after the last fault",
        ),
        _none("no task is started twice", endings.started_twice, "each was started once"),
        _none("no process is left", endings.left_over, "none"),
        _none("every daemon comes back", endings.troubles, "all did"),
    ]


def _judge_order(operations: Sequence[Operation]) -> Check:
    verdict = check(operations, MODELS["cas-register"])
    seen = f"{verdict.operations} operations in {verdict.configurations} steps"
    if not verdict.is_linearizable:
        seen = f"{verdict.outcome.value}: {verdict.key}" if verdict.outcome is Outcome.REFUTED else "undecided"
    return Check(name="reads and writes are linearizable", held=verdict.is_linearizable, seen=seen)


def find_lost(operations: Sequence[Operation], values: Mapping[str, str]) -> list[str]:
    """Return the acknowledged writes that did not lead to what the registers hold.

    Every value is written once, in place of the one before it: from the last value the way back is known, and whatever
    was acknowledged stands on it. A value on the way that nobody wrote hides what stood before it.
    """
    swaps = [one for one in operations if one.kind == "cas"]
    begins = {str(one.key): one.argument for one in operations if one.kind == "write"}
    lost: list[str] = []
    for register, last in sorted(values.items()):
        before = {new: old for old, new in (_pair(one) for one in swaps if one.key == register)}
        kept: set[object] = set()
        value: object = last
        while value in before and value not in kept:
            kept.add(value)
            value = before[value]
        if value != begins.get(register):
            lost.append(f"{register}: nobody wrote {value!r}")
        lost += [
            f"{register}: {_pair(one)[1]!r} of {one.client}"
            for one in swaps
            if one.key == register and one.returned is not None and _pair(one)[1] not in kept
        ]
    return lost


def count_acknowledged(operations: Sequence[Operation]) -> int:
    """Count the swaps that were."""
    return sum(one.kind == "cas" and one.returned is not None for one in operations)


def _pair(swap: Operation) -> tuple[object, object]:
    argument: Any = swap.argument
    old, new = argument
    return old, new


def _none(name: str, found: Sequence[str], otherwise: str) -> Check:
    shown = "; ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    return Check(name=name, held=not found, seen=shown or otherwise)
