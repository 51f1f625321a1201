"""``raftswarm demo``: five daemons, a killed leader, a lost machine, told with live progress and times."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from raftswarm.local import LocalSwarm
    from raftswarm.local.story import Step

INTERRUPTED = 130


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave the swarm running at the end, and say how to use and stop it.")
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Where to keep its state.")
def command(keep: bool, directory: Path | None) -> None:
    """Run a swarm of five daemons on this machine through a story that ends well only if every step does."""
    import trio

    from raftswarm.cli.interrupts import run_until_interrupted
    from raftswarm.errors import RaftSwarmError
    from raftswarm.local import LocalSwarm
    from raftswarm.local.story import Story

    listener = _Teller(live=_is_terminal())

    async def tell() -> tuple[Sequence[Step], str]:
        place = directory or Path(tempfile.mkdtemp(prefix="raftswarm-demo-"))
        swarm = LocalSwarm.create(place, managers=3, workers=2, name_prefix="docker")
        kept = False
        try:
            steps = await Story(swarm, listener).tell()
            kept = keep
        finally:
            if not kept:
                with trio.CancelScope(shield=True):
                    await swarm.down()
        return steps, _how_to_use(swarm) if kept else ""

    try:
        steps, farewell = run_until_interrupted(tell)
    except RaftSwarmError as error:
        click.echo(f"raftswarm demo: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\ninterrupted; everything is cleaned up", err=True)
        sys.exit(INTERRUPTED)
    click.echo(_table(steps))
    held = sum(step.held for step in steps)
    click.echo(
        f"\n{held} of {len(steps)} steps held" + ("" if held == len(steps) else "; the first that did not ended it")
    )
    if farewell:
        click.echo(farewell)
    sys.exit(0 if held == len(steps) else 1)


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class _Teller:
    """Prints each step as it happens: redrawn in place on a terminal, a line at its end elsewhere."""

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._colour = live and "NO_COLOR" not in os.environ
        self._title = ""

    def began(self, title: str) -> None:
        """A step begins."""
        self._title = title
        self._redraw("…")

    def progress(self, text: str) -> None:
        """Something to see meanwhile."""
        self._redraw(text)

    def ended(self, step: Step) -> None:
        """A step is over."""
        mark = self._painted("ok" if step.held else "FAILED", "32" if step.held else "31")
        line = f"{step.title:<32} {mark:<6}  {step.seen}  ({step.seconds:.2f} s)"
        click.echo(f"\r\033[K{line}" if self._live else line)

    def _redraw(self, text: str) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns
            click.echo("\r\033[K" + f"{self._title:<32} {text}"[: width - 1], nl=False)

    def _painted(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text


def _table(steps: Sequence[Step]) -> str:
    rows = [("STEP", "EXPECTED", "SEEN", "TIME")]
    rows += [(step.title, step.expected, step.seen, f"{step.seconds:.2f} s") for step in steps]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    most = max(16, shutil.get_terminal_size((120, 24)).columns - widths[0] - widths[1] - widths[3] - 6)
    widths[2] = min(widths[2], most)
    lines: list[str] = []
    for title, expected, seen, time in rows:
        first, *rest = textwrap.wrap(seen, widths[2]) or [""]
        lines.append(f"{title:<{widths[0]}}  {expected:<{widths[1]}}  {first:<{widths[2]}}  {time:>{widths[3]}}")
        lines += [" " * (widths[0] + widths[1] + 4) + more for more in rest]
    return "\n" + "\n".join(lines)


def _how_to_use(swarm: LocalSwarm) -> str:
    first = swarm.nodes[0]
    return (
        f"\nThe swarm goes on. Use it:  export DOCKER_HOST={first.docker_host}\n"
        f"                            docker node ls    (or: raftswarm node ls)\n"
        f"Stop it:                    raftswarm local down --dir {swarm.directory}"
    )
