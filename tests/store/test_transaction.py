"""Transactions while they are built (SWARM 3.1)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from raftswarm.errors import Conflict, InvalidSpec
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.specs import ServiceSpec, TaskSpec
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import Delete, encode
from raftswarm.store.store import Store


def make_service(service_id: str, name: str | None = None) -> Service:
    return Service(id=service_id, spec=ServiceSpec(name=name or service_id))


def make_task(task_id: str, *, service: str = "s", slot: int = 1) -> Task:
    return Task(id=task_id, spec=TaskSpec(), service_id=service, slot=slot)


@pytest.fixture
def filled(store: Store, log: LoneProposer) -> Store:
    transaction = store.begin()
    for stored in (make_service("s1"), make_service("s2"), make_task("t1"), make_task("t3")):
        transaction.create(stored)
    log.apply(encode(transaction.change_set()))
    return store


def ids(objects: Any) -> list[str]:
    return [stored.id for stored in objects]


def test_a_transaction_sees_its_own_changes_and_nobody_else_does(filled: Store) -> None:
    transaction = filled.begin()

    transaction.create(make_task("t2"))
    transaction.delete(Task, "t1")
    moved = transaction.get(Task, "t3")
    assert moved is not None
    transaction.update(replace(moved, service_id="other"))

    assert ids(transaction.find(Task)) == ["t2", "t3"]
    assert ids(transaction.tasks_of_service("s")) == ["t2"]
    assert ids(transaction.tasks_of_service("other")) == ["t3"]
    assert ids(transaction.tasks_of_slot("s", 1)) == ["t2"]
    assert transaction.get(Task, "t1") is None
    assert ids(filled.find(Task)) == ["t1", "t3"]


def test_a_taken_name_is_refused_in_swarmkits_words(filled: Store) -> None:
    transaction = filled.begin()

    with pytest.raises(InvalidSpec, match=r"^name conflicts with an existing object: service S1 already exists$"):
        transaction.create(make_service("s9", "S1"))


def test_a_name_that_the_transaction_itself_frees_can_be_taken(filled: Store, log: LoneProposer) -> None:
    transaction = filled.begin()

    transaction.delete(Service, "s1")
    transaction.create(make_service("s9", "s1"))
    log.apply(encode(transaction.change_set()))

    found = filled.by_name(Service, "s1")
    assert found is not None
    assert found.id == "s9"


def test_an_update_of_an_old_version_is_a_conflict(filled: Store) -> None:
    stale = replace(next(filled.find(Service)), version=99)

    with pytest.raises(Conflict, match="has changed"):
        filled.begin().update(stale)


def test_an_update_of_what_is_gone_is_a_conflict(filled: Store) -> None:
    with pytest.raises(Conflict, match="does not exist any more"):
        filled.begin().update(make_service("s9"))


def test_what_a_transaction_makes_and_takes_back_is_not_written(filled: Store) -> None:
    transaction = filled.begin()

    transaction.create(make_task("t9"))
    transaction.delete(Task, "t9")
    transaction.delete(Task, "never was")

    assert transaction.change_set().changes == ()


def test_an_object_changed_twice_is_written_once(filled: Store, log: LoneProposer) -> None:
    transaction = filled.begin()
    service = transaction.get(Service, "s1")
    assert service is not None

    transaction.update(replace(service, spec=replace(service.spec, labels={"a": "1"})))
    transaction.update(replace(service, spec=replace(service.spec, labels={"a": "2"})))
    log.apply(encode(transaction.change_set()))

    changed = filled.get(Service, "s1")
    assert changed is not None
    assert changed.spec.labels == {"a": "2"}


def test_going_back_forgets_what_came_after_the_mark(filled: Store) -> None:
    transaction = filled.begin()
    transaction.delete(Task, "t1")
    mark = transaction.mark()
    transaction.get(Node, "n1")
    transaction.delete(Task, "t3")
    transaction.expect_unchanged(Service)

    transaction.go_back_to(mark)

    change_set = transaction.change_set()
    assert change_set.changes == (Delete("task", "t1", 1),)
    assert (change_set.reads, change_set.tables) == ((), ())
