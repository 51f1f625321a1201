"""A leader's snapshot, handed to storage as its transfer would."""

from __future__ import annotations

from collections.abc import Sequence

from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.storage.snapshot_file import Contents
from raftswarm.transport.snapshot_transfer import SnapshotSink
from raftswarm.wire.member_codec import SnapshotOffer, cut_chunk


def offer_of(snapshot: SnapshotMeta, chunks: Sequence[bytes]) -> SnapshotOffer:
    """Say what the leader has."""
    contents = Contents()
    for chunk in chunks:
        contents.add(chunk)
    return contents.offer(snapshot)


def receive(sink: SnapshotSink, snapshot: SnapshotMeta, chunks: Sequence[bytes]) -> None:
    """Receive what is not there yet."""
    chunks = [chunk for chunk in chunks if chunk]
    offer = offer_of(snapshot, chunks)
    for number in range(sink.begin_receiving(offer) + 1, offer.chunks + 1):
        sink.receive_chunk(offer, cut_chunk(offer, number, chunks[number - 1]))
    sink.finish_receiving(offer)
