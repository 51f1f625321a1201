"""Where a secret comes from: a terminal, a descriptor, a file, systemd, a command, or a plug-in. Never a command line.

A source is named as ``KIND`` or ``KIND:ARGUMENT``, and the name holds no secret:

    prompt            asks on the terminal, without showing what is typed
    stdin             the first line of standard input
    fd:N              the first line of an open descriptor, which is closed then
    file:PATH         the first line of a file; refused if anybody but its owner may read it
    credential:NAME   systemd's (LoadCredential=, LoadCredentialEncrypted=)
    command:WORDS     the first line that a command prints; it has a minute

Other kinds are plug-ins: entry points of the group ``raftswarm.unlock_providers``, named as the kind, each a callable
that makes a `SecretSource` of the argument.
"""

from __future__ import annotations

import os
import shlex
import stat
import termios
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol

import attrs
import trio

from raftswarm.errors import InvalidSpec, RaftSwarmError

PLUGINS: Final = "raftswarm.unlock_providers"
MAX_SECRET_BYTES: Final = 4096
COMMAND_SECONDS: Final = 60.0
STDIN: Final = 0
TERMINAL = "/dev/tty"
"""Of this process, whatever its standard input is."""


@attrs.frozen(slots=False)
class SecretUnavailable(RaftSwarmError):
    """A source has no secret for us now."""


class SecretSource(Protocol):
    """Gives one secret, when it is needed."""

    async def fetch(self, question: str, /) -> str:
        """Return it, without the end of its line; `question` is for whoever is asked. SecretUnavailable, saying why."""
        ...


def find_source(name: str) -> SecretSource:
    """Return the source of that name; InvalidSpec if there is none."""
    kind, _, argument = name.partition(":")
    make = _BUILT_IN.get(kind) or _find_plugin(kind)
    if make is None:
        known = ", ".join([*_BUILT_IN, *sorted(point.name for point in entry_points(group=PLUGINS))])
        # What was given may be a secret itself, given in the wrong place: it is not repeated.
        raise InvalidSpec(f"a secret is named by where it comes from: one of {known}")
    return make(argument)


def _find_plugin(kind: str) -> Callable[[str], SecretSource] | None:
    for point in entry_points(group=PLUGINS, name=kind):
        try:
            make: Callable[[str], SecretSource] = point.load()
        except Exception as error:  # Whatever it raises, it is not ours.
            raise InvalidSpec(f"the plug-in {kind} of {PLUGINS} cannot be loaded: {error}") from error
        return make
    return None


@attrs.frozen
class _Prompt:
    """The terminal of this process, wherever its input and output go."""

    async def fetch(self, question: str, /) -> str:
        """Ask, and read a line that is not shown."""
        try:
            terminal = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            raise SecretUnavailable("there is no terminal to ask on") from None
        try:
            shown = termios.tcgetattr(terminal)
            hidden = [*shown]
            hidden[3] = shown[3] & ~termios.ECHO
            termios.tcsetattr(terminal, termios.TCSAFLUSH, hidden)
            try:
                os.write(terminal, question.encode())
                return await _read_line(terminal, "the terminal")
            finally:
                termios.tcsetattr(terminal, termios.TCSAFLUSH, shown)
                os.write(terminal, b"\n")
        finally:
            os.close(terminal)


@attrs.frozen
class _Descriptor:
    """A descriptor that whoever started us left open."""

    number: int

    async def fetch(self, question: str, /) -> str:  # noqa: ARG002 - nobody is asked
        """Read a line, and close it: nothing that we start inherits it."""
        try:
            os.set_inheritable(self.number, False)
            return await _read_line(self.number, f"descriptor {self.number}")
        except OSError as error:
            raise SecretUnavailable(f"descriptor {self.number} cannot be read: {error.strerror}") from None
        finally:
            if self.number != STDIN:  # Another file would take its number.
                with suppress(OSError):
                    os.close(self.number)


@attrs.frozen
class _File:
    """A file of this user's."""

    path: Path
    is_guarded: bool = False
    """Somebody else sees to who may read it."""

    async def fetch(self, question: str, /) -> str:  # noqa: ARG002 - nobody is asked
        """Read its first line."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SecretUnavailable(f"{self.path} cannot be read: {error.strerror}") from None
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO) and not self.is_guarded:
                raise SecretUnavailable(f"{self.path} can be read by others: `chmod 600` it first")
            return await _read_line(descriptor, str(self.path))
        finally:
            os.close(descriptor)


@attrs.frozen
class _Command:
    """A program that knows."""

    words: tuple[str, ...]

    async def fetch(self, question: str, /) -> str:  # noqa: ARG002 - nobody is asked
        """Run it, and read the first line that it prints; what it says beside that is not kept."""
        with trio.move_on_after(COMMAND_SECONDS):
            try:
                ended = await trio.run_process(self.words, capture_stdout=True, capture_stderr=True, check=False)
            except OSError as error:
                raise SecretUnavailable(f"{self.words[0]} cannot be run: {error.strerror}") from None
            if ended.returncode:
                raise SecretUnavailable(f"{self.words[0]} ended with status {ended.returncode}")
            return _first_line(ended.stdout, self.words[0])
        raise SecretUnavailable(f"{self.words[0]} did not end within {COMMAND_SECONDS:g} s")


async def _read_line(descriptor: int, where: str) -> str:
    data = b""
    while b"\n" not in data and len(data) <= MAX_SECRET_BYTES:
        with suppress(PermissionError):  # A regular file is never waited for.
            await trio.lowlevel.wait_readable(descriptor)
        piece = os.read(descriptor, MAX_SECRET_BYTES)
        if not piece:
            break
        data += piece
    return _first_line(data, where)


def _first_line(data: bytes, where: str) -> str:
    line = data.partition(b"\n")[0].rstrip(b"\r")
    if not line:
        raise SecretUnavailable(f"{where} gave nothing")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise SecretUnavailable(f"what {where} gave is not text") from None


def _make_descriptor(argument: str) -> SecretSource:
    if not (argument.isascii() and argument.isdigit()):
        raise InvalidSpec("a descriptor is a number, as in fd:3")
    return _Descriptor(int(argument))


def _make_file(argument: str) -> SecretSource:
    if not argument:
        raise InvalidSpec("a file has a path, as in file:/run/keys/swarm")
    return _File(Path(argument))


def _make_credential(argument: str) -> SecretSource:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise InvalidSpec("systemd gave this process no credentials: LoadCredential= in its unit does")
    if not argument or "/" in argument:
        raise InvalidSpec("a credential has a name, as in credential:swarm-unlock-key")
    return _File(Path(directory) / argument, is_guarded=True)  # Its modes stand for access lists.


def _make_command(argument: str) -> SecretSource:
    words = tuple(shlex.split(argument))
    if not words:
        raise InvalidSpec("a command has words, as in command:vault-read swarm/key")
    return _Command(words)


_BUILT_IN: Final[dict[str, Callable[[str], SecretSource]]] = {
    "prompt": lambda _: _Prompt(),
    "stdin": lambda _: _Descriptor(STDIN),
    "fd": _make_descriptor,
    "file": _make_file,
    "credential": _make_credential,
    "command": _make_command,
}
