"""``raftswarm local partition | cut | delay | loss | disk | clock | heal``: what they write, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from raftswarm.cli.main import run
from raftswarm.local import LocalSwarm

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def swarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalSwarm:
    """Laid out, and not running: conditions are a file."""
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.chdir(tmp_path)
    return LocalSwarm.create(tmp_path / ".raftswarm", managers=3, workers=2, name_prefix="docker")


@pytest.fixture
def local(swarm: LocalSwarm, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str) -> tuple[int, str]:
        try:
            status = run(["local", *arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        output = capsys.readouterr()
        return status, output.out or output.err

    return call


@pytest.mark.parametrize(
    "groups",
    [["docker1,docker2", "docker3,docker4,docker5"], ["docker1,docker2|docker3,docker4,docker5"], ["docker1,docker2"]],
)
def test_a_partition_is_said_in_groups(local: Command, swarm: LocalSwarm, groups: list[str]) -> None:
    status, output = local("partition", *groups)

    assert status == 0
    assert len(output.splitlines()) == 12
    assert "docker1 -> docker3: cut" in output.splitlines()
    assert "docker1 -> docker2" not in output
    assert len(swarm.conditions.links) == 12


def test_each_trouble_is_added_shown_and_healed(local: Command, swarm: LocalSwarm) -> None:
    local("cut", "docker1", "docker2")
    local("delay", "150ms", "docker5")
    local("loss", "5", "docker5")
    local("disk", "docker3", "--slow", "200ms", "--full")
    local("clock", "docker3", "--behind", "1h30m", "--rate", "2")

    status, shown = local("conditions")

    assert status == 0
    lines = shown.splitlines()
    assert lines[0] == "docker1 -> docker2: cut"
    assert "docker5 -> docker1: 150ms later, 5 % lost" in lines
    assert "docker1 -> docker5: 150ms later, 5 % lost" in lines
    assert lines[-4:] == [
        "docker3: each sync takes 200ms longer",
        "docker3: the disk is full",
        "docker3: the date is 1h30m0s behind",
        "docker3: the clock goes 2 times as fast",
    ]
    assert local("heal") == (0, "all is well\n")
    assert not (swarm.directory / "conditions.json").exists()


def test_one_trouble_is_ended_and_the_others_stay(local: Command) -> None:
    local("disk", "docker3", "--slow", "200ms", "--full")

    assert local("disk", "docker3", "--not-full") == (0, "docker3: each sync takes 200ms longer\n")
    assert local("disk", "docker3", "--slow", "0s") == (0, "all is well\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["partition", "docker9"], "no node docker9 here; there are docker1"),
        (["partition", "docker1", "docker1"], "a node is in one group only"),
        (["cut", "docker1"], "Missing argument 'TO'"),
        (["loss", "100"], "not in the range"),
        (["delay", "soon"], "soon"),
        (["disk", "docker1"], "say what is wrong with the disk"),
        (["clock", "docker1"], "say what is wrong with the clock"),
        (["clock", "docker1", "--rate", "0"], "not in the range"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    local: Command, swarm: LocalSwarm, arguments: list[str], words: str
) -> None:
    status, output = local(*arguments)

    assert status in (1, 2)
    assert words in output
    assert not (swarm.directory / "conditions.json").exists()
