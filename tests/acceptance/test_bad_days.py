"""What docs/operations.md tells an operator to do, done with the command line on real daemons."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from raftswarm.api.swarm import InitJson
from raftswarm.client import EngineClient
from raftswarm.local import LocalNode, LocalSwarm
from tests.daemons import (
    LOCKED,
    PATIENCE_SECONDS,
    command_lines,
    daemon_log,
    raftswarm,
    sleeping_service,
    until,
    until_ready,
    until_running,
)

PASSPHRASE = "a long enough secret"


def say(*arguments: str, stdin: str, host: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command that asks for a secret."""
    words = [sys.executable, "-m", "raftswarm", *(["-H", host] if host else []), *arguments]
    return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def look_into(path: str, text: bytes) -> tuple[int, bool]:
    """Return who may read a file, and whether that text is in it."""
    file = Path(path)
    return file.stat().st_mode & 0o777, text in file.read_bytes()


async def services_of(node: LocalNode) -> list[str]:
    async def look() -> list[str] | None:
        async with EngineClient(node.docker_host) as client:
            return sorted(service.spec.name for service in await client.services())

    return await until(look)


async def create(node: LocalNode, name: str, replicas: int = 1) -> None:
    async with EngineClient(node.docker_host) as client:
        await client.create_service(sleeping_service(name, replicas=replicas))


async def test_a_swarm_is_saved_and_restored_elsewhere_in_a_new_epoch(lay_out: Callable[..., LocalSwarm]) -> None:
    swarm = lay_out(managers=3, workers=1)
    old, spare = swarm.nodes[:2], swarm.nodes[3]
    await swarm.start(*swarm.nodes[:3])
    await swarm.begin()
    async with EngineClient(swarm.nodes[0].docker_host) as client:
        token = (await client.swarm_inspect()).join_tokens.manager
    for node in swarm.nodes[1:3]:
        joined = raftswarm("swarm", "join", "--token", token, f"{swarm.nodes[0].address}:2377", host=node.docker_host)
        assert joined.returncode == 0, joined.stderr
    await create(old[0], "kept")
    file = str(swarm.directory / "swarm.backup")

    saved = say("swarm", "snapshot", "save", file, stdin=PASSPHRASE, host=old[1].docker_host)

    assert saved.returncode == 0, saved.stderr
    assert saved.stdout.startswith(f"Saved {file}: ")
    assert "1 services, 3 nodes" in saved.stdout
    assert look_into(file, b"kept") == (0o600, False)
    again = say("swarm", "snapshot", "save", file, stdin=PASSPHRASE, host=old[1].docker_host)
    assert (again.returncode, again.stderr) == (1, f"{file} is there already: choose another name\n")
    checked = say("swarm", "snapshot", "verify", file, stdin=PASSPHRASE)
    assert (checked.returncode, checked.stdout.startswith(f"{file} is whole: 1 services")) == (0, True)
    wrong = say("swarm", "snapshot", "verify", file, stdin="another passphrase")
    assert (wrong.returncode, wrong.stderr) == (1, f"Error: {file} does not open with this passphrase\n")
    shown = json.loads(say("swarm", "snapshot", "inspect", "--json", file, stdin=PASSPHRASE).stdout)
    assert (shown["Epoch"], shown["Contents"]) == ("0", "1 services, 3 nodes, 1 tasks")

    await create(old[0], "too-late")
    for node in swarm.nodes[:3]:
        await swarm.kill(node)
    place = ["--state-dir", spare.state_dir, "--listen-addr", f"{spare.address}:2377", "--hostname", spare.name]
    restored = say("swarm", "snapshot", "restore", file, *place, stdin=PASSPHRASE)
    assert restored.returncode == 0, restored.stderr
    assert say("swarm", "snapshot", "restore", file, *place, stdin=PASSPHRASE).returncode == 1
    await swarm.start(spare)

    assert await services_of(spare) == ["kept"]
    await until_running(spare, 1)
    joined = raftswarm("swarm", "leave", "--force", host=spare.docker_host)
    assert joined.returncode == 0, joined.stderr


async def test_a_worker_that_survives_finds_the_restored_manager_elsewhere_with_its_tasks(
    lay_out: Callable[..., LocalSwarm],
) -> None:
    swarm = lay_out(managers=2, workers=1)
    old, restored, worker = swarm.nodes
    await swarm.start(old, worker)
    await swarm.begin()
    async with EngineClient(old.docker_host) as client:
        token = (await client.swarm_inspect()).join_tokens.worker
    joined = raftswarm("swarm", "join", "--token", token, f"{old.address}:2377", host=worker.docker_host)
    assert joined.returncode == 0, joined.stderr
    await create(old, "web", replicas=4)
    await until_running(old, 4)
    before = await pids_by_task(old, worker.name)
    assert before
    file = str(swarm.directory / "swarm.backup")
    assert say("swarm", "snapshot", "save", file, stdin=PASSPHRASE, host=old.docker_host).returncode == 0
    await swarm.kill(old)
    place = ["--state-dir", restored.state_dir, "--listen-addr", f"{restored.address}:2377", "--hostname", "new"]
    assert say("swarm", "snapshot", "restore", file, *place, stdin=PASSPHRASE).returncode == 0
    await swarm.start(restored)

    told = raftswarm("swarm", "rejoin", f"{restored.address}:2377", host=worker.docker_host)

    assert (told.returncode, told.stderr) == (0, "")
    assert restored.address in told.stdout

    async def is_back() -> bool | None:
        async with EngineClient(restored.docker_host) as client:
            nodes = [(node.hostname, node.status.state) for node in await client.nodes()]
        return (worker.name, "ready") in nodes or None

    await until(is_back)
    assert await pids_by_task(restored, worker.name) == before
    refused = raftswarm("swarm", "rejoin", f"{old.address}:2377", host=restored.docker_host)
    assert refused.returncode == 1
    assert "it has to leave and join again" in refused.stderr


async def pids_by_task(node: LocalNode, hostname: str) -> dict[str, int]:
    """The processes of the tasks that run on a machine, as a manager tells."""
    async with EngineClient(node.docker_host) as client:
        [home] = [other.id for other in await client.nodes() if other.hostname == hostname]
        return {
            task.id: task.status.container_status.pid
            for task in await client.tasks()
            if task.node_id == home and task.status.state == "running" and task.status.container_status
        }


async def test_a_swarm_that_lost_its_majority_is_recovered_from_the_most_advanced_directory(
    lay_out: Callable[..., LocalSwarm],
) -> None:
    swarm = lay_out(managers=3, workers=1)
    await swarm.start(*swarm.nodes)
    await swarm.form(lambda _: None)
    first, second, third, _ = swarm.nodes
    await until_ready(first, 4)
    await swarm.kill(third)
    await create(first, "late", replicas=2)
    await until_running(first, 2)
    for node in (first, second):
        await swarm.kill(node)
    both = [first.state_dir, third.state_dir]

    refused = raftswarm("swarm", "recover", first.state_dir)
    looked = raftswarm("swarm", "recover", "--dry-run", "--json", third.state_dir, first.state_dir)
    needless = raftswarm("swarm", "recover", "--yes", *both)
    done = raftswarm("swarm", "recover", "--yes", first.state_dir)

    assert refused.returncode == 2
    found = json.loads(looked.stdout)
    assert (found["Best"], found["HasMajority"], found["NewEpoch"]) == (first.state_dir, True, None)
    assert "Start them, and they go on by themselves." in needless.stdout
    assert needless.returncode == 1
    assert done.returncode == 0, done.stderr
    assert "2 of its 3 managers are not here" in done.stdout
    await swarm.start(first)
    assert await services_of(first) == ["late"]
    await until_running(first, 2)
    busy = raftswarm("swarm", "recover", "--dry-run", first.state_dir)
    assert busy.returncode == 1
    assert "another process uses" in busy.stderr
    await swarm.start(second)
    await swarm.start(third)

    async def left_behind(node: LocalNode) -> bool | None:
        async with EngineClient(node.docker_host) as client:
            return "the cluster goes on in epoch 1-" in (await client.info()).swarm.error or None

    for node in (second, third):
        assert await until(lambda node=node: left_behind(node))  # type: ignore[misc]
    assert await services_of(first) == ["late"]


async def test_a_locked_daemon_unlocks_itself_from_a_file_and_its_key_is_nowhere_to_be_seen(
    lay_out: Callable[..., LocalSwarm], tmp_path: Path
) -> None:
    [node] = (swarm := lay_out()).nodes
    await swarm.start(node)
    await swarm.begin(InitJson(spec=LOCKED))
    async with EngineClient(node.docker_host) as client:
        key = await client.swarm_unlock_key()
    await create(node, "web")
    [task] = await until_running(node, 1)
    await swarm.stop(node)
    place = tmp_path / "unlock-key"
    place.write_text(f"{key}\n")
    place.chmod(0o600)

    words = ["--state-dir", node.state_dir, "--hostname", node.name, "--listen-addr", f"{node.address}:2377"]
    words += ["--api", node.docker_host, "--unlock", f"file:{place}"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        daemon = await trio.lowlevel.open_process([sys.executable, "-m", "raftswarm", "daemon", *words], stderr=output)
    secret = key.removeprefix("SWMKEY-1-")
    try:
        assert await services_of(node) == ["web"]
        [again] = await until_running(node, 1)
        assert again.id == task.id
        pid = again.status.container_status.pid if again.status.container_status else 0
        assert pid
        assert not look_into(f"/proc/{pid}/environ", secret.encode())[1]
        assert not [line for line in command_lines() if secret in line]
    finally:
        daemon.terminate()
        await daemon.wait()
    assert "unlocked with the key from file" in log.read_text()
    assert secret not in log.read_text() + daemon_log(node)
