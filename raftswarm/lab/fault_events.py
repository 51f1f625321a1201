"""Faults as values: what befalls whom, with every choice already made.

A nemesis draws them, `CoreWorld.apply` makes them happen, and the list of those that struck (`CoreWorld.struck`) is all
that a run has beyond its seed: the same seed under the same list is the same run. So a fault names members and numbers
and never says "somebody", and what it damages by chance it draws from a seed of its own: a list with some faults left
out still means the same for the others. What does not fit the moment (a crash of who does not run) does nothing.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from raftswarm.lab.conditions import NetworkConditions
from raftswarm.raft.events import Transition

NO_POWER_LOSS: Final = -1


def _kind(name: str) -> str:
    """``FlipBit`` is told as ``flip_bit``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class AnyFault(msgspec.Struct, frozen=True, tag_field="kind", tag=_kind):
    """One thing that befalls the world, at once."""

    @property
    def kind(self) -> str:
        """What it is counted as."""
        return _kind(type(self).__name__)


# Processes.


class Crash(AnyFault, frozen=True):
    """The process dies where it stands; its disk job under way gets as far as so many disk calls."""

    member: int
    disk_calls: int = 0
    tearing: int = NO_POWER_LOSS
    """Seed of what becomes of unsynced writes when the machine loses power with it."""


class CrashInTurn(AnyFault, frozen=True):
    """The process dies in its next turn that sends so many messages, after the last of them."""

    member: int
    messages: int
    tearing: int = NO_POWER_LOSS


class Start(AnyFault, frozen=True):
    """Start a process that is down. What its disk refuses stays down."""

    member: int


class StartAndCrash(AnyFault, frozen=True):
    """Start it, and let it die in its recovery at the disk call after so many."""

    member: int
    disk_calls: int
    tearing: int = NO_POWER_LOSS


class Stop(AnyFault, frozen=True):
    """A clean end, as by a signal."""

    member: int


class Pause(AnyFault, frozen=True):
    """Stop the process as SIGSTOP would; with its machine, the monotonic clock stands still meanwhile."""

    member: int
    clock_stands: bool = False


class Resume(AnyFault, frozen=True):
    """Let it go on."""

    member: int


class SlowDown(AnyFault, frozen=True):
    """From now on the loop takes so long to get to what waits."""

    member: int
    turn_seconds: float


class Lose(AnyFault, frozen=True):
    """The machine is gone for good, with its disk; nothing where the cluster could not survive that."""

    member: int


# Disks.


class Stall(AnyFault, frozen=True):
    """From now on every disk job takes up to so much longer; 0 ends it."""

    member: int
    seconds: float


class FailDisk(AnyFault, frozen=True):
    """From now on calls of that sort fail, until `MendDisk`: the process has to stop."""

    member: int
    code: int
    """An errno."""
    calls: str = "write"
    """``write`` (and sync, and names), ``sync`` or ``read``."""
    below: str = ""
    """Only those of files with such a path."""


class MendDisk(AnyFault, frozen=True):
    """The disk works again."""

    member: int


class LieOnSync(AnyFault, frozen=True):
    """The next sync fails, and what it should have written is believed to be clean: no later sync writes it."""

    member: int


class FlipBit(AnyFault, frozen=True):
    """The process dies, and a bit of its log or snapshots has changed."""

    member: int
    place: float
    """Where, as a share of all its files and of what is written in the one that is hit."""


class Misdirect(AnyFault, frozen=True):
    """The next write to the log lands elsewhere in its file."""

    member: int
    place: float


class LoseName(AnyFault, frozen=True):
    """The process dies, and one of its files is missing."""

    member: int
    place: float


class KeepCopy(AnyFault, frozen=True):
    """Somebody copies the disk."""

    member: int


class PutBack(AnyFault, frozen=True):
    """The process dies, and starts again on the old copy."""

    member: int


# Trials, on copies of a disk: whoever runs on it never knows (`lab.trials`).


class TryFlip(AnyFault, frozen=True):
    """Would a start notice that a bit has changed in one of the newest records of the log?"""

    member: int
    back: int
    """So many records before the last one."""
    place: float
    """Which bit, as a share of the record."""


class TryPowerLoss(AnyFault, frozen=True):
    """Would a start find all that was promised if the power failed before one of the next calls of the disk?"""

    member: int
    below: str
    """Only those of files with such a path, …"""
    is_of_names: bool
    """… and only those that change names, or all others."""
    tearing: int
    """Seed of what becomes of unsynced writes."""


class TryOldLogs(AnyFault, frozen=True):
    """Would a start notice that beside the next own snapshot lies the log of a moment before?"""

    member: int


# Clocks.


class SetClockRate(AnyFault, frozen=True):
    """From now on the monotonic clock runs at this rate."""

    member: int
    rate: float


class JumpWall(AnyFault, frozen=True):
    """The date is set forward, or back."""

    member: int
    seconds: float


# Links, each direction on its own.


class Cut(AnyFault, frozen=True):
    """Lose whatever one says to the other from now on, in silence."""

    sender: int
    receiver: int


class Mend(AnyFault, frozen=True):
    """Undo a cut."""

    sender: int
    receiver: int


class Partition(AnyFault, frozen=True):
    """Cut all ways from the one group to the other, and all ways back unless it is one-way."""

    one: tuple[int, ...]
    other: tuple[int, ...]
    is_one_way: bool = False


class Rejoin(AnyFault, frozen=True):
    """Undo every cut between the two groups."""

    one: tuple[int, ...]
    other: tuple[int, ...]


class Clog(AnyFault, frozen=True):
    """Hold whatever one says to the other."""

    sender: int
    receiver: int


class Unclog(AnyFault, frozen=True):
    """Let it all through."""

    sender: int
    receiver: int


class HalfOpen(AnyFault, frozen=True):
    """The receiver has forgotten the connection, and the sender talks on into it."""

    sender: int
    receiver: int


class Reconnect(AnyFault, frozen=True):
    """Open the connection anew, while what was sent on the old one is still on its way."""

    sender: int
    receiver: int


class SetLink(AnyFault, frozen=True):
    """From now on that link is like this."""

    sender: int
    receiver: int
    conditions: NetworkConditions


class Nonsense(AnyFault, frozen=True):
    """Something arrives that no member ever says, or could have said to this one at this moment."""

    sender: int
    receiver: int
    what: str
    """Its name in `lab.nonsense`."""


# The operator.


class AddMachine(AnyFault, frozen=True):
    """Start a new member with an empty log, which waits to be told a configuration."""

    member: int


class ChangeMembers(AnyFault, frozen=True):
    """Ask whoever leads, or a certain member, for these members."""

    voters: tuple[int, ...]
    learners: tuple[int, ...] = ()
    promised: tuple[int, ...] = ()
    """Learners that get a vote when they have caught up; of voters nobody can ask that."""
    transition: Transition = Transition.AUTO
    member: int = 0
    """Who is asked; 0 is whoever leads."""


class LeaveJoint(AnyFault, frozen=True):
    """Ask whoever leads to end a joint change."""


class TransferLeadership(AnyFault, frozen=True):
    """Ask a member to hand over, to anybody if `to` is 0."""

    member: int
    to: int = 0


class Interrogate(AnyFault, frozen=True):
    """For so long clients read at one member, which may be deposed, and write at its successor."""

    member: int
    seconds: float


class Upgrade(AnyFault, frozen=True):
    """From its next start on, the member runs another version of the software: other limits, maybe other links."""

    member: int
    protocol: int
    """Of the links: members that speak different ones refuse each other."""
    append_window_messages: int
    append_message_bytes: int
    uncommitted_bytes: int
    segment_bytes: int
    snapshot_every_commands: int
    has_leases: bool = False
    """It reads by lease from then on; who does so already goes on with it (docs/raft.md, "Leases")."""


class StartOlder(AnyFault, frozen=True):
    """The process ends, and a version is started that is too old for a format on the disk: it must touch nothing."""

    member: int
    format: str
    """Which one: ``log``, ``snapshots`` or ``keys``."""


class FoundAgain(AnyFault, frozen=True):
    """The process dies, and its member is founded once more, as in the beginning, in a directory that was emptied."""

    member: int


class KeepBackup(AnyFault, frozen=True):
    """Somebody copies the disks of all members at one moment."""


class RestoreBackup(AnyFault, frozen=True):
    """All processes die and start again on the backup; all that came after it is lost, as the operator knows."""


Fault = (
    Crash
    | CrashInTurn
    | Start
    | StartAndCrash
    | Stop
    | Pause
    | Resume
    | SlowDown
    | Lose
    | Stall
    | FailDisk
    | MendDisk
    | LieOnSync
    | FlipBit
    | Misdirect
    | LoseName
    | KeepCopy
    | PutBack
    | TryFlip
    | TryPowerLoss
    | TryOldLogs
    | SetClockRate
    | JumpWall
    | Cut
    | Mend
    | Partition
    | Rejoin
    | Clog
    | Unclog
    | HalfOpen
    | Reconnect
    | SetLink
    | Nonsense
    | AddMachine
    | ChangeMembers
    | LeaveJoint
    | TransferLeadership
    | Interrogate
    | Upgrade
    | StartOlder
    | FoundAgain
    | KeepBackup
    | RestoreBackup
)


class FaultEvent(msgspec.Struct, frozen=True):
    """A fault, and when it struck."""

    at: Annotated[float, msgspec.Meta(ge=0)]
    """Seconds since the world began."""
    fault: Fault
