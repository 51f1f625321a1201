"""Runs the unmodified docker CLI against the nodes of a local swarm, with a terminal or without."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import struct
import termios
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import attrs
import trio

from tests.acceptance.recorded_words import Finished

WIDTH = 200
"""Columns of a terminal: below 111 the CLI draws no bars."""

PATIENCE_SECONDS = 30.0
"""After which a command that should have ended is killed, and the test fails by what it did not print."""


@attrs.frozen(kw_only=True)
class DockerRuns:
    """The docker CLI, and where each node listens."""

    program: str
    config: Path
    hosts: Mapping[str, str]

    async def __call__(self, node: str, command: str, *, stdin: str = "") -> Finished:
        """Run a command line against a node, without a terminal."""
        with trio.fail_after(PATIENCE_SECONDS):
            finished = await trio.run_process(
                self._words(command),
                stdin=stdin.encode(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=self._environment(node),
            )
        return Finished(finished.stdout.decode(), finished.stderr.decode(), finished.returncode)

    async def in_terminal(self, node: str, command: str, *, stdin: str = "") -> Finished:
        """Run a command line in a pseudo-terminal, and type into it once it has asked."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
        screen = b""
        with trio.fail_after(PATIENCE_SECONDS):
            process = await trio.lowlevel.open_process(
                self._words(command),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                env=self._environment(node),
            )
            os.close(theirs)
            try:
                async with trio.lowlevel.FdStream(ours) as terminal:
                    with suppress(trio.BrokenResourceError):  # So a terminal says that nobody is at its other end.
                        while data := await terminal.receive_some():
                            screen += data
                            if stdin and screen.rstrip().endswith(b":"):
                                await self._wait_hidden(ours)
                                await terminal.send_all(stdin.encode() + b"\n")
                                stdin = ""
                    status = await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
        return Finished(screen.decode().replace("\r\n", "\n"), "", status)

    async def _wait_hidden(self, terminal: int) -> None:
        """Wait until what is typed is no longer shown: a moment after the question."""
        shown = True
        while shown:
            await trio.sleep(0.01)
            shown = bool(termios.tcgetattr(terminal)[3] & termios.ECHO)

    def _words(self, command: str) -> list[str]:
        words = shlex.split(command)
        assert words[0] == "docker"
        return [self.program, *words[1:]]

    def _environment(self, node: str) -> dict[str, str]:
        return {
            "DOCKER_HOST": self.hosts[node],
            "DOCKER_API_VERSION": "1.41",
            "DOCKER_CONFIG": str(self.config),
            "PATH": os.environ["PATH"],
            "TZ": "UTC",
            "TERM": "xterm",
        }
