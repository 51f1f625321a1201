"""The layout of a local swarm, and what is refused before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raftswarm.errors import RaftSwarmError
from raftswarm.local import LocalSwarm
from raftswarm.local.swarm import SOCKET_PATH_LIMIT
from raftswarm.world.runtime_directory import runtime_directory


@pytest.fixture(autouse=True)
def own_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing starts here, so blocks need not be agreed on with anybody."""
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


def lay_out(directory: Path, *, managers: int = 3, workers: int = 2) -> LocalSwarm:
    return LocalSwarm.create(directory, managers=managers, workers=workers, name_prefix="docker")


def test_managers_come_first_each_with_name_address_socket_and_state_of_its_own(tmp_path: Path) -> None:
    nodes = lay_out(tmp_path / "swarm").nodes

    assert [(node.name, node.role) for node in nodes] == [
        ("docker1", "manager"),
        ("docker2", "manager"),
        ("docker3", "manager"),
        ("docker4", "worker"),
        ("docker5", "worker"),
    ]
    for values in zip(*((node.address, node.docker_host, node.state_dir) for node in nodes), strict=True):
        assert len(set(values)) == 5
    assert {node.state for node in nodes} == {"stopped"}


def test_what_was_laid_out_is_found_again(tmp_path: Path) -> None:
    made = lay_out(tmp_path / "swarm")

    assert LocalSwarm.open(tmp_path / "swarm").nodes == made.nodes


def test_a_socket_whose_name_would_be_too_long_moves_to_the_runtime_directory(tmp_path: Path) -> None:
    # Sixty bytes fewer than the limit leave no room for the node and the socket below it.
    deep = tmp_path / ("d" * 80) / "swarm"
    deep.parent.mkdir()

    [node] = lay_out(deep, managers=1, workers=0).nodes

    path = node.docker_host.removeprefix("unix://")
    assert len(f"{deep}/docker1/docker.sock") > SOCKET_PATH_LIMIT
    assert Path(path).is_relative_to(runtime_directory())


async def test_down_removes_what_was_laid_out_and_nothing_else(tmp_path: Path) -> None:
    directory = tmp_path / "swarm"
    directory.mkdir()
    swarm = lay_out(directory)
    (directory / "mine.txt").touch()

    await swarm.down()

    assert [path.name for path in directory.iterdir()] == ["mine.txt"]
    assert list((runtime_directory() / "blocks").glob("[0-9]*")) == []


def test_a_directory_holds_one_swarm(tmp_path: Path) -> None:
    lay_out(tmp_path / "swarm")

    with pytest.raises(RaftSwarmError, match="already holds a local swarm; `raftswarm local down"):
        lay_out(tmp_path / "swarm")


@pytest.mark.parametrize(("managers", "workers", "words"), [(0, 2, "at least one manager"), (100, 101, "at most 200")])
def test_a_swarm_of_another_size_is_refused_and_leaves_nothing(
    tmp_path: Path, managers: int, workers: int, words: str
) -> None:
    with pytest.raises(RaftSwarmError, match=words):
        lay_out(tmp_path / "swarm", managers=managers, workers=workers)

    assert not (tmp_path / "swarm").exists()


def test_a_directory_without_a_swarm_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RaftSwarmError, match=r"no local swarm in .*; `raftswarm local up --dir"):
        LocalSwarm.open(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"nodes": [{"name": 7}]})])
def test_a_memory_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "swarm.json").write_text(content)

    with pytest.raises(RaftSwarmError, match=r"swarm\.json cannot be read"):
        LocalSwarm.open(tmp_path)


def test_an_unknown_node_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    swarm = lay_out(tmp_path / "swarm", managers=1, workers=1)

    with pytest.raises(RaftSwarmError, match="no node docker9 here; there are docker1, docker2"):
        swarm.node("docker9")


async def test_conditions_are_kept_beside_the_swarm_and_go_with_it(tmp_path: Path) -> None:
    swarm = lay_out(tmp_path / "swarm", managers=3, workers=0)
    first, second, third = (node.address for node in swarm.nodes)

    swarm.conditions = swarm.conditions.partitioned([[first], [second, third]])

    again = LocalSwarm.open(tmp_path / "swarm")
    assert again.conditions.link(first, second).cut
    assert not again.conditions.link(second, third).cut
    assert f"{tmp_path}/swarm/conditions.json" in again._arguments(again.nodes[0])
    await again.down()
    assert not (tmp_path / "swarm").exists()
