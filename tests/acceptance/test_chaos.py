"""Chaos on real daemons: a short run holds and leaves nothing, and a partition is what it says (docs/chaos.md)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from raftswarm.api.errors import ApiError
from raftswarm.client import EngineClient
from raftswarm.local import LocalSwarm
from tests.daemons import PATIENCE_SECONDS, leader_name, remains_of, sleeping_service, until, until_ready

RUN_SECONDS = 120
"""A run of 25 s, and what comes before and after it on a machine that is busy."""


def start_chaos(place: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "raftswarm", "chaos", "run", "--keep", str(place), *arguments]
    # Swarms agree on addresses in the runtime directory, which stays where it is.
    runtime = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    environment = {"TMPDIR": str(place), "XDG_RUNTIME_DIR": runtime}
    place.mkdir()
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment
    )


def test_a_run_with_kills_and_partitions_holds_and_leaves_nothing(place: Path) -> None:
    report_file, page = place / "report.json", place / "page.html"
    with start_chaos(
        place, "--duration", "25", "--faults", "kill,partition", "--seed", "11",
        "--json", str(report_file), "--html", str(page),
    ) as run:  # fmt: skip
        output, _ = run.communicate(timeout=RUN_SECONDS)

    assert run.returncode == 0, output
    report = json.loads(report_file.read_text())
    assert report["held"]
    assert {strike["kind"] for strike in report["strikes"]} == {"kill", "partition"}
    assert report["committed"] > 50
    assert (report["lost"], report["doubled"]) == (0, 0)
    assert all(strike["failover_seconds"] is not None for strike in report["strikes"] if strike["took_leader"])
    assert page.read_text().startswith("<!doctype html>")
    report_file.unlink()
    page.unlink()
    assert list(place.iterdir()) == []


def test_after_ctrl_c_nothing_is_left(place: Path) -> None:
    with start_chaos(place, "--duration", "60", "--faults", "pause", "--seed", "1") as run:
        assert run.stdout is not None
        seen = next(line for line in run.stdout if "pause the leader" in line)

        run.send_signal(signal.SIGINT)
        rest, _ = run.communicate(timeout=PATIENCE_SECONDS)

    assert run.returncode == 130, seen + rest
    assert "Traceback" not in rest
    assert list(place.iterdir()) == []
    place.rmdir()
    assert remains_of(place) == []


async def test_a_leader_behind_a_partition_is_replaced_and_takes_no_write(lay_out: Callable[..., LocalSwarm]) -> None:
    swarm = lay_out(managers=3)
    await swarm.start(*swarm.nodes)
    await swarm.form()
    await until_ready(swarm.nodes[0], 3)
    leader = swarm.node(await leader_name(swarm.nodes[0]))
    others = [node for node in swarm.nodes if node is not leader]

    swarm.conditions = swarm.conditions.partitioned([[leader.address], [node.address for node in others]])

    async def replaced() -> str | None:
        name = await leader_name(others[0])
        return name if name != leader.name else None

    await until(replaced)
    async with EngineClient(others[0].docker_host) as client:
        await client.create_service(sleeping_service("here", replicas=0))
    async with EngineClient(leader.docker_host) as client:
        with trio.move_on_after(10):
            with pytest.raises(ApiError, match=r"does not have a leader|lost leader status"):
                await client.create_service(sleeping_service("there", replicas=0))

    # A daemon that starts again behind the partition is behind it still.
    await swarm.kill(leader)
    await swarm.start(leader)
    await trio.sleep(1)
    async with EngineClient(others[0].docker_host) as client:
        status = next(node.manager_status for node in await client.nodes() if node.hostname == leader.name)
    assert status is not None
    assert status.reachability == "unreachable"

    swarm.conditions = type(swarm.conditions)()
    await until_ready(leader, 3)
    async with EngineClient(leader.docker_host) as client:
        assert "here" in {service.spec.name for service in await client.services()}
