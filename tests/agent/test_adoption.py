"""A daemon killed with SIGKILL leaves its tasks running; the next one adopts them, before it has met any manager."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from raftswarm.agent.addresses import AddressPool
from raftswarm.agent.description import describe_machine
from raftswarm.agent.executors.process import ProcessExecutor
from raftswarm.agent.executors.templates import Host
from raftswarm.agent.record import TaskRecords
from raftswarm.agent.worker import Worker
from raftswarm.objects.states import TaskState
from raftswarm.world.chance import SystemEntropy
from raftswarm.world.clock import SystemWallClock
from raftswarm.world.disk import DiskRunner
from raftswarm.world.real_disk import RealDisk
from raftswarm.world.real_processes import RealProcesses, kill_recorded

DAEMON = """
import os, signal, sys, trio
from pathlib import Path
from raftswarm.agent.worker import Worker
from raftswarm.objects.records import Task, TaskStatus
from raftswarm.objects.specs import ContainerSpec, TaskSpec
from raftswarm.objects.states import TaskState
from raftswarm.wire.requests import Assignments
from raftswarm.world.real_disk import ThreadDiskRunner
sys.path.insert(0, sys.argv[2])
from test_adoption import make_worker

async def main(state):
    spec = ContainerSpec(image="web", command=["sh", "-c", "sleep 60"], env=["TOKEN=marker"])
    task = Task(id="t1", spec=TaskSpec(container_spec=spec), desired_state=TaskState.RUNNING,
                status=TaskStatus(state=TaskState.ASSIGNED))
    async with ThreadDiskRunner() as runner, trio.open_nursery() as nursery:
        worker = make_worker(state, runner)
        await nursery.start(worker.run)
        await worker.assign(Assignments(complete=True, tasks=(task,)))
        while worker.tasks[0].status.state is not TaskState.RUNNING:
            await worker.take_statuses(1)
        print(worker.tasks[0].status.container.pid, worker.tasks[0].status.address, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main, Path(sys.argv[1]))
"""


def make_worker(state: Path, runner: DiskRunner) -> Worker:
    disk, tasks = RealDisk(), str(state / "tasks")
    executor = ProcessExecutor(
        processes=RealProcesses(),
        disk=disk,
        runner=runner,
        directory=tasks,
        addresses=AddressPool(disk, runner, str(state / "run"), tasks),
        host=Host(node_id="node1", hostname="docker1"),
        description=lambda: describe_machine("1"),
        base_environment={"PATH": "/usr/bin:/bin"},
    )
    return Worker(executor, TaskRecords(disk, runner, tasks, bytes(32), SystemEntropy()), SystemWallClock())


def run_killed_daemon(state: Path) -> tuple[int, str]:
    """Return pid and address of the task it left."""
    arguments = [sys.executable, "-c", DAEMON, str(state), str(Path(__file__).parent)]
    finished = subprocess.run(arguments, stdout=subprocess.PIPE, check=False)
    assert finished.returncode == -9
    pid, address = finished.stdout.decode().split()
    return int(pid), address


def kill_children(session: int) -> None:
    for child in Path(f"/proc/{session}/task/{session}/children").read_text().split():
        subprocess.run(["/bin/kill", "-KILL", child], check=True)


def files_below(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    kill_recorded(str(tmp_path / "tasks"))


async def reported(worker: Worker, state: TaskState) -> None:
    """Wait until the only task is observed in that state."""
    with trio.fail_after(5):
        while worker.tasks[0].status.state is not state:
            await worker.take_statuses(1)


async def test_a_killed_daemons_task_runs_on_and_is_adopted(
    nursery: trio.Nursery, runner: DiskRunner, state: Path
) -> None:
    pid, address = await trio.to_thread.run_sync(run_killed_daemon, state)
    assert b"marker" not in files_below(state)
    worker = make_worker(state, runner)
    await nursery.start(worker.run)

    await reported(worker, TaskState.RUNNING)

    [task] = worker.tasks
    assert task.status.container is not None
    assert (task.status.container.pid, task.status.address) == (pid, address)

    await trio.to_thread.run_sync(kill_children, pid)
    await reported(worker, TaskState.FAILED)

    assert worker.tasks[0].status.error == "task: non-zero exit (137)"
