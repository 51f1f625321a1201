"""Snapshots: written aside, synced, renamed, the directory synced; each one sealed chunk by chunk under its own key.

Our own count from the moment they have their name, and say which record of the log was the newest then: a log that
does not reach that record is an older copy put back. One that came from the leader counts from the moment a segment of
the log says that it follows it: so installing is one atomic step, in the log. What is still arriving is kept while a
transfer may go on with it, and never outlives the process: nobody appends to a sealed file of an earlier run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import attrs

from raftswarm.errors import SnapshotDamaged
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.storage.files import TEMPORARY_SUFFIX, Place
from raftswarm.storage.replay import Position
from raftswarm.storage.rules import StorageRule
from raftswarm.storage.sealing import key_id
from raftswarm.storage.segment import Follows, SegmentHeader
from raftswarm.storage.snapshot_file import (
    CHUNK_BYTES,
    Contents,
    Origin,
    SnapshotFile,
    SnapshotReader,
    SnapshotWriter,
    snapshot_name,
)
from raftswarm.wire.member_codec import SnapshotChunk, SnapshotOffer, is_intact
from raftswarm.world.disk import NO_ROOM

KEPT_ASIDE: Final = 2
"""Received snapshots that wait to be installed: a newer one may arrive while the last is being looked at."""
SLICE_BYTES: Final = 1024 * 1024
"""What is written and synced at once: writes of the log wait no longer than that."""


@attrs.define(eq=False)
class Saving:
    """One of our own on its way to the disk, slice by slice."""

    meta: SnapshotMeta
    chunks: Iterator[bytes]
    writer: SnapshotWriter | None = None
    """None before the first slice."""


@attrs.define(eq=False)
class _Arriving:
    """One of the leader's that is not complete."""

    offer: SnapshotOffer
    writer: SnapshotWriter
    unsynced_bytes: int = 0


class Snapshots:
    """The directory of one member's snapshots, of which one is the newest."""

    def __init__(self, place: Place, slice_bytes: int = SLICE_BYTES) -> None:
        """`place` is the snapshots' directory and how they are sealed."""
        self._place = place
        self._slice_bytes = slice_bytes
        self._saving: Saving | None = None
        self._arriving: _Arriving | None = None
        self._received: deque[tuple[SnapshotOffer, SnapshotFile]] = deque()
        self._offer: SnapshotOffer | None = None
        """What the newest is offered as."""
        self.newest: SnapshotFile | None = None

    @property
    def place(self) -> Place:
        """Where they are, and how they are sealed."""
        return self._place

    @property
    def index(self) -> int:
        """Of the newest; 0 without one."""
        return 0 if self.newest is None else self.newest.meta.index

    # At the start.

    def recover(self, began: SegmentHeader) -> None:
        """Find the newest: our own, or the received one that the log began with. Then `verify` it."""
        was_installed = began.follows is Follows.SNAPSHOT
        installed = snapshot_name(began.follows_position, Origin.RECEIVED) if was_installed else None
        names = self._place.disk.list(self._place.directory)
        # Names sort by index. What is older than the newest is about to be removed, whatever its state.
        for name in reversed([name for name in names if name.endswith(Origin.SAVED) or name == installed]):
            reader = SnapshotReader(self._place, name)
            reader.close()
            if name.endswith(Origin.SAVED) or reader.found.tag == began.follows_tag:
                # An earlier run may have died between giving it its name and making that durable.
                rule = StorageRule.RECEIVED_FOUND if name == installed else StorageRule.SAVED_FOUND
                self._place.because(rule, index=reader.found.meta.index)
                self._place.disk.sync_directory(self._place.directory)
                self.newest = reader.found
                return

    def verify(self) -> None:
        """Read the newest to its end; CorruptLog if it is damaged."""
        if self.newest is not None:
            contents = Contents()
            reader = SnapshotReader(self._place, self.newest.name)
            for chunk in reader:
                contents.add(chunk)
            reader.close()
            self._offer = contents.offer(self.newest.meta)

    # Our own.

    def save_slice(self, saving: Saving, position: Position) -> bool:
        """Write some more of it; True when that was the last, and it is the newest unless a newer one was installed."""
        try:
            saved = self._write_slice(saving, position)
        except Exception:
            self._give_up(saving)
            raise
        if saved is None:
            return False
        self._saving = None
        if saved.meta.index >= self.index:
            assert saving.writer is not None, "it was written"
            self.newest, self._offer = saved, saving.writer.contents.offer(saved.meta)
        else:
            self._place.because(StorageRule.SAVED_TOO_LATE, index=saved.meta.index)
        self.clean()
        return True

    def _write_slice(self, saving: Saving, position: Position) -> SnapshotFile | None:
        if saving.writer is None:
            self._saving = saving
            saving.writer = SnapshotWriter(self._place, Origin.SAVED, saving.meta, position)
        size = 0
        for chunk in saving.chunks:
            for start in range(0, len(chunk), CHUNK_BYTES):
                saving.writer.add(chunk[start : start + CHUNK_BYTES])
            size += len(chunk)
            if size >= self._slice_bytes:
                self._place.because(StorageRule.SAVED_IN_SLICES, index=saving.meta.index)
                saving.writer.sync()
                return None
        return saving.writer.finish()

    def _give_up(self, saving: Saving) -> None:
        self._place.because(StorageRule.SAVING_FAILED, index=saving.meta.index)
        self._saving = None
        if saving.writer is not None:
            saving.writer.discard()

    # The leader's.

    def begin_receiving(self, offer: SnapshotOffer) -> int:
        """Return how many of its chunks are here: all of them if it is of no use any more."""
        if offer.snapshot.index <= self.index or any(offer == kept for kept, _ in self._received):
            self._place.because(StorageRule.RECEIVING_NEEDLESS, index=offer.snapshot.index)
            return offer.chunks
        if self._arriving is not None and self._arriving.offer != offer:
            self.stop_receiving()
        if self._arriving is None:
            writer = SnapshotWriter(self._place, Origin.RECEIVED, offer.snapshot, Position())
            self._arriving = _Arriving(offer, writer)
        chunks = self._arriving.writer.contents.chunks
        if chunks:
            self._place.because(StorageRule.RECEIVING_RESUMED, index=offer.snapshot.index, chunks=chunks)
        return chunks

    def receive_chunk(self, offer: SnapshotOffer, chunk: SnapshotChunk) -> int:
        """Write the next chunk, and return how many are here; SnapshotDamaged if it is not that."""
        arriving = self._arriving
        if arriving is None or arriving.offer != offer:
            raise SnapshotDamaged(f"the snapshot of index {offer.snapshot.index} was given up for another one")
        contents = arriving.writer.contents
        if chunk.number != contents.chunks + 1:
            self._refuse(
                arriving, f"chunk {chunk.number} came where chunk {contents.chunks + 1} was to come", "ANOTHER"
            )
        if not 0 < len(chunk.data) <= CHUNK_BYTES:
            self._refuse(arriving, f"chunk {chunk.number} has {len(chunk.data)} bytes", "SIZE")
        if not is_intact(offer, chunk):
            self._refuse(arriving, f"chunk {chunk.number} is damaged", "DAMAGED")
        arriving.writer.add(chunk.data)
        arriving.unsynced_bytes += len(chunk.data)
        if arriving.unsynced_bytes >= self._slice_bytes:
            arriving.writer.sync()
            arriving.unsynced_bytes = 0
        return contents.chunks

    def finish_receiving(self, offer: SnapshotOffer) -> None:
        """Keep aside what is complete until it is installed; SnapshotDamaged if it is not what was offered."""
        arriving = self._arriving
        if arriving is None or arriving.offer != offer:
            return  # It is here already, or of no use.
        if arriving.writer.contents.offer(offer.snapshot) != offer:
            self._refuse(arriving, "its chunks do not add up to it", "SUM")
        received = arriving.writer.finish()
        self._arriving = None
        self._received = deque(kept for kept in self._received if kept[1].name != received.name)
        self._received.append((offer, received))
        self._place.because(StorageRule.RECEIVED_ASIDE, index=offer.snapshot.index)
        while len(self._received) > KEPT_ASIDE:
            self._place.because(StorageRule.RECEIVED_CROWDED_OUT)
            self._place.disk.remove(self._place.path(self._received.popleft()[1].name))

    def stop_receiving(self) -> None:
        """Forget what has arrived of an incomplete one."""
        if self._arriving is not None:
            arriving, self._arriving = self._arriving, None
            self._place.because(StorageRule.RECEIVING_GIVEN_UP, index=arriving.offer.snapshot.index)
            arriving.writer.discard()

    def _refuse(self, arriving: _Arriving, reason: str, case: str) -> None:
        self._place.because(StorageRule.CHUNK_REFUSED, index=arriving.offer.snapshot.index, why=reason, case=case)
        self.stop_receiving()
        raise SnapshotDamaged(f"the snapshot of index {arriving.offer.snapshot.index} is refused: {reason}")

    def find_received(self, meta: SnapshotMeta) -> SnapshotFile:
        """Return what was received and kept."""
        found = next((received for _, received in self._received if received.meta == meta), None)
        assert found is not None, "only a snapshot that was received is installed"
        return found

    def installed(self, snapshot: SnapshotFile) -> None:
        """The log follows it now: it is the newest."""
        self._offer = next(offer for offer, received in self._received if received is snapshot)
        self.newest = snapshot
        self.clean()

    # All of them.

    def clean(self) -> None:
        """Remove what is older than the newest, and what was being written when an earlier run stopped."""
        self._received = deque(kept for kept in self._received if kept[1].meta.index > self.index)
        if self._arriving is not None and self._arriving.offer.snapshot.index <= self.index:
            self.stop_receiving()
        kept = {received.name for _, received in self._received}
        if self.newest is not None:
            kept.add(self.newest.name)
        for unfinished in (self._saving, self._arriving):
            if unfinished is not None and unfinished.writer is not None:
                kept.add(unfinished.writer.temporary_name)
        for name in self._place.disk.list(self._place.directory):
            if name not in kept and name.endswith((*Origin, TEMPORARY_SUFFIX)):
                self._tell_removal(name)
                try:
                    self._place.disk.remove(self._place.path(name))
                except OSError as error:
                    if error.errno not in NO_ROOM:
                        raise  # Even to forget a name may need room: then it goes another time.

    def _tell_removal(self, name: str) -> None:
        if name.endswith(TEMPORARY_SUFFIX):
            self._place.because(StorageRule.UNFINISHED_REMOVED, name=name)
        elif name.endswith(Origin.RECEIVED) and name > snapshot_name(self.index, Origin.SAVED):
            self._place.because(StorageRule.UNINSTALLED_REMOVED, name=name)

    def seal_with(self, place: Place) -> None:
        """Write under the key of `place` from now on. What is arriving is given up: its sender begins again."""
        self.stop_receiving()
        self._place = place

    @property
    def earlier_until(self) -> int:
        """The last index of what an earlier key sealed, or is sealing; 0 if there is nothing."""
        present = key_id(self._place.data_key)
        files = [received for _, received in self._received] + ([self.newest] if self.newest is not None else [])
        indexes = [file.meta.index for file in files if file.sealed_under != present]
        saving = self._saving
        if saving is not None and saving.writer is not None and saving.writer.sealed_under != present:
            indexes.append(saving.meta.index)
        return max(indexes, default=0)

    @property
    def covered_index(self) -> int:
        """Of the newest if the present key sealed it; else 0."""
        newest = self.newest
        return newest.meta.index if newest is not None and newest.sealed_under == key_id(self._place.data_key) else 0

    def forget_earlier(self) -> None:
        """Nothing is left that an earlier key sealed, and what was removed does not come back."""
        self._place.disk.sync_directory(self._place.directory)
        self._place = attrs.evolve(self._place, earlier_keys=())

    def open(self) -> tuple[SnapshotOffer, SnapshotReader] | None:
        """Return the newest and its chunks; it may be replaced and removed while it is read."""
        if self.newest is None:
            return None
        assert self._offer is not None, "what was found at the start was verified"
        return self._offer, SnapshotReader(self._place, self.newest.name)
