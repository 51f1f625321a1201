"""Reports of agents, in batches (SWARM 7.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.errors import NotLeader
from raftswarm.manager.dispatcher import reports as reports_module
from raftswarm.manager.dispatcher.reports import BATCH_SECONDS, NodeNews, Reports
from raftswarm.objects.records import Node, NodeDescription, Task, TaskStatus
from raftswarm.objects.specs import TaskSpec
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.store.store import Store
from raftswarm.store.writes import StoreWrites


class TenOClock:
    def now_ns(self) -> int:
        return 10


@pytest.fixture
def reports(writes: StoreWrites) -> Reports:
    return Reports(writes, "m1", TenOClock())


def make_task(task_id: str, state: TaskState = TaskState.ASSIGNED) -> Task:
    return Task(id=task_id, spec=TaskSpec(), node_id="n1", status=TaskStatus(state=state, message="before"))


def status_of(store: Store, task_id: str) -> TaskStatus:
    task = store.get(Task, task_id)
    assert task is not None
    return task.status


async def test_a_status_is_written_with_who_wrote_it_and_when(
    reports: Reports, store: Store, put: Callable[..., None]
) -> None:
    put(make_task("a"))

    reports.add_status("a", TaskStatus(state=TaskState.RUNNING, message="started"))
    await reports.flush()

    assert status_of(store, "a") == TaskStatus(
        state=TaskState.RUNNING, message="started", applied_by="m1", applied_at=10
    )


@pytest.mark.parametrize(
    "status", [TaskStatus(state=TaskState.STARTING), TaskStatus(state=TaskState.RUNNING, message="before")]
)
async def test_a_lower_or_equal_status_is_not_written(
    reports: Reports, put: Callable[..., None], log: Any, status: TaskStatus
) -> None:
    put(make_task("a", TaskState.RUNNING))
    reports.add_status("a", status)
    reports.add_status("gone", status)

    await reports.flush()

    assert len(log.commands) == 1


async def test_the_latest_report_of_a_task_wins(reports: Reports, store: Store, put: Callable[..., None]) -> None:
    put(make_task("a"))
    for state in (TaskState.RUNNING, TaskState.FAILED):
        reports.add_status("a", TaskStatus(state=state))

    await reports.flush()

    assert status_of(store, "a").state is TaskState.FAILED


async def test_the_first_report_is_written_at_once_and_the_next_ones_together(
    reports: Reports, put: Callable[..., None], log: Any, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    put(*(make_task(task_id) for task_id in "abc"))
    nursery.start_soon(reports.run)
    running = TaskStatus(state=TaskState.RUNNING)
    start = trio.current_time()

    reports.add_status("a", running)
    await wait_all_tasks_blocked()
    assert (len(log.commands), trio.current_time() - start) == (2, 0)
    reports.add_status("b", running)
    await wait_all_tasks_blocked()
    reports.add_status("c", running)
    await wait_all_tasks_blocked()
    assert len(log.commands) == 2
    await trio.sleep(BATCH_SECONDS * 1.5)

    assert len(log.commands) == 3


async def test_what_cannot_be_written_now_waits_and_does_not_undo_what_came_later(
    reports: Reports, store: Store, put: Callable[..., None], log: Any
) -> None:
    put(make_task("a"), make_task("b"), Node(id="n1"))
    log.leading = False
    for task_id in "ab":
        reports.add_status(task_id, TaskStatus(state=TaskState.STARTING))
    described = NodeNews(state=NodeState.READY, description=NodeDescription(hostname="one"), address="10.0.0.1")
    written = reports.add_node("n1", described)
    await reports.flush()
    assert not written.is_set()
    reports.add_status("a", TaskStatus(state=TaskState.RUNNING))
    reports.add_node("n1", NodeNews(state=NodeState.DOWN))

    log.leading = True
    await reports.flush()

    assert written.is_set()
    assert [status_of(store, task_id).state for task_id in "ab"] == [TaskState.RUNNING, TaskState.STARTING]
    node = store.get(Node, "n1")
    assert node is not None
    assert (node.state, node.description.hostname, node.address) == (NodeState.DOWN, "one", "10.0.0.1")


async def test_a_report_that_comes_during_a_failed_write_is_the_newer_one() -> None:
    seen: list[TaskState] = []

    class Failing:
        async def write(self, _: Any) -> Any:
            raise AssertionError("reports are written many at a time")

        async def write_each(self, items: Any, _: Any) -> None:
            seen.extend(status.state for _, status in items)
            if items and seen == [TaskState.STARTING]:
                queue.add_status("a", TaskStatus(state=TaskState.RUNNING))
                raise NotLeader("not any more")

    queue = Reports(Failing(), "m1", TenOClock())
    queue.add_status("a", TaskStatus(state=TaskState.STARTING))
    await queue.flush()

    await queue.flush()

    assert seen == [TaskState.STARTING, TaskState.RUNNING]


async def test_a_cancelled_write_waits_too(
    reports: Reports, store: Store, put: Callable[..., None], autojump_clock: MockClock
) -> None:
    put(make_task("a"))
    reports.add_status("a", TaskStatus(state=TaskState.RUNNING))
    with trio.CancelScope() as scope:
        scope.cancel()
        await reports.flush()
    assert status_of(store, "a").state is TaskState.ASSIGNED

    await reports.flush()

    assert status_of(store, "a").state is TaskState.RUNNING


async def test_a_report_that_fits_into_no_transaction_does_not_hold_up_the_others(
    reports: Reports, store: Store, put: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    put(make_task("a"), make_task("b"))
    reports.add_status("a", TaskStatus(state=TaskState.RUNNING, message="x" * 2_000_000))
    reports.add_status("b", TaskStatus(state=TaskState.RUNNING))

    await reports.flush()

    assert [status_of(store, task_id).state for task_id in "ab"] == [TaskState.ASSIGNED, TaskState.RUNNING]
    assert "dropped" in caplog.text


async def test_who_reports_too_much_waits_for_room(
    reports: Reports, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports_module, "MAX_WAITING", 2)
    passed: list[str] = []

    async def wait(name: str) -> None:
        await reports.wait_room()
        passed.append(name)

    for task_id in "ab":
        reports.add_status(task_id, TaskStatus())
    nursery.start_soon(wait, "first")
    await wait_all_tasks_blocked()
    assert passed == []
    await reports.flush()
    await wait_all_tasks_blocked()

    assert passed == ["first"]
