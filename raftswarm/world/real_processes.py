"""Processes of this machine that outlive the daemon: a lock held by a small shell says who is alive.

The daemon locks ``<directory>/lock`` and hands the descriptor to a shell in a session of its own; the kernel drops the
lock with the last process that holds it, whatever way it ends. Read in this order, a directory says what became of its
process:

* the lock is refused: alive
* ``exit`` is there: finished, with that status
* there is no ``pid``: never started, for the shell writes it before it runs the command
* otherwise: lost
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import trio

from raftswarm.world.processes import Process, ProcessLost

logger = logging.getLogger("raftswarm.processes")

LOCK_DESCRIPTOR: Final = 9
MARKER: Final = "RAFTSWARM_TASK_DIRECTORY"
"""In the environment of every process of ours: tells them from a stranger whose session got the same number later."""

# Signals to the session are not for the shell: it stays until it has the status. It writes each file in one write that
# ends in a newline: half a file is as good as none. The command must not hold the lock: its children may outlive it.
_SHIM: Final = f"""
trap '' TERM INT HUP QUIT
read -r boot </proc/sys/kernel/random/boot_id && read -r stat </proc/$$/stat || exit 125
printf '%s %s\\n' "$boot" "$stat" >"$1/pid" || exit 125
(
    trap - TERM INT HUP QUIT
    exec {LOCK_DESCRIPTOR}>&-
    cd -- "$2" || exit 126
    shift 2
    exec "$@"
)
printf '%s\\n' "$?" >"$1/exit"
"""

_POLL_SECONDS: Final = 0.005
_KILL_ROUNDS: Final = 400


@attrs.frozen
class _Birth:
    """What tells a process from every other, also from a later one with its number."""

    boot: str
    pid: int
    start: int
    """In clock ticks since the boot."""

    @property
    def is_now(self) -> bool:
        """Tell whether that process still has its number, perhaps as a zombie."""
        if self.boot != _boot_id():
            return False
        stat = _read_stat(self.pid)
        return stat is not None and stat.start == self.start


class RealProcesses:
    """The operating system's own."""

    def find(self, program: str, search_path: str) -> bool:
        """Tell whether `search_path` has an executable of that name."""
        return shutil.which(program, path=search_path) is not None

    async def spawn(
        self, directory: str, command: Sequence[str], environment: Mapping[str, str], *, working_directory: str = ""
    ) -> Process:
        """Start `command`; once begun it is not cancelled."""
        place = _absolute(directory)
        work = working_directory or str(place / "work")
        return RealProcess(place, await trio.to_thread.run_sync(_spawn, place, command, environment, work))

    async def adopt(self, directory: str) -> Process | int | None:
        """Find what an earlier life spawned there."""
        place = _absolute(directory)
        found = _inspect(place)
        while found is _BEGINNING:
            await trio.sleep(_POLL_SECONDS)
            found = _inspect(place)
        if isinstance(found, _Birth):
            return RealProcess(place, found)
        if found is _UNBORN:
            return None
        await trio.to_thread.run_sync(_end_session, place)
        if found is _LOST:
            raise ProcessLost(f"the process of {place} is gone without an exit status")
        assert isinstance(found, int)
        return found

    async def remove(self, directory: str) -> None:
        """Kill whatever still runs and delete the directory."""
        await trio.to_thread.run_sync(_remove, _absolute(directory))


class RealProcess:
    """A shell that waits for its command, known by its birth."""

    def __init__(self, directory: Path, birth: _Birth) -> None:
        self._directory = directory
        self._birth = birth

    @property
    def pid(self) -> int:
        """The session's id, which is the shell's process id."""
        return self._birth.pid

    async def wait(self) -> int:
        """Return the exit status, when nothing of the session is left."""
        await self._wait_gone()
        await trio.to_thread.run_sync(_end_session, self._directory)
        status = _read_exit(self._directory)
        if status is None:
            raise ProcessLost(f"the process of {self._directory} was killed together with its shell")
        return status

    def signal(self, number: int) -> None:
        """Send a signal to the session, except to the shell: it has to tell how the command ended."""
        if self._birth.is_now:
            _signal_all(_session_members(self.pid), number)

    async def _wait_gone(self) -> None:
        await trio.lowlevel.checkpoint()
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # The number may have gone to another process before we opened it; a zombie's descriptor is readable.
            if self._birth.is_now:
                await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)


def kill_recorded(directory: str) -> None:
    """Kill every process whose directory lies in `directory`, shells first, as if the power went. Blocks.

    Only while no daemon uses it.
    """
    for lock in sorted(Path(directory).glob("*/lock")):
        _end_session(lock.parent)


def running_recorded(directory: str) -> list[int]:
    """Return the session of every process that runs and has its directory in `directory`."""
    found = (_inspect(lock.parent) for lock in sorted(Path(directory).glob("*/lock")))
    return [birth.pid for birth in found if isinstance(birth, _Birth)]


def _absolute(directory: str) -> Path:
    return Path(directory).absolute()


# Starting.


def _spawn(directory: Path, command: Sequence[str], environment: Mapping[str, str], work: str) -> _Birth:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "work").mkdir(mode=0o700, exist_ok=True)
    with _locked(directory / "lock", fcntl.LOCK_EX, create=True) as lock:
        if lock is None or _read_birth(directory) is not None:
            raise FileExistsError(f"a process was started in {directory} before: adopt or remove it")
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _SHIM, "sh", str(directory), work, *command],
            {**environment, MARKER: str(directory)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(directory / "stdout"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_OPEN, 2, str(directory / "stderr"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, lock, LOCK_DESCRIPTOR),
                *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable_descriptors()),
            ],
            setsid=True,
            setsigmask=[],
            # A daemon started with nohup, or in the background of a script, ignores signals that its tasks must not.
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
        )
    stat = _read_stat(pid)
    assert stat is not None, "our own child keeps its number until we wait for it"
    return _Birth(_boot_id(), pid, stat.start)


def _inheritable_descriptors() -> list[int]:
    """Those that the daemon itself was handed by whoever started it; Python's own are closed on exec."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        descriptor = int(entry.name)
        with suppress(OSError):  # The listing's own descriptor is in the list and closed by now.
            if descriptor > 2 and descriptor != LOCK_DESCRIPTOR and os.get_inheritable(descriptor):
                found.append(descriptor)
    return found


# Finding out.


class _Sign:
    """What a directory says besides a status or a birth."""


_BEGINNING, _UNBORN, _LOST = _Sign(), _Sign(), _Sign()


def _inspect(directory: Path) -> int | _Birth | _Sign:
    with _locked(directory / "lock", fcntl.LOCK_SH) as lock:
        birth = _read_birth(directory)
        if lock is None and (directory / "lock").exists():
            return birth or _BEGINNING
        status = _read_exit(directory)
        if status is not None:
            return status
        return _UNBORN if birth is None else _LOST


@contextmanager
def _locked(path: Path, kind: int, *, create: bool = False) -> Iterator[int | None]:
    """Hold the lock for a moment; None when another process has it, or there is no file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def _read_line(path: Path) -> str | None:
    """Return what the shell wrote; None if it did not finish."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    return text.rstrip("\n") if text.endswith("\n") else None


def _read_exit(directory: Path) -> int | None:
    line = _read_line(directory / "exit")
    return None if line is None else int(line)


def _read_birth(directory: Path) -> _Birth | None:
    line = _read_line(directory / "pid")
    if line is None:
        return None
    boot, pid, rest = line.split(" ", 2)
    return _Birth(boot, int(pid), _parse_stat(rest).start)


# The process table.


@attrs.frozen
class _Stat:
    """The fields of ``/proc/<pid>/stat`` that we need (proc(5))."""

    state: str
    session: int
    start: int


def _parse_stat(text: str) -> _Stat:
    fields = text.rpartition(")")[2].split()  # The name before it may hold anything.
    return _Stat(state=fields[0], session=int(fields[3]), start=int(fields[19]))


def _read_stat(pid: int) -> _Stat | None:
    try:
        return _parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _session_members(session: int) -> list[int]:
    """Processes of a session that live, without its leader."""
    members = []
    with os.scandir("/proc") as entries:
        for pid in (int(entry.name) for entry in entries if entry.name.isdigit()):
            stat = _read_stat(pid)
            if stat is not None and stat.session == session and stat.state not in "ZX" and pid != session:
                members.append(pid)
    return members


def _is_marked(pid: int, directory: Path) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # Gone, or of another user: not ours.
        return False
    return f"{MARKER}={directory}".encode() in environment.split(b"\0")


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


# Ending.


def _end_session(directory: Path) -> None:
    """Kill whatever runs of the process of `directory`; return when it is gone. Blocks for some milliseconds."""
    while _inspect(directory) is _BEGINNING:
        time.sleep(_POLL_SECONDS)
    birth = _read_birth(directory)
    if birth is None or birth.boot != _boot_id():
        return
    if birth.is_now:
        # Stopped, the shell can record nothing, and its session keeps its number until the last member is dead.
        _signal_all([birth.pid], signal.SIGSTOP)
    for _ in range(_KILL_ROUNDS):
        members = _session_members(birth.pid)
        if not birth.is_now:
            members = [pid for pid in members if _is_marked(pid, directory)]
        if not members:
            break
        _signal_all(members, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    else:
        logger.error("processes of %s do not die", directory)
    if birth.is_now:
        _signal_all([birth.pid], signal.SIGKILL)
        with suppress(ChildProcessError):  # An adopted one is somebody else's to bury.
            os.waitpid(birth.pid, 0)
    while isinstance(_inspect(directory), _Birth):  # The lock is free when the last of it is dead.
        time.sleep(_POLL_SECONDS)


def _remove(directory: Path) -> None:
    if not directory.exists():
        return
    _end_session(directory)
    shutil.rmtree(directory)
