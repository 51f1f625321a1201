"""Asking for passphrases and unlock keys: from where the user says, and never from the command line itself."""

from __future__ import annotations

import sys

import click
import trio

from raftswarm.world.secret_sources import find_source

SOURCES = "prompt, stdin, fd:N, file:PATH, credential:NAME, command:WORDS, or a plug-in"


def ask(source: str | None, question: str) -> str:
    """Return a secret; without a named source from the terminal, or from standard input if that is none."""
    name = source or ("prompt" if sys.stdin.isatty() else "stdin")
    return trio.run(find_source(name).fetch, f"{question}: ").strip()


def ask_new_passphrase(source: str | None) -> str:
    """Return a passphrase that will be needed again: whoever types it, types it twice."""
    passphrase = ask(source, "Passphrase")
    is_typed = source == "prompt" or (source is None and sys.stdin.isatty())
    if is_typed and ask("prompt", "Repeat the passphrase") != passphrase:
        raise click.ClickException("the passphrases differ")
    return passphrase
