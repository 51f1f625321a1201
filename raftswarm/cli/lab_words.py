"""What the commands of the lab share: how they print, and what they say of a file that is not what it should be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from raftswarm.lab.recording import Recording


class NotUnderstood(click.ClickException):
    """A file that is not what it should be, or an argument that fits no run."""

    exit_code = 2


def print_json(value: object) -> None:
    """Print it in lines that a person can read too."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def style(text: str, colour: str | None) -> str:
    """Colour it, unless nobody wants colours; a pipe gets none either."""
    return click.style(text, fg=colour) if colour and "NO_COLOR" not in os.environ else text


def read(path: Path) -> Recording:
    """Read a recording."""
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab.recording import read_recording

    try:
        return read_recording(path)
    except InvalidSpec as error:
        raise NotUnderstood(str(error)) from None


def write(path: Path, recording: Recording) -> None:
    """Write a recording."""
    from raftswarm.cli.session import CommandFailed
    from raftswarm.lab.recording import write_recording

    try:
        write_recording(path, recording)
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}") from None


def write_text(path: Path, text: str) -> None:
    """Write a file that somebody asked for."""
    from raftswarm.cli.session import CommandFailed

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}") from None


def exit_if(failed: bool) -> None:
    """End with status 1 if something failed; what, has been shown."""
    if failed:
        from raftswarm.cli.session import ItemsFailed

        raise ItemsFailed
