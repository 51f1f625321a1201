"""The state machine that worlds run unless they are given another: it remembers what it was told last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
import msgspec

from raftswarm.errors import Rejected
from raftswarm.raft.state_machine import CHUNK_BYTES, Context

REMEMBERED_COMMANDS = 32
REFUSED = b"refuse me"


@attrs.frozen
class _Picture:
    state: bytes

    def chunks(self) -> Iterator[bytes]:
        """Short pieces, so that even a small world streams more than one; of a large state about 64.

        Each is a disk job for whoever receives it, and thousands would take longer than a cluster has to agree.
        """
        size = min(max(1000, len(self.state) // 64), CHUNK_BYTES)
        for start in range(0, len(self.state), size):
            yield self.state[start : start + size]


class Journal:
    """Keeps the last commands and counts all of them; refuses one kind, as real machines do."""

    def __init__(self) -> None:
        self.count = 0
        self.last: list[bytes] = []

    def apply(self, command: bytes, context: Context) -> int:
        """Return how many commands there were."""
        del context
        if command == REFUSED:
            raise Rejected("as it was asked to be")
        self.count += 1
        self.last.append(command)
        del self.last[:-REMEMBERED_COMMANDS]
        return self.count

    def capture(self) -> _Picture:
        """Take a picture."""
        return _Picture(msgspec.msgpack.encode((self.count, self.last)))

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the state by a picture's."""
        self.count, self.last = msgspec.msgpack.decode(b"".join(chunks), type=tuple[int, list[bytes]])
