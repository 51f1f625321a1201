"""A key of its own for every file, and a seal over every bit."""

from __future__ import annotations

import pytest

from raftswarm.storage.sealing import KEY_ID_BYTES, SEGMENT, SNAPSHOT, TAG_BYTES, Damaged, Seal, key_id

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SALT, OTHER_SALT = b"s" * 32, b"t" * 32


def test_what_was_sealed_opens_under_the_same_key_counter_and_header() -> None:
    sealed = Seal(KEY, SALT, SEGMENT).close(7, b"plain", b"header")

    assert Seal(KEY, SALT, SEGMENT).open(7, sealed, b"header") == b"plain"
    assert len(sealed) == len(b"plain") + TAG_BYTES


@pytest.mark.parametrize(
    ("seal", "counter", "header"),
    [
        (Seal(OTHER_KEY, SALT, SEGMENT), 7, b"header"),
        (Seal(KEY, OTHER_SALT, SEGMENT), 7, b"header"),
        (Seal(KEY, SALT, SNAPSHOT), 7, b"header"),
        (Seal(KEY, SALT, SEGMENT), 8, b"header"),
        (Seal(KEY, SALT, SEGMENT), 7, b"Header"),
    ],
)
def test_nothing_else_opens_it(seal: Seal, counter: int, header: bytes) -> None:
    sealed = Seal(KEY, SALT, SEGMENT).close(7, b"plain", b"header")

    with pytest.raises(Damaged, match="does not open"):
        seal.open(counter, sealed, header)


def test_too_few_bytes_do_not_open() -> None:
    with pytest.raises(Damaged):
        Seal(KEY, SALT, SEGMENT).open(1, b"short", b"")


def test_a_key_has_a_name_that_is_not_the_key() -> None:
    assert key_id(KEY) == key_id(KEY) != key_id(OTHER_KEY)
    assert len(key_id(KEY)) == KEY_ID_BYTES
    assert key_id(KEY) not in KEY
