"""The state machine of the benchmarks: the newest command of each key, and how many commands there were."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import attrs

import raftswarm

KEY_BYTES = 8
PIECE_BYTES = 200_000


@attrs.frozen
class Picture:
    """The values as they were when it was taken."""

    applied: int
    values: dict[bytes, bytes]

    def chunks(self) -> Iterator[bytes]:
        """Give the count, then the values in pieces."""
        yield self.applied.to_bytes(8, "big")
        piece = bytearray()
        for value in self.values.values():
            piece += value
            if len(piece) >= PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece)


class Values:
    """A command is a key of 8 bytes and what belongs to it; all of one size."""

    def __init__(self, command_bytes: int) -> None:
        self.applied = 0
        self.restored = 0
        """Commands that came in snapshots, from the disk or the leader …"""
        self.restored_bytes = 0
        """… and the size of all snapshots."""
        self._values: dict[bytes, bytes] = {}
        self._command_bytes = command_bytes

    def apply(self, command: bytes, context: raftswarm.Context) -> None:
        """Keep the command under its key."""
        del context
        self._values[command[:KEY_BYTES]] = command
        self.applied += 1

    def query(self, question: bytes) -> bytes | None:
        """Return the newest command of that key."""
        return self._values.get(question)

    def capture(self) -> Picture:
        """Take a picture."""
        return Picture(self.applied, self._values.copy())

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Become what a picture shows."""
        self.prepare_restore(chunks)()

    def prepare_restore(self, chunks: Iterable[bytes]) -> Callable[[], None]:
        """Build a picture's state beside this one."""
        pieces = iter(chunks)
        applied = int.from_bytes(next(pieces), "big")
        values: dict[bytes, bytes] = {}
        size = self._command_bytes
        for piece in pieces:
            for start in range(0, len(piece), size):
                command = piece[start : start + size]
                values[command[:KEY_BYTES]] = command

        def put_in_place() -> None:
            self.restored += applied - self.applied
            self.restored_bytes += size * len(values)
            self.applied, self._values = applied, values

        return put_in_place

    def digest(self) -> str:
        """Name the state: equal for equal states."""
        digest = hashlib.sha256(b"%d" % self.applied)
        for key in sorted(self._values):
            digest.update(self._values[key])
        return digest.hexdigest()
