"""A program may have the trace of its member in a file, or hear of it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

import raftswarm
from raftswarm.errors import InvalidSpec
from raftswarm.lab import Journal
from raftswarm.raft.ready import Leadership
from raftswarm.raft.tracing import TraceEvent


def free_address() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listening.getsockname()[1]}"


def leads(leadership: Leadership) -> bool:
    return leadership.is_leader


async def test_a_file_has_every_change_of_every_run(tmp_path: Path) -> None:
    members = {"a": free_address()}
    for _ in range(2):
        async with raftswarm.open_member(
            tmp_path / "a", Journal(), name="a", members=members, trace=tmp_path / "trace"
        ) as member:
            await member.leadership.wait_until(leads)

    names = [json.loads(line)["name"] for line in (tmp_path / "trace").read_bytes().splitlines()]
    assert names.count("InitState") == 2
    assert names.count("BecomeLeader") == 2


async def test_a_function_hears_of_changes(tmp_path: Path) -> None:
    events: list[TraceEvent] = []

    async with raftswarm.open_member(
        tmp_path / "a", Journal(), name="a", members={"a": free_address()}, trace=events.append
    ) as member:
        await member.leadership.wait_until(leads)

    assert [event.name for event in events if event.name.startswith("Become")] == ["BecomeCandidate", "BecomeLeader"]


async def test_a_file_that_cannot_be_written_is_refused_before_the_member_runs(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="the trace cannot be written"):
        async with raftswarm.open_member(
            tmp_path / "a", Journal(), name="a", members={"a": "127.0.0.1:9"}, trace=tmp_path / "none" / "trace"
        ):
            pytest.fail("it runs")
