"""Forgetting a swarm clears what is secret and what is old, and nothing that runs."""

from __future__ import annotations

from contextlib import suppress

import pytest

from raftswarm.agent.record import SUFFIX
from raftswarm.errors import DiskFailed
from raftswarm.node.facts import NodeFacts, read_facts, write_facts
from raftswarm.node.state_directory import StateDirectory
from raftswarm.world.simulated_disk import PowerLost, SimulatedDisk

FACTS = NodeFacts(cluster_id="c", node_id="n", role="swarm-worker", listen_address="a:1", advertise_address="a:1")
FILES = ["raft/log/1.segment", "raft/snapshots/1.snapshot", "certificates/keys", f"tasks/one{SUFFIX}"]


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    for name in FILES:
        disk.make_directory("state/" + name.rpartition("/")[0])
        disk.open(f"state/{name}", create=True).close()
    write_facts(disk, "state", FACTS)
    return disk


def test_public_files_are_written_durably_and_read(disk: SimulatedDisk) -> None:
    StateDirectory("state", disk).write_public("root.crt", "old and long")
    StateDirectory("state", disk).write_public("root.crt", "new")

    assert StateDirectory("state", disk.after_power_loss()).read_public("root.crt") == "new"


def test_a_public_file_that_is_missing_is_named(disk: SimulatedDisk) -> None:
    with pytest.raises(DiskFailed, match=r"could not read state/certificates/root\.crt"):
        StateDirectory("state", disk).read_public("root.crt")


def test_clearing_removes_facts_keys_log_and_records_of_tasks(disk: SimulatedDisk) -> None:
    disk.make_directory("state/tasks/one")

    StateDirectory("state", disk).clear()

    assert read_facts(disk, "state") is None
    assert [name for name in FILES if disk.exists(f"state/{name}")] == []
    assert disk.exists("state/tasks/one"), "a process may run there: the agent ends it"


@pytest.mark.parametrize("calls", range(1, 12))
def test_an_interrupted_clearing_leaves_no_facts_over_missing_files(disk: SimulatedDisk, calls: int) -> None:
    disk.cut_after(calls)
    with suppress(PowerLost):
        StateDirectory("state", disk).clear()
    disk.lose_process()

    if read_facts(disk, "state") is not None:
        assert all(disk.exists(f"state/{name}") for name in FILES)


def test_a_disk_that_fails_is_told_in_a_sentence(disk: SimulatedDisk) -> None:
    disk.fail_from_now(OSError(30, "Read-only file system"))

    with pytest.raises(DiskFailed, match="could not clear state: Read-only file system"):
        StateDirectory("state", disk).clear()
