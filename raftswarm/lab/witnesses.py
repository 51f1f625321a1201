"""Stand between a replica and its parts, and tell the invariants what passes; nothing of it is changed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import blake2b
from random import Random

import attrs

from raftswarm.errors import Rejected
from raftswarm.lab.conduct import Conduct
from raftswarm.lab.invariants import Invariants, MemberView
from raftswarm.lab.log_image import DurableImage
from raftswarm.raft.events import Event, PeerStopped, Receive, SnapshotSaved
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.member import Member, StartingState
from raftswarm.raft.messages import AnyMessage, PreVote, PreVoteReply, RequestVote
from raftswarm.raft.ready import Ready, Write
from raftswarm.raft.roles import Leader
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import Capture, Context, StateMachine
from raftswarm.raft.tracing import TraceSink
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.snapshot_file import SnapshotReader
from raftswarm.storage.snapshots import Saving
from raftswarm.wire.member_codec import SnapshotChunk, SnapshotOffer

DIGEST_BYTES = 16


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
        trace: TraceSink | None = None,
    ) -> None:
        super().__init__(start, settings=settings, chance=chance, now=now, trace=trace)
        self._invariants = invariants
        self._conduct = Conduct(start, settings)

    def step(self, event: Event, now: float) -> None:
        """Take in an event, and see what it leads to."""
        match event:
            case Receive(message=PreVote() | RequestVote() as request):
                self._step_request(event, request, now)
                return
            case PeerStopped():
                self._conduct.heard_of_stop(now)
            case SnapshotSaved(snapshot=snapshot):
                self._conduct.saved(snapshot)
            case _:
                pass
        super().step(event, now)

    def _step_request(self, event: Event, request: PreVote | RequestVote, now: float) -> None:
        core, conduct = self._core, self._conduct
        term, leader, said = core.term, core.leader, len(core.work.messages)
        must_refuse = conduct.must_refuse(request, leader, core.heard_leader_at, max(core.now, now))
        super().step(event, now)
        if must_refuse and (core.term > term or any(map(_is_promise, core.work.messages[said:]))):
            conduct.gave_in(request, leader)

    def announced(self, term: int, applied_index: int) -> None:
        """Its program is told that it leads that term."""
        match self.role:
            case Leader(first_index=first_index) if self.term == term:
                self._conduct.announced(term, first_index, applied_index)
            case _:
                pass

    def take_ready(self) -> Ready:
        """Hand out the work, checked."""
        ready = super().take_ready()
        view = MemberView(self.term, self.commit_index, self.last_index, self.configuration, self.progress)
        self._conduct.votes(self._core.term, self._core.voted_for)
        self._conduct.handed_out(ready, view.configuration, view.commit_index)
        self._invariants.handed_out(self.id, ready, view)
        self._invariants.counts_on_itself(self.id, self.durable_index)
        return ready

    def known_boot(self, peer: int) -> int:
        """Return the newest start of a peer that this one remembers, or 0."""
        known = self._core.acquaintances.get(peer)
        return 0 if known is None else known.boot


def _is_promise(message: AnyMessage) -> bool:
    return isinstance(message, PreVoteReply) and message.granted


class WitnessedStorage(MemberStorage):
    """Storage whose every completed call is on record; what a crash cuts short may be there or not."""

    def __init__(self, storage: MemberStorage, member: int, invariants: Invariants) -> None:
        """Stands for `storage`: every public method is passed on, or made of others that are."""
        self._storage = storage
        self._member = member
        self._invariants = invariants

    def _on_record(self, step: Callable[[DurableImage], object], work: Callable[[], object]) -> None:
        self._invariants.disk_step_begins(self._member, step)
        work()
        self._invariants.disk_step_ends(self._member)

    def write(self, write: Write) -> None:
        """Append and sync."""
        self._on_record(partial(_wrote, write), partial(self._storage.write, write))

    def install(self, snapshot: SnapshotMeta) -> None:
        """Put a received snapshot in the place of the log."""
        self._on_record(partial(_installed, snapshot), partial(self._storage.install, snapshot))

    def save_slice(self, saving: Saving) -> bool:
        """Keep a part of an own snapshot; only with the last part it counts."""
        self._invariants.disk_step_begins(self._member, partial(_saved, saving.meta))
        try:
            was_last = self._storage.save_slice(saving)
        except Exception:
            self._invariants.disk_step_undone(self._member)
            raise
        if was_last:
            self._invariants.disk_step_ends(self._member)
        else:
            self._invariants.disk_step_undone(self._member)
        return was_last

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
        self._invariants.disk_marked(self._member)

    def compact(self, first_index: int) -> None:
        """Drop what lies before."""
        self._storage.compact(first_index)

    def close(self) -> None:
        """Mark and close."""
        self._storage.close()
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
        parts = iter(chunks)
        self._chain = next(parts)
        self.machine.restore(parts)
