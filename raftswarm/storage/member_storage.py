"""What one member keeps on disk: boot number, term and vote, log, newest snapshot (docs/formats.md).

All of it is synchronous and runs as jobs of one `DiskRunner`, in order. After a write to the log has failed once,
nothing more is written: what a failed sync left behind nobody knows. A full disk is no failure: the write did not
happen, and comes again before any other. A snapshot that could not be written is thrown away, and may be tried again:
nothing counted on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import attrs

from raftswarm.errors import CorruptLog, DiskFailed, DiskFull, ForeignState, InvalidSpec
from raftswarm.raft.log_entry import Entry, HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.raft.rules import RuleSink, ignore_rule
from raftswarm.storage.files import Place, disk_errors, make_directory
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.log import DEFAULT_SEGMENT_BYTES, Log
from raftswarm.storage.replay import WAY_BACK, Position, Replayed, replay
from raftswarm.storage.rules import StorageRule
from raftswarm.storage.segment import MAX_CLUSTER_BYTES, segment_number
from raftswarm.storage.snapshot_file import CHUNK_BYTES, Origin, SnapshotFile, SnapshotReader, SnapshotWriter
from raftswarm.storage.snapshots import SLICE_BYTES, Saving, Snapshots
from raftswarm.wire.member_codec import SnapshotChunk, SnapshotOffer
from raftswarm.world.chance import Entropy
from raftswarm.world.disk import Disk


@attrs.frozen(kw_only=True)
class Recovered:
    """What was found at the start."""

    member_id: int
    cluster: str
    incarnation: int
    boot: int
    """This start's number, already durable."""
    hard_state: HardState
    snapshot: SnapshotMeta
    entries: tuple[Entry, ...]
    """Those after the snapshot, and maybe some before it; contiguous."""
    torn_bytes: int = 0
    """How much of an unacknowledged tail was cut."""
    epoch: int = 0
    """Of the cluster: higher after it was recovered or restored (docs/operations.md)."""


class MemberStorage:
    """The ``raft/`` directory of one member."""

    _snapshot_wanted_at: int | None = None

    def __init__(self, log: Log, snapshots: Snapshots, keys: KeyRing, named: RuleSink = ignore_rule) -> None:
        """Use `create` or `open`."""
        self._log = log
        self._snapshots = snapshots
        self._keys = keys
        self._named = named
        self._failure: DiskFailed | None = None
        self._refused: Write | SnapshotMeta | None = None
        """What there was no room for: nothing else goes to the log before it."""
        self._is_closed = False

    @classmethod
    def exists(cls, disk: Disk, directory: str) -> bool:
        """Tell whether a member was created there."""
        return any(segment_number(name) is not None for name in disk.list(_log_directory(directory)))

    @classmethod
    def create(
        cls,
        disk: Disk,
        directory: str,
        keys: KeyRing,
        entropy: Entropy,
        *,
        member_id: int,
        cluster: str,
        incarnation: int,
        epoch: int = 0,
        state: tuple[SnapshotMeta, Iterable[bytes]] | None = None,
        first: Write | None = None,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> MemberStorage:
        """Make an empty one, or one that begins with that state and that write; ForeignState if there already is one.

        Its boot number is 0: a member runs on what `open` returns, which counts from 1.
        """
        if cls.exists(disk, directory):
            raise ForeignState(f"{directory} already holds a member's state; leave that swarm first, or use another")
        if not 0 < len(cluster.encode()) <= MAX_CLUSTER_BYTES:
            raise InvalidSpec(f"a cluster's id has 1 to {MAX_CLUSTER_BYTES} bytes, not {len(cluster.encode())}")
        log_place, snapshots_place = places_of(disk, directory, keys, entropy, epoch=epoch)
        with disk_errors(f"could not create {directory}"):
            make_directory(disk, directory)
            make_directory(disk, snapshots_place.directory)
            log = Log.begin(
                log_place,
                segment_bytes,
                member_id=member_id,
                cluster=cluster,
                incarnation=incarnation,
                behind=None if state is None else (state[0], _write_received(snapshots_place, *state)),
                first=first,
            )
        return cls(log, Snapshots(snapshots_place), keys)

    @classmethod
    def open(
        cls,
        disk: Disk,
        directory: str,
        keys: KeyRing,
        entropy: Entropy,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        snapshot_slice_bytes: int = SLICE_BYTES,
        named: RuleSink = ignore_rule,
    ) -> tuple[MemberStorage, Recovered]:
        """Recover, count the boot, begin a new segment; CorruptLog, ForeignState or InvalidKey when it cannot.

        `named` hears by which rules that happens, and whatever happens from then on.
        """
        with disk_errors(f"could not recover {directory}"):
            replayed, snapshots = _read(disk, directory, keys, entropy, snapshot_slice_bytes, named)
            epoch = replayed.segments[-1].header.epoch
            log_place, snapshots_place = places_of(disk, directory, keys, entropy, named, epoch=epoch)
            snapshots.seal_with(snapshots_place)
            log = Log.resume(log_place, segment_bytes, replayed)
            snapshots.clean()
            storage = cls(log, snapshots, keys, named)
            storage._let_go()
        return storage, _describe(replayed, snapshots, log.boot)

    @classmethod
    def survey(cls, disk: Disk, directory: str, keys: KeyRing, entropy: Entropy) -> Recovered:
        """Tell what `open` would find, and change nothing; the boot is the last one."""
        with disk_errors(f"could not read {directory}"):
            replayed, snapshots = _read(disk, directory, keys, entropy, SLICE_BYTES)
        return _describe(replayed, snapshots, replayed.segments[-1].header.boot)

    @classmethod
    def begin_epoch(
        cls,
        disk: Disk,
        directory: str,
        keys: KeyRing,
        entropy: Entropy,
        *,
        begin: Callable[[Recovered], tuple[int, Write]],
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> None:
        """Go on from what is there in a later epoch: `begin` says which, and what is written first in it.

        A crash leaves the member in the old epoch, untouched, or in the new one with that write. Errors as of `open`.
        """
        with disk_errors(f"could not begin an epoch in {directory}"):
            replayed, snapshots = _read(disk, directory, keys, entropy, SLICE_BYTES)
            found = _describe(replayed, snapshots, replayed.segments[-1].header.boot + 1)
            epoch, first = begin(found)
            assert epoch > found.epoch, "epochs only grow"
            log_place, _ = places_of(disk, directory, keys, entropy, epoch=epoch)
            Log.resume(log_place, segment_bytes, replayed, first).close()

    def write(self, write: Write) -> None:
        """Append and sync; on return all of it is durable.

        Raises:
            DiskFull: nothing of it is there; until the same write has succeeded, every other one is refused too.
            DiskFailed: nothing more is written, ever.
        """
        with self._in_order(write), self._writing("write to the log"):
            self._log.append(write)

    @property
    def is_marked(self) -> bool:
        """Tell whether something behind the log's last record says that it was synced."""
        return self._log.is_marked

    @property
    def snapshot_index(self) -> int:
        """Of the newest snapshot; 0 without one."""
        return self._snapshots.index

    def mark(self) -> None:
        """Let `durable_upto` cover the log to its last acknowledged byte, by an empty record; if there is room."""
        with suppress(DiskFull), self._writing("mark the log"):
            self._log.mark()

    def save_snapshot(self, snapshot: SnapshotMeta, chunks: Iterable[bytes]) -> None:
        """Write our own state machine's snapshot aside, sync, rename."""
        saving = Saving(snapshot, iter(chunks))
        while not self.save_slice(saving):
            pass

    def save_slice(self, saving: Saving) -> bool:
        """Do a part of that, about 1 MiB; True when it was the last. After DiskFailed nothing of it is left.

        What it covers has to be in the log: DiskFull while that waits for room.
        """
        with self._writing_aside("save a snapshot"):
            if saving.meta.index > self._log.last_index:
                # It was committed by others, and applied, while its write here waits for room.
                raise DiskFull("what the snapshot covers waits for room on that disk")
            is_complete = self._snapshots.save_slice(saving, self._log.end)
        if is_complete:
            with self._writing("remove what an earlier key sealed"):
                self._let_go()
        return is_complete

    @property
    def snapshot_wanted_at(self) -> int | None:
        """From which index on a snapshot would let go of what earlier data keys sealed; None if nothing did."""
        return self._snapshot_wanted_at

    @property
    def keys(self) -> KeyRing:
        """What it is sealed with."""
        return self._keys

    def adopt_key(self) -> None:
        """Write under the key ring's newest data key from now on.

        What earlier ones sealed goes as soon as a snapshot stands for it: `snapshot_wanted_at` says from when on.
        """
        with self._writing("change the key of the log"):
            log_place, snapshots_place = self._log.place, self._snapshots.place
            if log_place.data_key != self._keys.data_key:
                fresh, earlier = self._keys.data_key, self._keys.earlier_data_keys
                self._snapshots.seal_with(attrs.evolve(snapshots_place, data_key=fresh, earlier_keys=earlier))
                self._log.seal_with(attrs.evolve(log_place, data_key=fresh, earlier_keys=earlier))
                self._let_go()

    def _let_go(self) -> None:
        """Remove what earlier data keys sealed, where a snapshot stands for it; then the ring forgets them."""
        if not self._log.place.earlier_keys:
            return
        is_log_free = self._log.let_go(self._snapshots.covered_index)
        needed_until = max(self._log.earlier_until, self._snapshots.earlier_until)
        if is_log_free and not needed_until:
            self._log.forget_earlier()
            self._snapshots.forget_earlier()
            self._keys.forget_earlier()
            self._snapshot_wanted_at = None
        else:
            self._snapshot_wanted_at = max(needed_until, self._snapshots.index, 1)

    def begin_receiving(self, offer: SnapshotOffer) -> int:
        """Return how many chunks of a leader's snapshot are here already; one of an unequal offer is given up."""
        with self._receiving():
            return self._snapshots.begin_receiving(offer)

    def receive_chunk(self, offer: SnapshotOffer, chunk: SnapshotChunk) -> int:
        """Write the next chunk aside, and return how many are here.

        Raises:
            SnapshotDamaged: it is damaged, or not the next of this snapshot; nothing of the transfer is kept.
            DiskFailed: it could not be written; likewise.
        """
        with self._receiving():
            return self._snapshots.receive_chunk(offer, chunk)

    def finish_receiving(self, offer: SnapshotOffer) -> None:
        """Keep the whole aside until `install`, durably; SnapshotDamaged if it is not what was offered."""
        with self._receiving():
            self._snapshots.finish_receiving(offer)

    def install(self, snapshot: SnapshotMeta) -> None:
        """Make the received snapshot the newest and begin a log that follows it; raises as `write` does."""
        with self._in_order(snapshot), self._writing("install a snapshot"):
            received = self._snapshots.find_received(snapshot)
            self._log.follow(snapshot, received.tag)
            self._snapshots.installed(received)
            self._let_go()

    def read_snapshot(self) -> tuple[SnapshotMeta, Iterator[bytes]] | None:
        """The newest snapshot's plain chunks, each at most 256 KiB; None when there is none."""
        newest = self.open_snapshot()
        return None if newest is None else (newest[0].snapshot, newest[1])

    def open_snapshot(self) -> tuple[SnapshotOffer, SnapshotReader] | None:
        """The same, to be offered to another member; whoever holds the reader can read it until it is closed."""
        with disk_errors("could not read the newest snapshot"):
            return self._snapshots.open()

    def compact(self, first_index: int) -> None:
        """Remove segments that hold only entries before `first_index`, and none that the newest snapshot lacks."""
        with self._writing("compact the log"):
            self._log.compact(min(first_index, self._snapshots.index + 1), self._snapshots.index)

    def close(self) -> None:
        """Mark and close; idempotent."""
        if self._is_closed:
            return
        try:
            if self._failure is None:
                self.mark()
        finally:
            self._is_closed = True
            self._log.close()

    @contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        try:
            with self._writing_aside(doing):
                yield
        except DiskFull:
            raise
        except DiskFailed as failure:
            self._failure = self._failure or failure
            raise

    @contextmanager
    def _in_order(self, what: Write | SnapshotMeta) -> Iterator[None]:
        if self._refused is not None and self._refused is not what:
            raise DiskFull("an earlier write to the log waits for room on that disk")
        try:
            yield
        except DiskFull:
            self._refused = what
            raise
        self._refused = None

    @contextmanager
    def _writing_aside(self, doing: str) -> Iterator[None]:
        assert not self._is_closed, "nothing is written after close"
        if self._failure is not None:
            self._named(StorageRule.WRITES_NOTHING_MORE, {"doing": doing})
            raise DiskFailed(f"could not {doing}: the disk failed before ({self._failure}); restart this member")
        with disk_errors(f"could not {doing}"):
            yield

    @contextmanager
    def _receiving(self) -> Iterator[None]:
        try:
            with self._writing_aside("keep a received snapshot"):
                yield
        except DiskFailed:
            self._snapshots.stop_receiving()
            raise


def read_back(log_place: Place, snapshots: Snapshots, directory: str) -> Replayed:
    """Return what a start finds in the log, and let `snapshots` know its newest; everything that counts is checked."""
    replayed = replay(log_place.disk, log_place.directory, log_place.data_key, log_place.earlier_keys, log_place.named)
    snapshots.recover(replayed.header)
    _check_joint(replayed, snapshots.newest, directory, log_place.named)
    snapshots.verify()
    return replayed


def _log_directory(directory: str) -> str:
    return f"{directory}/log"


def places_of(
    disk: Disk, directory: str, keys: KeyRing, entropy: Entropy, named: RuleSink = ignore_rule, *, epoch: int = 0
) -> tuple[Place, Place]:
    """Return where a member keeps its log and its snapshots."""
    log = Place(disk, _log_directory(directory), keys.data_key, entropy, keys.earlier_data_keys, epoch, named)
    return log, attrs.evolve(log, directory=f"{directory}/snapshots")


def _read(
    disk: Disk,
    directory: str,
    keys: KeyRing,
    entropy: Entropy,
    slice_bytes: int,
    named: RuleSink = ignore_rule,
) -> tuple[Replayed, Snapshots]:
    """Read log and newest snapshot, to the end of both."""
    log_place, snapshots_place = places_of(disk, directory, keys, entropy, named)
    snapshots = Snapshots(snapshots_place, slice_bytes)
    return read_back(log_place, snapshots, directory), snapshots


def _describe(replayed: Replayed, snapshots: Snapshots, boot: int) -> Recovered:
    began = replayed.segments[0].header
    return Recovered(
        member_id=began.member_id,
        cluster=began.cluster,
        incarnation=began.incarnation,
        boot=boot,
        hard_state=replayed.hard_state,
        snapshot=SnapshotMeta() if snapshots.newest is None else snapshots.newest.meta,
        entries=replayed.entries,
        torn_bytes=replayed.torn_bytes,
        epoch=replayed.segments[-1].header.epoch,
    )


def _write_received(place: Place, meta: SnapshotMeta, chunks: Iterable[bytes]) -> bytes:
    """Write a state that came from elsewhere; return the tag by which a log that begins with it names it."""
    writer = SnapshotWriter(place, Origin.RECEIVED, meta, Position())
    for chunk in chunks:
        for start in range(0, len(chunk), CHUNK_BYTES):
            writer.add(chunk[start : start + CHUNK_BYTES])
    return writer.finish().tag


def _check_joint(replayed: Replayed, newest: SnapshotFile | None, directory: str, named: RuleSink) -> None:
    """Check that log and snapshot belong together and that nothing is missing between them."""
    snapshot, position = (SnapshotMeta(), Position()) if newest is None else (newest.meta, newest.position)
    if newest is not None and newest.epoch > replayed.segments[-1].header.epoch:
        reason = f"the snapshot of index {snapshot.index} is of a later epoch than its log"
    elif replayed.base_index > snapshot.index:
        reason = f"entries {snapshot.index + 1} to {replayed.base_index} are neither in its log nor in a snapshot"
    elif replayed.last_index < snapshot.index or not replayed.holds(position):
        reason = f"its log ends before what the snapshot of index {snapshot.index} was made from"
    elif replayed.base_index < snapshot.index and replayed.entry(snapshot.index).term != snapshot.term:
        reason = f"its log and the snapshot of index {snapshot.index} contradict each other"
    else:
        return
    named(StorageRule.INCOMPLETE, {"why": reason})
    raise CorruptLog(f"{directory} is incomplete: {reason}; {WAY_BACK}", directory, None, reason)
