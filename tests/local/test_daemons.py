"""Daemons are known by pid and start time: a number that went to another process is not theirs any more."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftswarm.local import daemons
from raftswarm.local.daemons import DaemonProcess, is_alive, is_stopped, launch, send_signal, start_time, wait_gone


@pytest.fixture
def process() -> Iterator[DaemonProcess]:
    """Something that runs."""
    with subprocess.Popen(["sleep", "60"]) as child:
        started = start_time(child.pid)
        assert started is not None
        yield DaemonProcess(child.pid, started)
        child.kill()


def test_a_process_that_runs_is_alive(process: DaemonProcess) -> None:
    assert is_alive(process)
    assert not is_alive(None)


def test_another_process_with_the_same_pid_is_neither_alive_nor_signalled(process: DaemonProcess) -> None:
    earlier = DaemonProcess(process.pid, process.start_time - 1)

    send_signal(earlier, signal.SIGKILL)

    assert not is_alive(earlier)
    assert is_alive(process)


async def test_a_killed_process_is_waited_for_and_buried(process: DaemonProcess) -> None:
    send_signal(process, signal.SIGKILL)

    assert await wait_gone(process, 10)
    assert not is_alive(process)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


async def test_waiting_for_a_process_that_stays_has_an_end(process: DaemonProcess) -> None:
    assert not await wait_gone(process, 0.01)


async def test_nothing_to_wait_for_is_gone(process: DaemonProcess) -> None:
    assert await wait_gone(None, 10)
    assert await wait_gone(DaemonProcess(process.pid, process.start_time - 1), 10)


def test_a_zombie_is_not_alive() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert start_time(pid) is None
    os.waitpid(pid, 0)


def test_a_frozen_process_is_told_from_one_that_runs(process: DaemonProcess) -> None:
    assert not is_stopped(process)
    send_signal(process, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    assert is_stopped(process)
    assert is_alive(process)


async def test_a_launched_command_has_a_session_of_its_own_and_writes_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text("before\n")

    process = launch(["--version"], log)

    assert os.getsid(process.pid) == process.pid
    assert await wait_gone(process, 20)
    before, version = log.read_text().splitlines()
    assert (before, version.split()[0]) == ("before", "raftswarm")
    assert daemons.start_time(process.pid) is None
