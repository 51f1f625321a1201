"""The worker makes the node's tasks what managers assigned, also after a restart (SWARM 8.2)."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from raftswarm.agent.executors.fake import FakeExecutor
from raftswarm.agent.record import TaskRecords
from raftswarm.agent.worker import Worker
from raftswarm.errors import StorageError
from raftswarm.objects.records import Endpoint, Task, TaskStatus
from raftswarm.objects.specs import PortConfig, TaskSpec
from raftswarm.objects.states import TaskState
from raftswarm.wire.requests import Assignments
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock
from raftswarm.world.disk import DiskRunner
from raftswarm.world.simulated_disk import SimulatedDisk


def make_task(task_id: str, desired: TaskState = TaskState.RUNNING, *, host_port: int = 0) -> Task:
    ports = (PortConfig(target_port=80, published_port=host_port, publish_mode="host"),) if host_port else ()
    return Task(
        id=task_id,
        spec=TaskSpec(),
        desired_state=desired,
        status=TaskStatus(state=TaskState.ASSIGNED),
        endpoint=Endpoint(ports=ports),
    )


def complete(*tasks: Task) -> Assignments:
    return Assignments(complete=True, tasks=tasks)


@attrs.define
class Node:
    """A node whose agent can be started again: disk and machine outlive it."""

    disk: SimulatedDisk
    runner: DiskRunner
    entropy: Entropy
    wall_clock: WallClock
    nursery: trio.Nursery
    executor: FakeExecutor = attrs.field(factory=FakeExecutor)
    told: list[tuple[Task, ...]] = attrs.field(factory=list)
    _life: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def start(self) -> Worker:
        """Kill the agent that runs and start the next."""
        self._life.cancel()
        await wait_all_tasks_blocked()
        self._life = trio.CancelScope()
        records = TaskRecords(self.disk, self.runner, "tasks", bytes(32), self.entropy)
        worker = Worker(self.executor, records, self.wall_clock, self.told.append)

        async def run(task_status: trio.TaskStatus[None]) -> None:
            with self._life:
                await worker.run(task_status=task_status)

        await self.nursery.start(run)
        await wait_all_tasks_blocked()
        return worker

    @property
    def running(self) -> str:
        """The ids of the tasks that run, in alphabetical order."""
        return "".join(sorted(self.executor.machine.running))


@pytest.fixture
def node(
    disk: SimulatedDisk, runner: DiskRunner, entropy: Entropy, wall_clock: WallClock, nursery: trio.Nursery
) -> Node:
    return Node(disk, runner, entropy, wall_clock, nursery)


async def assign(worker: Worker, assignments: Assignments) -> None:
    await worker.assign(assignments)
    await wait_all_tasks_blocked()


def states(statuses: Iterable[TaskStatus]) -> list[TaskState]:
    return [status.state for status in statuses]


async def test_assigned_tasks_run(node: Node) -> None:
    worker = await node.start()

    await assign(worker, complete(make_task("a"), make_task("b")))

    assert node.running == "ab"


async def test_what_a_complete_assignment_does_not_name_is_removed(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a"), make_task("b")))

    await assign(worker, complete(make_task("b")))

    assert node.running == "b"
    assert node.disk.list("tasks") == ["b.record"]


async def test_a_difference_changes_what_it_names_only(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a"), make_task("b"), make_task("c")))

    await assign(
        worker,
        Assignments(complete=False, tasks=(make_task("a", TaskState.SHUTDOWN), make_task("d")), removed=("b",)),
    )

    assert node.running == "cd"
    assert {task.id: task.status.state for task in worker.tasks} == {
        "a": TaskState.SHUTDOWN,
        "c": TaskState.RUNNING,
        "d": TaskState.RUNNING,
    }


async def test_tasks_go_on_after_a_restart_without_managers_and_none_is_doubled(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a"), make_task("b")))

    worker = await node.start()

    assert node.running == "ab"
    assert {task.status.state for task in worker.tasks} == {TaskState.RUNNING}
    assert node.executor.machine.starts == {"a": 1, "b": 1}


async def test_what_was_seen_here_wins_over_what_managers_remember(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a")))

    worker = await node.start()
    await assign(worker, complete(make_task("a")))

    assert node.executor.machine.starts == {"a": 1}


async def test_an_end_during_the_agents_absence_is_seen_by_the_next(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a")))
    node.executor.machine.end("a", 3)
    await wait_all_tasks_blocked()

    worker = await node.start()

    assert [(task.status.state, task.status.error) for task in worker.tasks] == [
        (TaskState.FAILED, "task: non-zero exit (3)")
    ]


async def test_after_the_machine_stopped_no_task_runs_and_all_have_failed(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a")))
    node.executor.machine.lose_power()

    worker = await node.start()

    assert node.running == ""
    assert states(task.status for task in worker.tasks) == [TaskState.FAILED]


async def test_a_task_that_moved_away_meanwhile_is_removed_on_return(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a")))

    worker = await node.start()
    assert node.running == "a"
    await assign(worker, complete())

    assert node.running == ""
    assert node.disk.list("tasks") == []


async def test_a_task_is_on_record_before_it_begins(node: Node) -> None:
    worker = await node.start()
    node.disk.fail_from_now(OSError(28, "No space left on device"))

    with pytest.raises(StorageError):
        await worker.assign(complete(make_task("a")))

    await wait_all_tasks_blocked()
    assert node.executor.machine.starts == {}


async def test_an_id_that_is_none_is_ignored(node: Node) -> None:
    worker = await node.start()

    await assign(worker, complete(make_task("../../etc/passwd"), make_task("a")))

    assert node.running == "a"


async def test_only_the_latest_status_of_a_task_is_reported(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a"), make_task("b")))

    assert states((await worker.take_statuses(10)).values()) == [TaskState.RUNNING, TaskState.RUNNING]


async def test_a_report_has_a_limit(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(*(make_task(name) for name in "abc")))

    first = await worker.take_statuses(2)
    second = await worker.take_statuses(2)

    assert (len(first), len(second)) == (2, 1)
    assert not first.keys() & second.keys()


async def test_a_new_session_hears_of_every_task(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a"), make_task("b")))
    await worker.take_statuses(10)

    worker.report_everything()

    assert sorted(await worker.take_statuses(10)) == ["a", "b"]


async def test_nothing_is_reported_of_a_task_that_is_gone(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a"), make_task("b")))
    await assign(worker, complete(make_task("b")))

    assert [*await worker.take_statuses(10)] == ["b"]


async def test_a_node_that_leaves_stops_everything(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a"), make_task("b")))

    await worker.stop_all()

    assert node.running == ""
    assert worker.tasks == ()


async def test_whoever_publishes_is_told_of_tasks_with_host_mode_ports(node: Node) -> None:
    worker = await node.start()
    await assign(worker, complete(make_task("a"), make_task("b", host_port=8080)))

    assert [task.id for task in node.told[-1] if task.status.ports] == ["b"]
    await assign(worker, complete())
    assert "b" not in [task.id for task in node.told[-1]]
