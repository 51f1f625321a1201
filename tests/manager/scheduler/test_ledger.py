"""What stands on each node (SWARM 5.3, 5.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from raftswarm.manager.scheduler.ledger import FAILURE_WINDOW, Ledger
from raftswarm.objects.states import TaskState

if TYPE_CHECKING:
    from tests.manager.scheduler.conftest import Yard


def test_a_task_uses_what_it_reserves_until_it_has_ended(yard: Yard) -> None:
    yard.node("n1")
    task = yard.task(node="n1", state=TaskState.RUNNING, cpus=5, memory=7, port=80)
    ledger = yard.ledger()
    load = ledger.loads["n1"]

    assert (load.nano_cpus, load.memory_bytes, load.ports["tcp", 80], load.active) == (5, 7, 1, 1)
    stopping = replace(task, desired_state=TaskState.SHUTDOWN)
    ledger.note_task(task.id, stopping)
    assert (load.nano_cpus, load.active) == (5, 0)
    ledger.note_task(task.id, replace(stopping, status=replace(task.status, state=TaskState.SHUTDOWN)))

    assert (load.nano_cpus, load.memory_bytes, load.ports["tcp", 80]) == (0, 0, 0)


def test_noting_a_change_twice_changes_nothing(yard: Yard) -> None:
    yard.node("n1")
    task = yard.task(node="n1", state=TaskState.ASSIGNED, cpus=5)
    ledger = yard.ledger()

    ledger.note_task(task.id, task)

    assert (ledger.loads["n1"].nano_cpus, ledger.loads["n1"].active_by_service["web"]) == (5, 1)


def test_a_task_that_is_gone_frees_what_it_used(yard: Yard) -> None:
    yard.node("n1")
    task = yard.task(node="n1", state=TaskState.RUNNING, cpus=5)
    ledger = yard.ledger()

    ledger.note_task(task.id, None)

    assert (ledger.loads["n1"].nano_cpus, ledger.loads["n1"].active) == (0, 0)


def test_pending_tasks_wait_and_use_nothing(yard: Yard) -> None:
    yard.node("n1")
    waiting = yard.task()
    preassigned = yard.task(node="n1", slot=0)
    yard.task(state=TaskState.NEW)

    ledger = yard.ledger()

    assert list(ledger.pending) == [waiting.id, preassigned.id]
    assert ledger.loads["n1"].active == 0


def test_a_node_that_returns_finds_its_tasks_counted(yard: Yard) -> None:
    node = yard.node("n1")
    yard.task(node="n1", state=TaskState.RUNNING, cpus=5)
    ledger = yard.ledger()

    ledger.forget_node("n1")
    ledger.note_node(node)

    assert ledger.loads["n1"].nano_cpus == 5


@pytest.mark.parametrize(("after", "counted"), [(0, 2), (FAILURE_WINDOW - 1, 2), (FAILURE_WINDOW, 0)])
def test_failures_count_for_five_minutes(yard: Yard, after: int, counted: int) -> None:
    task = yard.task(node="n1", version=3, state=TaskState.FAILED)
    ledger = Ledger()

    ledger.note_failure(task, now=1000)
    ledger.note_failure(task, now=1000)

    assert ledger.failures(1000 + after)["n1", ("web", 3)] == counted
