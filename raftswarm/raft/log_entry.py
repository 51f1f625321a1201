"""What the log is made of. One idea: a batch is an entry, and commands are counted across the whole log."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final

import msgspec

MAX_NUMBER: Final = (1 << 63) - 1
Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
"""Indexes, terms, ids, counts and times: what decodes to anything else was not written by a member."""


class EntryKind(IntEnum):
    """What an entry carries."""

    BLANK = 0
    """Appended by a new leader, so that it may commit what came before (5.4.2, 8)."""
    COMMANDS = 1
    """An encoded batch of the state machine's commands."""
    CONFIGURATION = 2
    """A `Configuration`; in force from the moment it is in the log (4.1)."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One place in the log."""

    index: Number
    term: Number
    kind: EntryKind
    first_command: Number
    """Number of the first command in this entry: one more than all commands before it, never reused."""
    command_count: Number = 0
    time_ns: Number = 0
    """The leader's wall clock when it appended, nanoseconds since the epoch; always later than the entry before."""
    data: bytes = b""
    """COMMANDS: a batch as `wire.batch` encodes it; CONFIGURATION: msgpack of a `Configuration`."""


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Commands that travel together, already encoded; the core never looks inside."""

    command_count: Number
    data: bytes


def _nobody() -> tuple[MemberInfo, ...]:
    return ()


class MemberInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A participant as the configuration lists it."""

    id: Number
    """Random positive 63-bit integer, never reused."""
    # What a factory makes is always written: configurations that say nothing newer keep their bytes.
    address: str = msgspec.field(default_factory=str)
    """Where the other members dial it, ``host:port``."""
    name: str = msgspec.field(default_factory=str)
    """The node id in a swarm; free text when embedded."""
    promote: bool = False
    """Of a learner: the leader makes it a voter as soon as it has caught up (4.2.1)."""
    priority: Number = 0
    """Among voters with equally good logs a higher one leads rather; not negative."""


class Configuration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who takes part (section 4 of the dissertation); tuples are sorted by id, so equal sets are equal values."""

    voters: tuple[MemberInfo, ...] = msgspec.field(default_factory=_nobody)
    learners: tuple[MemberInfo, ...] = msgspec.field(default_factory=_nobody)
    outgoing: tuple[MemberInfo, ...] = msgspec.field(default_factory=_nobody)
    """The old voters while a joint change is under way (4.3); empty otherwise."""
    learners_next: tuple[MemberInfo, ...] = ()
    """Old voters that become learners when the joint configuration is left: until then they vote in `outgoing`."""
    auto_leave: bool = False
    """Of a joint configuration: whoever leads leaves it as soon as it is committed; otherwise only when asked."""

    def member(self, member_id: int) -> MemberInfo | None:
        """Return the entry of that member, whatever its part; the newest if it has several."""
        for info in (*self.voters, *self.learners, *self.learners_next, *self.outgoing):
            if info.id == member_id:
                return info
        return None

    @property
    def is_joint(self) -> bool:
        """Tell whether decisions need a majority of the old voters as well (4.3)."""
        return bool(self.outgoing)

    @property
    def member_ids(self) -> tuple[int, ...]:
        """All participants, sorted; `learners_next` are among `outgoing`."""
        return tuple(sorted({info.id for info in (*self.voters, *self.learners, *self.outgoing)}))


class HardState(msgspec.Struct, frozen=True, kw_only=True):
    """What must be on disk before any message that depends on it leaves (Figure 2, persistent state)."""

    term: Number = 0
    voted_for: Number = 0
    """The member that got this term's vote; 0 for none."""


class SnapshotMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot stands for: everything up to and including `index` (section 7)."""

    index: Number = 0
    term: Number = 0
    commands: Number = 0
    """How many commands the log had up to here: the next one gets the number after it."""
    time_ns: Number = 0
    configuration: Configuration = Configuration()
