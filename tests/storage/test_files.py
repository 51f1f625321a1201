"""Small files are replaced in one step, and directories are there for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from raftswarm.errors import DiskFailed
from raftswarm.storage.files import disk_errors, make_directory, read_file, remove_temporary, replace_file

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk


def always(fate: bool) -> Callable[[object], bool]:
    return lambda _: fate


def test_after_a_crash_a_replaced_file_is_the_old_one_or_the_new_one(
    disk: MemoryDisk, crash: type[BaseException]
) -> None:
    disk.make_directory("d")
    replace_file(disk, "d", "f", b"old")
    image = disk.copy()
    found: list[bytes] = []
    for call in range(1, 10):
        for fate in (True, False):
            attempt = image.copy()
            attempt.crash_at = call
            try:
                replace_file(attempt, "d", "f", b"newer")
            except crash:
                found.append(read_file(attempt.after_crash(always(fate), tear=2), "d/f"))

    assert set(found) == {b"old", b"newer"}


def test_what_was_being_written_is_removed(disk: MemoryDisk) -> None:
    disk.make_directory("d")
    replace_file(disk, "d", "f", b"new")
    disk.open("d/g.part", create=True).close()

    remove_temporary(disk, "d")

    assert disk.list("d") == ["f"]


def test_each_directory_that_is_made_is_synced_in_its_parent(disk: MemoryDisk) -> None:
    make_directory(disk, "a/b/c")
    make_directory(disk, "a/b/c")
    make_directory(disk, "/x")

    assert disk.directory_syncs == [".", "a", "a/b", "a/b", "/"]


def test_the_operating_systems_errors_say_what_was_being_done() -> None:
    with pytest.raises(DiskFailed, match="could not dance: Input/output error"), disk_errors("could not dance"):
        raise OSError(5, "Input/output error")
