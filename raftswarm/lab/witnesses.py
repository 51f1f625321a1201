"""Stand between a replica and its parts, and tell the invariants what passes; nothing of it is changed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import blake2b
from math import inf
from random import Random
from typing import Any

import attrs

from raftswarm.errors import DiskFull, Rejected
from raftswarm.lab.conduct import Conduct, Promises
from raftswarm.lab.invariants import Invariants, MemberView, Violation
from raftswarm.lab.log_image import DurableImage, LogImage, keeps_promises
from raftswarm.lab.onlooker import Onlooker, Turn
from raftswarm.lab.read_conduct import ReadConduct
from raftswarm.raft.events import Event, PeerStopped, ReadBarrier, Receive, SnapshotSaved
from raftswarm.raft.log_entry import HardState, SnapshotMeta
from raftswarm.raft.member import Member, StartingState
from raftswarm.raft.messages import (
    AnyMessage,
    HeartbeatReply,
    Opening,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
)
from raftswarm.raft.ready import Ready, Write
from raftswarm.raft.roles import Leader
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import Capture, Context, StateMachine, prepare_restore
from raftswarm.raft.tracing import TraceSink
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.storage.snapshot_file import SnapshotReader
from raftswarm.storage.snapshots import Saving
from raftswarm.wire.member_codec import SnapshotChunk, SnapshotOffer

DIGEST_BYTES = 16
_NOTHING_SEEN = (HardState(), 0, 0)


class WitnessedMember(Member):
    """The member itself; only what it hands out is looked at first."""

    def __init__(
        self,
        start: StartingState,
        *,
        settings: RaftSettings,
        chance: Random,
        now: float,
        invariants: Invariants,
        onlooker: Onlooker,
        promises: Promises,
        trace: TraceSink | None = None,
    ) -> None:
        super().__init__(start, settings=settings, chance=chance, now=now, trace=trace, rules=onlooker.named)
        self._invariants = invariants
        self._onlooker = onlooker
        self._conduct = Conduct(start, settings)
        self._promises = promises
        reads = self._reads = ReadConduct(start.member_id, settings, self.configuration)
        self._heeded: dict[type, Callable[[Any], object]] = {
            ReadBarrier: lambda event: reads.asked(event.token),
            ReadIndex: lambda event: reads.requested(event.message),
            ReadIndexReply: lambda _: reads.told(),
            HeartbeatReply: lambda event: reads.heard(event.message),
        }
        """By kind of event or message: what to put down before it is taken in."""
        self._openings: dict[int, int] = {}
        """By peer: which of its starts was heard of last, whatever the member makes of that."""
        self.is_set_back = False
        """Its disk is an old copy: whoever knows better has to say so."""

    def step(self, event: Event, now: float) -> None:
        """Take in an event, and see what it leads to."""
        onlooker = self._onlooker
        onlooker.role = type(self._core.role)
        onlooker.input = type(event.message) if type(event) is Receive else type(event)
        heed = self._heeded.get(onlooker.input)
        if heed is not None:
            heed(event)
        match event:
            case Receive(message=PreVote() | RequestVote() as request):
                self._step_request(event, request, now)
            case Receive(message=Opening() as opening):
                self._openings[opening.sender] = opening.start
                super().step(event, now)
            case PeerStopped():
                self._conduct.heard_of_stop(now)
                super().step(event, now)
            case SnapshotSaved(snapshot=snapshot):
                self._check_snapshot(snapshot)
                self._conduct.saved(snapshot)
                super().step(event, now)
            case _:
                super().step(event, now)
        if onlooker.input is not None:
            onlooker.has_taken(onlooker.role, onlooker.input)

    def _step_request(self, event: Event, request: PreVote | RequestVote, now: float) -> None:
        core, conduct = self._core, self._conduct
        term, leader, said = core.term, core.leader, len(core.work.messages)
        must_refuse = conduct.must_refuse(request, leader, core.heard_leader_at, max(core.now, now))
        vote = core.term, core.voted_for
        super().step(event, now)
        if isinstance(request, RequestVote) and (core.term, core.voted_for) != vote:
            self._promises.voted(request, core.term, core.voted_for, core.now)
        if must_refuse and (core.term > term or any(map(_is_promise, core.work.messages[said:]))):
            conduct.gave_in(request, leader)

    def _check_snapshot(self, snapshot: SnapshotMeta) -> None:
        """What the state machine has come to is what the log says, unless a newer snapshot has replaced that."""
        if snapshot.index > self.applied_index:
            raise Violation(f"9: member {self.id} saved {snapshot}, and has applied {self.applied_index}")
        if snapshot.index >= self.snapshot.index and snapshot != self.describe_snapshot(snapshot.index):
            said = self.describe_snapshot(snapshot.index)
            raise Violation(f"5: member {self.id} saved {snapshot} as its state; its log says {said}")

    def announced(self, term: int, applied_index: int) -> None:
        """Its program is told that it leads that term."""
        match self.role:
            case Leader(first_index=first_index) if self.term == term:
                self._conduct.announced(term, first_index, applied_index)
            case _:
                pass

    def take_ready(self) -> Ready:
        """Hand out the work, checked."""
        onlooker = self._onlooker
        role = self._core.role
        onlooker.role, onlooker.input = type(role), Turn
        ready = super().take_ready()
        if onlooker.input is not None:
            onlooker.has_taken(onlooker.role, onlooker.input)
        view = MemberView(self.term, self.commit_index, self.last_index, self.configuration, self.progress)
        self._conduct.votes(self._core.term, self._core.voted_for)
        self._conduct.handed_out(ready, view.configuration, view.commit_index)
        lease_from = role.lease_from if isinstance(role, Leader) else -inf
        self._reads.handed_out(ready, lease_from, view.configuration, self._core.now)
        self._promises.handed_out(ready, self._core.heard_leader_at)
        self._invariants.handed_out(self.id, ready, view)
        if self.is_set_back:
            self._invariants.found_whole_by(self.id, self._core.met)
        self._invariants.counts_on_itself(self.id, self.durable_index)
        return ready

    @property
    def start(self) -> int:
        """What this start drew at random."""
        return self._core.identity.start

    @property
    def is_known_whole(self) -> bool:
        """Tell whether a majority has found nothing missing on its disk; to ask changes nothing, unlike `may_vote`."""
        core = self._core
        return core.is_trusted or core.quorum.is_met_by(core.met | {core.id})

    @property
    def has_vote(self) -> bool:
        """Tell whether it has a vote in the configuration in force."""
        return self._core.is_voter

    @property
    def configuration_index(self) -> int:
        """Where the newest configuration of its log stands."""
        return self._core.log.configuration_index

    @property
    def incarnation(self) -> int:
        """How often its identity was added anew."""
        return self._core.identity.incarnation

    @property
    def newest_read(self) -> int:
        """Number of the newest request that it asked a leader to answer."""
        return self._core.read_requests.newest

    def commands_through(self, index: int) -> int:
        """Count the commands up to a place in its log."""
        return self._core.log.commands_through(index)

    def known_boot(self, peer: int) -> int:
        """Return the newest start of a peer that this one remembers, or 0."""
        known = self._core.acquaintances.get(peer)
        return 0 if known is None else known.boot

    def knows_start(self, peer: int, start: int) -> bool:
        """Tell whether it has heard the opening of that very start of a peer, and of none that came later."""
        return self._openings.get(peer) == start


def _is_promise(message: AnyMessage) -> bool:
    return isinstance(message, PreVoteReply) and message.granted


class WitnessedStorage(MemberStorage):
    """Storage whose every completed call is on record; what a crash cuts short may be there or not."""

    def __init__(self, storage: MemberStorage, member: int, invariants: Invariants) -> None:
        """Stands for `storage`: every public method is passed on, or made of others that are."""
        self._storage = storage
        self._member = member
        self._invariants = invariants
        self.save_watcher: Callable[[bool], object] | None = None
        """Hears when a snapshot of our own is begun, and, by True, when it is durable and the newest."""
        self._seen_by_saving = _NOTHING_SEEN
        """Term, vote, and where the log ended when the snapshot that is being saved was begun …"""
        self._seen_by_newest = _NOTHING_SEEN
        """… and when the newest was: a log that lacks any of that is not the one that it was saved beside."""

    def _on_record(self, step: Callable[[DurableImage], object], work: Callable[[], object]) -> None:
        self._invariants.disk_step_begins(self._member, step)
        try:
            work()
        except DiskFull:
            self._invariants.disk_step_undone(self._member)
            raise
        self._invariants.disk_step_ends(self._member)

    def write(self, write: Write) -> None:
        """Append and sync."""
        self._on_record(partial(_wrote, write), partial(self._storage.write, write))

    def install(self, snapshot: SnapshotMeta) -> None:
        """Put a received snapshot in the place of the log."""
        self._on_record(partial(_installed, snapshot), partial(self._storage.install, snapshot))
        self._look_for_snapshot()

    def save_slice(self, saving: Saving) -> bool:
        """Keep a part of an own snapshot; only with the last part it counts."""
        if saving.writer is None:
            durable = self._invariants.durable(self._member)
            self._seen_by_saving = durable.hard_state, durable.log.last_index, durable.log.last_term
            if self.save_watcher is not None:
                self.save_watcher(False)
        self._invariants.disk_step_begins(self._member, partial(_saved, saving.meta))
        try:
            was_last = self._storage.save_slice(saving)
        except Exception:
            self._invariants.disk_step_undone(self._member)
            raise
        if was_last:
            self._invariants.disk_step_ends(self._member, is_aside=True)
            self._look_for_snapshot()
            if self._storage.snapshot_index == saving.meta.index:
                self._seen_by_newest = self._seen_by_saving
                if self.save_watcher is not None:
                    self.save_watcher(True)
        else:
            self._invariants.disk_step_undone(self._member)
        return was_last

    def _look_for_snapshot(self) -> None:
        """What it would start with, or offer, is the newest of all that were saved and installed."""
        found, newest = self._storage.snapshot_index, self._invariants.durable(self._member).snapshot.index
        if found != newest:
            raise Violation(f"8: member {self._member} takes snapshot {found} for the newest, and has one of {newest}")

    def has_what_snapshot_saw(self, recovered: Recovered) -> bool:
        """Tell whether a start finds, with our newest snapshot, no less of a log than there was when it was begun."""
        hard_state, last_index, last_term = self._seen_by_newest
        log = LogImage.of(recovered.snapshot, recovered.entries)
        return keeps_promises(recovered.hard_state, hard_state) and log.holds(last_index, last_term)

    @property
    def is_marked(self) -> bool:
        """Tell whether the last record is known to be synced."""
        return self._storage.is_marked

    @property
    def snapshot_index(self) -> int:
        """Of the newest snapshot."""
        return self._storage.snapshot_index

    @property
    def snapshot_wanted_at(self) -> int | None:
        """From which index on an own snapshot is wanted."""
        return self._storage.snapshot_wanted_at

    def begin_receiving(self, offer: SnapshotOffer) -> int:
        """Begin to keep a received snapshot aside."""
        return self._storage.begin_receiving(offer)

    def receive_chunk(self, offer: SnapshotOffer, chunk: SnapshotChunk) -> int:
        """Keep a part of it."""
        return self._storage.receive_chunk(offer, chunk)

    def finish_receiving(self, offer: SnapshotOffer) -> None:
        """Keep all of it."""
        self._storage.finish_receiving(offer)

    def open_snapshot(self) -> tuple[SnapshotOffer, SnapshotReader] | None:
        """Return the newest, to be sent."""
        return self._storage.open_snapshot()

    def read_snapshot(self) -> tuple[SnapshotMeta, Iterator[bytes]] | None:
        """Return the newest."""
        return self._storage.read_snapshot()

    def mark(self) -> None:
        """Cover the log's end."""
        self._storage.mark()
        self._look_for_mark()

    def compact(self, first_index: int) -> None:
        """Drop what lies before."""
        self._storage.compact(first_index)

    def close(self) -> None:
        """Mark and close."""
        self._storage.close()
        self._look_for_mark()

    def _look_for_mark(self) -> None:
        """Without room there is none."""
        if self._storage.is_marked:
            self._invariants.disk_marked(self._member)


def _wrote(write: Write, image: DurableImage) -> None:
    image.wrote(write)


def _saved(snapshot: SnapshotMeta, image: DurableImage) -> None:
    image.saved(snapshot)


def _installed(snapshot: SnapshotMeta, image: DurableImage) -> None:
    image.installed(snapshot)


@attrs.frozen
class _WitnessedCapture:
    capture: Capture
    chain: bytes

    def chunks(self) -> Iterator[bytes]:
        yield self.chain
        yield from self.capture.chunks()


class WitnessedMachine:
    """A state machine under a chain of digests: equal chains mean equal commands, contexts and results, in order.

    Every command starts with the number of the client call that it came from.
    """

    CALL = struct.Struct("<Q")

    def __init__(
        self, machine: StateMachine, member: int, invariants: Invariants, applied: Callable[[int, Context], None]
    ) -> None:
        self.machine = machine
        self._member = member
        self._invariants = invariants
        self._applied = applied
        self._chain = bytes(DIGEST_BYTES)

    def apply(self, command: bytes, context: Context) -> object:
        """Change the state."""
        (call,) = self.CALL.unpack_from(command)
        result: object
        try:
            result = self.machine.apply(command[self.CALL.size :], context)
        except Rejected as rejected:
            self._record(call, command, context, rejected)
            raise
        self._record(call, command, context, result)
        return result

    def _record(self, call: int, command: bytes, context: Context, result: object) -> None:
        link = b"%d %d %d %d " % (context.command_number, context.time_ns, context.index, context.term)
        digest = blake2b(self._chain, digest_size=DIGEST_BYTES)
        digest.update(link + command + repr(result).encode())
        self._chain = digest.digest()
        self._invariants.applied(self._member, context.command_number, self._chain)
        self._applied(call, context)

    def capture(self) -> Capture:
        """Take a picture."""
        return _WitnessedCapture(self.machine.capture(), self._chain)

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the state by a picture's."""
        self.prepare_restore(chunks)()

    def prepare_restore(self, chunks: Iterable[bytes]) -> Callable[[], object]:
        """Read a picture beside the present state, as the machine would have it; return what puts it in place."""
        parts = iter(chunks)
        chain = next(parts)
        put_in_place = prepare_restore(self.machine, parts)

        def restore() -> None:
            self._chain = chain
            put_in_place()

        return restore
