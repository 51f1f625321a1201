"""A batch of commands as one entry's data (docs/raft.md)."""

from __future__ import annotations

import pytest

from raftswarm.wire.batch import decode_batch, encode_batch


@pytest.mark.parametrize("commands", [[], [b""], [b"a"], [b"a", b"", b"bc" * 1000], [b"x"] * 4096])
def test_commands_come_out_as_they_went_in(commands: list[bytes]) -> None:
    batch = encode_batch(commands)

    assert batch.command_count == len(commands)
    assert list(decode_batch(batch.command_count, batch.data)) == commands


@pytest.mark.parametrize(
    ("count", "data"), [(1, b""), (1, b"\x01\0\0"), (1, b"\x02\0\0\0x"), (0, b"x"), (1, b"\0\0\0\0x")]
)
def test_a_table_that_does_not_fit_its_bytes_is_an_error(count: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="batch"):
        list(decode_batch(count, data))
