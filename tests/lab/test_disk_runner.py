"""Disk jobs in virtual time: in order, one at a time, and cut anywhere by a crash."""

from __future__ import annotations

from collections.abc import Callable

from raftswarm.lab.disk_runner import VirtualDiskRunner
from raftswarm.lab.event_heap import EventHeap
from raftswarm.wire.errors import WireError
from raftswarm.world.disk import DiskRunner
from raftswarm.world.simulated_disk import SimulatedDisk


def call(action: Callable[..., object], *arguments: object) -> None:
    action(*arguments)


def make_runner(heap: EventHeap) -> VirtualDiskRunner:
    return VirtualDiskRunner(heap, lambda: 0.01, call)


def test_jobs_run_in_order_and_take_their_time() -> None:
    heap = EventHeap()
    runner: DiskRunner = make_runner(heap)
    seen: list[tuple[str, float]] = []

    for name in ("one", "two"):
        runner.submit(lambda: None, lambda _, name=name: seen.append((name, heap.now)))  # type: ignore[misc]
    heap.run_until(1.0)

    assert seen == [("one", 0.01), ("two", 0.02)]


def test_what_a_job_raises_goes_to_done() -> None:
    heap = EventHeap()
    failure = OSError("full")
    told: list[BaseException | None] = []

    def fail() -> None:
        raise failure

    make_runner(heap).submit(fail, told.append)
    heap.run_until(1.0)

    assert told == [failure]


def test_a_crash_leaves_any_part_of_the_job_under_way_and_tells_nobody() -> None:
    left = set()
    for calls in range(12):
        heap = EventHeap()
        disk = SimulatedDisk()
        file = disk.open("file", create=True)
        told: list[BaseException | None] = []
        runner = make_runner(heap)

        def job(disk: SimulatedDisk = disk) -> None:
            for place in range(3):
                file = disk.open("file")
                file.write(place, [b"x"])

        runner.submit(job, told.append)
        runner.submit(lambda file=file: file.truncate(0), told.append)  # type: ignore[misc]
        heap.run_until(0.005)
        runner.cut(disk, calls)
        disk.lose_process()
        heap.run_until(1.0)

        again = disk.open("file")
        left.add(again.read(0, again.size()))
        assert told == []

    assert left == {b"", b"x", b"xx", b"xxx"}


def test_a_clean_end_runs_what_is_queued() -> None:
    heap = EventHeap()
    seen: list[str] = []
    runner = make_runner(heap)
    runner.submit(lambda: seen.append("one"), lambda _: seen.append("told"))
    runner.submit(lambda: seen.append("two"), lambda _: seen.append("told"))

    runner.finish()
    heap.run_until(1.0)

    assert seen == ["one", "two"]


def test_a_peers_wrong_bytes_do_not_spoil_an_end() -> None:
    """A job that takes in what a peer sent may be the one under way, whether its process ends in good order or not."""
    seen: list[str] = []

    def take_in() -> None:
        raise WireError("a frame is damaged")

    for _ in ("stopped", "crashed"):
        runner = make_runner(EventHeap())
        runner.submit(take_in, lambda _: seen.append("told"))
        runner.submit(lambda: seen.append("next"), lambda _: seen.append("told"))
        if not seen:
            runner.finish()
        else:
            runner.cut(SimulatedDisk(), 5)

    assert seen == ["next"]
