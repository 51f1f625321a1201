"""What the commands of the lab share: how they print, and what they say of a file that is not what it should be."""

from __future__ import annotations

import os

import click


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
