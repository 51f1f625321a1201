"""A snapshot's way over a bulk link: checked pieces, a digest of the whole, and the receiver's word that it has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import trio

from raftswarm.errors import LinkClosed
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.wire.errors import WireError
from raftswarm.wire.member_codec import (
    SNAPSHOT_CHUNK_BYTES,
    SnapshotArrived,
    SnapshotAssembly,
    SnapshotBegins,
    SnapshotChunk,
    SnapshotEnds,
    SnapshotPart,
    cut_chunk,
    decode_snapshot_part,
    encode_snapshot_part,
)
from raftswarm.world.network import Link

MAX_SNAPSHOT_BYTES: Final = 1024 * 1024 * 1024
STALL_SECONDS: Final = 30.0
"""A transfer in which nothing moves for this long is given up."""


async def send_snapshot(link: Link, snapshot: SnapshotMeta, chunks: Iterator[bytes]) -> None:
    """Stream the chunks; returns once the receiver has confirmed the whole. LinkError when it does not come to that."""
    digest = hashlib.sha256()
    await _send(link, SnapshotBegins(snapshot=snapshot))
    for chunk in chunks:
        digest.update(chunk)
        for start in range(0, len(chunk), SNAPSHOT_CHUNK_BYTES):
            await _send(link, cut_chunk(chunk[start : start + SNAPSHOT_CHUNK_BYTES]))
    await _send(link, SnapshotEnds(digest=digest.digest()))
    answer = await _receive(link)
    if not isinstance(answer, SnapshotArrived):
        raise WireError("the receiver of a snapshot answered with something else")


async def receive_snapshot(link: Link) -> SnapshotAssembly:
    """Take in a snapshot, complete and checked; WireError or LinkClosed otherwise. The caller confirms it."""
    begins = await _receive(link)
    if not isinstance(begins, SnapshotBegins):
        raise WireError("a snapshot does not begin with what it is")
    assembly = SnapshotAssembly(begins, MAX_SNAPSHOT_BYTES)
    while True:
        match await _receive(link):
            case SnapshotChunk() as chunk:
                assembly.add(chunk)
            case SnapshotEnds() as ends:
                assembly.finish(ends)
                return assembly
            case _:
                raise WireError("a snapshot is interrupted by something else")


async def confirm_snapshot(link: Link) -> None:
    """Tell the sender that all of it is here."""
    await _send(link, SnapshotArrived())


async def _send(link: Link, part: SnapshotPart) -> None:
    frame = encode_snapshot_part(part)
    await trio.lowlevel.checkpoint()
    with trio.move_on_after(STALL_SECONDS):
        while not link.post(frame):
            await link.wait_room()
        return
    raise LinkClosed(f"{link.remote_address} took nothing of a snapshot for {STALL_SECONDS:g} seconds")


async def _receive(link: Link) -> SnapshotPart:
    with trio.move_on_after(STALL_SECONDS):
        return decode_snapshot_part(await link.receive())
    raise LinkClosed(f"{link.remote_address} sent nothing of a snapshot for {STALL_SECONDS:g} seconds")
