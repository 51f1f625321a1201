"""The checker against generated histories: what is linearizable is accepted, and it agrees with trying all orders."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import combinations, permutations
from random import Random
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftswarm.lab.linearizability import MISMATCH, MODELS, Model, Operation, Outcome, check

NAMES: Final = sorted(MODELS)
VALUES: Final = ("a", "b")
ARGUMENTS: Final[dict[str, tuple[Hashable, ...]]] = {
    **dict.fromkeys(("write", "put", "append", "add", "discard", "contains"), VALUES),
    "cas": (("a", "b"), ("b", "a"), (None, "a")),
    "increase": (1, 2, -1),
    "renew": (1, 2, 3),
    "release": (1, 2, 3),
}


def results(kind: str, state: Any) -> tuple[Hashable, ...]:
    """What the operation may return, at some time or another, in a state like this one."""
    results: dict[str, tuple[Hashable, ...]] = {
        **dict.fromkeys(("write", "put", "append"), (None,)),
        "read": (None, *VALUES),
        **dict.fromkeys(("cas", "add", "discard", "contains", "renew", "release"), (True, False)),
    }
    match kind:
        case "take":
            return (None, *state)
        case "get":
            return (state, state[:-1], state + state[:1])
        case "members":
            return (state, state | {"a"}, state - {"a"})
        case "increase" | "value":
            return tuple(range(state - 2, state + 3))
        case "acquire":
            return (None, *range(1, state[0] + 2))
        case _:
            return results[kind]


def argument(name: str, kind: str, chance: Random) -> Hashable:
    drawn = chance.choice(ARGUMENTS.get(kind, (None,)))
    if name == "queue" and kind == "put" and chance.random() < 0.5:
        return chance.random()  # No other element is the same.
    return (drawn,) if name == "list-append" and kind == "put" else drawn


def fits(model: Model, operation: Operation, state: Any) -> bool:
    return model.step(state, operation) is not MISMATCH


def generate(name: str, chance: Random, count: int) -> list[Operation]:
    """Clients call one object, which does each call at one moment between its beginning and its end."""
    model = MODELS[name]
    moments = sorted((chance.uniform(0, count), chance.uniform(0, 2), chance.uniform(0, 2)) for _ in range(count))
    state: Any = model.initial
    history = []
    for number, (moment, before, after) in enumerate(moments):
        kind = chance.choice(sorted(model.kinds))
        asked = Operation(
            client=number,
            kind=kind,
            argument=argument(name, kind, chance),
            invoked=moment - before,
            returned=moment + after,
        )
        answers = [attrs.evolve(asked, result=result) for result in results(kind, state)]
        done = next(answer for answer in answers if fits(model, answer, state))
        effective = chance.random() < 0.95
        if chance.random() < 0.1 or not effective:
            done = attrs.evolve(asked, returned=None)
        if effective:
            state = model.step(state, done)
        history.append(done)
    return history


def spoil(history: list[Operation], chance: Random) -> list[Operation]:
    """Give one operation another result: of another of its kind, or one that is made up."""
    told = [
        place
        for place, operation in enumerate(history)
        if operation.returned is not None and operation.kind not in {"write", "put", "append"}
    ]
    if not told:
        return history
    place = chance.choice(told)
    operation = history[place]
    others = [history[other].result for other in told if history[other].kind == operation.kind]
    result = chance.choice([*others, *made_up(operation)])
    return [*history[:place], attrs.evolve(operation, result=result), *history[place + 1 :]]


def made_up(operation: Operation) -> list[Hashable]:
    match operation.result:
        case bool(answer):
            return [not answer]
        case int(number):
            return [number + 1, number - 1]
        case str() | tuple() as sequence if operation.kind == "get":
            return [sequence[:-1], sequence * 2]
        case frozenset() as members:
            return [members | {"b"}, members - {"b"}]
        case _:
            return [1, None] if operation.kind == "acquire" else [*VALUES, None]


def is_linearizable(history: list[Operation], model: Model) -> bool:
    """Try all orders, with any of the unknown outcomes."""
    known = [operation for operation in history if operation.returned is not None]
    unknown = [operation for operation in history if operation.returned is None]
    return any(
        is_order(order, model)
        for count in range(len(unknown) + 1)
        for chosen in combinations(unknown, count)
        for order in permutations([*known, *chosen])
    )


def is_order(order: tuple[Operation, ...], model: Model) -> bool:
    state: Any = model.initial
    latest = float("-inf")
    for operation in order:
        latest = max(latest, operation.invoked)
        if operation.returned is not None and operation.returned < latest:
            return False  # Something that was invoked after it returned stands before it.
        state = model.step(state, operation)
        if state is MISMATCH:
            return False
    return True


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_linearizable_history_is_accepted(name: str, seed: int) -> None:
    # Whoever puts and is told nothing leaves it open what stands where in a queue: long histories are undecided.
    history = generate(name, Random(seed), 15 if name == "queue" else 30)

    verdict = check(history, MODELS[name])

    assert verdict.outcome is Outcome.LINEARIZABLE, str(verdict)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_checker_agrees_with_trying_all_orders(name: str, seed: int) -> None:
    chance = Random(seed)
    history = spoil(generate(name, chance, chance.randint(1, 5)), chance)

    verdict = check(history, MODELS[name])

    assert verdict.is_linearizable == is_linearizable(history, MODELS[name]), str(verdict)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_longest_order_of_a_refutation_is_one(name: str, seed: int) -> None:
    chance = Random(seed)
    history = spoil(generate(name, chance, 20), chance)

    verdict = check(history, MODELS[name])

    if verdict.stuck is not None:
        assert is_order(verdict.stuck.order, MODELS[name])
        assert verdict.stuck.next_to_return not in verdict.stuck.order
