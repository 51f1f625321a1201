"""Real daemons for tests: their commands, waiting for what they show, and what they must not leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import trio

from raftswarm.api.errors import ApiError
from raftswarm.api.tasks import TaskJson
from raftswarm.client import EngineClient
from raftswarm.errors import LinkError
from raftswarm.local import LocalNode
from raftswarm.objects.defaults import SECOND
from raftswarm.objects.specs import (
    ContainerSpec,
    EncryptionConfig,
    Replicated,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    SwarmSpec,
    TaskSpec,
)
from raftswarm.world.runtime_directory import runtime_directory

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.05
LOCKED = SwarmSpec(encryption_config=EncryptionConfig(auto_lock_managers=True))


def raftswarm(*arguments: str, host: str = "", prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    words = [*prefix, sys.executable, "-m", "raftswarm", *(["-H", host] if host else []), *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def sleeping_service(name: str, *, replicas: int = 1, env: list[str] | None = None) -> ServiceSpec:
    """Tasks that run until they are stopped."""
    container = ContainerSpec(image="sleep", command=["sleep", "600"], env=env, stop_grace_period=SECOND)
    return ServiceSpec(
        name=name,
        task_template=TaskSpec(container_spec=container, restart_policy=RestartPolicy(delay=SECOND // 5)),
        mode=ServiceMode(replicated=Replicated(replicas=replicas)),
    )


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Look again and again until there is something to see; a daemon that is not there yet is looked at later."""
    refusal: Exception | None = None
    with trio.move_on_after(PATIENCE_SECONDS):
        while True:
            try:
                seen = await look()
            except (ApiError, LinkError) as error:
                refusal = error
            else:
                if seen is not None:
                    return seen
            await trio.sleep(POLL_SECONDS)
    raise AssertionError(f"not seen within {PATIENCE_SECONDS:.0f} s; the last refusal was {refusal}")


async def until_running(node: LocalNode, count: int) -> list[TaskJson]:
    """Wait until so many tasks run and none is on its way."""

    async def look() -> list[TaskJson] | None:
        async with EngineClient(node.docker_host) as client:
            wanted = [task for task in await client.tasks() if task.desired_state == "running"]
            return wanted if [task.status.state for task in wanted] == ["running"] * count else None

    return await until(look)


async def until_ready(node: LocalNode, count: int) -> list[str]:
    """Wait until so many nodes are ready and no manager is missed; return their ids."""

    async def look() -> list[str] | None:
        async with EngineClient(node.docker_host) as client:
            nodes = await client.nodes()
        managers = [node.manager_status for node in nodes if node.manager_status is not None]
        all_ready = [node.status.state for node in nodes] == ["ready"] * count
        all_reachable = all(manager.reachability == "reachable" for manager in managers)
        return sorted(node.id for node in nodes) if all_ready and all_reachable else None

    return await until(look)


async def leader_name(node: LocalNode) -> str:
    """Who leads, as that node sees it."""

    async def look() -> str | None:
        async with EngineClient(node.docker_host) as client:
            for other in await client.nodes():
                if other.manager_status is not None and other.manager_status.leader:
                    return other.hostname
        return None

    return await until(look)


def daemon_log(node: LocalNode) -> str:
    """What its daemon had to say."""
    return Path(node.state_dir, "daemon.log").read_text(encoding="utf-8")


def command_lines() -> list[str]:
    """What every process of the machine was started with, as anybody may read it."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append(file.read_bytes().decode(errors="replace"))
    return found


def remains_of(directory: Path) -> list[str]:
    """Name what there still is of a local swarm: processes, files, and claims in the shared directory."""
    found = [str(directory)] if directory.exists() else []
    found += [f"process {pid}: {words}" for pid, words in _processes() if str(directory) in words]
    for file in sorted(path for path in runtime_directory().rglob("*") if path.is_file()):
        try:
            if str(directory) in file.read_text(errors="replace"):
                found.append(str(file))
        except OSError:
            continue  # Another swarm's, gone by now.
    return found


def kill_processes_of(directory: Path) -> None:
    """End whatever names that directory, whoever started it: the last resort of a test that failed."""
    end = time.monotonic() + 5
    while (left := [pid for pid, words in _processes() if str(directory) in words]) and time.monotonic() < end:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def _processes() -> Iterator[tuple[int, str]]:
    """Every other live process with its command line and environment, as far as we may see them."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            yield int(entry.name), (entry / "cmdline").read_text() + "\0" + (entry / "environ").read_text()
        except (OSError, UnicodeDecodeError):
            continue
