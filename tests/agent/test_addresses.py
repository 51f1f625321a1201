"""Every task of a host has an address of its own, whichever daemon runs it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from raftswarm.agent.addresses import AddressPool, give_back_ranges
from raftswarm.agent.executors.executor import TryAgain
from raftswarm.world.disk import DiskRunner
from raftswarm.world.real_disk import RealDisk
from raftswarm.world.simulated_disk import SimulatedDisk


def make_pool(disk: SimulatedDisk | RealDisk, runner: DiskRunner, owner: str, directory: str = "run") -> AddressPool:
    disk.make_directory(owner)
    return AddressPool(disk, runner, directory, owner)


def range_of(address: str) -> IPv4Network:
    return IPv4Network(f"{address}/24", strict=False)


async def test_addresses_are_loopback_and_all_different(disk: SimulatedDisk, runner: DiskRunner) -> None:
    pool = make_pool(disk, runner, "node1")

    addresses = [await pool.take() for _ in range(300)]

    assert len(set(addresses)) == 300
    assert all(IPv4Address(address) in IPv4Network("127.64.0.0/10") for address in addresses)
    assert len({range_of(address) for address in addresses}) == 2


async def test_two_daemons_never_share_a_range(disk: SimulatedDisk, runner: DiskRunner) -> None:
    pools = [make_pool(disk, runner, f"node{number}") for number in range(20)]

    addresses = [await pool.take() for pool in pools]

    assert len({range_of(address) for address in addresses}) == 20


async def test_a_dead_daemons_range_stays_its_own_while_its_directory_exists(
    disk: SimulatedDisk, runner: DiskRunner
) -> None:
    pool = make_pool(disk, runner, "node1")
    address = await pool.take()
    pool.close()

    other = make_pool(disk, runner, "node2")
    await other.keep(address)

    assert range_of(await other.take()) != range_of(address)
    assert range_of(await make_pool(disk, runner, "node1").take()) == range_of(address)


async def test_the_range_of_a_daemon_that_was_removed_is_free(disk: SimulatedDisk, runner: DiskRunner) -> None:
    pool = AddressPool(disk, runner, "run", "never-made")
    address = await pool.take()
    pool.close()

    other = make_pool(disk, runner, "node2")
    await other.keep(address)

    assert range_of(await other.take()) == range_of(address)


async def test_ranges_given_back_leave_no_file_and_nobody_elses_range(disk: SimulatedDisk, runner: DiskRunner) -> None:
    for owner in ("gone", "other"):
        pool = make_pool(disk, runner, owner)
        await pool.take()
        pool.close()
    claims = disk.list("run")

    give_back_ranges(disk, "run", "gone")

    [left] = disk.list("run")
    assert len(claims) == 2
    assert disk.open(f"run/{left}").read(0, 100) == b"other"


async def test_a_range_in_use_is_not_given_back(disk: SimulatedDisk, runner: DiskRunner) -> None:
    await make_pool(disk, runner, "alive").take()

    give_back_ranges(disk, "run", "alive")

    assert len(disk.list("run")) == 1


async def test_a_kept_address_is_not_given_out(disk: SimulatedDisk, runner: DiskRunner) -> None:
    first = await make_pool(disk, runner, "node1").take()
    disk.lose_process()
    pool = make_pool(disk, runner, "node1")

    await pool.keep(first)

    taken = [await pool.take() for _ in range(253)]
    assert first not in taken
    assert {range_of(address) for address in taken} == {range_of(first)}


async def test_an_address_is_used_again_only_after_all_others(disk: SimulatedDisk, runner: DiskRunner) -> None:
    pool = make_pool(disk, runner, "node1")
    first = await pool.take()
    pool.give_back(first)

    following = [await pool.take() for _ in range(254)]

    assert following.index(first) == 253


async def test_what_is_no_task_address_is_kept_without_a_range(disk: SimulatedDisk, runner: DiskRunner) -> None:
    pool = make_pool(disk, runner, "node1")

    await pool.keep("10.0.0.3")
    await pool.keep("nonsense")

    assert disk.list("run") == []


async def test_locks_hold_between_real_daemons(tmp_path: Path, runner: DiskRunner) -> None:
    disk, directory = RealDisk(), str(tmp_path / "run")
    pool = AddressPool(disk, runner, directory, str(tmp_path / "gone"))
    address = await pool.take()

    other = AddressPool(disk, runner, directory, str(tmp_path / "other"))
    await other.keep(address)
    elsewhere = await other.take()
    pool.close()
    other.close()

    assert range_of(elsewhere) != range_of(address)


async def test_a_host_without_a_free_range_says_so(
    disk: SimulatedDisk, runner: DiskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftswarm.agent.addresses._RANGES", 2)
    for number in range(2):
        await make_pool(disk, runner, f"node{number}").take()

    with pytest.raises(TryAgain, match=r"127\.64\.0\.0/10"):
        await make_pool(disk, runner, "node3").take()
