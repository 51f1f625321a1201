"""Writes keep their order whatever the disk says, and one that finds no room is tried until there is some."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import attrs

from raftswarm.consensus.log_jobs import PAUSE_SECONDS, LogJobs
from raftswarm.errors import DiskFailed, DiskFull, StorageError

FULL = DiskFull("could not write: No space left on device: make room on that disk")


@attrs.define(eq=False)
class FakeDisk:
    """Does jobs when told to, with room for so many; keeps their order as storage does."""

    room: int = 10
    written: list[str] = attrs.field(factory=list)
    refused: str | None = None
    queue: list[tuple[Callable[[], object], Callable[[], object], Callable[[StorageError], object]]] = attrs.field(
        factory=list
    )

    def submit(
        self,
        job: Callable[[], object],
        then: Callable[[], object] | None = None,
        otherwise: Callable[[StorageError], object] | None = None,
    ) -> None:
        assert then is not None
        assert otherwise is not None
        self.queue.append((job, then, otherwise))

    def write(self, name: str) -> None:
        if self.refused not in {None, name} or not self.room:
            self.refused = self.refused or name
            raise FULL
        self.refused = None
        self.room -= 1
        self.written.append(name)

    def work(self) -> None:
        """Do all that waits, and call back."""
        queue, self.queue = self.queue, []
        for job, then, otherwise in queue:
            try:
                job()
            except StorageError as error:
                otherwise(error)
            else:
                then()


@attrs.define(eq=False)
class Setting:
    disk: FakeDisk = attrs.field(factory=FakeDisk)
    done: list[str] = attrs.field(factory=list)
    failed: list[StorageError] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    wakes: int = 0
    jobs: LogJobs = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.jobs = LogJobs(self.disk.submit, fail=self.failed.append, note=self.notes.append, wake=self.wake)

    def wake(self) -> None:
        self.wakes += 1

    def add(self, *names: str) -> None:
        for name in names:
            self.jobs.add(lambda name=name: self.disk.write(name), lambda name=name: self.done.append(name))  # type: ignore[misc]


def test_jobs_are_at_the_disk_at_once_while_there_is_room() -> None:
    setting = Setting()
    setting.add("a", "b")

    assert len(setting.disk.queue) == 2
    assert setting.jobs.count == 2
    setting.disk.work()

    assert (setting.done, setting.jobs.count) == (["a", "b"], 0)
    assert setting.jobs.try_again(1.0) == inf


def test_what_finds_no_room_waits_and_is_written_in_order_when_there_is_some() -> None:
    setting = Setting(FakeDisk(room=1))
    setting.add("a", "b", "c")
    setting.disk.work()
    assert setting.jobs.full is FULL
    assert setting.wakes

    setting.add("d")
    assert setting.jobs.try_again(5.0) == 5.0 + PAUSE_SECONDS
    assert setting.jobs.try_again(5.0 + PAUSE_SECONDS) == inf
    setting.disk.work()
    assert setting.done == ["a"]

    setting.disk.room = 10
    assert setting.jobs.try_again(5.1 + PAUSE_SECONDS) == 5.0 + 2 * PAUSE_SECONDS
    setting.jobs.try_again(5.0 + 2 * PAUSE_SECONDS)
    setting.add("e")
    setting.disk.work()
    setting.disk.work()

    assert setting.done == setting.disk.written == ["a", "b", "c", "d", "e"]
    assert setting.jobs.full is None
    assert len(setting.notes) == 2
    assert not setting.failed


def test_room_for_one_at_a_time_is_used_in_order() -> None:
    setting = Setting(FakeDisk(room=0))
    setting.add("a", "b", "c")
    now = 0.0
    for _ in range(20):
        setting.disk.work()
        setting.disk.room = 1
        setting.jobs.try_again(now)
        now += PAUSE_SECONDS

    assert setting.done == ["a", "b", "c"]


def test_another_failure_is_final() -> None:
    setting = Setting()
    broken = DiskFailed("could not sync")

    def fail() -> None:
        raise broken

    setting.jobs.add(fail, lambda: None)
    setting.disk.work()

    assert setting.failed == [broken]
    assert setting.jobs.full is None
