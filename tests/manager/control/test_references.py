"""How users name objects (SWARM 15)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftswarm.errors import RequestRefused
from raftswarm.manager.control.references import look_up
from raftswarm.objects.records import Node, NodeDescription, Service, Task
from raftswarm.objects.specs import ServiceSpec, TaskSpec
from raftswarm.store.store import Store


def make_service(service_id: str, name: str) -> Service:
    return Service(id=service_id, spec=ServiceSpec(name=name))


def make_node(node_id: str, hostname: str) -> Node:
    return Node(id=node_id, description=NodeDescription(hostname=hostname))


def test_a_full_id_goes_before_a_name_and_a_name_before_a_prefix(store: Store, put: Callable[..., None]) -> None:
    put(make_service("abc", "first"), make_service("abcdef", "abc"), make_service("firstborn", "third"))

    assert look_up(store, Service, "abc").id == "abc"
    assert look_up(store, Service, "first").id == "abc"
    assert look_up(store, Service, "abcd").id == "abcdef"


def test_what_nobody_has_is_not_found_in_the_engines_words(store: Store) -> None:
    for reference in ("nosuch", ""):
        with pytest.raises(RequestRefused, match=f"^service {reference} not found$") as refused:
            look_up(store, Service, reference)
        assert (refused.value.code, refused.value.from_engine) == ("NotFound", True)


def test_a_name_of_two_nodes_is_ambiguous(store: Store, put: Callable[..., None]) -> None:
    put(make_node("n1", "docker4"), make_node("n2", "docker4"))

    with pytest.raises(RequestRefused, match=r"^node docker4 is ambiguous \(2 matches found\)$") as refused:
        look_up(store, Node, "docker4")
    assert (refused.value.code, refused.value.from_engine) == ("InvalidArgument", True)


def test_a_prefix_of_two_ids_is_ambiguous(store: Store, put: Callable[..., None]) -> None:
    put(Task(id="ab1", spec=TaskSpec()), Task(id="ab2", spec=TaskSpec()))

    with pytest.raises(RequestRefused, match=r"task ab is ambiguous \(2 matches found\)"):
        look_up(store, Task, "ab")
    assert look_up(store, Task, "ab2").id == "ab2"
