"""State directories on a real file system that were moved, locked up, or made read-only between two runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio

from raftswarm.client import EngineClient
from raftswarm.local import LocalNode, LocalSwarm
from tests.conftest import do_without
from tests.daemons import PATIENCE_SECONDS, raftswarm, sleeping_service, until, until_running

NOBODY = 65534


def arguments_of(node: LocalNode) -> list[str]:
    words = ["daemon", "--state-dir", node.state_dir, "--hostname", node.name, "--listen-addr", f"{node.address}:2377"]
    return [*words, "--api", node.docker_host]


def refused_start(node: LocalNode, prefix: list[str]) -> str:
    """Start a daemon that does not get far; return its one sentence."""
    done = raftswarm(*arguments_of(node), "--log-level", "error", prefix=prefix)
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@asynccontextmanager
async def running(node: LocalNode) -> AsyncIterator[None]:
    words = [sys.executable, "-m", "raftswarm", *arguments_of(node)]
    daemon = await trio.lowlevel.open_process(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        daemon.terminate()
        await daemon.wait()


async def stopped(lay_out: Callable[..., LocalSwarm]) -> LocalNode:
    """A manager with a task, whose daemon has stopped."""
    [node] = (swarm := lay_out()).nodes
    await swarm.start(node)
    await swarm.begin()
    async with EngineClient(node.docker_host) as client:
        await client.create_service(sleeping_service("web"))
    await until_running(node, 1)
    await swarm.stop(node)
    return node


def move(node: LocalNode, name: str) -> LocalNode:
    """Rename its state directory, with the API's socket in it."""
    place = Path(node.state_dir).rename(Path(node.state_dir).with_name(name))
    return msgspec.structs.replace(node, state_dir=str(place), docker_host=f"unix://{place}/docker.sock")


def may_be_run(words: list[str]) -> bool:
    """Tell whether this machine lets us."""
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


async def services_of(node: LocalNode) -> list[str]:
    async def look() -> list[str] | None:
        async with EngineClient(node.docker_host) as client:
            return [service.spec.name for service in await client.services()]

    return await until(look)


async def test_a_directory_that_was_renamed_is_the_same_node(lay_out: Callable[..., LocalSwarm]) -> None:
    node = await stopped(lay_out)
    moved = move(node, "moved")

    async with running(moved):
        assert await services_of(moved) == ["web"]
        await until_running(moved, 1)
    move(moved, Path(node.state_dir).name)  # Where whoever cleans up looks for it.


async def test_files_of_another_owner_are_named(lay_out: Callable[..., LocalSwarm]) -> None:
    if os.geteuid() != 0:
        do_without("only root may give files away")
    node = await stopped(lay_out)
    own = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    for name in ("node.json", "certificates/keys", "certificates/kek", "lock", "format"):
        path = Path(node.state_dir, name)
        os.chown(path, NOBODY, NOBODY)

        sentence = refused_start(node, own)

        assert "Permission denied" in sentence, name
        assert node.state_dir in sentence
        os.chown(path, 0, 0)
    async with running(node):
        assert await services_of(node) == ["web"], "nothing was harmed"


async def test_a_read_only_file_system_is_named(lay_out: Callable[..., LocalSwarm]) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        do_without("mounts need root, and unshare")
    node = await stopped(lay_out)
    state = node.state_dir
    mount = f"mount --bind {state} {state} && mount -o remount,bind,ro {state}"
    if not may_be_run(["unshare", "-m", "sh", "-c", mount]):
        do_without("this machine lets nobody mount")

    sentence = refused_start(node, ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"])

    assert "Read-only file system" in sentence
    assert state in sentence
    async with running(node):
        assert await services_of(node) == ["web"], "nothing was harmed"


async def test_a_daemon_that_runs_keeps_the_second_one_out(lay_out: Callable[..., LocalSwarm]) -> None:
    node = await stopped(lay_out)
    async with running(node):
        await services_of(node)
        with trio.fail_after(PATIENCE_SECONDS):
            sentence = await trio.to_thread.run_sync(refused_start, node, [])
        assert f"another process uses {node.state_dir}; stop it first" in sentence
        assert await services_of(node) == ["web"]
