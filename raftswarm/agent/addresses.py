"""Each task has a loopback address of its own, so that many replicas of a service can share a host and a port.

All daemons of a host share 127.64.0.0/10. A node takes a whole range (a /24) before it gives out addresses of it: a
file per range, locked for the daemon's life, names its owner. The name stays when the daemon dies, because its tasks
live on: a range is another's for as long as the lock is held or the owner's directory exists.
"""

from __future__ import annotations

import logging
from contextlib import closing, suppress
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from raftswarm.agent.disk_jobs import run_on_disk
from raftswarm.agent.executors.executor import TryAgain
from raftswarm.world.disk import Disk, DiskRunner, File

logger = logging.getLogger("raftswarm.agent")

TASK_ADDRESSES: Final = IPv4Network("127.64.0.0/10")
_RANGE_PREFIX: Final = 24
_RANGES: Final = 1 << (_RANGE_PREFIX - TASK_ADDRESSES.prefixlen)
_HOSTS: Final = 254
_OWNER_BYTES: Final = 4096


class AddressPool:
    """The addresses of one node's tasks."""

    def __init__(self, disk: Disk, runner: DiskRunner, directory: str, owner: str) -> None:
        """Share `directory` with every other daemon of the host; `owner` is a directory of this node's own."""
        self._disk = disk
        self._runner = runner
        self._directory = directory
        self._owner = owner
        self._ranges: dict[int, File] = {}
        self._used: set[str] = set()
        self._next = 0
        """Where to go on among our addresses, in the order in which the ranges were taken."""

    async def take(self) -> str:
        """Return an address that no task has; the one used longest ago, as far as we know."""
        address = self._next_free()
        if address is None:
            await run_on_disk(self._runner, self._take_any_range)
            address = self._next_free()
            assert address is not None, "a new range has free addresses"
        self._used.add(address)
        return address

    async def keep(self, address: str) -> None:
        """Go on using an address that a task has had since an earlier life of the daemon."""
        self._used.add(address)
        number = _range_of(address)
        if number is None or number in self._ranges:
            return
        if not await run_on_disk(self._runner, lambda: self._take_range(number)):
            logger.error("the address %s of a running task belongs to another daemon now", address)

    def give_back(self, address: str) -> None:
        """Let another task have it, later."""
        self._used.discard(address)

    def close(self) -> None:
        """Let go of the locks; the ranges stay ours while our directory exists."""
        for file in self._ranges.values():
            file.close()
        self._ranges.clear()

    def _next_free(self) -> str | None:
        """Go round all our addresses, on from the last: who still talks to a dead task must not meet another."""
        numbers = [*self._ranges]
        count = len(numbers) * _HOSTS
        for place in (*range(self._next, count), *range(self._next)):
            address = str(_first(numbers[place // _HOSTS]) + 1 + place % _HOSTS)
            if address not in self._used:
                self._next = place + 1
                return address
        return None

    # On the disk's thread.

    def _take_any_range(self) -> None:
        # By the owner's name: a daemon comes back to its own range, and users who share no directory seldom meet.
        first = int.from_bytes(sha256(self._owner.encode()).digest()[:8], "big")
        for step in range(_RANGES):
            number = (first + step) % _RANGES
            if number not in self._ranges and self._take_range(number):
                return
        raise TryAgain(f"every range of {TASK_ADDRESSES} is taken by another daemon of this machine")

    def _lock_range(self, number: int) -> File:
        while True:
            self._disk.make_directory(self._directory)
            try:
                return self._disk.lock(f"{self._directory}/{_first(number)}")
            except FileNotFoundError:
                continue  # Another swarm of this machine went down and removed the directory, empty as it was.

    def _take_range(self, number: int) -> bool:
        try:
            file = self._lock_range(number)
        except BlockingIOError:
            return False
        owner = _read_owner(file)
        if owner not in ("", self._owner) and self._disk.exists(owner):
            file.close()
            return False
        file.truncate(0)
        file.write(0, [self._owner.encode()])
        self._ranges[number] = file
        return True


def give_back_ranges(disk: Disk, directory: str, owner: str) -> None:
    """Free the ranges of an owner that is gone, so that no file of it stays behind. Blocks."""
    for name in disk.list(directory):
        path = f"{directory}/{name}"
        with suppress(FileNotFoundError, BlockingIOError):  # Somebody else was faster.
            with closing(disk.open(path)) as unlocked:
                if _read_owner(unlocked) != owner:
                    continue
            with closing(disk.lock(path)) as file:
                if _read_owner(file) == owner:
                    disk.remove(path)


def _read_owner(file: File) -> str:
    return file.read(0, _OWNER_BYTES).decode(errors="replace")


def _first(number: int) -> IPv4Address:
    return TASK_ADDRESSES.network_address + (number << (32 - _RANGE_PREFIX))


def _range_of(address: str) -> int | None:
    try:
        parsed = IPv4Address(address)
    except ValueError:
        return None
    if parsed not in TASK_ADDRESSES:
        return None
    return (int(parsed) - int(TASK_ADDRESSES.network_address)) >> (32 - _RANGE_PREFIX)
