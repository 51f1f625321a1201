"""The agent's record outlives the agent, and shows nobody else what is in it (SWARM 8.2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftswarm.agent.record import TaskRecords
from raftswarm.errors import ForeignState, StorageError
from raftswarm.objects.records import Task, TaskStatus
from raftswarm.objects.specs import ContainerSpec, TaskSpec
from raftswarm.objects.states import TaskState
from raftswarm.world.chance import Entropy
from raftswarm.world.disk import DiskRunner
from raftswarm.world.simulated_disk import SimulatedDisk

KEY = bytes(range(32))


def make_task(task_id: str, state: TaskState = TaskState.ASSIGNED, env: str = "") -> Task:
    spec = TaskSpec(container_spec=ContainerSpec(image="web", env=[env] if env else None))
    return Task(id=task_id, spec=spec, status=TaskStatus(state=state))


@pytest.fixture
def records(disk: SimulatedDisk, runner: DiskRunner, entropy: Entropy) -> TaskRecords:
    return TaskRecords(disk, runner, "tasks", KEY, entropy)


def read(disk: SimulatedDisk, path: str) -> bytes:
    file = disk.open(path)
    return file.read(0, file.size())


def write(disk: SimulatedDisk, path: str, content: bytes) -> None:
    file = disk.open(path, create=True)
    file.truncate(0)
    file.write(0, [content])


async def test_what_was_recorded_is_loaded_by_the_next_life(
    disk: SimulatedDisk, runner: DiskRunner, entropy: Entropy, records: TaskRecords
) -> None:
    tasks = [make_task("a", TaskState.RUNNING), make_task("b")]
    for task in tasks:
        records.put(task)

    loaded = await TaskRecords(disk, runner, "tasks", KEY, entropy).load()

    assert loaded == tasks


async def test_the_latest_version_counts(records: TaskRecords) -> None:
    records.put(make_task("a", TaskState.PREPARING))
    records.put(make_task("a", TaskState.RUNNING))

    assert await records.load() == [make_task("a", TaskState.RUNNING)]


async def test_a_forgotten_task_is_gone(records: TaskRecords) -> None:
    records.put(make_task("a"))
    records.forget("a")
    records.forget("never-recorded".replace("-", ""))

    assert await records.load() == []


async def test_flushed_records_survive_the_loss_of_power(disk: SimulatedDisk, records: TaskRecords) -> None:
    disk.make_directory("tasks")
    disk.sync_directory("")
    records.put(make_task("a"))
    await records.flush()

    survived = disk.after_power_loss()

    assert survived.list("tasks") == ["a.record"]
    assert read(survived, "tasks/a.record") == read(disk, "tasks/a.record")


async def test_nothing_of_a_spec_is_on_disk_in_the_clear(disk: SimulatedDisk, records: TaskRecords) -> None:
    records.put(make_task("a", env="TOKEN=marker"))

    assert b"marker" not in read(disk, "tasks/a.record")
    assert b"web" not in read(disk, "tasks/a.record")


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-1], lambda content: content[:9], lambda content: content[:0]]
)
async def test_a_damaged_record_is_forgotten_and_the_others_are_not(
    disk: SimulatedDisk, records: TaskRecords, damage: Callable[[bytes], bytes]
) -> None:
    records.put(make_task("a"))
    records.put(make_task("b"))
    write(disk, "tasks/a.record", damage(read(disk, "tasks/a.record")))

    assert await records.load() == [make_task("b")]
    assert disk.list("tasks") == ["b.record"]


async def test_a_record_is_good_under_its_own_name_only(disk: SimulatedDisk, records: TaskRecords) -> None:
    records.put(make_task("a"))
    disk.rename("tasks/a.record", "tasks/b.record")

    assert await records.load() == []


async def test_another_key_opens_nothing(
    disk: SimulatedDisk, runner: DiskRunner, entropy: Entropy, records: TaskRecords
) -> None:
    records.put(make_task("a"))

    assert await TaskRecords(disk, runner, "tasks", bytes(32), entropy).load() == []


async def test_a_record_of_a_newer_version_is_left_alone(disk: SimulatedDisk, records: TaskRecords) -> None:
    disk.make_directory("tasks")
    write(disk, "tasks/a.record", b"RSTASK\x00\x02 whatever comes")

    with pytest.raises(ForeignState, match="newer raftswarm"):
        await records.load()

    assert disk.list("tasks") == ["a.record"]


async def test_the_rest_of_an_interrupted_write_is_no_record(disk: SimulatedDisk, records: TaskRecords) -> None:
    records.put(make_task("a"))
    write(disk, "tasks/a.record.new", b"half")

    assert await records.load() == [make_task("a")]
    records.put(make_task("a", TaskState.RUNNING))
    assert await records.load() == [make_task("a", TaskState.RUNNING)]


async def test_a_failed_write_is_told_to_who_waits_for_it(disk: SimulatedDisk, records: TaskRecords) -> None:
    disk.fail_from_now(OSError(28, "No space left on device"))
    records.put(make_task("a"))

    with pytest.raises(StorageError, match="No space left"):
        await records.flush()


class HeldRunner:
    """Runs jobs when told to."""

    def __init__(self) -> None:
        self.held: list[tuple[Callable[[], object], Callable[[BaseException | None], None]]] = []

    def submit(self, job: Callable[[], object], done: Callable[[BaseException | None], None]) -> None:
        self.held.append((job, done))

    def run_one(self) -> None:
        job, done = self.held.pop(0)
        job()
        done(None)


async def test_changes_made_during_a_write_share_the_next_one(
    disk: SimulatedDisk, runner: DiskRunner, entropy: Entropy
) -> None:
    held = HeldRunner()
    records = TaskRecords(disk, held, "tasks", KEY, entropy)

    for state in (TaskState.ASSIGNED, TaskState.ACCEPTED, TaskState.PREPARING):
        for task_id in ("a", "b"):
            records.put(make_task(task_id, state))
    held.run_one()
    held.run_one()

    assert held.held == []
    loading = TaskRecords(disk, runner, "tasks", KEY, entropy)
    assert await loading.load() == [make_task("a", TaskState.PREPARING), make_task("b", TaskState.PREPARING)]
