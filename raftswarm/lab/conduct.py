"""How one member has to behave beyond the safety of what is committed: each rule told without the code that follows it.

`Invariants` compares members with each other; these rules look at one process alone, from its start to its end:

8 its vote in a term stays what it was, also across its start. 23 it acts on the newest configuration of its log,
committed or not (4.1). 16 a leader that the committed members leave out leads no longer (4.2.2). 17 who hears a leader
promises its vote to nobody, unless somebody is known to have stopped (4.2.3, 9.6). 18 a snapshot names the members of
its index. 20 leadership is announced when all that was in the leader's log before its term is applied, and not before.
22 who has promised its vote to nobody, since leases count on that, keeps to it (6.4.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from raftswarm.lab.change_rules import ids_of
from raftswarm.lab.invariants import Violation
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, SnapshotMeta
from raftswarm.raft.member import StartingState
from raftswarm.raft.messages import HeartbeatReply, PreVote, RequestVote
from raftswarm.raft.ready import Ready
from raftswarm.raft.settings import RaftSettings

_Place = tuple[int, Configuration]
"""Where a configuration stands, and what it says."""


class Conduct:
    """Watches one process; raises `Violation` at the first thing that it must not do."""

    def __init__(self, start: StartingState, settings: RaftSettings) -> None:
        self._member = start.member_id
        self._settings = settings
        self._log: list[_Place] = [_of_snapshot(start.snapshot)]
        """The configurations of its log, the oldest standing for all before it."""
        self._committed: list[_Place] = [_of_snapshot(start.snapshot)]
        """The same of what it handed out as committed."""
        self._agreed: tuple[Configuration, Configuration] | None = None
        """What it was last found to act on, and what its log said, if both are the same."""
        self._has_vote = False
        """In that."""
        self._vote = (start.hard_state.term, start.hard_state.voted_for)
        self._leads = False
        self._knows_of_stop_until = float("-inf")
        self._log.extend(place for place in _configurations(start.entries) if place[0] > start.snapshot.index)

    def votes(self, term: int, voted_for: int) -> None:
        """It has given its vote in that term to nobody, which is 0, or to this candidate."""
        before_term, before = self._vote
        if before_term == term and before not in {0, voted_for}:
            raise Violation(f"8: member {self._member} voted for {before} in term {term}, and now for {voted_for}")
        self._vote = (term, voted_for)

    # Members in force.

    def handed_out(self, ready: Ready, configuration: Configuration, commit_index: int) -> None:
        """It handed out work, and acts on these members."""
        if ready.install is not None:
            self._log = [_of_snapshot(ready.install)]
            self._committed = [_of_snapshot(ready.install)]
        if ready.committed:
            self._committed.extend(_configurations(ready.committed))
        if ready.write is not None:
            self._take_write(ready.write.truncate_after, ready.write.entries)
        index, newest = self._log[-1]
        agreed = self._agreed
        if agreed is None or configuration is not agreed[0] or newest is not agreed[1]:
            if configuration != newest:
                raise Violation(
                    f"23: member {self._member} acts on {_outline(configuration)}; its log says {_outline(newest)} "
                    f"at {index}"
                )
            self._agreed = (configuration, newest)
            self._has_vote = self._member in {*ids_of(newest.voters), *ids_of(newest.outgoing)}
        if ready.leadership is not None:
            self._leads = ready.leadership.is_leader
        if self._leads and not self._has_vote and index <= commit_index:
            raise Violation(f"16: {self._member} leads, and members without it were committed at {index}")

    def _take_write(self, truncate_after: int | None, entries: tuple[Entry, ...]) -> None:
        keep = truncate_after
        if entries:
            keep = entries[0].index - 1 if keep is None else min(keep, entries[0].index - 1)
        while keep is not None and len(self._log) > 1 and self._log[-1][0] > keep:
            self._log.pop()
        self._log.extend(_configurations(entries))

    def saved(self, snapshot: SnapshotMeta) -> None:
        """A snapshot of its own is durable."""
        before = [configuration for index, configuration in self._committed if index <= snapshot.index]
        if before and before[-1] != snapshot.configuration:
            raise Violation(
                f"18: the snapshot of {self._member} at {snapshot.index} names {_outline(snapshot.configuration)}, "
                f"and {_outline(before[-1])} was in force there"
            )

    # Promises.

    def heard_of_stop(self, now: float) -> None:
        """Some peer's process is known to have stopped: for a while it may be right to let go of a leader."""
        self._knows_of_stop_until = now + self._settings.election_seconds

    def must_refuse(self, request: PreVote | RequestVote, leader: int, heard_at: float, now: float) -> bool:
        """Tell whether whoever hears that leader, lately at `heard_at`, may not even promise its vote."""
        is_asked_to = isinstance(request, RequestVote) and request.transfer
        hears = leader == self._member or now - heard_at < self._settings.election_seconds
        knows_of_stop = now < self._knows_of_stop_until
        return self._settings.check_quorum and leader != 0 and hears and not knows_of_stop and not is_asked_to

    def gave_in(self, request: PreVote | RequestVote, leader: int) -> None:
        """It did what it had to refuse."""
        raise Violation(
            f"17: {self._member} hears that {leader} leads, and gives in to a {type(request).__name__} of "
            f"{request.sender} for term {request.term}"
        )

    def announced(self, term: int, first_index: int, applied_index: int) -> None:
        """Its program is told that it leads, with the first entry of its own there."""
        if applied_index < first_index - 1:
            raise Violation(
                f"20: {self._member} is said to lead term {term}, and has applied {applied_index} of the "
                f"{first_index - 1} entries before it"
            )


class Promises:
    """What leases count on: whoever answered a heartbeat so gives no vote for that long, whatever happens (6.4.1).

    It outlives terms and processes, and is kept by the machine's clock. Only who was asked to by the leader itself may
    have a vote meanwhile (3.10).
    """

    def __init__(self, member: int) -> None:
        self._member = member
        self._until = float("-inf")

    def handed_out(self, ready: Ready, heard_at: float) -> None:
        """It answers heartbeats, and heard their leader last at that moment."""
        for message in ready.messages:
            if type(message) is HeartbeatReply and message.promise_seconds:
                self._until = max(self._until, heard_at + message.promise_seconds)

    def voted(self, request: RequestVote, term: int, voted_for: int, now: float) -> None:
        """After that request it is in that term, and has voted so."""
        is_given = (request.term, request.sender) == (term, voted_for)
        if is_given and not request.transfer and now < self._until:
            raise Violation(
                f"22: {self._member} votes for {voted_for} in term {term}, and has promised to vote for nobody until "
                f"{self._until:.6f}"
            )


def _of_snapshot(snapshot: SnapshotMeta) -> _Place:
    return snapshot.index, snapshot.configuration


def _configurations(entries: Sequence[Entry]) -> list[_Place]:
    return [
        (entry.index, msgspec.msgpack.decode(entry.data, type=Configuration))
        for entry in entries
        if entry.kind is EntryKind.CONFIGURATION
    ]


def _outline(configuration: Configuration) -> str:
    joint = f" and {ids_of(configuration.outgoing)}" if configuration.outgoing else ""
    return f"voters {ids_of(configuration.voters)}{joint}, learners {ids_of(configuration.learners)}"
