"""Virtual time: order, and nothing but order."""

from __future__ import annotations

from functools import partial

from raftswarm.lab.event_heap import EventHeap


def test_events_run_in_the_order_of_their_times() -> None:
    heap = EventHeap()
    seen: list[str] = []
    heap.at(2.0, seen.append, "late")
    heap.at(1.0, seen.append, "early")

    heap.run_until(5.0)

    assert seen == ["early", "late"]
    assert heap.now == 5.0


def test_events_of_one_instant_run_in_the_order_they_were_planned() -> None:
    heap = EventHeap()
    seen: list[int] = []
    for number in range(20):
        heap.at(1.0, seen.append, number)

    heap.run_until(1.0)

    assert seen == list(range(20))


def test_what_is_planned_for_the_past_happens_now() -> None:
    heap = EventHeap()
    times: list[float] = []

    def look() -> None:
        times.append(heap.now)

    heap.at(3.0, partial(heap.at, 1.0, look))
    heap.run_until(10.0)

    assert times == [3.0]


def test_later_events_wait() -> None:
    heap = EventHeap()
    seen: list[str] = []
    heap.after(2.0, seen.append, "later")

    heap.run_until(1.5)

    assert seen == []
    assert heap.next_time() == 2.0
    assert heap.run_next()
    assert not heap.run_next()


def test_interrupts_come_before_the_events_of_their_instant_and_are_not_counted() -> None:
    heap = EventHeap()
    seen: list[str] = []
    heap.at(1.0, seen.append, "event")
    heap.interrupt_at(1.0, seen.append, "interrupt")
    heap.interrupt_at(2.0, seen.append, "later interrupt")
    heap.at(1.5, seen.append, "later event")

    heap.run_until(3.0)

    assert seen == ["interrupt", "event", "later event", "later interrupt"]
    assert heap.events_run == 2


def test_interrupts_come_one_by_one_as_events_do() -> None:
    heap = EventHeap()
    seen: list[str] = []
    heap.interrupt_at(1.0, seen.append, "interrupt")
    heap.at(2.0, seen.append, "event")

    assert heap.next_time() == 1.0
    assert heap.run_next()
    assert heap.now == 1.0
    assert heap.run_next()

    assert seen == ["interrupt", "event"]
    assert not heap.run_next()
