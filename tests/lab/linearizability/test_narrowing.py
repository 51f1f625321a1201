"""The smallest window of a bad history: short enough to read, and refuted whatever came before it."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
import pytest

from raftswarm.lab.linearizability import MODELS, Model, Operation, Outcome, Register, Sequential, check


def write(value: int, at: tuple[float, float | None], client: int = 0) -> Operation:
    return Operation(client=client, kind="write", argument=value, invoked=at[0], returned=at[1])


def read(value: int | None, at: tuple[float, float], client: int = 1) -> Operation:
    return Operation(client=client, kind="read", result=value, invoked=at[0], returned=at[1])


def test_a_stale_read_is_shown_with_what_it_missed_and_nothing_else() -> None:
    before = [write(number, (10 * number, 10 * number + 5)) for number in range(50)]
    missed, stale = write(50, (500, 501)), read(7, (502, 503))
    after = [write(number, (10 * number, 10 * number + 5)) for number in range(51, 90)]

    verdict = check([*before, missed, stale, *after], Register())

    assert verdict.window is not None
    assert verdict.window.operations == (missed, stale)
    assert (verdict.window.begin, verdict.window.end) == (500, 503)
    assert "there is no order of what was under way from 500 to 503: 2 operations" in str(verdict)


def test_what_was_under_way_may_have_come_before_the_window_or_come_in_it() -> None:
    """A slow write may explain either read, if nothing says that it came before the first: so that has to be shown."""
    slow = write(1, (0, 100), client=5)
    history = [write(0, (1, 2)), read(1, (3, 4)), write(2, (5, 6)), read(1, (7, 8))]

    verdict = check([slow, *history], Register())

    assert verdict.window is not None
    assert verdict.window.operations == (slow, *history)
    assert check([slow, *history[1:]], Register(1)).is_linearizable


def test_a_lost_append_is_shown_from_when_it_was_sent() -> None:
    def append(text: str, at: tuple[float, float]) -> Operation:
        return Operation(client=0, kind="append", argument=text, invoked=at[0], returned=at[1])

    def get(text: str, at: tuple[float, float]) -> Operation:
        return Operation(client=1, kind="get", result=text, invoked=at[0], returned=at[1])

    long = [append(f"<{number}>", (10 * number, 10 * number + 5)) for number in range(30)]
    text = "".join(f"<{number}>" for number in range(29))

    verdict = check([*long, get(text, (400, 410)), get(text + "<29>", (420, 430))], Sequential())

    assert verdict.window is not None
    assert verdict.window.operations == (long[-1], get(text, (400, 410)))


def test_a_model_of_which_no_more_is_known_has_windows_from_the_beginning() -> None:
    history = [
        Operation(client=0, kind="put", argument="a", invoked=0, returned=1),
        Operation(client=0, kind="take", result="a", invoked=2, returned=3),
        Operation(client=0, kind="take", result="a", invoked=4, returned=5),
        Operation(client=0, kind="put", argument="b", invoked=6, returned=7),
    ]

    verdict = check(history, MODELS["queue"])

    assert verdict.window is not None
    assert verdict.window.operations == tuple(history[:3])


@pytest.mark.parametrize("name", ["cas-register", "kv-append"])
def test_a_window_is_refuted_whatever_the_object_held_before(name: str) -> None:
    """Against trying: no beginning from a small world of states explains a window of any random history."""
    refuted = 0
    for seed in range(300):
        history = _draw(name, Random(seed))
        verdict = check(history, MODELS[name])
        if verdict.outcome is Outcome.LINEARIZABLE:
            continue
        refuted += 1
        assert verdict.window is not None
        window = [_freed(one, verdict.window.begin, verdict.window.end) for one in verdict.window.operations]
        for state in _states(name) if verdict.window.begin > min(one.invoked for one in history) else ():
            model: Model = attrs.evolve(MODELS[name], initial=state)  # type: ignore[misc]
            assert check(window, model).outcome is Outcome.REFUTED, (seed, state)
    assert refuted > 50


def _freed(operation: Operation, begin: float, end: float) -> Operation:
    is_inside = operation.invoked >= begin and operation.returned is not None and operation.returned <= end
    return operation if is_inside else attrs.evolve(operation, returned=None, result=None)


def _states(name: str) -> list[Any]:
    if name == "cas-register":
        return [None, 0, 1, 2, 3]
    texts = ["", "a", "b", "ab", "ba", "aa", "bb", "aba", "bab", "abab"]
    return [*texts, "x"]


def _draw(name: str, chance: Random) -> list[Operation]:
    history = []
    for client in range(chance.randint(4, 9)):
        begin = chance.uniform(0, 20)
        asked = Operation(client=client, kind="", invoked=begin, returned=begin + chance.uniform(0.1, 4))
        if name == "cas-register":
            kinds = [
                attrs.evolve(asked, kind="write", argument=chance.randrange(3)),
                attrs.evolve(asked, kind="read", result=chance.choice([None, 0, 1, 2])),
                attrs.evolve(asked, kind="cas", argument=(chance.randrange(3), 3), result=chance.random() < 0.5),
            ]
        else:
            kinds = [
                attrs.evolve(asked, kind="append", argument=chance.choice("ab")),
                attrs.evolve(asked, kind="put", argument=chance.choice("ab")),
                attrs.evolve(asked, kind="get", result=chance.choice(["", "a", "ab", "ba", "aba"])),
            ]
        history.append(chance.choice(kinds))
    return history
