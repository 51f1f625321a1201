"""Placement constraints, ``key==value`` or ``key!=value``: parsed once, asked of every node (SWARM 5.7)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

import attrs

from raftswarm.errors import InvalidSpec
from raftswarm.objects.records import Node

_KEY: Final = re.compile(r"[a-z_][a-z0-9\-_.]+", re.IGNORECASE | re.ASCII)
_VALUE: Final = re.compile(r"[a-z0-9:\-_\s.*()?+\[\]\\^$|/]+", re.IGNORECASE | re.ASCII)
_NODE_LABEL: Final = "node.labels."
_ENGINE_LABEL: Final = "engine.labels."


@attrs.frozen
class Constraint:
    """One condition on a node; a task needs all of its conditions."""

    key: str
    wants_equal: bool
    value: str


def parse_constraints(expressions: Iterable[str]) -> tuple[Constraint, ...]:
    """Read what a user wrote; InvalidSpec in SwarmKit's words."""
    return tuple(_parse(expression) for expression in expressions)


def _parse(expression: str) -> Constraint:
    # "==" counts before "!=", wherever the two stand: "a!=b==c" has the key "a!=b", which is invalid.
    operator = "==" if "==" in expression else "!="
    key, found, value = expression.partition(operator)
    if not found:
        raise InvalidSpec("constraint expected one operator from ==, !=")
    key, value = key.strip(), value.strip()
    if not _KEY.fullmatch(key):
        raise InvalidSpec(f"key '{key}' is invalid")
    if not _VALUE.fullmatch(value):
        raise InvalidSpec(f"value '{value}' is invalid")
    return Constraint(key, operator == "==", value)


def node_matches(constraints: Iterable[Constraint], node: Node) -> bool:
    """Tell whether the node fulfils all of them."""
    return all(_holds(constraint, node) for constraint in constraints)


def _holds(constraint: Constraint, node: Node) -> bool:
    key = constraint.key.lower()
    if key == "node.ip":
        equal = _address_within(node.address, constraint.value)
        return equal is not None and equal == constraint.wants_equal
    actual = node_attribute(node, constraint.key)
    if actual is None:
        return False  # An unknown key matches no node, whatever the operator.
    return (actual.lower() == constraint.value.lower()) == constraint.wants_equal


def node_attribute(node: Node, key: str) -> str | None:
    """What a node says about a key; empty if it says nothing, None if no node could."""
    lowered = key.lower()
    for prefix, labels in ((_NODE_LABEL, node.spec.labels), (_ENGINE_LABEL, node.description.engine_labels)):
        if lowered.startswith(prefix) and len(key) > len(prefix):
            return labels.get(key[len(prefix) :], "")
    description = node.description
    attributes = {
        "node.id": node.id,
        "node.hostname": description.hostname,
        "node.role": node.role,
        "node.platform.os": description.platform.os,
        "node.platform.arch": description.platform.architecture,
    }
    return attributes.get(lowered)


def _address_within(address: str, wanted: str) -> bool | None:
    """None if what is wanted is neither an address nor a network."""
    try:
        network = ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return None
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False
