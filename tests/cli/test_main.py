"""The entry point: statuses, messages, and a help that imports nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from raftswarm.cli.main import COMMANDS, run


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0

    output = capsys.readouterr().out
    assert all(f"  {name} " in output for name in COMMANDS)


def test_help_imports_neither_trio_nor_cryptography() -> None:
    program = """
import sys
from raftswarm.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
print(sorted({"trio", "cryptography", "msgspec"} & set(sys.modules)))
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )

    assert finished.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuch"],
        ["node", "nosuch"],
        ["node", "ls", "--nosuch"],
        ["service", "inspect"],
        ["swarm", "join-token", "king"],
        ["service", "create", "--limit-memory", "much", "web"],
        ["service", "create", "--publish", "http", "web"],
        ["service", "create", "--mount", "type=bind", "web"],
        ["service", "create", "--mode", "global", "--replicas", "2", "web"],
        ["service", "scale", "web"],
        ["node", "ls", "--filter", "role"],
    ],
)
def test_what_is_not_understood_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "Error: " in capsys.readouterr().err


def test_an_engine_that_is_not_there_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-H", f"unix://{tmp_path}/none.sock", "node", "ls"]) == 1

    error = capsys.readouterr().err
    assert error.startswith(f"Cannot connect to the daemon: nothing listens on unix://{tmp_path}/none.sock")
    assert error.endswith("Is it running?\n")


def test_an_address_that_cannot_be_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-H", "ssh://host", "node", "ls"]) == 1
    assert capsys.readouterr().err.startswith("Error: cannot talk to ssh://host")
