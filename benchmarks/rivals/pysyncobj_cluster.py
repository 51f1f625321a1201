"""PySyncObj, the Raft library that most Python programs embed. It never syncs what it commits, and has no TLS here."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from benchmarks.harness.addresses import free_addresses
from benchmarks.harness.clusters import NAMES, Loaded, Payload, measure_load
from benchmarks.harness.processes import Process, Report, running
from benchmarks.rivals.availability import Unavailable

VERSION: Final = "0.3.17"
POLL_SECONDS: Final = 0.05
LEADER_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 60.0
RESUME_SECONDS: Final = 2.0
_MEMBER: Final = Path(__file__).with_name("pysyncobj_member.py")


def install_pysyncobj(directory: Path) -> Path:
    """Make an environment with it in that directory; return its interpreter, or say why not (Unavailable)."""
    python = directory / "pysyncobj" / "bin" / "python"
    commands: list[list[str | Path]] = [
        [sys.executable, "-m", "venv", directory / "pysyncobj"],
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"pysyncobj=={VERSION}"],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"it could not be installed: {done.stderr.strip()[-300:]}")
    return python


@attrs.define(eq=False)
class PySyncObjCluster:
    """Three members; the leader's process loads itself.

    With periods of 1 ms they compute also when nobody asks them for anything: while others are measured, they pause.
    """

    members: list[Process]
    title: str = "pysyncobj"
    acknowledged: int = 0
    failures: int = 0

    async def leader(self) -> Process:
        """Return who leads."""
        with trio.fail_after(LEADER_SECONDS):
            while True:
                for member in self.members:
                    if (await member.ask("status"))["leads"]:
                        return member
                await trio.sleep(POLL_SECONDS)
        raise AssertionError

    async def load(self, mode: str, outstanding: int, seconds: float, **details: Any) -> Report:
        """Make load: `one` only."""
        assert mode == "one", mode
        self._signal(signal.SIGCONT)
        await trio.sleep(RESUME_SECONDS)  # They may have to elect a leader anew.
        leader = await self.leader()
        who = Loaded(leader=leader, followers=[member for member in self.members if member is not leader])
        order = {"mode": mode, "outstanding": outstanding, "seconds": seconds, **details}
        whole_seconds = seconds + order.setdefault("warm_seconds", min(1.0, seconds / 2))
        report = await measure_load(who, leader, whole_seconds, order=order)
        self.acknowledged += report["acknowledged"]
        self.failures += report["failures"]
        self.pause()
        return report

    def pause(self) -> None:
        """Let them take no part of the machine."""
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for member in self.members:
            member.signal(number)

    async def check(self) -> Report:
        """See that all members have applied what was counted."""
        self._signal(signal.SIGCONT)
        with trio.fail_after(SETTLE_SECONDS):
            while True:
                applied = {(await member.ask("status"))["applied"] for member in self.members}
                if len(applied) == 1:
                    break
                await trio.sleep(POLL_SECONDS)
        [count] = applied
        assert self.acknowledged <= count <= self.acknowledged + self.failures, (
            f"{self.title}: {self.acknowledged} commands were acknowledged, and {count} are applied"
        )
        return {"acknowledged": self.acknowledged, "failures": self.failures, "applied": count}


@asynccontextmanager
async def open_pysyncobj(payload: Payload, python: Path) -> AsyncIterator[PySyncObjCluster]:
    """Run three members and wait for their leader."""
    addresses = free_addresses(NAMES)
    members = []
    for name in NAMES:
        others = [place for other, place in addresses.items() if other != name]
        settings = {"address": addresses[name], "others": others, **attrs.asdict(payload)}
        members.append(Process(name, [python, _MEMBER, json.dumps(settings)]))
    async with running(*members):
        cluster = PySyncObjCluster(members)
        await cluster.leader()
        cluster.pause()
        yield cluster
