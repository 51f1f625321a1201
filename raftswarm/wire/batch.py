"""A batch: commands that travel together, as one msgpack array. Encoded once for log and links, decoded at apply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from raftswarm.raft.log_entry import Batch

MAX_BATCH_BYTES: Final = 256 * 1024
MAX_BATCH_COMMANDS: Final = 4096
MAX_COMMAND_BYTES: Final = 1536 * 1024

LENGTH_BYTES: Final = 5
"""What stands before a command at most; and before all of them."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


def encode_batch(commands: Sequence[bytes]) -> Batch:
    """Join the commands."""
    return Batch(len(commands), _encode(commands))


def decode_batch(command_count: int, data: bytes) -> list[bytes]:
    """Return the commands; ValueError when these bytes are not so many."""
    try:
        commands = _decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a batch of commands: {error}") from None
    if len(commands) != command_count:
        raise ValueError(f"a batch of {len(commands)} commands, and {command_count} were announced")
    return commands
