"""Verdicts that a reader can check by hand (Herlihy and Wing's definition)."""

from __future__ import annotations

from collections.abc import Hashable
from random import Random

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.linearizability import MODELS, Lock, Operation, Outcome, Register, Sequential, Verdict, check

REGISTER = Register()


def operation(
    kind: str,
    argument: Hashable = None,
    result: Hashable = None,
    *,
    at: tuple[float, float | None],
    key: Hashable = None,
    client: int = 0,
) -> Operation:
    return Operation(client=client, kind=kind, argument=argument, result=result, key=key, invoked=at[0], returned=at[1])


def register(*operations: Operation) -> Verdict:
    return check(operations, REGISTER)


def test_an_empty_history_is_linearizable() -> None:
    assert register().is_linearizable


def test_a_read_after_a_write_sees_it() -> None:
    assert register(operation("write", 1, at=(0, 1)), operation("read", None, 1, at=(2, 3))).is_linearizable


def test_a_stale_read_is_refuted() -> None:
    verdict = register(
        operation("write", 1, at=(0, 1)), operation("write", 2, at=(2, 3)), operation("read", None, 1, at=(4, 5))
    )

    assert verdict.outcome is Outcome.REFUTED


def test_reads_beside_a_write_may_see_either() -> None:
    write = operation("write", 1, at=(0, 9))

    assert register(
        write, operation("read", None, None, at=(1, 2)), operation("read", None, 1, at=(3, 4))
    ).is_linearizable


def test_two_reads_beside_a_write_do_not_see_it_come_and_go() -> None:
    write = operation("write", 1, at=(0, 9))

    verdict = register(write, operation("read", None, 1, at=(1, 2)), operation("read", None, None, at=(3, 4)))

    assert verdict.outcome is Outcome.REFUTED


@pytest.mark.parametrize("seen", [None, 1])
def test_an_unknown_outcome_may_come_late_or_never(seen: int | None) -> None:
    lost = operation("write", 1, at=(0, None))

    assert register(
        lost, operation("read", None, None, at=(1, 2)), operation("read", None, seen, at=(3, 4))
    ).is_linearizable


def test_an_unknown_outcome_comes_once() -> None:
    history = (
        operation("write", 1, at=(0, None)),
        operation("read", None, 1, at=(1, 2)),
        operation("write", 2, at=(3, 4)),
        operation("read", None, 1, at=(5, 6)),
    )

    assert register(*history).outcome is Outcome.REFUTED


def test_an_unknown_outcome_never_comes_before_its_call() -> None:
    history = (operation("read", None, 1, at=(0, 1)), operation("write", 1, at=(2, None)))

    assert register(*history).outcome is Outcome.REFUTED


def test_objects_are_judged_each_for_itself_and_the_wrong_one_is_named() -> None:
    verdict = register(
        operation("write", 1, at=(0, 1), key="good"),
        operation("read", None, 1, at=(2, 3), key="good"),
        operation("write", 1, at=(0, 1), key="bad"),
        operation("read", None, None, at=(2, 3), key="bad"),
    )

    assert verdict.key == "bad"


def test_a_lock_without_expiry_is_held_by_one() -> None:
    history = [operation("acquire", None, 1, at=(0, 1)), operation("acquire", None, 2, at=(2, 3))]

    assert not check(history, Lock(expires=False)).is_linearizable
    assert check(history, MODELS["lock"]).is_linearizable, "the first may have expired"


def test_fencing_tokens_rise() -> None:
    history = [operation("acquire", None, 2, at=(0, 1)), operation("acquire", None, 1, at=(2, 3))]

    assert check(history, MODELS["lock"]).outcome is Outcome.REFUTED


def test_a_lock_that_was_taken_over_is_not_renewed() -> None:
    history = [
        operation("acquire", None, 1, at=(0, 1)),
        operation("acquire", None, 2, at=(2, 3)),
        operation("renew", 1, True, at=(4, 5)),
    ]

    assert check(history, MODELS["lock"]).outcome is Outcome.REFUTED


def test_a_queue_gives_an_element_to_one_taker() -> None:
    history = [
        operation("put", "a", at=(0, 1)),
        operation("take", None, "a", at=(2, 5)),
        operation("take", None, "a", at=(3, 4)),
    ]

    assert check(history, MODELS["queue"]).outcome is Outcome.REFUTED


def test_the_witness_names_what_does_not_fit_and_all_that_comes_before() -> None:
    good = [operation("write", number, at=(10 * number, 10 * number + 1), client=1) for number in range(20)]
    stale = operation("read", None, 3, at=(300, 301), client=7)

    verdict = register(*good, stale, operation("write", 99, at=(400, 401)))

    assert verdict.stuck is not None
    assert verdict.stuck.next_to_return == stale
    assert verdict.stuck.order == tuple(good)
    assert str(verdict).splitlines()[-4:] == [
        "    client 1: write 18 -> None  [180, 181]",
        "    client 1: write 19 -> None  [190, 191]",
        "then the state is 19, and there is no place for",
        "    client 7: read -> 3  [300, 301]",
    ]
    assert len(str(verdict).splitlines()) < 20, "a person reads it"


def test_a_search_without_end_is_given_up() -> None:
    chance = Random(1)
    puzzle = [operation("cas", (chance.random(), chance.random()), at=(0, None)) for _ in range(30)]
    puzzle += [operation("write", number, at=(number, 40)) for number in range(30)]

    verdict = check([*puzzle, operation("read", None, "never", at=(1, 50))], REGISTER, limit=1000)

    assert verdict.outcome is Outcome.UNDECIDED
    assert not verdict.is_linearizable
    assert verdict.configurations < 1100


def test_appends_in_any_order_are_no_puzzle_if_somebody_reads_them() -> None:
    """All at once: 30! orders, of which one was seen."""
    names = [f"<{number}>" for number in range(30)]
    Random(2).shuffle(names)
    appends = [operation("append", name, at=(0, 100)) for name in names]

    verdict = check([*appends, operation("get", None, "".join(sorted(names)), at=(1, 100))], Sequential())
    spoiled = check([*appends, operation("get", None, "".join(sorted(names)) + "<0>", at=(1, 100))], Sequential())

    assert verdict.is_linearizable
    assert spoiled.outcome is Outcome.REFUTED
    assert verdict.configurations < 100


def test_an_operation_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"pop.*the model knows cas, read, write"):
        register(operation("pop", at=(0, 1)))


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(InvalidSpec, match="returned before it was invoked"):
        register(operation("read", at=(2, 1)))
