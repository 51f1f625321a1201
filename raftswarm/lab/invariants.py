"""What must hold after every event, whatever happens: the figures of the paper and the rules of durability.

Each check does constant work per event, against one global history. A `Violation` names its invariant by number:

1 one leader a term. 2 leaders only append. 3 log matching. 4 leader completeness. 5 equal state at equal index.
6 what is committed never changes. 7 what is committed is durable on a quorum. 8 term, vote, commit, applied and
snapshot never go back. 9 snapshot <= applied <= commit <= last. 10 no message claims what is not durable. 11 a leader
counts on nothing that its followers lack. 12 one change of the members after another, and each in a step that the rules
allow. 13 who leads has the votes of a majority of old and new voters, counted one by one. 14 who remembers more of a
member than its disk does never finds that disk whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from raftswarm.lab.change_rules import find_wrong_step, ids_of
from raftswarm.lab.log_image import DurableImage, LogImage, keeps_promises
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, SnapshotMeta
from raftswarm.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendReply,
    Heartbeat,
    InstallSnapshot,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)
from raftswarm.raft.progress import Progress
from raftswarm.raft.ready import Ready, Write
from raftswarm.storage.member_storage import Recovered

NO_SNAPSHOT = SnapshotMeta()


class Violation(AssertionError):
    """An invariant does not hold: a bug in the engine, or in the world."""


class MemberView(msgspec.Struct, frozen=True):
    """What a member says of itself after a turn."""

    term: int
    commit_index: int
    last_index: int
    configuration: Configuration
    progress: Mapping[int, Progress] = msgspec.field(default_factory=dict)
    """Of its followers, if it leads."""


@attrs.define(eq=False)
class _Watched:
    """One member: its disk over all its starts, and its memory since the last."""

    durable: DurableImage
    changes: int = 0
    """How often that has changed."""
    unfinished: list[Callable[[DurableImage], object]] = attrs.Factory(list)
    """Steps of the disk job under way: a crash may keep any number of the first of them."""
    memory: LogImage = attrs.Factory(LogImage)
    leads: int = 0
    """The term it leads, or 0."""
    checked: dict[int, tuple[int, int, int, int]] = attrs.Factory(dict)
    """By follower: term, what it counts on there, what it would send next, and how often that disk had changed."""
    term: int = 0
    commit_index: int = 0
    handed_out: int = 0
    """Index of the last entry handed out as committed."""
    applied_index: int = 0
    configuration: Configuration = Configuration()
    configuration_indexes: list[int] = attrs.Factory(list)
    """Where the configurations of its log are."""
    covered: tuple[HardState, int] = (HardState(), 0)
    """Term, vote and last index that something behind them on disk vouches for: all but the last write, or all."""
    is_lost: bool = False
    """Its disk no longer holds what it acknowledged."""
    once_held: LogImage = attrs.Factory(LogImage)
    """What it acknowledged before its disk was set back: that may have been counted since."""
    remembered_by: set[int] = attrs.Factory(set)
    """Who has to notice that its disk was set back."""

    def copy(self) -> _Watched:
        """Return an independent one."""
        return attrs.evolve(
            self,
            durable=self.durable.copy(),
            unfinished=list(self.unfinished),
            memory=self.memory.copy(),
            configuration_indexes=list(self.configuration_indexes),
            checked={},
            once_held=self.once_held.copy(),
        )


@attrs.frozen
class Memory:
    """All that was known at some moment."""

    members: dict[int, _Watched]
    leader_of: dict[int, int]
    votes: dict[tuple[int, int], int]
    entries: dict[tuple[int, int], tuple[int, Entry]]
    committed: dict[int, Entry]
    last_committed: int
    committed_by_term: dict[int, int]
    states: dict[int, bytes]
    snapshots: dict[int, bytes]


class Invariants:
    """Checks everything the members do; raises `Violation` at the first thing that must not be."""

    def __init__(self) -> None:
        self._members: dict[int, _Watched] = {}
        self._leader_of: dict[int, int] = {}
        self._votes: dict[tuple[int, int], int] = {}
        """By (voter, term): who was told to have its vote."""
        self._entries: dict[tuple[int, int], tuple[int, Entry]] = {}
        """By (index, term): the term of the entry before, and the entry."""
        self.committed: dict[int, Entry] = {}
        """Every entry any member ever reported as committed, by index."""
        self._last_committed = 0
        self._committed_by_term: dict[int, int] = {}
        """How far the log was known to be committed when some member was in that term."""
        self._states: dict[int, bytes] = {}
        """Digest of the state after each command, by number."""
        self._snapshots: dict[int, bytes] = {}
        """Digest of the state's picture, by index."""
        self._message_checks: dict[type[AnyMessage], Callable[[int, Any, _Watched], None]] = {
            AppendEntries: self._check_from_leader,
            Heartbeat: self._check_from_leader,
            InstallSnapshot: self._check_names_leader,
            TimeoutNow: self._check_names_leader,
            AppendReply: self._check_append_reply,
            SnapshotReply: self._check_snapshot_reply,
            VoteReply: self._check_vote_reply,
            RequestVote: self._check_request_vote,
        }
        """By kind of message; others claim nothing."""

    @property
    def last_committed(self) -> int:
        """The highest index ever reported as committed."""
        return self._last_committed

    # A cluster that is set back as a whole.

    def remember(self) -> Memory:
        """Return what is known now, for `go_back`."""
        return Memory(
            members=_copy_members(self._members),
            leader_of=dict(self._leader_of),
            votes=dict(self._votes),
            entries=dict(self._entries),
            committed=dict(self.committed),
            last_committed=self._last_committed,
            committed_by_term=dict(self._committed_by_term),
            states=dict(self._states),
            snapshots=dict(self._snapshots),
        )

    def go_back(self, memory: Memory) -> None:
        """All members were set back to that moment: what came after it never happened."""
        self._members |= _copy_members(memory.members)
        self._leader_of = dict(memory.leader_of)
        self._votes = dict(memory.votes)
        self._entries = dict(memory.entries)
        self.committed = dict(memory.committed)
        self._last_committed = memory.last_committed
        self._committed_by_term = dict(memory.committed_by_term)
        self._states = dict(memory.states)
        self._snapshots = dict(memory.snapshots)

    # Starts.

    def created(self, member: int, snapshot: SnapshotMeta = NO_SNAPSHOT) -> None:
        """A new identity with an empty log."""
        image = DurableImage(snapshot=snapshot, log=LogImage(snapshot.index, snapshot.term))
        self._members[member] = _Watched(image)

    def started(self, member: int, recovered: Recovered) -> None:
        """A member came back: its disk holds what was durable, and at most the job under way besides (8)."""
        watched = self._members[member]
        for other in self._members.values():
            other.remembered_by.discard(member)
        candidates = self._candidates(watched)
        for image in candidates:
            if image.is_same_as(recovered):
                break
        else:
            raise Violation(
                f"8: member {member} recovered {_describe(recovered)} but its disk held "
                + " or ".join(_describe_image(image) for image in candidates)
            )
        watched.durable = image
        watched.changes += 1
        watched.unfinished.clear()
        self.disk_marked(member)  # The segment that a start begins names the last record before it.
        watched.memory = LogImage.of(recovered.snapshot, recovered.entries)
        watched.leads = 0
        configurations = [entry.index for entry in recovered.entries if entry.kind is EntryKind.CONFIGURATION]
        watched.configuration_indexes = configurations
        watched.term = recovered.hard_state.term
        watched.commit_index = watched.handed_out = watched.applied_index = recovered.snapshot.index
        for entry, previous in zip(recovered.entries[1:], recovered.entries, strict=False):
            self._check_matching(member, entry, previous.term)

    @staticmethod
    def _candidates(watched: _Watched) -> list[DurableImage]:
        candidates = [watched.durable]
        for step in watched.unfinished:
            candidates.append(candidates[-1].copy())
            step(candidates[-1])
        return candidates

    def may_recover(self, member: int, recovered: Recovered) -> bool:
        """Tell whether a start may find this."""
        return any(image.is_same_as(recovered) for image in self._candidates(self._members[member]))

    def may_forget(self, member: int, recovered: Recovered) -> bool:
        """Tell whether a damaged disk may say this: it lacks no more than a last write for which nothing vouches."""
        hard_state, index = self._members[member].covered
        log = LogImage.of(recovered.snapshot, recovered.entries)
        return keeps_promises(recovered.hard_state, hard_state) and log.last_index >= index

    def set_back(self, member: int, recovered: Recovered, remembered_by: Iterable[int]) -> None:
        """Its disk was set back to this; those have to find that out, until they start anew themselves."""
        log = LogImage.of(recovered.snapshot, recovered.entries)
        watched = self._members[member]
        watched.once_held = watched.durable.log
        watched.durable = DurableImage(recovered.hard_state, log, recovered.snapshot)
        watched.changes += 1
        watched.unfinished.clear()
        watched.is_lost = True
        watched.remembered_by = {*remembered_by}

    def found_whole_by(self, member: int, peers: Collection[int]) -> None:
        """These peers have found nothing missing on the disk of a member that was set back."""
        wrong = sorted(self._members[member].remembered_by.intersection(peers))
        if wrong:
            raise Violation(f"14: {wrong} found nothing missing at member {member}, whose disk was set back")

    def lost(self, member: int) -> None:
        """It is gone for good; what it held while it was there may still have been counted on."""
        self._members[member].is_lost = True

    # The disk.

    def disk_step_begins(self, member: int, step: Callable[[DurableImage], object]) -> None:
        """From now on a crash may keep this step of the disk job under way."""
        self._members[member].unfinished.append(step)

    def disk_step_undone(self, member: int) -> None:
        """The step that began last came to nothing, and the process lives on."""
        self._members[member].unfinished.pop()

    def disk_step_ends(self, member: int, *, is_aside: bool = False) -> None:
        """All steps that began are durable; aside of the log, they vouch for nothing that is in it."""
        watched = self._members[member]
        durable = watched.durable
        before = durable.snapshot.index
        hard_state, last_index = durable.hard_state, durable.log.last_index
        for step in watched.unfinished:
            step(durable)
        watched.changes += 1
        watched.unfinished.clear()
        after = durable.snapshot.index
        if not is_aside:
            watched.covered = (hard_state, min(last_index, durable.log.last_index))
        if after < before:
            raise Violation(f"8: the snapshot of member {member} went back from {before} to {after}")

    def disk_marked(self, member: int) -> None:
        """Something on disk now vouches for all that is there."""
        durable = self._members[member].durable
        self._members[member].covered = (durable.hard_state, durable.log.last_index)

    # Turns.

    def handed_out(self, member: int, ready: Ready, view: MemberView) -> None:
        """A member handed out work."""
        watched = self._members[member]
        self._check_progress(member, watched, view)
        commits = view.commit_index > self._last_committed
        before = (watched.memory.last_index, watched.memory.last_term)
        if ready.install is not None:
            watched.memory = LogImage(ready.install.index, ready.install.term)
            watched.handed_out = ready.install.index
            watched.configuration_indexes.clear()
        for entry in ready.committed:
            self._check_committed(member, watched, entry, view)
        for message in ready.messages:
            check = self._message_checks.get(type(message))
            if check is not None:
                check(member, message, watched)
        if ready.write is not None:
            self._check_write(member, watched, ready, ready.write)
        if view.progress:
            self._check_followers(member, watched, view)
        if commits:
            self._check_commit_rule(member, watched, ready, view)
        if ready.leadership is not None:
            watched.leads = ready.leadership.term if ready.leadership.is_leader else 0
            if watched.leads:
                self._check_leads(member, watched.leads)
                self._check_votes(member, watched.leads, view.configuration)
                self._check_completeness(member, watched, watched.leads)
        if watched.memory.last_index != view.last_index:
            raise Violation(f"2: the log of {member} ends at {view.last_index}; its writes led from {before} elsewhere")
        watched.configuration = view.configuration

    def counts_on_itself(self, member: int, index: int) -> None:
        """A member takes its own log to be durable up to there: as a leader it would count that."""
        watched = self._members[member]
        held, own = watched.durable.log.term_at(index), watched.memory.term_at(index)
        if held is None or (held and own and held != own):
            raise Violation(f"11: {member} counts on {index} at itself, {_describe_image(watched.durable)}")

    def _check_progress(self, member: int, watched: _Watched, view: MemberView) -> None:
        if view.term < watched.term:
            raise Violation(f"8: member {member} went from term {watched.term} back to {view.term}")
        if view.commit_index < watched.commit_index:
            raise Violation(
                f"8: member {member} took its commit back from {watched.commit_index} to {view.commit_index}"
            )
        if view.commit_index > view.last_index:
            raise Violation(f"9: member {member} committed {view.commit_index} but its log ends at {view.last_index}")
        watched.term = view.term
        watched.commit_index = view.commit_index

    def _check_followers(self, member: int, watched: _Watched, view: MemberView) -> None:
        """Look at those of whom something has changed: a leader never changes what its own log has."""
        checked = watched.checked
        for peer, progress in view.progress.items():
            follower = self._members.get(peer)
            changes = 0 if follower is None else follower.changes
            now = (view.term, progress.match_index, progress.next_index, changes)
            if checked.get(peer) != now:
                self._check_follower(member, view.term, peer, progress)
                checked[peer] = now

    def _check_follower(self, member: int, term: int, peer: int, progress: Progress) -> None:
        """What a follower acknowledged it keeps while it is in that leader's term."""
        if progress.next_index <= progress.match_index:
            raise Violation(f"11: {member} is to send {peer} entry {progress.next_index}, which it has: {progress}")
        watched = self._members.get(peer)
        if watched is None or watched.is_lost or watched.durable.hard_state.term != term:
            return
        durable = watched.durable
        index = progress.match_index
        held, counted = durable.log.term_at(index), self._members[member].memory.term_at(index)
        if held is None or (held and counted and held != counted):
            raise Violation(f"11: {member} counts on {index} at {peer}, {_describe_image(durable)}")

    def _check_committed(self, member: int, watched: _Watched, entry: Entry, view: MemberView) -> None:
        index = entry.index
        if index != watched.handed_out + 1:
            raise Violation(f"6: member {member} handed out {index} after {watched.handed_out}")
        if index > view.commit_index:
            raise Violation(f"9: member {member} handed out {index} but committed only {view.commit_index}")
        watched.handed_out = index
        known = self.committed.get(index)
        if known is None:
            self.committed[index] = entry
            self._last_committed = max(self._last_committed, index)
            self._check_quorum(entry, watched.configuration, view.configuration)
        elif known is not entry and known != entry:
            raise Violation(f"6: {_name(entry)} committed at {member} where {_name(known)} already was")
        if self._committed_by_term.get(view.term, 0) < index:
            self._committed_by_term[view.term] = index

    @staticmethod
    def _check_commit_rule(member: int, watched: _Watched, ready: Ready, view: MemberView) -> None:
        """Only a leader commits first, and it counts for entries of its own term alone (5.4.2, Figure 8)."""
        terms = {watched.leads} | ({ready.leadership.term} if ready.leadership else set())
        term = watched.memory.term_at(view.commit_index)
        if term not in terms:
            raise Violation(f"4: {member} committed up to {view.commit_index}, of term {term}, while leading {terms}")

    def _check_quorum(self, entry: Entry, *configurations: Configuration) -> None:
        """Allow the configuration before the turn or after it: both may have been in force within the turn."""
        if not any(self._is_durable_on_quorum(entry, configuration) for configuration in configurations):
            raise Violation(f"7: {_name(entry)} was reported as committed before it was durable on a quorum")

    def _is_durable_on_quorum(self, entry: Entry, configuration: Configuration) -> bool:
        return bool(configuration.voters) and all(
            2 * sum(self._has_durably(info.id, entry) for info in voters) > len(voters)
            for voters in (configuration.voters, configuration.outgoing)
            if voters
        )

    def _has_durably(self, member: int, entry: Entry) -> bool:
        watched = self._members.get(member)
        if watched is None:
            return False
        return watched.durable.log.holds(entry.index, entry.term) or watched.once_held.holds(entry.index, entry.term)

    def _check_write(self, member: int, watched: _Watched, ready: Ready, write: Write) -> None:
        memory = watched.memory
        last_index = memory.last_index
        shortens = write.truncate_after is not None and write.truncate_after < last_index
        overwrites = bool(write.entries) and write.entries[0].index <= last_index
        if watched.leads and ready.leadership is None and (shortens or overwrites):
            raise Violation(f"2: member {member} leads term {watched.leads} and changed its log below {last_index}")
        memory.make(write)
        if write.truncate_after is not None:
            self._forget_configurations(watched, write.truncate_after)
        for entry in write.entries:
            if entry.kind is EntryKind.CONFIGURATION:
                self._check_change(member, watched, entry)
            if entry.index > memory.base_index:
                previous = memory.term_at(entry.index - 1)
                self._check_matching(member, entry, previous or 0)
        if (memory.last_index, memory.last_term) != (write.last_index, write.last_term):
            raise Violation(
                f"3: a write of {member} says it ends with {write.last_index}@{write.last_term}, "
                f"but it ends with {memory.last_index}@{memory.last_term}"
            )

    @staticmethod
    def _forget_configurations(watched: _Watched, last_index: int) -> None:
        while watched.configuration_indexes and watched.configuration_indexes[-1] > last_index:
            watched.configuration_indexes.pop()

    def _check_change(self, member: int, watched: _Watched, entry: Entry) -> None:
        """A majority of one configuration must meet every majority of the next; of the one after that it need not."""
        indexes = watched.configuration_indexes
        if entry.term == watched.leads:
            if indexes and indexes[-1] > watched.commit_index:
                raise Violation(f"12: {member} appended {_name(entry)} while the one at {indexes[-1]} is uncommitted")
            if watched.memory.term_at(watched.commit_index) != watched.leads:
                raise Violation(f"12: {member} appended {_name(entry)} before it committed anything in its term")
            new = msgspec.msgpack.decode(entry.data, type=Configuration)
            if wrong := find_wrong_step(watched.configuration, new):
                raise Violation(f"12: {member} appended {_name(entry)}, which {wrong}")
        indexes.append(entry.index)

    def _check_matching(self, member: int, entry: Entry, previous_term: int) -> None:
        """Equal (index, term) mean the same entry after the same predecessor, and so, by induction, the same log."""
        known = self._entries.get((entry.index, entry.term))
        if known is None:
            self._entries[entry.index, entry.term] = (previous_term, entry)
            return
        known_previous, known_entry = known
        if known_entry is not entry and known_entry != entry:
            raise Violation(f"3: member {member} holds another entry as {_name(entry)} than was first appended")
        if previous_term and known_previous and previous_term != known_previous:
            raise Violation(f"3: {_name(entry)} follows term {previous_term} at {member}, elsewhere {known_previous}")

    def _check_leads(self, member: int, term: int) -> None:
        leader = self._leader_of.setdefault(term, member)
        if leader != member:
            raise Violation(f"1: {leader} and {member} both lead term {term}")

    def _check_votes(self, member: int, term: int, configuration: Configuration) -> None:
        """Its own vote need not be told to anybody."""
        for voters in (ids_of(configuration.voters), ids_of(configuration.outgoing)):
            given = [voter for voter in voters if voter == member or self._votes.get((voter, term)) == member]
            if voters and 2 * len(given) <= len(voters):
                raise Violation(f"13: {member} leads term {term} with the votes of {given} of {voters}")

    def _check_completeness(self, member: int, watched: _Watched, term: int) -> None:
        """Having the last committed entry means having all before it, by log matching."""
        due = max((index for at, index in self._committed_by_term.items() if at < term), default=0)
        if due and not watched.memory.holds(due, self.committed[due].term):
            raise Violation(f"4: {member} leads term {term} without {_name(self.committed[due])}, which was committed")

    # Messages.

    def _check_from_leader(self, member: int, message: AppendEntries | Heartbeat, watched: _Watched) -> None:
        if self._leader_of.get(message.term) != member:
            self._check_leads(member, message.term)
        self._check_term(message, watched.durable)
        if message.commit > self._last_committed:
            raise Violation(f"10: {message} claims a commit that nobody reported")

    def _check_names_leader(self, member: int, message: AnyMessage, watched: _Watched) -> None:
        del watched
        self._check_leads(member, message.term)

    def _check_append_reply(self, member: int, reply: AppendReply, watched: _Watched) -> None:
        del member
        if reply.success:
            self._check_acknowledges(reply, reply.match_index, watched)

    def _check_snapshot_reply(self, member: int, reply: SnapshotReply, watched: _Watched) -> None:
        del member
        if reply.installed:
            self._check_acknowledges(reply, reply.match_index, watched)

    def _check_vote_reply(self, member: int, reply: VoteReply, watched: _Watched) -> None:
        if reply.granted:
            self._check_vote(reply, member, reply.to, watched.durable)

    def _check_request_vote(self, member: int, request: RequestVote, watched: _Watched) -> None:
        self._check_vote(request, member, member, watched.durable)

    def _check_vote(self, message: VoteReply | RequestVote, member: int, candidate: int, durable: DurableImage) -> None:
        """A vote must be on disk, or a later term must be, in which nobody votes in this one again."""
        term = message.term
        if self._votes.setdefault((member, term), candidate) != candidate:
            raise Violation(f"1: {message} is the second vote of {member} in that term")
        state = durable.hard_state
        if state.term < term or (state.term == term and state.voted_for != candidate):
            raise Violation(f"10: {message} left before the vote was durable: {state}")

    @staticmethod
    def _check_term(message: AnyMessage, durable: DurableImage) -> None:
        if message.term > durable.hard_state.term:
            raise Violation(f"10: {message} left before its term was durable: {durable.hard_state}")

    def _check_acknowledges(self, message: AppendReply | SnapshotReply, index: int, watched: _Watched) -> None:
        durable = watched.durable
        self._check_term(message, durable)
        held, claimed = durable.log.term_at(index), watched.memory.term_at(index)
        if index <= durable.snapshot.index:
            return
        if held is None or (claimed and held and held != claimed):
            raise Violation(f"10: {message} acknowledges {index}, but the disk holds {_describe_image(durable)}")

    # State machines.

    def turn_ended(self, member: int, applied_index: int) -> None:
        """A member has applied so far."""
        watched = self._members[member]
        if applied_index < watched.applied_index:
            raise Violation(f"8: member {member} went back from {watched.applied_index} to {applied_index}")
        watched.applied_index = applied_index
        if not watched.durable.snapshot.index <= applied_index <= watched.commit_index:
            raise Violation(
                f"9: member {member} has a snapshot at {watched.durable.snapshot.index}, "
                f"applied {applied_index}, committed {watched.commit_index}"
            )

    def applied(self, member: int, number: int, digest: bytes) -> None:
        """A command was applied, and the state it led to has this digest."""
        if self._states.setdefault(number, digest) != digest:
            raise Violation(f"5: after command {number} member {member} is in another state than others were")

    def captured(self, member: int, index: int, digest: bytes) -> None:
        """The state at that index was written down, or read back, as bytes with this digest."""
        if self._snapshots.setdefault(index, digest) != digest:
            raise Violation(f"5: the snapshot of member {member} at {index} differs from that of others")

    # The world's own questions.

    def durable(self, member: int) -> DurableImage:
        """What that member's disk holds for good."""
        return self._members[member].durable


def _copy_members(members: Mapping[int, _Watched]) -> dict[int, _Watched]:
    return {member: watched.copy() for member, watched in members.items()}


def _name(entry: Entry) -> str:
    return f"entry {entry.index} of term {entry.term} ({entry.kind.name})"


def _describe(recovered: Recovered) -> str:
    image = DurableImage(
        hard_state=recovered.hard_state,
        snapshot=recovered.snapshot,
        log=LogImage.of(recovered.snapshot, recovered.entries),
    )
    return _describe_image(image)


def _describe_image(image: DurableImage) -> str:
    state, log = image.hard_state, image.log
    return (
        f"term {state.term} vote {state.voted_for} snapshot {image.snapshot.index} "
        f"log to {log.last_index}@{log.last_term} {_ends(log.terms)}"
    )


def _ends(terms: Sequence[int]) -> str:
    return f"(… {', '.join(map(str, terms[-5:]))})"
