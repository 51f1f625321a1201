"""Where secrets come from: files, descriptors, commands, systemd, plug-ins; never the command line itself."""

from __future__ import annotations

import os
import pty
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import attrs
import pytest
import trio

from raftswarm.errors import InvalidSpec
from raftswarm.world import secret_sources
from raftswarm.world.secret_sources import SecretUnavailable, find_source

SECRET = "SWMKEY-1-secret"


async def fetch(name: str) -> str:
    return await find_source(name).fetch("Key: ")


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    put(path, f"{SECRET}\r\nand more\n".encode())
    return path


async def test_the_first_line_of_a_file(file: Path) -> None:
    assert await fetch(f"file:{file}") == SECRET


async def test_a_file_that_others_may_read_is_refused(file: Path) -> None:
    put(file, b"secret\n", 0o640)

    with pytest.raises(SecretUnavailable, match="can be read by others: `chmod 600` it first"):
        await fetch(f"file:{file}")


async def test_a_file_that_is_missing_or_empty_says_so(file: Path, tmp_path: Path) -> None:
    with pytest.raises(SecretUnavailable, match="cannot be read: No such file"):
        await fetch(f"file:{tmp_path}/nothing")
    put(file, b"")
    with pytest.raises(SecretUnavailable, match="gave nothing"):
        await fetch(f"file:{file}")
    put(file, b"\xff\xfe\n")
    with pytest.raises(SecretUnavailable, match="is not text"):
        await fetch(f"file:{file}")


async def test_a_descriptor_is_read_as_it_comes_and_closed() -> None:
    ours, theirs = os.pipe()

    async def give() -> None:
        for piece in (b"SWMKEY-", b"1-sec", b"ret\n"):
            os.write(theirs, piece)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give)
        assert await fetch(f"fd:{ours}") == SECRET

    os.close(theirs)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(ours)


async def test_a_descriptor_that_is_not_open_says_so() -> None:
    with pytest.raises(SecretUnavailable, match="descriptor 987 cannot be read"):
        await fetch("fd:987")


async def test_a_credential_of_systemd(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(file, SECRET.encode(), 0o440)  # Of systemd's the modes stand for access lists.
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))

    assert await fetch("credential:key") == SECRET
    with pytest.raises(InvalidSpec, match="a credential has a name"):
        await fetch("credential:../key")


async def test_without_credentials_systemd_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    with pytest.raises(InvalidSpec, match="LoadCredential="):
        await fetch("credential:key")


async def test_what_a_command_prints() -> None:
    assert await fetch(f"command:{sys.executable} -c \"print('{SECRET}')\"") == SECRET


async def test_a_command_that_fails_or_is_missing_says_so_without_what_it_printed() -> None:
    with pytest.raises(SecretUnavailable, match="ended with status 3") as refusal:
        await fetch(f"command:{sys.executable} -c \"print('{SECRET}'); raise SystemExit(3)\"")
    assert SECRET not in str(refusal.value)
    with pytest.raises(SecretUnavailable, match="cannot be run: No such file"):
        await fetch("command:/no/such/program")


async def test_a_prompt_shows_no_letter_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setattr(secret_sources, "TERMINAL", os.ttyname(theirs))
    shown = b""

    async def type_it() -> None:
        nonlocal shown
        while not shown.endswith(b"Key: "):
            await trio.lowlevel.wait_readable(ours)
            shown += os.read(ours, 100)
        os.write(ours, f"{SECRET}\n".encode())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(type_it)
        assert await fetch("prompt") == SECRET

    shown += os.read(ours, 100)
    assert shown == b"Key: \r\n"
    os.close(ours)
    os.close(theirs)


async def test_without_a_terminal_a_prompt_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(secret_sources, "TERMINAL", str(tmp_path / "none"))

    with pytest.raises(SecretUnavailable, match="no terminal to ask on"):
        await fetch("prompt")


@pytest.mark.parametrize("name", ["SWMKEY-1-typed-in-the-wrong-place", "", "vault:x"])
def test_an_unknown_kind_lists_the_known_ones_and_repeats_nothing(name: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        find_source(name)

    assert "prompt, stdin, fd, file, credential, command" in str(refusal.value)
    assert "typed-in" not in str(refusal.value)


@pytest.mark.parametrize("name", ["fd:x", "fd:", "file:", "command:", "command:  "])
def test_a_kind_without_what_it_needs_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpec):
        find_source(name)


@attrs.frozen
class Vault:
    """A plug-in."""

    path: str

    async def fetch(self, question: str, /) -> str:  # noqa: ARG002 - the protocol's
        await trio.lowlevel.checkpoint()
        return f"from {self.path}"


async def test_a_plug_in_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("vault", f"{__name__}:Vault", secret_sources.PLUGINS)]
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Vault.__module__])
    monkeypatch.setattr(secret_sources, "entry_points", lambda *, group, name=None: _only(points, group, name))

    assert await fetch("vault:secret/swarm") == "from secret/swarm"
    with pytest.raises(InvalidSpec, match="command, vault"):
        find_source("wallet:x")


async def test_a_plug_in_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("vault", "no.such.module:Vault", secret_sources.PLUGINS)]
    monkeypatch.setattr(secret_sources, "entry_points", lambda *, group, name=None: _only(points, group, name))

    with pytest.raises(InvalidSpec, match=r"the plug-in vault of raftswarm\.unlock_providers cannot be loaded"):
        find_source("vault:x")


def _only(points: list[EntryPoint], group: str, name: str | None) -> list[EntryPoint]:
    return [point for point in points if point.group == group and name in {None, point.name}]
