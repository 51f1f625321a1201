"""What befalls the network, disks and clocks of nodes that share this machine: one small file says it for all.

Whoever makes trouble writes the file; every daemon that was told of it looks at it again and again, so what it says
holds for a daemon that is restarted too. Without the file nothing befalls anybody. Ordinary daemons have none.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Final

import msgspec
import trio

from raftswarm.errors import RaftSwarmError

logger = logging.getLogger("raftswarm.conditions")

POLL_SECONDS: Final = 0.05
"""How old a daemon's idea of the conditions may be."""


class LinkConditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The way from one node to another; hosts are those of the nodes' addresses."""

    sender: str
    receiver: str
    cut: bool = False
    delay_seconds: float = 0.0
    loss: float = 0.0
    """Share of what is sent that gets lost. TCP sends it again, so that a loss is a stall."""

    @property
    def is_calm(self) -> bool:
        """Tell whether nothing befalls it."""
        return not (self.cut or self.delay_seconds or self.loss)


class MachineConditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Disk and clock of one node."""

    host: str
    sync_seconds: float = 0.0
    """How much longer each sync takes."""
    disk_full: bool = False
    date_seconds: float = 0.0
    """How far the date is ahead of the true one."""
    clock_rate: float = 1.0
    """Of date and timers alike."""

    @property
    def is_calm(self) -> bool:
        """Tell whether nothing befalls it."""
        return self == MachineConditions(host=self.host)


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What befalls whom; what is not named is as it should be."""

    version: int = 1
    links: tuple[LinkConditions, ...] = ()
    machines: tuple[MachineConditions, ...] = ()

    def link(self, sender: str, receiver: str) -> LinkConditions:
        """Return how the way from one host to another is."""
        for link in self.links:
            if link.sender == sender and link.receiver == receiver:
                return link
        return LinkConditions(sender=sender, receiver=receiver)

    def machine(self, host: str) -> MachineConditions:
        """Return how a host's disk and clock are."""
        for machine in self.machines:
            if machine.host == host:
                return machine
        return MachineConditions(host=host)

    def with_links(self, *links: LinkConditions) -> Conditions:
        """Return the same but for these ways."""
        ways = {(link.sender, link.receiver): link for link in (*self.links, *links)}
        return msgspec.structs.replace(self, links=tuple(link for link in ways.values() if not link.is_calm))

    def with_machines(self, *machines: MachineConditions) -> Conditions:
        """Return the same but for these machines."""
        hosts = {machine.host: machine for machine in (*self.machines, *machines)}
        return msgspec.structs.replace(self, machines=tuple(one for one in hosts.values() if not one.is_calm))

    def partitioned(self, groups: Sequence[Sequence[str]]) -> Conditions:
        """Return the same, with every way between two groups of hosts cut, and none within a group."""
        group_of = {host: number for number, group in enumerate(groups) for host in group}
        return self.with_links(
            *(
                msgspec.structs.replace(self.link(sender, receiver), cut=group_of[sender] != group_of[receiver])
                for sender, receiver in permutations(group_of, 2)
            )
        )


def read_conditions(path: Path) -> Conditions:
    """Read the file; nothing befalls anybody if there is none. RaftSwarmError if it is none of ours."""
    try:
        conditions = msgspec.json.decode(path.read_bytes(), type=Conditions)
    except FileNotFoundError:
        return Conditions()
    except (msgspec.DecodeError, OSError) as error:
        raise RaftSwarmError(f"{path} cannot be read: {error}; remove it to have no made-up conditions") from None
    if conditions.version != 1:
        raise RaftSwarmError(f"{path} is of version {conditions.version}, and this raftswarm knows version 1")
    _check(conditions, path)
    return conditions


def _check(conditions: Conditions, path: Path) -> None:
    for link in conditions.links:
        if not (0 <= link.delay_seconds < math.inf and 0 <= link.loss < 1):
            raise RaftSwarmError(f"{path}: a delay is not negative, and a loss below 1")
    for machine in conditions.machines:
        if not (0 <= machine.sync_seconds < math.inf and 0 < machine.clock_rate < math.inf):
            raise RaftSwarmError(f"{path}: a sync takes no negative time, and a clock goes forward")


def write_conditions(path: Path, conditions: Conditions) -> None:
    """Write the file in one step; remove it when nothing befalls anybody."""
    if conditions == Conditions():
        path.unlink(missing_ok=True)
        return
    aside = path.with_suffix(".new")
    aside.write_bytes(msgspec.json.format(msgspec.json.encode(conditions), indent=2))
    aside.chmod(0o600)
    aside.rename(path)


class ConditionsFollower:
    """The conditions as one daemon knows them. `run` must be running."""

    def __init__(self, path: Path) -> None:
        """Read the file, so that a restarted daemon meets what holds; RaftSwarmError if it cannot be read."""
        self._path = path
        self._seen = _stamp(path)
        self.current = read_conditions(path)
        self._waiting: dict[trio.CancelScope, None] = {}

    async def run(self) -> None:
        """Follow the file until cancelled; one that cannot be read changes nothing."""
        while True:
            await trio.sleep(POLL_SECONDS)
            self.look()

    def look(self) -> None:
        """Take up what the file says now."""
        seen = _stamp(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            conditions = read_conditions(self._path)
        except RaftSwarmError as error:
            logger.warning("conditions stay as they were: %s", error)
            return
        if conditions != self.current:
            self.current = conditions
            logger.info("made-up conditions: %d ways, %d machines", len(conditions.links), len(conditions.machines))
            for scope in self._waiting:
                scope.cancel()

    @contextlib.contextmanager
    def until_changed(self, deadline: float = math.inf) -> Iterator[trio.CancelScope]:
        """Cancel the block when the conditions change, or at a time of trio's clock."""
        scope = trio.CancelScope(deadline=deadline)
        self._waiting[scope] = None
        try:
            with scope:
                yield scope
        finally:
            del self._waiting[scope]


def _stamp(path: Path) -> tuple[int, int] | None:
    """What is another for every file that is put in its place."""
    try:
        status = os.stat(path)  # noqa: PTH116 - asked twenty times a second
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns
