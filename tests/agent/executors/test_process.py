"""Tasks as real processes: they outlive the agent, are adopted, and end in Docker's words (SWARM 8.3)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import msgspec
import pytest
import trio

from raftswarm.agent.addresses import AddressPool
from raftswarm.agent.description import describe_machine
from raftswarm.agent.executors.executor import Exited, TaskFailed, TaskRejected
from raftswarm.agent.executors.process import ProcessController, ProcessExecutor
from raftswarm.agent.executors.templates import Host
from raftswarm.objects.records import Endpoint, Task, TaskStatus
from raftswarm.objects.specs import ContainerSpec, PortConfig, TaskSpec
from raftswarm.world.disk import DiskRunner
from raftswarm.world.real_disk import RealDisk
from raftswarm.world.real_processes import RealProcesses, kill_recorded


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory; what runs below it at the end is killed."""
    yield tmp_path
    kill_recorded(str(tmp_path / "tasks"))


@pytest.fixture
def executor(state: Path, runner: DiskRunner) -> Iterator[ProcessExecutor]:
    executor = make_executor(state, runner)
    yield executor
    executor.addresses.close()


def make_executor(state: Path, runner: DiskRunner) -> ProcessExecutor:
    disk, tasks = RealDisk(), str(state / "tasks")
    return ProcessExecutor(
        processes=RealProcesses(),
        disk=disk,
        runner=runner,
        directory=tasks,
        addresses=AddressPool(disk, runner, str(state / "run"), tasks),
        host=Host(node_id="node1", hostname="docker1"),
        description=lambda: describe_machine("1"),
        base_environment={"PATH": "/usr/bin:/bin"},
    )


def make_task(
    script: str = "exit 0", *, task_id: str = "t1", ports: tuple[PortConfig, ...] = (), **fields: Any
) -> Task:
    spec = ContainerSpec(**{"image": "web", "command": ["/bin/sh", "-c", script], **fields})
    return Task(id=task_id, spec=TaskSpec(container_spec=spec), endpoint=Endpoint(ports=ports))


async def started(executor: ProcessExecutor, task: Task) -> ProcessController:
    controller = executor.controller(task)
    await controller.prepare()
    await controller.start()
    return controller


def known(task: Task, controller: ProcessController) -> Task:
    """Return the task as the agent's record has it."""
    status = TaskStatus(address=controller.address, container=controller.container)
    return msgspec.structs.replace(task, status=status)


def output(executor: ProcessExecutor, task_id: str = "t1") -> str:
    return Path(executor.directory, task_id, "stdout").read_text()


def exists(executor: ProcessExecutor, task_id: str) -> bool:
    return Path(executor.directory, task_id).exists()


def files_below(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_a_task_runs_to_its_end(executor: ProcessExecutor) -> None:
    controller = await started(executor, make_task("exit 3"))

    assert await controller.wait() == Exited(exit_code=3)
    assert controller.container is not None
    assert controller.container.exit_code == 3


async def test_a_task_knows_its_address_and_port(executor: ProcessExecutor) -> None:
    script = "echo $RAFTSWARM_TASK_ADDRESS:$PORT {{.Task.Address}}:{{.Task.Port}}"
    controller = await started(executor, make_task(script, ports=(PortConfig(target_port=80, published_port=8080),)))

    await controller.wait()

    assert output(executor) == f"{controller.address}:80 {controller.address}:80\n"
    assert controller.address.startswith("127.")


async def test_host_mode_ports_are_the_tasks_own(executor: ProcessExecutor) -> None:
    ingress = PortConfig(target_port=80, published_port=8080)
    host = PortConfig(target_port=81, published_port=8081, publish_mode="host")

    assert executor.controller(make_task(ports=(ingress, host))).ports == (host,)


async def test_an_unknown_image_is_rejected(executor: ProcessExecutor) -> None:
    with pytest.raises(TaskRejected, match="No such image: nosuchimage:1"):
        await executor.controller(make_task(image="nosuchimage:1", command=None)).prepare()


async def test_a_command_that_is_not_there_fails_as_dockers_does(executor: ProcessExecutor) -> None:
    controller = executor.controller(make_task(command=["nosuchcommand"]))
    await controller.prepare()

    with pytest.raises(TaskFailed, match=r'exec: "nosuchcommand": executable file not found in \$PATH') as failure:
        await controller.start()

    assert failure.value.exit_code == 127


async def test_a_task_is_asked_to_stop(executor: ProcessExecutor) -> None:
    controller = await started(
        executor, make_task("trap 'exit 4' INT; while :; do sleep 0.01; done", stop_signal="INT")
    )
    await trio.to_thread.run_sync(wait_trap, controller, "SigCgt:", SIGINT)

    await controller.stop()

    assert await controller.wait() == Exited(exit_code=4)


def wait_trap(controller: ProcessController, mask: str, number: int) -> None:
    """Block until the command catches (SigCgt) or ignores (SigIgn) a signal, as /proc shows."""
    assert controller.container is not None
    session = controller.container.pid
    shell = Path(f"/proc/{session}/cmdline").read_bytes()
    while True:
        for child in Path(f"/proc/{session}/task/{session}/children").read_text().split():
            if Path(f"/proc/{child}/cmdline").read_bytes() == shell:
                continue  # Not yet the command: a copy of the shell that watches over it, which ignores signals.
            status = Path(f"/proc/{child}/status").read_text()
            signals = next(line for line in status.splitlines() if line.startswith(mask)).split()[1]
            if int(signals, 16) & 1 << (number - 1):
                return


async def test_a_task_that_will_not_stop_is_killed_after_its_grace_period(executor: ProcessExecutor) -> None:
    controller = await started(executor, make_task("trap '' TERM; sleep 60; sleep 60", stop_grace_period=20_000_000))
    await trio.to_thread.run_sync(wait_trap, controller, "SigIgn:", SIGTERM)

    await controller.stop()

    assert await controller.wait() == Exited(exit_code=137)


async def test_stopping_what_never_started_is_done_at_once(executor: ProcessExecutor) -> None:
    controller = executor.controller(make_task())

    await controller.stop()

    assert not exists(executor, "t1")


async def test_the_next_agent_adopts_a_task_with_its_address_and_sees_its_end(
    state: Path, runner: DiskRunner, executor: ProcessExecutor
) -> None:
    task = make_task("trap 'exit 6' TERM; while :; do sleep 0.01; done")
    first = await started(executor, task)
    executor.addresses.close()

    second = make_executor(state, runner)
    await second.recover([known(task, first)])
    adopted = second.controller(known(task, first))
    await adopted.start()

    assert adopted.container == first.container
    assert adopted.address == first.address
    assert await second.addresses.take() != first.address
    await trio.to_thread.run_sync(kill_command, adopted)
    assert await adopted.wait() == Exited(exit_code=137)
    second.addresses.close()


def kill_command(controller: ProcessController) -> None:
    """Kill the command but not its shell."""
    assert controller.container is not None
    session = controller.container.pid
    while not (children := Path(f"/proc/{session}/task/{session}/children").read_text().split()):
        pass
    os.kill(int(children[0]), 9)


async def test_an_end_that_nobody_saw_is_seen_by_the_next_agent(
    state: Path, runner: DiskRunner, executor: ProcessExecutor
) -> None:
    task = make_task("exit 5")
    first = await started(executor, task)
    await first.wait()

    second = make_executor(state, runner)

    assert await second.controller(known(task, first)).wait() == Exited(exit_code=5)


async def test_a_task_that_lost_its_machine_has_failed(
    state: Path, runner: DiskRunner, executor: ProcessExecutor
) -> None:
    task = make_task("sleep 60")
    first = await started(executor, task)
    await trio.to_thread.run_sync(kill_recorded, executor.directory)

    second = make_executor(state, runner)
    with pytest.raises(TaskFailed) as failure:
        await second.controller(known(task, first)).wait()

    assert failure.value.exit_code == 137


async def test_removing_a_task_leaves_nothing(executor: ProcessExecutor) -> None:
    controller = await started(executor, make_task("sleep 60"))

    await controller.remove()

    assert not exists(executor, "t1")
    assert await executor.processes.adopt(f"{executor.directory}/t1") is None


async def test_a_removed_tasks_address_may_be_another_tasks(executor: ProcessExecutor) -> None:
    controller = await started(executor, make_task())

    await controller.remove()

    assert controller.address in [await executor.addresses.take() for _ in range(254)]


async def test_what_no_record_knows_is_ended(executor: ProcessExecutor) -> None:
    await started(executor, make_task("sleep 60", task_id="known"))
    stray = await started(executor, make_task("sleep 60", task_id="stray"))
    assert stray.container is not None

    await executor.recover([make_task(task_id="known")])

    assert not exists(executor, "stray")
    assert exists(executor, "known")
    with pytest.raises(ProcessLookupError):
        os.kill(stray.container.pid, 0)


async def test_a_secret_in_the_environment_is_nowhere_on_disk(executor: ProcessExecutor, state: Path) -> None:
    await started(executor, make_task("sleep 60", env=["TOKEN=marker"]))

    assert b"marker" not in files_below(state)
