"""Placement constraints (SWARM 5.7)."""

from __future__ import annotations

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.objects.constraints import node_matches, parse_constraints
from raftswarm.objects.records import Node, NodeDescription, Platform
from raftswarm.objects.specs import NodeSpec

NODE = Node(
    id="w7z2",
    role="manager",
    address="192.168.79.11",
    spec=NodeSpec(labels={"Zone": "east", "disk": "ssd"}),
    description=NodeDescription(
        hostname="docker1",
        platform=Platform(os="linux", architecture="x86_64"),
        engine_labels={"storage": "fast"},
    ),
)


@pytest.mark.parametrize(
    "expression",
    [
        "node.id==w7z2",
        "node.id == W7Z2",
        "NODE.HostName==docker1",
        "node.hostname!=docker2",
        "node.role==manager",
        "node.role!=worker",
        "node.platform.os==Linux",
        "node.platform.arch==x86_64",
        "node.labels.Zone==EAST",
        "Node.Labels.disk==ssd",
        "node.labels.absent!=anything",
        "engine.labels.storage==fast",
        "node.ip==192.168.79.11",
        "node.ip==192.168.79.0/24",
        "node.ip!=10.0.0.0/8",
    ],
)
def test_a_node_matches(expression: str) -> None:
    assert node_matches(parse_constraints([expression]), NODE)


@pytest.mark.parametrize(
    "expression",
    [
        "node.id==w7z",
        "node.hostname==docker*",
        "node.hostname!=DOCKER1",
        "node.role==worker",
        "node.platform.arch==amd64",
        "node.labels.zone==east",
        "node.labels.absent==anything",
        "engine.labels.absent==fast",
        "node.ip==192.168.79.12",
        "node.ip!=192.168.79.0/24",
        "node.ip!=nonsense",
        "node.color==red",
        "node.color!=red",
    ],
)
def test_a_node_does_not_match(expression: str) -> None:
    assert not node_matches(parse_constraints([expression]), NODE)


def test_all_constraints_must_hold() -> None:
    both = parse_constraints(["node.role==manager", "node.labels.disk==hdd"])

    assert not node_matches(both, NODE)
    assert node_matches(both[:1], NODE)


def test_a_node_that_has_not_described_itself_has_empty_attributes() -> None:
    silent = Node(id="new")

    assert not node_matches(parse_constraints(["node.platform.os==linux"]), silent)
    assert node_matches(parse_constraints(["node.platform.os!=linux"]), silent)
    assert not node_matches(parse_constraints(["node.ip==10.0.0.1"]), silent)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("node.role", "constraint expected one operator from ==, !="),
        ("node.role=manager", "constraint expected one operator from ==, !="),
        ("", "constraint expected one operator from ==, !="),
        ("==manager", "key '' is invalid"),
        ("1node==a", "key '1node' is invalid"),
        ("node role==a", "key 'node role' is invalid"),
        ("a!=b==c", "key 'a!=b' is invalid"),
        ("node.role==", "value '' is invalid"),
        ("node.role==a,b", "value 'a,b' is invalid"),
        ("node.role==é", "value 'é' is invalid"),
    ],
)
def test_what_cannot_be_read_is_refused_in_swarmkits_words(expression: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_constraints(["node.id==a", expression])

    assert str(refused.value) == message
