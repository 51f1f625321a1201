"""What a locked manager leaves on its disk tells nobody anything (autolock; SWARM 11)."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable

import pytest

from raftswarm.api.errors import ApiError
from raftswarm.api.swarm import InitJson
from raftswarm.client import EngineClient
from raftswarm.local import LocalSwarm
from tests.daemons import LOCKED, command_lines, sleeping_service, until_ready, until_running


async def test_a_secret_of_a_service_is_nowhere_in_the_clear(lay_out: Callable[..., LocalSwarm]) -> None:
    swarm = lay_out(managers=3)
    await swarm.start(*swarm.nodes)
    await swarm.begin(InitJson(spec=LOCKED))
    await swarm.join_others()
    marker = f"marker-{secrets.token_hex(8)}"
    async with EngineClient(swarm.nodes[0].docker_host) as client:
        await client.create_service(sleeping_service("web", replicas=3, env=[f"PASSWORD={marker}"]))
        key = await client.swarm_unlock_key()
    await until_running(swarm.nodes[0], 3)

    files = [path for path in swarm.directory.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"daemon.log", "keys", "node.json", "00000000000000000001.segment"}
    assert any(path.parent.parent.name == "tasks" for path in files), "no task was started here"
    for secret in (marker, key, "BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY"):
        assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert [line for line in command_lines() if marker in line or key in line] == []


async def test_a_copied_state_directory_stays_locked_without_its_key(lay_out: Callable[..., LocalSwarm]) -> None:
    swarm = lay_out(managers=2)
    locked, thief = swarm.nodes
    await swarm.start(locked)
    await swarm.begin(InitJson(spec=LOCKED))
    async with EngineClient(locked.docker_host) as client:
        key = await client.swarm_unlock_key()
    await until_ready(locked, 1)
    await swarm.kill(locked)
    shutil.copytree(
        locked.state_dir, thief.state_dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock", "daemon.log")
    )

    await swarm.start(thief)

    async with EngineClient(thief.docker_host) as client:
        wrong = key[:-4] + ("AAAA" if key[-4:] != "AAAA" else "BBBB")
        with pytest.raises(ApiError, match="invalid key") as refusal:
            await client.swarm_unlock(wrong)
        assert refusal.value.status == 401
        with pytest.raises(ApiError, match="Swarm is encrypted and needs to be unlocked"):
            await client.services()
        info = (await client.info()).swarm
        assert info.local_node_state == "locked"
        assert info.cluster is None or info.cluster.id == ""
        await client.swarm_unlock(key)
        assert (await client.info()).swarm.local_node_state == "active"
