"""The file that says which swarm a node is in: there whole, or not at all."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from raftswarm.errors import ForeignState
from raftswarm.node.facts import ManagerAddress, NodeFacts, read_facts, remove_facts, write_facts
from raftswarm.world.simulated_disk import PowerLost, SimulatedDisk

FACTS = NodeFacts(
    cluster_id="cluster",
    node_id="alice",
    role="swarm-manager",
    listen_address="10.0.0.1:2377",
    advertise_address="10.0.0.1:2377",
    member_id=7,
    managers=(ManagerAddress("alice", "10.0.0.1:2377"),),
)


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_directory("state")
    return disk


def write_raw(disk: SimulatedDisk, content: bytes) -> None:
    file = disk.open("state/node.json", create=True)
    file.write(0, [content])
    file.close()


def test_what_was_written_is_read(disk: SimulatedDisk) -> None:
    write_facts(disk, "state", FACTS)

    assert read_facts(disk, "state") == FACTS
    assert FACTS.is_manager
    assert not replace(FACTS, role="swarm-worker").is_manager


def test_a_node_in_no_swarm_has_none(disk: SimulatedDisk) -> None:
    assert read_facts(disk, "state") is None


@pytest.mark.parametrize("seed", range(20))
def test_a_power_loss_leaves_the_old_facts_or_the_new(disk: SimulatedDisk, seed: int) -> None:
    write_facts(disk, "state", FACTS)
    new = replace(FACTS, managers=())
    disk.cut_after(seed // 2)
    try:
        write_facts(disk, "state", new)
    except PowerLost:
        allowed = [FACTS, new]
    else:
        allowed = [new]

    disk.lose_power(Random(seed))

    assert read_facts(disk, "state") in allowed


def test_removed_facts_stay_removed(disk: SimulatedDisk) -> None:
    write_facts(disk, "state", FACTS)

    remove_facts(disk, "state")
    remove_facts(disk, "state")

    assert read_facts(disk.after_power_loss(), "state") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff", b'{"version": 1}', b'{"version": "1"}', b"{}"])
def test_facts_that_cannot_be_read_are_refused_with_a_way_out(disk: SimulatedDisk, content: bytes) -> None:
    write_raw(disk, content)

    with pytest.raises(ForeignState, match=r"state/node\.json cannot be read .*; restore it, or remove"):
        read_facts(disk, "state")


def test_facts_of_a_newer_version_are_told_from_damaged_ones(disk: SimulatedDisk) -> None:
    write_raw(disk, b'{"version": 2, "membership": {"of": "another shape"}}')

    with pytest.raises(ForeignState, match=r"state/node\.json has format 2; this version of raftswarm reads 1"):
        read_facts(disk, "state")
