"""Errors a caller may want to catch.

* RaftSwarmError
    * NotLeader             retry with the leader it names
    * OutcomeUnknown        it may have happened; retry what is idempotent, or look first
    * TransferFailed        leadership is not where it was to go; look who leads, and retry if it matters
    * PayloadTooLarge       the caller's mistake; split it
    * Overloaded            too much is in flight; wait and retry
    * Rejected              the state machine refused the command; nothing changed
        * Conflict          somebody wrote first; read again and retry
        * SessionExpired    the session has ended; what it had in flight may have happened, open another one
        * OutOfOrder        an earlier command of the session is missing; send again from there
        * SessionFull       too many answers are kept for the session; acknowledge them and send again
    * ResultLost            the command was applied, but its result cannot be told
    * MachineFailed         the state machine raised; this member has stopped, and the message names the command
    * LockLost              a lock was not renewed in time; look at how far its block came
    * InvalidSpec           the caller's mistake; retrying cannot help
    * StorageError          this member's disk
        * CorruptLog        damage in what was synced; it must stop, not guess
        * DiskFailed        a write or sync failed; nothing more is written, the process stops
            * DiskFull      there is no room; what was written stands, and what waits is written when there is
        * StateInUse        another process holds the state directory
        * ForeignState      the directory belongs to another cluster, or was written by a newer version
        * Regressed         this member's disk was set back or wiped; remove it and add it again, with an empty one
        * StateLocked       sealed by autolock; needs the unlock key
        * InvalidKey        the unlock key does not fit
    * Superseded            the cluster was recovered or restored without this member; empty its directory, join again
    * LinkError             a connection between nodes
        * LinkClosed        the other side went away
        * ConnectionRefused nothing listens there: a hint that the process stopped
        * NotAuthentic      the other side is not who it has to be
        * SnapshotDamaged   a snapshot did not arrive as it was sent; it is sent anew
    * InvalidToken          a join token that is malformed, or of another cluster
    * RequestRefused        a manager, or this node, said no; `code` says of what kind, in gRPC's words
"""

from __future__ import annotations

import attrs


@attrs.frozen(slots=False)
class RaftSwarmError(Exception):
    """Whatever raftswarm raises for its callers; ``str()`` says what happened and what to do."""

    message: str = ""

    def __str__(self) -> str:
        """Return the sentence for the user."""
        return self.message or type(self).__name__


@attrs.frozen(slots=False)
class NotLeader(RaftSwarmError):
    """A write or linearizable read reached a member that does not lead; nothing happened."""

    leader: int | None = None
    """The member that leads, as far as this one knows."""
    address: str = ""
    """Where it is reached, if known."""
    name: str = ""
    """What it is called, if known."""


@attrs.frozen(slots=False)
class OutcomeUnknown(RaftSwarmError):
    """The answer was lost (leadership lost, shutdown, cancelled): the command may or may not be applied later."""


@attrs.frozen(slots=False)
class TransferFailed(RaftSwarmError):
    """Leadership was not handed over as asked; nothing is lost by that, and `str()` says why."""

    leader: int | None = None
    """The member that leads, as far as this one knows."""


@attrs.frozen(slots=False)
class PayloadTooLarge(RaftSwarmError):
    """A command above 1.5 MiB."""


@attrs.frozen(slots=False)
class Overloaded(RaftSwarmError):
    """A bounded queue is full; nothing happened."""


@attrs.frozen(slots=False)
class Rejected(RaftSwarmError):
    """The only exception a state machine may raise: a result, with the state unchanged."""


@attrs.frozen(slots=False)
class Conflict(Rejected):
    """A transaction read a version that is no longer the current one."""


@attrs.frozen(slots=False)
class SessionExpired(Rejected):
    """A command of a session that was closed, was not used for too long, or had to make room; it was not applied."""


@attrs.frozen(slots=False)
class OutOfOrder(Rejected):
    """A command of a session came before an earlier one of it, which must have got lost; it was not applied."""


@attrs.frozen(slots=False)
class SessionFull(Rejected):
    """A session has more answers than it may leave unacknowledged; the command was not applied."""


@attrs.frozen(slots=False)
class ResultLost(RaftSwarmError):
    """A command of a session was applied, but the state machine returned what is not a msgpack value."""


@attrs.frozen(slots=False)
class MachineFailed(RaftSwarmError):
    """The state machine raised something other than `Rejected`: the member stopped before that command, disk untouched.

    `__cause__` is what it raised.
    """


@attrs.frozen(slots=False)
class LockLost(RaftSwarmError):
    """A replicated lock was lost while it was held; the block that held it has been cancelled."""


@attrs.frozen(slots=False)
class InvalidSpec(RaftSwarmError):
    """A request that can never succeed as it stands."""


@attrs.frozen(slots=False)
class StorageError(RaftSwarmError):
    """Something about this member's state directory."""


@attrs.frozen(slots=False)
class CorruptLog(StorageError):
    """Damage at or below what was known to be synced: file, place and the way back are in the message."""

    path: str = ""
    """The file, or the directory if something is missing in it."""
    offset: int | None = None
    """The byte, if it is one place."""
    reason: str = ""
    """Why, without file, place and the way back."""


@attrs.frozen(slots=False)
class DiskFailed(StorageError):
    """A write or sync failed; what is on disk is what was acknowledged before."""


@attrs.frozen(slots=False)
class DiskFull(DiskFailed):
    """There is no room for what was to be written: nothing is lost, and it can be tried again when there is."""


@attrs.frozen(slots=False)
class StateInUse(StorageError):
    """Another process holds the lock of the state directory."""


@attrs.frozen(slots=False)
class ForeignState(StorageError):
    """The state directory is of another cluster, another node, or a newer format."""


@attrs.frozen(slots=False)
class Regressed(StorageError):
    """A peer knows that this member had more on its disk than it found there; it takes part in nothing any more."""


@attrs.frozen(slots=False)
class StateLocked(StorageError):
    """Sealed by autolock: the unlock key is needed."""


@attrs.frozen(slots=False)
class InvalidKey(StorageError):
    """The unlock key does not open this state."""


@attrs.frozen(slots=False)
class Superseded(RaftSwarmError):
    """The cluster goes on in a later epoch, without this member, which has stopped."""


@attrs.frozen(slots=False)
class LinkError(RaftSwarmError):
    """A connection between nodes."""


@attrs.frozen(slots=False)
class LinkClosed(LinkError):
    """The other side closed the link, or it broke."""


@attrs.frozen(slots=False)
class ConnectionRefused(LinkError):
    """Nothing listens at that address: a hint that the process there has stopped."""


@attrs.frozen(slots=False)
class NotAuthentic(LinkError):
    """The other side's certificate is missing, wrong, expired, revoked or of another cluster."""


@attrs.frozen(slots=False)
class SnapshotDamaged(LinkError):
    """A piece of a snapshot is damaged, out of order or of another one; nothing of that transfer is kept."""


@attrs.frozen(slots=False)
class InvalidToken(RaftSwarmError):
    """A join token that is malformed or pins another root."""


@attrs.frozen(slots=False)
class RequestRefused(RaftSwarmError):
    """A request to the swarm was refused, in SwarmKit's words and with its code (SWARM 14, 15)."""

    code: str = "Unknown"
    """A gRPC code's name: InvalidArgument, NotFound, AlreadyExists, FailedPrecondition, Unavailable, …"""
    from_engine: bool = False
    """The words are the Engine API's own, such as those of a look-up; the others come from the cluster and say so."""
