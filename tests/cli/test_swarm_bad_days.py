"""Commands for bad days, where they refuse: a wrong word must not make the day worse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Finished

Run = Callable[[str], Awaitable["Finished"]]


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return path


async def test_what_cannot_be_read_back_is_no_backup(raftswarm: Run, passphrase: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup"

    finished = await raftswarm(f"raftswarm swarm snapshot save {file} --passphrase-from file:{passphrase}")

    assert (finished.status, finished.stderr) == (1, f"Error: {file} is not a backup of a swarm\n")
    assert names_in(tmp_path) == ["api.sock", "passphrase"]


async def test_a_backup_is_not_written_over_another_file(raftswarm: Run, passphrase: Path) -> None:
    finished = await raftswarm(f"raftswarm swarm snapshot save {passphrase} --passphrase-from file:{passphrase}")

    assert (finished.status, finished.stderr) == (1, f"{passphrase} is there already: choose another name\n")
    assert names_in(passphrase.parent) == ["api.sock", "passphrase"]


async def test_a_short_passphrase_is_refused_before_anything_is_asked_for(raftswarm: Run, tmp_path: Path) -> None:
    command = f"raftswarm swarm snapshot save {tmp_path}/b --passphrase-from 'command:echo short'"

    finished = await raftswarm(command)

    assert (finished.status, finished.stderr) == (1, "Error: a passphrase needs at least 8 characters\n")


async def test_a_secret_in_the_wrong_place_is_not_repeated(raftswarm: Run, tmp_path: Path) -> None:
    finished = await raftswarm(f"raftswarm swarm snapshot save {tmp_path}/b --passphrase-from hunter2hunter2")

    assert finished.status == 1
    assert "named by where it comes from: one of prompt, stdin, fd, file" in finished.stderr
    assert "hunter2" not in finished.stderr


@pytest.mark.parametrize("command", ["verify", "inspect"])
async def test_what_is_no_backup_is_told_from_a_backup(
    raftswarm: Run, passphrase: Path, tmp_path: Path, command: str
) -> None:
    missing = await raftswarm(f"raftswarm swarm snapshot {command} {tmp_path}/none --key-from file:{passphrase}")
    other = await raftswarm(f"raftswarm swarm snapshot {command} {passphrase} --key-from file:{passphrase}")

    assert (missing.status, missing.stderr) == (1, f"cannot read {tmp_path}/none: No such file or directory\n")
    assert (other.status, other.stderr) == (1, f"Error: {passphrase} is not a backup of a swarm\n")


async def test_a_restored_manager_needs_an_address_that_others_reach(
    raftswarm: Run, passphrase: Path, tmp_path: Path
) -> None:
    command = f"raftswarm swarm snapshot restore {passphrase} --state-dir {tmp_path}/s"

    wildcard = await raftswarm(f"{command} --listen-addr 0.0.0.0:2377")
    nonsense = await raftswarm(f"{command} --listen-addr 10.0.0.1:port")

    assert wildcard.status == nonsense.status == 2
    assert "others cannot reach a wildcard: say --advertise-addr HOST:PORT" in wildcard.stderr
    assert "10.0.0.1:port is not HOST:PORT" in nonsense.stderr
    assert not (tmp_path / "s").exists()


async def test_recover_wants_to_be_told_which_of_the_two(raftswarm: Run, tmp_path: Path) -> None:
    for words in ("", "--yes --dry-run"):
        finished = await raftswarm(f"raftswarm swarm recover {words} {tmp_path}")

        assert finished.status == 2
        assert "say --dry-run to see what would be done, or --yes to do it" in finished.stderr


async def test_recover_puts_nothing_into_a_directory_that_is_not_a_nodes(raftswarm: Run, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()

    finished = await raftswarm(f"raftswarm swarm recover --yes {place}")

    assert (finished.status, finished.stderr) == (1, f"{place} is not the state directory of a node in a swarm\n")
    assert not list(place.iterdir())
