"""Tables and their indexes (SWARM 3.3)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from raftswarm.objects.records import Node, NodeDescription, Service, Task
from raftswarm.objects.specs import ServiceSpec, TaskSpec
from raftswarm.store.tables import KINDS, NAME, NODE, SERVICE, SLOT, Table


def make_table(kind: type) -> Table[Any]:
    return Table(next(described for described in KINDS if described.type is kind))


def make_task(task_id: str, *, service: str = "", slot: int = 0, node: str = "") -> Task:
    return Task(id=task_id, spec=TaskSpec(), service_id=service, slot=slot, node_id=node)


def ids(objects: Any) -> list[str]:
    return [stored.id for stored in objects]


def test_objects_come_sorted_by_id() -> None:
    table = make_table(Task)

    for task_id in ("c", "a", "b"):
        table.put(make_task(task_id))

    assert ids(table.sorted()) == ["a", "b", "c"]


def test_a_task_is_found_by_service_slot_and_node_and_moves_when_they_change() -> None:
    table = make_table(Task)
    table.put(make_task("t1", service="s", slot=1))
    table.put(make_task("t2", service="s", slot=2, node="n"))

    table.put(make_task("t1", service="s", slot=1, node="n"))

    assert ids(table.by(SERVICE, "s")) == ["t1", "t2"]
    assert ids(table.by(SLOT, ("s", 2))) == ["t2"]
    assert ids(table.by(NODE, "n")) == ["t1", "t2"]
    assert ids(table.by(NODE, "")) == []


def test_names_are_found_without_regard_to_case() -> None:
    table = make_table(Service)

    table.put(Service(id="s", spec=ServiceSpec(name="Web")))

    assert ids(table.by(NAME, "web")) == ["s"]


def test_several_nodes_may_have_one_host_name() -> None:
    table = make_table(Node)

    table.put(Node(id="b", description=NodeDescription(hostname="docker4")))
    table.put(Node(id="a", description=NodeDescription(hostname="docker4")))

    assert ids(table.by(NAME, "docker4")) == ["a", "b"]


def test_an_id_prefix_finds_every_id_that_begins_so() -> None:
    table = make_table(Task)
    for task_id in ("aa", "ab", "abc", "b"):
        table.put(make_task(task_id))

    assert ids(table.with_prefix("ab")) == ["ab", "abc"]
    assert ids(table.with_prefix("x")) == []


def test_what_is_removed_is_found_nowhere() -> None:
    table = make_table(Task)
    table.put(make_task("t", service="s", node="n"))

    removed = table.remove("t")

    assert removed is not None
    assert removed.id == "t"
    assert (ids(table.sorted()), ids(table.by(SERVICE, "s")), ids(table.by(NODE, "n"))) == ([], [], [])
    assert table.remove("t") is None


def test_an_iterator_keeps_to_the_picture_it_was_made_from() -> None:
    table = make_table(Task)
    table.put(make_task("t", service="s"))

    found = table.sorted()
    table.put(replace(make_task("t"), service_id="other"))

    assert next(found).service_id == "s"
