"""A client of real processes over real sockets: leaders die of SIGKILL, and each command takes effect once (P 8)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from raftswarm import connect

ROOT = Path(__file__).parents[2]
KILLS = 3
COMMANDS = 2000
"""On their way each time."""

MEMBER = """
import sys, trio, raftswarm
from tests.consensus.conftest import Journal

async def main(directory, name, *addresses):
    settings = raftswarm.RaftSettings(heartbeat_seconds=0.05, election_seconds=0.4)
    members = dict(zip("abc", addresses))
    async with raftswarm.open_member(directory, Journal(), name=name, members=members, settings=settings):
        await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Processes:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.addresses = {name: free_address() for name in "abc"}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        self.running[name] = subprocess.Popen(
            [sys.executable, "-c", MEMBER, self.directory / name, name, *self.addresses.values()],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    for name in made.addresses:
        made.start(name)
    yield made
    for name in list(made.running):
        made.kill(name)


async def test_commands_survive_killed_leaders(processes: Processes) -> None:
    names = {address: name for name, address in processes.addresses.items()}
    commands = [b"%d" % number for number in range(KILLS * COMMANDS)]
    results: list[object] = []
    with trio.fail_after(60):
        async with connect(list(names)) as client:

            async def propose(these: list[bytes]) -> None:
                results.extend(await client.propose_many(these))

            await propose([b"first"])
            for start in range(0, len(commands), COMMANDS):
                leader = names[client.leader]
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(propose, commands[start : start + COMMANDS])
                    await trio.lowlevel.checkpoint()
                    processes.kill(leader)
                processes.start(leader)
            lines = await client.query(b"all")

    assert results == list(range(1, len(commands) + 2))
    assert lines == [b"first", *commands]
