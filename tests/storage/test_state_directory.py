"""One process at a time holds a state directory, and one that is not ours is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftswarm.errors import DiskFailed, ForeignState, StateInUse
from raftswarm.storage.files import read_file, replace_file
from raftswarm.storage.state_directory import lock_state

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk

STATE = "var/state"


def test_a_new_directory_gets_a_lock_and_a_format(disk: MemoryDisk) -> None:
    lock_state(disk, STATE)

    assert disk.list(STATE) == ["format", "lock"]
    assert read_file(disk, f"{STATE}/format") == b"raftswarm state 1\n"


def test_a_second_process_is_refused_until_the_first_lets_go(disk: MemoryDisk) -> None:
    lock = lock_state(disk, STATE)

    with pytest.raises(StateInUse, match="another process uses var/state; stop it first"):
        lock_state(disk, STATE)
    lock.close()

    lock_state(disk, STATE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"raftswarm state 2\n", "has format 2; this version of raftswarm reads 1: run a newer one"),
        (b"something else\n", "was not written by raftswarm"),
        (b"raftswarm state \n", "was not written by raftswarm"),
        (b"\xff\xfe", "was not written by raftswarm"),
    ],
)
def test_a_foreign_directory_is_refused_and_not_kept_locked(disk: MemoryDisk, content: bytes, message: str) -> None:
    disk.make_directory(STATE)
    replace_file(disk, STATE, "format", content)

    for _ in range(2):
        with pytest.raises(ForeignState, match=message):
            lock_state(disk, STATE)


def test_a_directory_that_cannot_be_used_is_named(disk: MemoryDisk) -> None:
    disk.fail_at = 1

    with pytest.raises(DiskFailed, match="could not use var/state as state directory: No space left on device"):
        lock_state(disk, STATE)
