"""Which faults strike, when and whom: drawn from a seed before anything runs, so that the same seed is the same plan.

Whom is said by role, as nobody knows yet who will lead. One fault at a time: a quorum is always left.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

import msgspec

from raftswarm.errors import InvalidSpec

KINDS: Final = ("kill", "pause", "partition", "slow-disk", "full-disk", "clock")
TARGETS: Final = ("leader", "follower", "worker")
TARGET_WEIGHTS: Final = {"leader": 6, "follower": 2, "worker": 2}

FIRST_SECONDS: Final = 3.0
"""Until then clients are watched in peace."""
LAST_SECONDS: Final = 3.0
"""So much peace is left behind the last one."""
GAP_SECONDS: Final = (3.0, 6.0)
LASTING_SECONDS: Final = {
    "kill": (1.0, 6.0),
    "pause": (1.5, 6.0),
    "partition": (3.0, 13.0),  # TCP gives up after ten: both sides of that are worth a look.
    "slow-disk": (3.0, 8.0),
    "full-disk": (2.0, 6.0),
    "clock": (3.0, 8.0),
}
FORMS: Final = {
    "kill": ("daemon", "daemon", "machine"),
    "pause": ("daemon",),
    "partition": ("alone", "alone", "halves", "deaf", "dumb", "late", "lossy"),
    "slow-disk": ("syncs",),
    "full-disk": ("writes",),
    "clock": ("date", "rate", "lagging"),
}
AMOUNTS: Final = {
    "late": (0.02, 0.06, 0.15),
    "lossy": (0.02, 0.1, 0.2),
    "syncs": (0.02, 0.1, 0.4),
    "date": (-7200.0, -600.0, -5.0, 5.0, 600.0, 86400.0),
    "rate": (0.5, 0.8, 1.3, 2.0),
    "lagging": (0.3, 0.5),
}
"""Seconds each way, share, seconds a sync, seconds ahead, times as fast."""


WORDS: Final = {
    "machine": "kill {whom} with its tasks",
    "alone": "cut {whom} off",
    "halves": "cut {whom} and some others off",
    "deaf": "let nothing get to {whom}",
    "dumb": "let nothing from {whom} through",
    "late": "delay {whom}'s network by {amount}",
    "lossy": "lose {amount} on {whom}'s network",
    "syncs": "slow {whom}'s disk down by {amount} a sync",
    "writes": "fill {whom}'s disk",
    "date": "set {whom}'s date {amount}",
    "rate": "let {whom}'s clock go {amount} times as fast",
    "lagging": "cut {whom} off, its clock {amount} times as fast",  # It goes on to lead when others lead too.
}


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the schedule."""

    kind: str
    form: str
    """How it strikes, of `FORMS`."""
    target: str
    """Of `TARGETS`."""
    place: int
    """Which of several followers or workers: modulo how many there are."""
    at: float
    """Seconds from the beginning."""
    seconds: float
    amount: float = 0.0

    @property
    def ends(self) -> float:
        """When it is mended, in seconds from the beginning."""
        return self.at + self.seconds

    @property
    def takes_leader(self) -> bool:
        """Tell whether the swarm needs another leader for it."""
        return self.target == "leader" and (
            self.kind in {"kill", "pause", "full-disk"} or self.form in {"alone", "halves", "dumb", "deaf", "lagging"}
        )

    def __str__(self) -> str:
        """Say what it does, without when."""
        whom = {"leader": "the leader", "follower": "a follower", "worker": "a worker"}[self.target]
        amount = f"{self.amount:g}"
        if self.form == "date":
            amount = f"{_time(abs(self.amount))} {'ahead' if self.amount > 0 else 'back'}"
        elif self.form in {"late", "syncs"}:
            amount = f"{self.amount * 1000:g} ms"
        elif self.form == "lossy":
            amount = f"{self.amount * 100:g} %"
        return WORDS.get(self.form, f"{self.kind} {{whom}}").format(whom=whom, amount=amount)


def _time(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


def plan_faults(
    seed: int, seconds: float, *, kinds: Sequence[str] = KINDS, targets: Sequence[str] = TARGETS
) -> list[PlannedFault]:
    """Draw a schedule.

    Every kind has its turn before any comes again, and strikes a leader before others.

    Raises:
        InvalidSpec: no kind or target, or one that there is not, or a time in which nothing can happen.
    """
    _require_known("fault", kinds, KINDS)
    _require_known("target", targets, TARGETS)
    chance = Random(f"chaos {seed}")  # noqa: S311 - a schedule, no secret
    faults: list[PlannedFault] = []
    turns: list[str] = []
    seen: set[str] = set()
    at = FIRST_SECONDS
    while True:
        if not turns:
            turns = sorted(set(kinds))
            chance.shuffle(turns)
        kind = turns.pop()
        fault = _draw(chance, kind, at, "leader" if kind not in seen and "leader" in targets else "", targets)
        seen.add(kind)
        if fault.ends > seconds - LAST_SECONDS:
            break
        faults.append(fault)
        at = round(fault.ends + chance.uniform(*GAP_SECONDS), 1)
    if not faults:
        raise InvalidSpec(f"in {seconds:g} s no fault has room; take at least {FIRST_SECONDS + LAST_SECONDS + 15:g} s")
    return faults


def _draw(chance: Random, kind: str, at: float, target: str, targets: Sequence[str]) -> PlannedFault:
    weighted = [one for one in TARGETS if one in targets for _ in range(TARGET_WEIGHTS[one])]
    drawn = chance.choice(weighted)
    form = chance.choice(FORMS[kind])
    return PlannedFault(
        kind=kind,
        form=form,
        target=target or drawn,
        place=chance.randrange(1000),
        at=at,
        seconds=round(chance.uniform(*LASTING_SECONDS[kind]), 1),
        amount=chance.choice(AMOUNTS[form]) if form in AMOUNTS else 0.0,
    )


def _require_known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    if not given:
        raise InvalidSpec(f"name a {what} at least: {', '.join(known)}")
    for word in given:
        if word not in known:
            raise InvalidSpec(f"there is no {what} {word!r}; there are {', '.join(known)}")
