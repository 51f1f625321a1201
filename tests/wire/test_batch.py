"""A batch of commands as one entry's data (docs/raft.md)."""

from __future__ import annotations

import pytest

from raftswarm.wire.batch import decode_batch, encode_batch


@pytest.mark.parametrize("commands", [[], [b""], [b"a"], [b"a", b"", b"bc" * 1000], [b"x"] * 4096])
def test_commands_come_out_as_they_went_in(commands: list[bytes]) -> None:
    batch = encode_batch(commands)

    assert batch.command_count == len(commands)
    assert decode_batch(batch.command_count, batch.data) == commands


@pytest.mark.parametrize(
    ("count", "data"),
    [(1, b""), (1, b"\x91\xc4\x02x"), (2, b"\x91\xc4\x01x"), (0, b"x"), (1, b"\x91\xc4\x01xy"), (1, b"\x91\x01")],
)
def test_what_is_not_so_many_commands_is_an_error(count: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="batch"):
        decode_batch(count, data)
