"""The state directory as a whole: one process at a time holds it, and its layout has a version."""

from __future__ import annotations

from typing import Final

from raftswarm.errors import ForeignState, StateInUse
from raftswarm.storage.files import disk_errors, make_directory, read_file, replace_file
from raftswarm.world.disk import Disk, File

FORMAT_VERSION: Final = 1

LOCK_FILE: Final = "lock"
"""Whoever runs in a state directory holds a lock on it."""
_FORMAT: Final = "format"
_PREFIX: Final = b"raftswarm state "


def lock_state(disk: Disk, state_directory: str) -> File:
    """Take the directory, made if need be, until the returned file is closed or this process ends.

    StateInUse if another process has it; ForeignState if it is not ours to read.
    """
    with disk_errors(f"could not use {state_directory} as state directory"):
        make_directory(disk, state_directory)
        try:
            lock = disk.lock(f"{state_directory}/{LOCK_FILE}")
        except BlockingIOError:
            raise StateInUse(
                f"another process uses {state_directory}; stop it first, or use another directory"
            ) from None
        try:
            if not check_format(disk, state_directory):
                replace_file(disk, state_directory, _FORMAT, b"%s%d\n" % (_PREFIX, FORMAT_VERSION))
        except BaseException:
            lock.close()
            raise
    return lock


def check_format(disk: Disk, state_directory: str) -> bool:
    """Tell whether it holds a state; ForeignState if that is not ours to read."""
    path = f"{state_directory}/{_FORMAT}"
    try:
        content = read_file(disk, path)
    except FileNotFoundError:
        return False
    version = content.removeprefix(_PREFIX).removesuffix(b"\n")
    if content != b"%s%s\n" % (_PREFIX, version) or not version.isdigit():
        raise ForeignState(f"{path} was not written by raftswarm; use another state directory")
    if int(version) != FORMAT_VERSION:
        raise ForeignState(
            f"{state_directory} has format {int(version)}; "
            f"this version of raftswarm reads {FORMAT_VERSION}: run a newer one"
        )
    return True
