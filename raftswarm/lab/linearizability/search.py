"""The search for an order: Wing and Gong's, with Lowe's memory of where it has been.

Operations are placed one after another. Next may come any that was invoked before the first of those still to come
returned. Where that leads nowhere, the search goes back and tries another. Four observations keep it small; none
changes the answer:

* An operation that only looks, and fits now, is placed at once: it is in nobody's way.
* The same operations placed, and the same state: no need to look there again. Nor if, beyond those, more of unknown
  outcome were placed: they could still come, and need not.
* Two of unknown outcome that ask for the same are alike: the earlier one goes first. One that changes nothing never
  need have happened.
* What of a state no later operation looks at does not matter (`Model.foresee`).

What has been placed is a bit set, so that going back costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import attrs

from raftswarm.lab.linearizability.models import MISMATCH, Model, State
from raftswarm.lab.linearizability.operations import Operation


@attrs.frozen
class Stuck:
    """The furthest that any order came."""

    order: tuple[Operation, ...]
    state: State
    next_to_return: Operation
    """It has to be placed before anything that was invoked after it returned, and does not fit."""
    others: tuple[Operation, ...]
    """What else could have come next."""


@attrs.frozen
class Searched:
    """How a search ended: with an order, stuck, or with neither when it had to give up."""

    order: tuple[Operation, ...] | None = None
    stuck: Stuck | None = None
    configurations: int = 0
    """How many pairs of operations placed and state were visited."""


@attrs.define(eq=False)
class _Step:
    """A place on the way: what is placed there, and what may come next."""

    placed: int
    state: State
    news: list[int]
    """What was placed to get here from the step before, in order."""
    choices: Iterator[int]


class Search:
    """One search through the history of one object."""

    def __init__(self, operations: Sequence[Operation], model: Model) -> None:
        """Operations are in the order of their invocation."""
        self._operations = operations
        self._model = model
        self._all = (1 << len(operations)) - 1
        self._invoked = [operation.invoked for operation in operations]
        self._returned = [inf if operation.returned is None else operation.returned for operation in operations]
        self._known = sum(1 << place for place, at in enumerate(self._returned) if at < inf)
        self._reads = [
            at < inf and model.is_read(operation) for operation, at in zip(operations, self._returned, strict=True)
        ]
        self._twins = _earlier_twins(operations)
        self._foresight = model.foresee(operations)
        self._visited: dict[tuple[int, State], list[int]] = {}
        """For what is placed of known outcome, and the state: the least of unknown outcome that was placed beside."""
        self._configurations = 0
        self._furthest = (-1.0, -1)
        self._stuck: Stuck | None = None

    def run(self, limit: int) -> Searched:
        """Search, through at most so many configurations."""
        steps = [self._arrive(0, self._model.initial, [])]
        while steps:
            step = steps[-1]
            if not self._known & ~step.placed:
                return Searched(self._order(steps), None, self._configurations)
            if self._configurations > limit:
                return Searched(None, None, self._configurations)
            self._remember_furthest(steps)
            following = self._follow(step)
            if following is None:
                steps.pop()
            else:
                steps.append(following)
        return Searched(None, self._stuck, self._configurations)

    def _follow(self, step: _Step) -> _Step | None:
        """Go to the next place that is new."""
        for place in step.choices:
            operation = self._operations[place]
            state = self._model.step(step.state, operation)
            if state is MISMATCH or (self._returned[place] == inf and state == step.state):
                continue
            placed = step.placed | 1 << place
            if self._foresight is not None:
                state = self._foresight(state, self._all & ~placed)
            if state is not MISMATCH and self._is_new(placed, state):
                return self._arrive(placed, state, [place])
        return None

    def _is_new(self, placed: int, state: State) -> bool:
        """Tell whether nothing as good was visited, and remember this."""
        unknown = placed & ~self._known
        visited = self._visited.setdefault((placed & self._known, state), [])
        if any(other & unknown == other for other in visited):
            return False
        visited[:] = [other for other in visited if other & unknown != unknown]
        visited.append(unknown)
        self._configurations += 1
        return True

    def _arrive(self, placed: int, state: State, news: list[int]) -> _Step:
        """Place what only looks, as far as it fits; what is left may come next, the first to return first."""
        choices: list[int] = []
        while True:
            looks = 0
            choices.clear()
            for place in self._next(placed):
                if not self._reads[place]:
                    choices.append(place)
                elif self._model.step(state, self._operations[place]) is not MISMATCH:
                    looks |= 1 << place
                    news.append(place)
            if not looks:
                break
            placed |= looks
        choices.sort(key=self._returned.__getitem__)
        return _Step(placed, state, news, iter(choices))

    def _next(self, placed: int) -> Iterator[int]:
        """Yield what may come next: all that were invoked before any other of them returned."""
        to_come = self._all & ~placed
        first_return = inf
        while to_come:
            lowest = to_come & -to_come
            place = lowest.bit_length() - 1
            if self._invoked[place] > first_return:
                return
            first_return = min(first_return, self._returned[place])
            if not self._twins[place] & ~placed:
                yield place
            to_come ^= lowest

    # What to tell.

    def _remember_furthest(self, steps: list[_Step]) -> None:
        """Far is where the next to return returns late, and then where much is placed."""
        step = steps[-1]
        next_to_return = min(self._next(step.placed), key=self._returned.__getitem__)
        reached = (self._returned[next_to_return], step.placed.bit_count())
        if reached > self._furthest:
            self._furthest = reached
            others = tuple(self._operations[place] for place in self._next(step.placed) if place != next_to_return)
            self._stuck = Stuck(self._order(steps), step.state, self._operations[next_to_return], others)

    def _order(self, steps: list[_Step]) -> tuple[Operation, ...]:
        return tuple(self._operations[place] for step in steps for place in step.news)


def _earlier_twins(operations: Sequence[Operation]) -> list[int]:
    """Return for each of unknown outcome the one before it that asks for the same, as a bit set."""
    newest: dict[object, int] = {}
    twins = []
    for place, operation in enumerate(operations):
        twin = 0
        if operation.returned is None:
            request = operation.kind, operation.argument
            twin = newest.get(request, 0)
            newest[request] = 1 << place
        twins.append(twin)
    return twins
