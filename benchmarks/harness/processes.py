"""A process that is measured: it takes requests and gives reports, a line of JSON each, and the kernel says the rest.

Every process here speaks like that, whatever it is written in: members of ours, clients, and rivals in Go.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import attrs
import trio

ROOT: Final = Path(__file__).parents[2]
ANSWER_SECONDS: Final = 120.0
"""How long a process may take to answer, beyond what it was told to take."""

Report = dict[str, Any]


class ProcessEnded(Exception):
    """It ended, or went silent, before it answered."""


@attrs.define(eq=False)
class Process:
    """A process, which may be started again after it was ended."""

    name: str
    _arguments: Sequence[str | os.PathLike[str]]
    log: Path | None = None
    """Where its output goes, if it takes no requests."""
    started_at: float = 0.0
    """By the monotonic clock, which all processes of the machine share."""
    _process: trio.Process | None = None
    _buffer: bytes = b""

    async def start(self) -> Self:
        """Start it; it says nothing until it is asked."""
        self._buffer = b""
        environment: Mapping[str, str] = os.environ | {"PYTHONPATH": os.fspath(ROOT)}
        self.started_at = time.monotonic()
        arguments = [os.fspath(argument) for argument in self._arguments]
        if self.log is not None:
            with self.log.open("ab") as log:
                self._process = await trio.lowlevel.open_process(
                    arguments, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
        else:
            self._process = await trio.lowlevel.open_process(
                arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        return self

    @property
    def is_started(self) -> bool:
        """Tell whether it was started, and not ended since."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    def _running(self) -> trio.Process:
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    async def ask(self, what: str, *, seconds: float = 0.0, **details: Any) -> Report:
        """Send a request that takes that long; return the report. ProcessEnded if none comes."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        request = {"ask": what, "seconds": seconds, **details}
        try:
            with trio.fail_after(seconds + ANSWER_SECONDS):
                await process.stdin.send_all(json.dumps(request).encode() + b"\n")
                while b"\n" not in self._buffer:
                    received = await process.stdout.receive_some()
                    if not received:
                        raise ProcessEnded(f"{self.name} ended, asked {request}")
                    self._buffer += received
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            raise ProcessEnded(f"{self.name} ended or hangs, asked {request}") from error
        line, self._buffer = self._buffer.split(b"\n", 1)
        report: Report = json.loads(line)
        if "error" in report:
            raise ProcessEnded(f"{self.name}: {report['error']}")
        return report

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._running().send_signal(number)

    async def end(self) -> None:
        """Kill it; nothing if it does not run."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()

    # What the kernel says.

    def cpu_seconds(self) -> float:
        """Return how long all its threads have computed."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def written_bytes(self) -> int:
        """Return how much it has sent to the disk, in whole pages; 0 on a file system without one."""
        return self._figure("io", "write_bytes")

    def memory_bytes(self) -> dict[str, int]:
        """Return the memory that is resident, of that what is its own, and the most that it ever had."""
        return {
            title: self._figure("status", field) * 1024
            for title, field in (("resident", "VmRSS"), ("own", "RssAnon"), ("peak", "VmHWM"))
        }

    def _figure(self, file: str, field: str) -> int:
        for line in Path(f"/proc/{self.pid}/{file}").read_text().splitlines():
            title, _, value = line.partition(":")
            if title == field:
                return int(value.split()[0])
        raise KeyError(field)


@asynccontextmanager
async def running(*processes: Process) -> AsyncIterator[None]:
    """Start them, one after another; end them with the block, however it ends."""
    try:
        for process in processes:
            await process.start()
        yield
    finally:
        for process in processes:
            await process.end()
