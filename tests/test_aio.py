"""Members and clients for asyncio programs: awaited there, served by trio in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from raftswarm import aio
from raftswarm.errors import InvalidSpec, MachineFailed, NotLeader, Rejected
from raftswarm.raft.settings import RaftSettings
from tests.consensus.conftest import Journal

QUICK = RaftSettings(heartbeat_seconds=0.05, election_seconds=0.4)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@asynccontextmanager
async def open_member(directory: Path, address: str) -> AsyncIterator[aio.AioMember]:
    async with aio.open_member(directory, Journal(), name="a", members={"a": address}, settings=QUICK) as member:
        await member.wait_gained()
        yield member


def trio_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("raftswarm")]


def test_members_and_clients_are_awaited(tmp_path: Path) -> None:
    address = free_address()

    async def main() -> None:
        async with open_member(tmp_path, address) as member, aio.connect([address]) as client:
            assert sorted(await asyncio.gather(*(client.propose(b"x") for _ in range(50)))) == list(range(1, 51))  # type: ignore[type-var]
            assert await member.propose_many([b"y"]) == [51]
            assert await member.applied.wait_until(lambda commands: commands >= 52) == 52
            assert len(await client.query(b"all")) == 51  # type: ignore[arg-type]
            with pytest.raises(Rejected):
                await client.propose(b"refuse")

    asyncio.run(main())
    assert trio_threads() == []


def test_a_cancelled_task_cancels_its_call(tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.connect([free_address()]) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.propose(b"to nobody"), 0.1)
            calls = client._inner._calls
            for _ in range(100):
                if not calls:
                    break
                await asyncio.sleep(0.01)
            assert not calls

    asyncio.run(main())


def test_cancelled_while_it_opens_or_closes_nothing_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.connect([free_address()]):
            await asyncio.Event().wait()

    async def cancel_soon() -> None:
        for steps in range(4):
            task = asyncio.create_task(main())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel_soon())
    assert trio_threads() == []


def test_errors_come_as_they_are(tmp_path: Path) -> None:
    async def refused() -> None:
        async with aio.connect([]):
            pass

    async def unanswered() -> None:
        async with aio.connect([free_address()], timeout_seconds=0.2) as client:
            await client.propose(b"to nobody")

    async def failed() -> None:
        async with open_member(tmp_path, free_address()) as member:
            await member.propose(b"fail")

    for main, error in ((refused, InvalidSpec), (unanswered, NotLeader), (failed, MachineFailed)):
        with pytest.raises(error):
            asyncio.run(main())
    assert trio_threads() == []


def test_use_after_the_block_is_an_error_that_says_so() -> None:
    async def main() -> None:
        async with aio.connect([free_address()]) as client:
            pass
        await client.propose(b"late")

    with pytest.raises(RuntimeError, match="within its `with` block"):
        asyncio.run(main())
