"""A batch: a table of lengths, then the commands joined. Encoded once for log and links, decoded at apply."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

from raftswarm.raft.log_entry import Batch

MAX_BATCH_BYTES = 256 * 1024
MAX_BATCH_COMMANDS = 4096
MAX_COMMAND_BYTES = 1536 * 1024

LENGTH_BYTES = 4
"""Of each command in the table."""


def encode_batch(commands: Sequence[bytes]) -> Batch:
    """Join the commands behind their lengths (unsigned 32-bit, little-endian)."""
    count = len(commands)
    return Batch(count, struct.pack(f"<{count}I", *map(len, commands)) + b"".join(commands))


def decode_batch(command_count: int, data: bytes) -> list[bytes]:
    """Return the commands; ValueError when the table and the bytes disagree."""
    table_size = LENGTH_BYTES * command_count
    if len(data) < table_size:
        raise ValueError("batch is shorter than its table of lengths")
    lengths = struct.unpack_from(f"<{command_count}I", data)
    if table_size + sum(lengths) != len(data):
        raise ValueError("batch does not have the length its table claims")
    ends = list(accumulate(lengths, initial=table_size))
    return [data[start:end] for start, end in pairwise(ends)]
