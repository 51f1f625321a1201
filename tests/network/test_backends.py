"""Connections are spread round-robin over the tasks that answer."""

from __future__ import annotations

from raftswarm.network.backends import Backends, Target

A, B, C = Target("127.64.0.1", 80), Target("127.64.0.2", 80), Target("127.64.0.3", 80)


def make_backends(*targets: Target) -> Backends:
    backends = Backends()
    backends.replace(targets)
    return backends


def first_choices(backends: Backends, count: int, now: float = 0.0) -> list[Target]:
    return [backends.in_turn(now)[0] for _ in range(count)]


def test_each_connection_begins_with_the_next() -> None:
    assert first_choices(make_backends(A, B, C), 7) == [A, B, C, A, B, C, A]


def test_a_connection_may_try_them_all() -> None:
    assert make_backends(A, B, C).in_turn(0.0) == [A, B, C]


def test_one_that_refused_is_tried_last_for_a_while() -> None:
    backends = make_backends(A, B)
    backends.mark_dead(A, until=1.0)

    assert backends.in_turn(0.5) == [B, A]
    assert first_choices(backends, 3, now=0.9) == [B, B, B]
    assert set(first_choices(backends, 2, now=1.0)) == {A, B}


def test_when_all_refused_all_are_tried() -> None:
    backends = make_backends(A, B)
    for target in (A, B):
        backends.mark_dead(target, until=1.0)

    assert sorted(backends.in_turn(0.0), key=str) == [A, B]


def test_without_tasks_there_is_nobody_to_try() -> None:
    assert make_backends().in_turn(0.0) == []


def test_new_backends_count_at_once_and_keep_what_is_known() -> None:
    backends = make_backends(A, B)
    backends.mark_dead(B, until=1.0)

    backends.replace([B, C])

    assert first_choices(backends, 2) == [C, C]
