"""Find the few faults that matter: leave out what a run can do without while it still fails in the same way.

The one big idea is delta debugging (Zeller and Hildebrandt, 2002) over the list of faults: halves first, single ones at
last. Every fault names whom it strikes and chance has streams of its own, so what is left means the same as before.
Then the run is cut behind its failure, and the knobs that do not matter are set to what is usual.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import attrs
import msgspec

from raftswarm.errors import InvalidSpec
from raftswarm.lab.fault_events import FaultEvent
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.recording import Ending, Recording
from raftswarm.lab.replaying import failure_kind

MAX_RUNS: Final = 2000
FEW_FAULTS: Final = 10
"""More than these are tried with other chance too."""
OTHER_SEEDS: Final = 8
PATIENCE: Final = 2.0
"""A failure may come after so many times as long as it took, and no later: most tries end soon."""
SPARE_SECONDS: Final = 0.5
LEAST_SECONDS: Final = 1.0
"""A run that is shorter than this is short enough."""

Run = Callable[[Recording], Ending]


@attrs.frozen
class Progress:
    """How far a search is."""

    runs: int
    faults: int
    seconds: float
    """Simulated, until the failure."""


class _SearchedEnough(Exception):
    """There were `MAX_RUNS`."""


def shrink(
    recording: Recording,
    run: Run,
    *,
    report: Callable[[Progress], object] | None = None,
    max_runs: int = MAX_RUNS,
) -> Recording:
    """Return a recording that fails as this one does, with as few faults as can be found.

    Args:
        recording: of a run that failed.
        run: lets a recording happen; the same one, the same ending.
        report: hears of every try.
        max_runs: after so many the best so far is returned.

    Raises:
        InvalidSpec: the run does not fail.
    """
    ending = run(recording)
    if not ending.violation:
        raise InvalidSpec("this run violates nothing, so there is nothing to shrink; record one that fails")
    search = _Search(recording, ending, run, report, max_runs)
    with contextlib.suppress(_SearchedEnough):
        search.shrink()
    return search.best


class _Search:
    def __init__(
        self,
        recording: Recording,
        ending: Ending,
        run: Run,
        report: Callable[[Progress], object] | None,
        max_runs: int,
    ) -> None:
        self.best = msgspec.structs.replace(recording, ending=ending)
        self._kind = failure_kind(ending.violation)
        self._run = run
        self._report = report
        self._runs_left = max_runs
        self._max_runs = max_runs

    def shrink(self) -> None:
        """Try one kind of cut after another, until none of them helps any more."""
        self._cut_behind_failure()
        size: tuple[int, int] | None = None
        while size != (size := self._size()):
            self._drop_kinds()
            self._drop_parts()
            self._simplify_knobs()
            self._drop_members()
            self._squeeze()
        if len(self.best.faults) > FEW_FAULTS:
            self._drop_parts(seeds=OTHER_SEEDS)
        self._simplify_faults()

    def _size(self) -> tuple[int, int]:
        return len(self.best.faults), len(_list_knobs(self.best.mix))

    def _fails(self, candidate: Recording) -> bool:
        """Let it happen; keep it if it fails as it should, cut behind its failure."""
        if not self._runs_left:
            raise _SearchedEnough
        self._runs_left -= 1
        ending = self._run(candidate)
        fails = failure_kind(ending.violation) == self._kind
        if fails:
            self.best = msgspec.structs.replace(candidate, ending=ending)
            self._forget_later()
        if self._report is not None:
            known = self.best.ending
            self._report(
                Progress(
                    self._max_runs - self._runs_left, len(self.best.faults), known.at if known is not None else 0.0
                )
            )
        return fails

    def _with(self, faults: Sequence[FaultEvent], **changes: Any) -> Recording:
        return msgspec.structs.replace(self.best, faults=tuple(faults), ending=None, **changes)

    # The end of the run.

    def _cut_behind_failure(self) -> None:
        """What comes after the failure had no part in it, nor had the healing if it came before that."""
        best, ending = self.best, self.best.ending
        assert ending is not None
        if ending.at < best.seconds:
            self._fails(self._with(best.faults, seconds=ending.at + SPARE_SECONDS, heals=False))
        self._forget_later()

    def _forget_later(self) -> None:
        """Faults behind the failure never struck: to leave them out changes nothing but the list."""
        best, ending = self.best, self.best.ending
        assert ending is not None
        seconds = best.seconds if best.heals else min(best.seconds, ending.at * PATIENCE + SPARE_SECONDS)
        faults = tuple(event for event in best.faults if event.at <= ending.at)
        self.best = msgspec.structs.replace(best, faults=faults, seconds=seconds)

    def _squeeze(self) -> None:
        """Let everything befall in half the time, as long as that will do."""
        while self.best.seconds > LEAST_SECONDS:
            faults = [msgspec.structs.replace(event, at=event.at / 2) for event in self.best.faults]
            if not self._fails(self._with(faults, seconds=self.best.seconds / 2)):
                return

    # The list of faults.

    def _drop_kinds(self) -> None:
        """All faults of a kind at once: most kinds have nothing to do with it."""
        for kind in sorted({event.fault.kind for event in self.best.faults}):
            left = [event for event in self.best.faults if event.fault.kind != kind]
            if len(left) < len(self.best.faults):
                self._fails(self._with(left))

    def _drop_parts(self, seeds: int = 0) -> None:
        """Halves, quarters, and so on down to single faults; again from the start of the list when one could go."""
        size = max(1, len(self.best.faults) // 2)
        while self.best.faults:
            dropped = False
            start = 0
            while start < len(self.best.faults):
                left = [*self.best.faults[:start], *self.best.faults[start + size :]]
                if self._fails_somehow(left, seeds):
                    dropped = True  # What stands there now is untried.
                else:
                    start += size
            if size > 1:
                size //= 2
            elif not dropped:
                return

    def _fails_somehow(self, faults: Sequence[FaultEvent], seeds: int) -> bool:
        """With the chance there was, or with some other."""
        if self._fails(self._with(faults)):
            return True
        return any(self._fails(self._with(faults, seed=seed)) for seed in range(1, seeds + 1))

    # The world around.

    def _drop_members(self) -> None:
        """A smaller cluster, without whatever befell those who are gone."""
        for members in range(1, self.best.members):
            left = [event for event in self.best.faults if max(_members_of(event), default=0) <= members]
            if self._fails(self._with(left, members=members)):
                return

    def _simplify_knobs(self) -> None:
        """Set knob after knob to what is usual."""
        usual = msgspec.to_builtins(FaultMix())
        for path in _list_knobs(self.best.mix):
            knobs = msgspec.to_builtins(self.best.mix)
            _set(knobs, path, _get(usual, path))
            try:
                mix = msgspec.convert(knobs, FaultMix)
            except (msgspec.MsgspecError, ValueError):
                continue  # It does not go with the others.
            self._fails(self._with(self.best.faults, mix=mix))

    def _simplify_faults(self) -> None:
        """Round the times: a person reads them."""
        for digits in (1, 2, 3):
            rounded = [msgspec.structs.replace(event, at=round(event.at, digits)) for event in self.best.faults]
            if self._fails(self._with(rounded)):
                return


def _members_of(event: FaultEvent) -> Iterator[int]:
    """Whom a fault names."""
    for field in ("member", "sender", "receiver", "to"):
        member = getattr(event.fault, field, 0)
        if isinstance(member, int):
            yield member
    for field in ("voters", "learners"):
        yield from getattr(event.fault, field, ())


def _list_knobs(mix: FaultMix) -> list[tuple[str, ...]]:
    """Name the knobs that are not as usual."""

    def walk(now: dict[str, Any], usual: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for knob, value in now.items():
            if isinstance(value, dict) and isinstance(usual[knob], dict):
                yield from walk(value, usual[knob], (*path, knob))
            elif value != usual[knob]:
                yield (*path, knob)

    return list(walk(msgspec.to_builtins(mix), msgspec.to_builtins(FaultMix()), ()))


def _get(knobs: dict[str, Any], path: tuple[str, ...]) -> Any:
    for knob in path:
        knobs = knobs[knob]
    return knobs


def _set(knobs: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for knob in path[:-1]:
        knobs = knobs[knob]
    knobs[path[-1]] = value
