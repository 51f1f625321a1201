"""The unmodified docker CLI, run against our engine, prints what it printed against the recorded one.

Objects come from the recording, times are made the same ("3 hours ago"), and columns may be of other widths.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from raftswarm.engine.node_protocol import LocalState
from raftswarm.http.addresses import UnixAddress
from raftswarm.http.listeners import open_listener
from raftswarm.http.server import serve_http
from tests.fake_engine import Engine, FakeNode

Load = Callable[[str], dict[str, Any]]
Docker = Callable[[str], Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
async def docker(engine: Engine, needs_docker_cli: str, tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Docker]:
    """Return a function that runs a docker command line against the engine."""
    address = UnixAddress(str(tmp_path / "api.sock"))
    environment = {
        "DOCKER_HOST": str(address),
        "DOCKER_API_VERSION": "1.41",
        "DOCKER_CONFIG": str(tmp_path / "config"),
        "PATH": os.environ["PATH"],
        "TZ": "UTC",
    }

    async def run(command: str) -> subprocess.CompletedProcess[str]:
        words = shlex.split(command)
        assert words[0] == "docker"
        finished = await trio.run_process(
            [needs_docker_cli, *words[1:]], env=environment, capture_stdout=True, capture_stderr=True, check=False
        )
        return subprocess.CompletedProcess(
            words, finished.returncode, finished.stdout.decode(), finished.stderr.decode()
        )

    @asynccontextmanager
    async def serving() -> AsyncIterator[None]:
        async with open_listener(address) as listener:
            nursery.start_soon(serve_http, engine.api.handle, [listener])
            yield

    async with serving():
        yield run


def same_times(text: str) -> str:
    ago = re.sub(r"(\d+|About an?|[Ll]ess than a) \w+ ago", "some time ago", text)
    return re.sub(r"[ \t]+", " ", ago).replace(" \n", "\n").strip()


@pytest.mark.parametrize(
    "number",
    [
        "012",  # node ls
        "049",
        "050",
        "278",
        "313",
        "499",
        "014",  # service ls
        "102",
        "129",
        "152",
        "492",
        "493",
        "103",  # service ps
        "021",
        "276",
        "281",
        "151",
        "494",
        "261",  # inspect
        "260",
        "264",
        "110",
        "111",
        "128",
        "041",  # join tokens
        "042",
        "046",
        "189",  # node ps
        "282",
        "404",  # refusals
        "405",
        "470",
        "474",
    ],
)
async def test_prints_what_it_printed(number: str, load_recording: Load, node: FakeNode, docker: Docker) -> None:
    recording = load_recording(number)
    for exchange in recording["exchanges"]:
        node.load(exchange["response_body"])

    finished = await docker(recording["command"])

    assert same_times(finished.stdout) == same_times(recording["stdout"])
    assert same_times(finished.stderr) == same_times(recording["stderr"])
    assert finished.returncode == recording["exit"]


@pytest.mark.parametrize("number", ["053", "054", "055"])
async def test_a_worker_refuses_in_the_recorded_words(
    number: str, load_recording: Load, node: FakeNode, docker: Docker
) -> None:
    node.become(LocalState.ACTIVE, is_manager=False)
    recording = load_recording(number)

    finished = await docker(recording["command"])

    assert finished.returncode == 1
    assert finished.stderr.strip() == recording["stderr"].strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "state"),
    [
        ("008", LocalState.INACTIVE),
        ("009", LocalState.INACTIVE),
        ("010", LocalState.INACTIVE),
        ("315", LocalState.LOCKED),
        ("316", LocalState.LOCKED),
        ("319", LocalState.LOCKED),
        ("322", LocalState.ACTIVE),
    ],
)
async def test_a_node_outside_a_swarm_or_locked_refuses_in_the_recorded_words(
    number: str, state: LocalState, load_recording: Load, node: FakeNode, docker: Docker
) -> None:
    node.become(state)
    recording = load_recording(number)

    finished = await docker(recording["command"])

    assert finished.stderr.strip().splitlines()[-1:] == recording["stderr"].strip().splitlines()[-1:]
    assert finished.returncode == recording["exit"]


@pytest.mark.parametrize("number", ["002", "051", "052", "314"])
async def test_info_prints_the_recorded_swarm_section(
    number: str, load_recording: Load, node: FakeNode, docker: Docker
) -> None:
    recording = load_recording(number)
    for exchange in recording["exchanges"]:
        node.load(exchange["response_body"])

    finished = await docker("docker info")

    assert finished.returncode == 0, finished.stderr
    assert swarm_section(finished.stdout) == swarm_section(recording["stdout"])
    assert " CPUs: 2\n Total Memory: 23.54GiB\n" in finished.stdout


def swarm_section(text: str) -> str:
    found = re.search(r"^ Swarm: .*\n(?:  .*\n)*", text, re.MULTILINE)
    assert found
    return found[0]


async def test_version_names_the_engine(docker: Docker) -> None:
    finished = await docker("docker version")

    assert finished.returncode == 0
    assert re.search(r"Server: raftswarm\n Engine:\n  Version: +0\.1\.0\n  API version: +1\.47 ", finished.stdout)
