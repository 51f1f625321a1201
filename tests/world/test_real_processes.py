"""Real processes outlive their daemon, are started once, and never lose an exit status (docs/architecture.md)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from raftswarm.world.processes import Process, ProcessLost
from raftswarm.world.real_processes import RealProcesses, kill_recorded

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Path]:
    """A directory of task directories; whatever still runs there at the end is killed."""
    yield tmp_path / "tasks"
    kill_recorded(str(tmp_path / "tasks"))


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


async def spawn(directory: Path, script: str, environment: dict[str, str] | None = None) -> Process:
    return await RealProcesses().spawn(str(directory), shell(script), {**ENVIRONMENT, **(environment or {})})


class Listener:
    """The reading end of a pipe with a name, for what processes say."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    async def hear(self) -> str:
        with trio.fail_after(5):
            await trio.lowlevel.wait_readable(self._descriptor)
        return os.read(self._descriptor, 1000).decode()

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(tmp_path / "pipe")
    yield listener
    listener.close()


async def wait_dead(process: Process) -> None:
    """Wait as `Process.wait` does, but without looking at what is left."""
    descriptor = os.pidfd_open(process.pid)
    with trio.fail_after(5):
        await trio.lowlevel.wait_readable(descriptor)
    os.close(descriptor)


def bury(process: Process) -> None:
    """Take away the zombie, as init does for the children of a dead daemon."""
    os.waitpid(process.pid, 0)


def exists(path: Path) -> bool:
    return path.exists()


def all_bytes(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_process_returns_its_exit_status(tasks: Path) -> None:
    process = await spawn(tasks / "a", "exit 7")

    assert await process.wait() == 7


async def test_a_process_ended_by_a_signal_has_status_128_plus_its_number(tasks: Path) -> None:
    process = await spawn(tasks / "a", "kill -KILL $$")

    assert await process.wait() == 137


async def test_output_goes_to_files(tasks: Path) -> None:
    process = await spawn(tasks / "a", "echo said; echo cried >&2")

    await process.wait()

    assert (tasks / "a/stdout").read_text() == "said\n"
    assert (tasks / "a/stderr").read_text() == "cried\n"


async def test_a_process_begins_in_a_directory_of_its_own(tasks: Path) -> None:
    process = await spawn(tasks / "a", "pwd")

    await process.wait()

    assert (tasks / "a/stdout").read_text() == f"{tasks}/a/work\n"


async def test_a_process_begins_where_it_is_told(tasks: Path, tmp_path: Path) -> None:
    process = await RealProcesses().spawn(str(tasks / "a"), shell("pwd"), ENVIRONMENT, working_directory=str(tmp_path))

    await process.wait()

    assert (tasks / "a/stdout").read_text() == f"{tmp_path}\n"


async def test_command_and_environment_are_nowhere_on_disk(tasks: Path, listener: Listener) -> None:
    await spawn(tasks / "a", f": marker; echo up >{listener.path}; sleep 60", {"TOKEN": "marker"})
    await listener.hear()

    assert b"marker" not in all_bytes(tasks)


async def test_the_environment_reaches_the_process(tasks: Path) -> None:
    process = await spawn(tasks / "a", 'echo "$TOKEN"', {"TOKEN": "a 'quoted' $value"})

    await process.wait()

    assert (tasks / "a/stdout").read_text() == "a 'quoted' $value\n"


async def test_a_signal_reaches_every_process_of_the_session(tasks: Path, listener: Listener) -> None:
    process = await spawn(tasks / "a", f"sleep 60 & echo $! >{listener.path}; wait")
    child = int(await listener.hear())

    process.signal(signal.SIGTERM)

    assert await process.wait() == 143
    assert not lives(child)


async def test_a_command_can_handle_its_stop_signal_although_its_shell_ignores_it(
    tasks: Path, listener: Listener
) -> None:
    process = await spawn(tasks / "a", f"trap 'exit 3' INT; echo up >{listener.path}; while :; do sleep 0.01; done")
    await listener.hear()

    process.signal(signal.SIGINT)

    assert await process.wait() == 3


async def test_what_a_command_leaves_in_the_background_ends_with_it(tasks: Path) -> None:
    process = await spawn(tasks / "a", "sleep 60 & echo $!")

    assert await process.wait() == 0
    assert not lives(int((tasks / "a/stdout").read_text()))


async def test_a_signal_after_the_end_does_nothing(tasks: Path) -> None:
    process = await spawn(tasks / "a", "exit 0")
    await process.wait()

    process.signal(signal.SIGKILL)

    assert await process.wait() == 0


async def test_what_was_never_started_is_not_found(tasks: Path) -> None:
    assert await RealProcesses().adopt(str(tasks / "a")) is None


async def adopt(directory: Path) -> Process:
    found = await RealProcesses().adopt(str(directory))
    assert found is not None
    assert not isinstance(found, int)
    return found


async def test_a_running_process_is_adopted(tasks: Path) -> None:
    os.mkfifo(tasks.parent / "gate")
    process = await spawn(tasks / "a", f"read -r line <{tasks.parent}/gate; exit 5")

    adopted = await adopt(tasks / "a")
    await trio.to_thread.run_sync((tasks.parent / "gate").write_text, "go\n")

    assert adopted.pid == process.pid
    assert await adopted.wait() == 5


async def test_the_status_of_what_ended_unwatched_is_found(tasks: Path) -> None:
    await wait_dead(await spawn(tasks / "a", "exit 4"))

    assert await RealProcesses().adopt(str(tasks / "a")) == 4


async def test_half_an_exit_status_is_none(tasks: Path) -> None:
    process = await spawn(tasks / "a", "exit 12")
    await process.wait()
    (tasks / "a/exit").write_text("1")

    with pytest.raises(ProcessLost):
        await RealProcesses().adopt(str(tasks / "a"))


async def test_a_process_killed_with_its_shell_is_lost_and_the_rest_of_its_session_killed(
    tasks: Path, listener: Listener
) -> None:
    process = await spawn(tasks / "a", f"sleep 60 & echo $! >{listener.path}; wait")
    child = int(await listener.hear())
    os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(ProcessLost):
        await process.wait()

    assert not lives(child)
    with pytest.raises(ProcessLost):
        await RealProcesses().adopt(str(tasks / "a"))


async def test_the_rest_of_a_lost_session_is_killed_by_whoever_finds_it(tasks: Path, listener: Listener) -> None:
    process = await spawn(tasks / "a", f"sleep 60 & echo $! >{listener.path}; wait")
    child = int(await listener.hear())
    os.kill(process.pid, signal.SIGKILL)
    bury(process)

    with pytest.raises(ProcessLost):
        await RealProcesses().adopt(str(tasks / "a"))

    assert not lives(child)


async def test_a_zombie_counts_as_ended(tasks: Path) -> None:
    process = await spawn(tasks / "a", "exit 6")
    await wait_dead(process)
    assert not lives(process.pid)
    assert exists(Path(f"/proc/{process.pid}"))

    assert await RealProcesses().adopt(str(tasks / "a")) == 6


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def record_birth(directory: Path, boot: str, pid: int, start: int) -> None:
    """Write what a shell of an earlier time would have left."""
    directory.mkdir(parents=True)
    (directory / "lock").touch()
    (directory / "pid").write_text(f"{boot} {pid} (sh) S 1 {pid} {pid} {'0 ' * 15}{start} 0\n")


async def test_a_stranger_with_the_same_number_is_left_alone(tasks: Path) -> None:
    stranger = await trio.lowlevel.open_process(["/bin/sleep", "60"], start_new_session=True)
    record_birth(tasks / "a", boot_id(), stranger.pid, start=1)

    with pytest.raises(ProcessLost):
        await RealProcesses().adopt(str(tasks / "a"))
    await RealProcesses().remove(str(tasks / "a"))

    assert lives(stranger.pid)
    stranger.kill()
    await stranger.wait()


def leave_session(listener: Listener) -> int:
    """Let a session's leader end and be forgotten while a member lives on; return the session's number."""
    leader = subprocess.Popen(shell(f"sleep 60 & echo $! >{listener.path}"), start_new_session=True)
    leader.wait()
    return leader.pid


async def test_the_rest_of_a_strangers_session_is_left_alone(tasks: Path, listener: Listener) -> None:
    session = leave_session(listener)
    member = int(await listener.hear())
    record_birth(tasks / "a", boot_id(), session, start=1)

    with pytest.raises(ProcessLost):
        await RealProcesses().adopt(str(tasks / "a"))

    assert lives(member)
    os.kill(member, signal.SIGKILL)


async def test_a_process_of_before_the_reboot_is_lost(tasks: Path) -> None:
    record_birth(tasks / "a", "an-earlier-boot", os.getpid(), start=1)

    with pytest.raises(ProcessLost):
        await RealProcesses().adopt(str(tasks / "a"))


async def test_nothing_is_started_where_something_was(tasks: Path) -> None:
    process = await spawn(tasks / "a", "sleep 60")

    with pytest.raises(FileExistsError):
        await spawn(tasks / "a", "true")

    process.signal(signal.SIGKILL)
    await process.wait()
    with pytest.raises(FileExistsError):
        await spawn(tasks / "a", "true")


async def test_removing_kills_and_forgets(tasks: Path) -> None:
    process = await spawn(tasks / "a", "trap '' TERM; sleep 60")

    await RealProcesses().remove(str(tasks / "a"))

    assert not lives(process.pid)
    assert not exists(tasks / "a")
    assert await RealProcesses().adopt(str(tasks / "a")) is None


async def test_cutting_the_power_leaves_no_status(tasks: Path) -> None:
    one, other = await spawn(tasks / "a", "sleep 60"), await spawn(tasks / "b", "sleep 60")

    kill_recorded(str(tasks))

    assert not lives(one.pid)
    assert not lives(other.pid)
    for name in ("a", "b"):
        with pytest.raises(ProcessLost):
            await RealProcesses().adopt(str(tasks / name))


async def test_a_process_has_no_descriptor_but_its_own(tasks: Path) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    process = await spawn(tasks / "a", "exec ls /proc/self/fd")

    await process.wait()
    os.close(reading)
    os.close(writing)

    assert (tasks / "a/stdout").read_text().split() == ["0", "1", "2", "3"]  # 3 is the directory that ls reads.


async def test_a_signal_that_the_daemon_ignores_is_not_ignored_by_its_processes(tasks: Path) -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    process = await spawn(tasks / "a", "kill -USR1 $$; exit 0")
    signal.signal(signal.SIGUSR1, before)

    assert await process.wait() == 128 + signal.SIGUSR1


async def test_a_program_is_found_on_the_search_path_only(tmp_path: Path) -> None:
    (tmp_path / "web").touch(mode=0o755)

    assert RealProcesses().find("web", f"/bin:{tmp_path}")
    assert not RealProcesses().find("web", "/bin")


DAEMON = """
import os, signal, sys, trio
from pathlib import Path
from raftswarm.world.real_processes import RealProcesses

moment, directory, command = sys.argv[1], sys.argv[2], sys.argv[3]
spawn = os.posix_spawn

def killed_spawn(*arguments, **options):
    if moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    spawn(*arguments, **options)
    while moment == "later" and not Path(directory, "stdout").read_text():
        pass
    os.kill(os.getpid(), signal.SIGKILL)

os.posix_spawn = killed_spawn
trio.run(RealProcesses().spawn, directory, ["/bin/sh", "-c", command], {"PATH": "/usr/bin:/bin"})
"""


def start_daemon(moment: str, directory: Path, script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", DAEMON, moment, str(directory), script])


async def test_a_daemon_killed_around_the_spawn_and_started_again_starts_the_process_once(tasks: Path) -> None:
    script = "echo started; sleep 0.2; exit 9"
    moments = ["before", "after", "later"]

    daemons = [start_daemon(moment, tasks / moment, script) for moment in moments]
    for moment, daemon in zip(moments, daemons, strict=True):
        assert await trio.to_thread.run_sync(daemon.wait) == -signal.SIGKILL
        found = await RealProcesses().adopt(str(tasks / moment))
        assert (found is None) == (moment == "before")
        if found is None:
            found = await spawn(tasks / moment, script)

        status = found if isinstance(found, int) else await found.wait()

        assert status == 9
        assert (tasks / moment / "stdout").read_text() == "started\n"
