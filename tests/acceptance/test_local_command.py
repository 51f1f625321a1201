"""``raftswarm local``: a swarm from one command, handled by names, gone with another (issue 2, stage 3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.daemons import raftswarm, remains_of

FIELDS = ["name", "role", "address", "pid", "docker_host", "state_dir"]


def local(place: Path, *arguments: str) -> str:
    """Run a command that has to succeed; return what it prints."""
    done = raftswarm("local", *arguments, "--dir", str(place))
    assert done.returncode == 0, done.stderr
    return done.stdout


def nodes_of(output: str) -> list[dict[str, Any]]:
    described = json.loads(output)
    assert list(described) == ["nodes"]
    nodes: list[dict[str, Any]] = described["nodes"]
    return nodes


def state_of(place: Path, name: str) -> list[str]:
    """State and pid of a node as ``ps`` prints them."""
    [line] = [line for line in local(place, "ps").splitlines() if line.startswith(name)]
    return line.split()[3:5]


def test_a_swarm_comes_up_is_handled_by_names_and_goes_down(place: Path) -> None:
    up = nodes_of(local(place, "up", "--managers", "1", "--workers", "1", "--json"))

    assert [list(node) for node in up] == [FIELDS, FIELDS]
    assert [(node["name"], node["role"]) for node in up] == [("docker1", "manager"), ("docker2", "worker")]
    assert len({node["address"] for node in up}) == 2
    assert nodes_of(local(place, "ps", "--json")) == up
    listed = raftswarm("node", "ls", host=up[0]["docker_host"]).stdout
    assert listed.count("Ready") == 2

    pid = str(up[1]["pid"])
    local(place, "pause", "docker2")
    assert state_of(place, "docker2") == ["paused", pid]
    local(place, "resume", "docker2")
    assert state_of(place, "docker2") == ["running", pid]
    local(place, "stop", "docker2")
    assert state_of(place, "docker2") == ["stopped", "-"]
    assert nodes_of(local(place, "ps", "--json"))[1]["pid"] is None
    local(place, "start", "docker2")
    assert state_of(place, "docker2")[0] == "running"
    local(place, "kill", "docker1", "--machine")
    assert state_of(place, "docker1") == ["stopped", "-"]

    assert local(place, "down") == ""
    assert remains_of(place) == []


def test_two_swarms_run_side_by_side(place: Path) -> None:
    one, other = place / "one", place / "other"
    names = ["--managers", "1", "--workers", "0", "--json", "--name-prefix"]
    try:
        [first] = nodes_of(local(one, "up", *names, "left"))
        [second] = nodes_of(local(other, "up", *names, "right"))

        assert first["address"] != second["address"]
        for node, name in ((first, "left1"), (second, "right1")):
            listed = raftswarm("node", "ls", host=node["docker_host"]).stdout.splitlines()
            assert len(listed) == 2
            assert name in listed[1]
        local(one, "down")
        assert raftswarm("node", "ls", host=second["docker_host"]).returncode == 0
    finally:
        for directory in (one, other):
            raftswarm("local", "down", "--dir", str(directory))
    assert remains_of(one) + remains_of(other) == []


def test_without_init_the_daemons_wait_for_their_user(place: Path) -> None:
    manager, worker = nodes_of(local(place, "up", "--managers", "1", "--workers", "1", "--no-init", "--json"))
    for node in (manager, worker):
        assert "Swarm: inactive" in raftswarm("info", host=node["docker_host"]).stdout

    begun = raftswarm("swarm", "init", host=manager["docker_host"])
    token = raftswarm("swarm", "join-token", "-q", "worker", host=manager["docker_host"]).stdout.strip()
    joined = raftswarm("swarm", "join", "--token", token, f"{manager['address']}:2377", host=worker["docker_host"])

    assert begun.returncode == 0
    assert joined.stdout == "This node joined a swarm as a worker.\n"
    refused = raftswarm("node", "ls", host=worker["docker_host"])
    assert refused.returncode == 1
    assert "Worker nodes can't be used to view or modify cluster state" in refused.stderr


def test_what_cannot_be_done_is_said_in_a_line(place: Path) -> None:
    for arguments, words in (
        (["ps"], "no local swarm in"),
        (["down"], "no local swarm in"),
        (["up", "--managers", "0"], "at least one manager"),
        (["up", "--managers", "300"], "at most 200"),
    ):
        done = raftswarm("local", *arguments, "--dir", str(place))
        assert (done.returncode, done.stdout) == (1, "")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert remains_of(place) == []
