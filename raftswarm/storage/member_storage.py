"""What one member keeps on disk: boot number, term and vote, log, newest snapshot (docs/formats.md).

All of it is synchronous and runs as jobs of one `DiskRunner`, in order. After a write to the log has failed once,
nothing more is written: what a failed sync left behind nobody knows. A full disk is no failure: the write did not
happen, and comes again before any other. A snapshot that could not be written is thrown away, and may be tried again:
nothing counted on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from raftswarm.storage.snapshot_file import SnapshotFile, SnapshotReader
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


class MemberStorage:
    """The ``raft/`` directory of one member."""

    def __init__(self, log: Log, snapshots: Snapshots, named: RuleSink = ignore_rule) -> None:
        """Use `create` or `open`."""
        self._log = log
        self._snapshots = snapshots
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
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> MemberStorage:
        """Make an empty one; ForeignState if there already is one.

        Its boot number is 0: a member runs on what `open` returns, which counts from 1.
        """
        if cls.exists(disk, directory):
            raise ForeignState(f"{directory} already holds a member's state; leave that swarm first, or use another")
        if not 0 < len(cluster.encode()) <= MAX_CLUSTER_BYTES:
            raise InvalidSpec(f"a cluster's id has 1 to {MAX_CLUSTER_BYTES} bytes, not {len(cluster.encode())}")
        log_place, snapshots_place = places_of(disk, directory, keys, entropy)
        with disk_errors(f"could not create {directory}"):
            make_directory(disk, directory)
            make_directory(disk, snapshots_place.directory)
            log = Log.begin(log_place, segment_bytes, member_id=member_id, cluster=cluster, incarnation=incarnation)
        return cls(log, Snapshots(snapshots_place))

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
        log_place, snapshots_place = places_of(disk, directory, keys, entropy, named)
        with disk_errors(f"could not recover {directory}"):
            snapshots = Snapshots(snapshots_place, snapshot_slice_bytes)
            replayed = read_back(log_place, snapshots, directory)
            log = Log.resume(log_place, segment_bytes, replayed)
            snapshots.clean()
        return cls(log, snapshots, named), Recovered(
            member_id=replayed.header.member_id,
            cluster=replayed.header.cluster,
            incarnation=replayed.header.incarnation,
            boot=log.boot,
            hard_state=replayed.hard_state,
            snapshot=SnapshotMeta() if snapshots.newest is None else snapshots.newest.meta,
            entries=replayed.entries,
            torn_bytes=replayed.torn_bytes,
        )

    def write(self, write: Write) -> None:
        """Append and sync; on return all of it is durable.

        Raises:
            DiskFull: nothing of it is there; until the same write has succeeded, every other one is refused too.
            DiskFailed: nothing more is written, ever.
        """
        with self._in_order(write), self._writing("write to the log"):
            self._log.append(write)

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
        """Do a part of that, about 1 MiB; True when it was the last. After DiskFailed nothing of it is left."""
        with self._writing_aside("save a snapshot"):
            assert saving.meta.index <= self._log.last_index, "what a snapshot covers was written to the log before it"
            return self._snapshots.save_slice(saving, self._log.end)

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

    def drop_spares(self) -> None:
        """Remove the files that wait to be used again, and with them what is left there under an earlier data key."""
        with self._writing("remove spare files"):
            self._log.drop_spares()

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
    replayed = replay(log_place.disk, log_place.directory, log_place.data_key, log_place.named)
    snapshots.recover(replayed.header)
    _check_joint(replayed, snapshots.newest, directory, log_place.named)
    snapshots.verify()
    return replayed


def _log_directory(directory: str) -> str:
    return f"{directory}/log"


def places_of(
    disk: Disk, directory: str, keys: KeyRing, entropy: Entropy, named: RuleSink = ignore_rule
) -> tuple[Place, Place]:
    """Return where a member keeps its log and its snapshots."""
    log = Place(disk, _log_directory(directory), keys.data_key, entropy, named)
    return log, attrs.evolve(log, directory=f"{directory}/snapshots")


def _check_joint(replayed: Replayed, newest: SnapshotFile | None, directory: str, named: RuleSink) -> None:
    """Check that log and snapshot belong together and that nothing is missing between them."""
    snapshot, position = (SnapshotMeta(), Position()) if newest is None else (newest.meta, newest.position)
    if replayed.base_index > snapshot.index:
        reason = f"entries {snapshot.index + 1} to {replayed.base_index} are neither in its log nor in a snapshot"
    elif replayed.last_index < snapshot.index or not replayed.holds(position):
        reason = f"its log ends before what the snapshot of index {snapshot.index} was made from"
    elif replayed.base_index < snapshot.index and replayed.entry(snapshot.index).term != snapshot.term:
        reason = f"its log and the snapshot of index {snapshot.index} contradict each other"
    else:
        return
    named(StorageRule.INCOMPLETE, {"why": reason})
    raise CorruptLog(f"{directory} is incomplete: {reason}; {WAY_BACK}", directory, None, reason)
