"""Docker's own way back after most managers are lost: the CLI, compared with what it printed on Docker Engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from raftswarm.local import LocalSwarm
from tests.acceptance.docker_runs import DockerRuns
from tests.acceptance.recorded_words import Finished, without_particulars

Load = Callable[[str], dict[str, Any]]
PATIENCE_SECONDS = 40.0


def assert_as_recorded(finished: Finished, recording: dict[str, Any]) -> None:
    assert without_particulars(finished.stdout) == without_particulars(recording["stdout"])
    assert without_particulars(finished.stderr) == without_particulars(recording["stderr"])
    assert finished.status == recording["exit"]


async def until(docker: DockerRuns, command: str, stream: str, pattern: str) -> Finished:
    """Repeat a command on the survivor until what it says matches."""
    finished = Finished("", "", 0)
    with trio.move_on_after(PATIENCE_SECONDS):
        while True:
            finished = await docker("docker1", command)
            if re.search(pattern, getattr(finished, stream)):
                return finished
            await trio.sleep(0.2)
    pytest.fail(f"{command} never said {pattern!r} but\n{finished}")


async def test_a_survivor_goes_on_alone_and_says_so_as_docker_does(
    place: Path, needs_docker_cli: str, load_recording: Load
) -> None:
    swarm = LocalSwarm.create(place, managers=3, workers=2, name_prefix="docker")
    await swarm.start(*swarm.nodes)
    await swarm.form()
    docker = DockerRuns(
        program=needs_docker_cli,
        config=place / "docker-config",
        hosts={node.name: node.docker_host for node in swarm.nodes},
    )
    await docker("docker1", "docker swarm update --dispatcher-heartbeat 1s")
    await docker("docker1", "docker service create -d --name keep --replicas 3 sleep 600")
    await until(docker, "docker service ls", "stdout", "keep .* 3/3")
    node = (await docker("docker1", "docker info --format {{.Swarm.NodeID}}")).stdout

    await swarm.kill(swarm.node("docker2"))
    await swarm.kill(swarm.node("docker3"))
    await until(docker, "docker service ls", "stderr", "does not have a leader")
    assert_as_recorded(await docker("docker1", "docker service ls"), load_recording("732"))
    assert_as_recorded(await docker("docker1", "docker service create -d --name x sleep 1"), load_recording("731"))
    forced = load_recording("733")
    command = forced["command"].replace("192.168.79.11", swarm.node("docker1").address)
    assert_as_recorded(await docker("docker1", command), forced)

    assert (await docker("docker1", "docker info --format {{.Swarm.NodeID}}")).stdout == node
    await until(docker, "docker node ls", "stdout", r"docker2 +Down[\s\S]*docker3 +Down[\s\S]*docker5 +Ready")
    await until(docker, "docker node ls", "stdout", r"docker4 +Ready")
    assert_as_recorded(await docker("docker1", "docker node ls"), load_recording("736"))
    await until(docker, "docker service ls", "stdout", "keep .* 3/3")

    await swarm.start(swarm.node("docker2"))
    await until(docker, "docker node ls", "stdout", r"docker2 +Ready")
    assert_as_recorded(await docker("docker1", "docker node ls"), load_recording("738"))
    back = (await docker("docker2", "docker info")).stdout
    assert "Is Manager: false" in back
    assert "Error: the cluster goes on in epoch 1-" in back
