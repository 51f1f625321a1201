"""A short directory of this user's for sockets and locks that all daemons of a machine share."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from raftswarm.errors import RaftSwarmError


def runtime_directory() -> Path:
    """Return the directory, made on demand, 0700."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    directory = Path(base) / f"raftswarm-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise RaftSwarmError(f"{directory} belongs to somebody else; set XDG_RUNTIME_DIR to a directory of yours")
    return directory


def tidy_runtime_directory() -> None:
    """Remove what is empty of it; whoever needs it again makes it again."""
    directory = runtime_directory()
    for place in (*directory.iterdir(), directory):
        with suppress(OSError):  # It is not empty, or no directory.
            place.rmdir()
