"""Daemons as processes of this machine: started apart from us, found again by pid and start time, signalled."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec
import trio

from raftswarm.errors import RaftSwarmError


class DaemonProcess(msgspec.Struct, frozen=True):
    """A process that was started; the start time tells it from a later one with the same pid."""

    pid: int
    start_time: int


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone or only waits to be reaped."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/<pid>/stat`` after the name, from the state on (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_alive(process: DaemonProcess | None) -> bool:
    """Tell whether that very process runs."""
    return process is not None and start_time(process.pid) == process.start_time


def is_stopped(process: DaemonProcess | None) -> bool:
    """Tell whether that very process is frozen by a signal."""
    if process is None or not is_alive(process):
        return False
    fields = _stat(process.pid)
    return fields is not None and fields[0] == "T"


def launch(arguments: list[str], log: Path) -> DaemonProcess:
    """Start ``raftswarm <arguments>`` in its own session; it lives on without us. Its output goes to `log`."""
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "raftswarm", *arguments],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    started = start_time(pid)
    if started is None:
        raise RaftSwarmError(f"the daemon ended at once; see {log}")
    return DaemonProcess(pid, started)


def send_signal(process: DaemonProcess | None, number: signal.Signals) -> None:
    """Signal it; nothing if it is gone."""
    if process is not None and is_alive(process):
        os.kill(process.pid, number)


async def wait_gone(process: DaemonProcess | None, seconds: float) -> bool:
    """Wait for its end, at most that long; tell whether it ended."""
    if process is None:
        return True
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        # Also one that looks dead: a killed process holds its locks and ports until the last of its threads is gone.
        if (fields := _stat(process.pid)) is not None and int(fields[19]) == process.start_time:
            with trio.move_on_after(seconds):
                await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
    reap(process)
    return not is_alive(process)


def reap(process: DaemonProcess) -> None:
    """Collect the exit status, if it was our child."""
    try:
        os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return
