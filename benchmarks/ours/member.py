"""One member in a process of its own: serves the cluster, and its parent's requests (`harness.serving`)."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import attrs
import trio

import raftswarm
from benchmarks.harness.credentials import read_credentials
from benchmarks.harness.load import Load, Order, make_commands
from benchmarks.harness.serving import answer, requests
from benchmarks.harness.values import Values
from benchmarks.ours.disk_counts import count_disk_calls
from benchmarks.ours.null_sealing import seal_nothing
from raftswarm import NotLeader, OutcomeUnknown, RaftMember, open_member

RETRY_SECONDS: Final = 0.001
"""Between two tries of somebody who waits for a leader."""

IMPORTED_AT = time.monotonic()


@attrs.frozen(kw_only=True)
class MemberSettings:
    """What a member's process is told, as JSON on its command line."""

    name: str
    directory: str
    addresses: dict[str, str]
    command_bytes: int
    keys: int
    lease_reads: bool = False
    sealed: bool = True
    snapshot_every: int | None = None
    """Commands; the engine's own default if not said."""


class Server:
    """Answers the parent."""

    def __init__(self, member: RaftMember, machine: Values, settings: MemberSettings, opened_at: float) -> None:
        self._member = member
        self._machine = machine
        self._settings = settings
        self._opened_at = opened_at
        self._disk = count_disk_calls()
        self._commands: list[bytes] = []

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked."""
        match request["ask"]:
            case "status":
                return self._status()
            case "digest":
                return self._status() | {"digest": self._machine.digest()}
            case "load":
                return await self._load(request["order"])
            case "wait applied":
                await self._member.applied.wait_until(lambda count: count >= request["count"])
                return self._status() | {"reached_at": time.monotonic()}
            case "take over":
                return await self._take_over()
            case other:
                raise ValueError(f"no such request: {other}")

    def _status(self) -> dict[str, Any]:
        leadership = self._member.leadership.value
        return {
            "leads": leadership.is_leader,
            "leader": leadership.leader,
            "term": leadership.term,
            "applied": self._machine.applied,
            "log_applied": self._member.applied.value,
            "syncs": self._disk.syncs,
            "log_bytes": self._disk.written_bytes,
            "imported_at": IMPORTED_AT,
            "opened_at": self._opened_at,
        }

    async def _take_over(self) -> dict[str, Any]:
        """Propose again and again, as a caller would, until this member commits, and say when; or another one leads."""
        [command] = make_commands(1, self._settings.command_bytes)
        term, failures = self._member.leadership.value.term, 0
        while True:
            try:
                await self._member.propose(command)
            except OutcomeUnknown:
                failures += 1
            except NotLeader:
                now = self._member.leadership.value
                if now.term > term and now.leader not in {0, self._member.member_id}:
                    return {"took_over": False}
                await trio.sleep(RETRY_SECONDS)
            else:
                return {"took_over": True, "committed_at": time.monotonic(), "failures": failures}

    async def _load(self, order: dict[str, Any]) -> dict[str, Any]:
        if not self._commands:
            self._commands = make_commands(self._settings.keys, self._settings.command_bytes)
        return await Load(self._member, self._commands, Order(**order)).run()


async def main(settings: MemberSettings) -> None:
    """Serve until the parent ends."""
    if not settings.sealed:
        seal_nothing()
    machine = Values(settings.command_bytes)
    policy = (
        raftswarm.CompactionPolicy()
        if settings.snapshot_every is None
        else raftswarm.CompactionPolicy(snapshot_every_commands=settings.snapshot_every)
    )
    directory = Path(settings.directory)
    async with open_member(
        directory / settings.name,
        machine,
        name=settings.name,
        members=settings.addresses,
        credentials=read_credentials(directory, settings.name),
        settings=raftswarm.RaftSettings(lease_reads=settings.lease_reads),
        compaction=policy,
    ) as member:
        server = Server(member, machine, settings, time.monotonic())
        async for request in requests():
            answer(await server.answer(request))


if __name__ == "__main__":
    trio.run(main, MemberSettings(**json.loads(sys.argv[1])))
