"""The command line, run against an engine over a fake node on a real socket."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from raftswarm.cli.main import run
from raftswarm.http.addresses import UnixAddress
from raftswarm.http.listeners import open_listener
from raftswarm.http.server import serve_http
from tests.fake_engine import Engine, FakeNode


@attrs.frozen
class Finished:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def engine(node: FakeNode) -> Engine:
    return Engine(node)


@pytest.fixture
async def raftswarm(
    engine: Engine,
    tmp_path: Path,
    nursery: trio.Nursery,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Callable[[str], Awaitable[Finished]]]:
    """Return a function that runs a command line, in a thread of its own as it runs trio itself."""
    address = UnixAddress(str(tmp_path / "api.sock"))
    monkeypatch.setenv("RAFTSWARM_HOST", str(address))

    async def run_command(command: str) -> Finished:
        words = shlex.split(command)
        capsys.readouterr()
        status = await trio.to_thread.run_sync(run, words[1:])
        output = capsys.readouterr()
        return Finished(status, output.out, output.err)

    @asynccontextmanager
    async def serving() -> AsyncIterator[None]:
        async with open_listener(address) as listener:
            nursery.start_soon(serve_http, engine.api.handle, [listener])
            yield

    async with serving():
        yield run_command
