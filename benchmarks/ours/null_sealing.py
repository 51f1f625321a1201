"""A cipher that hides nothing, to see what sealing costs. It exists in this benchmark only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from raftswarm.storage import sealing

CIPHER: Final = "AESGCM"
"""The name under which storage's module has it."""
TAG: Final = bytes(sealing.TAG_BYTES)


class NullCipher:
    """Takes the place of AES-GCM: what it seals is as long, and plain to read."""

    def __init__(self, key: bytes) -> None:
        del key

    def encrypt(self, nonce: bytes, plain: bytes, authenticated: bytes) -> bytes:
        """Return it as it is, with a tag that says nothing."""
        del nonce, authenticated
        return b"".join((plain, TAG))

    def decrypt(self, nonce: bytes, sealed: bytes | memoryview, authenticated: bytes) -> bytes:
        """Return it without the tag."""
        del nonce, authenticated
        return bytes(memoryview(sealed)[: -len(TAG)])


def seal_nothing() -> None:
    """Let all of this process's storage write plain bytes. Whoever measures looks into the files: it may be seen."""
    assert hasattr(sealing, CIPHER), "storage seals otherwise than it did: look at what this takes the place of"
    setattr(sealing, CIPHER, NullCipher)


@contextmanager
def sealing_nothing() -> Iterator[None]:
    """The same for as long as the block lasts: what was begun in it must be ended in it."""
    before = getattr(sealing, CIPHER)
    seal_nothing()
    try:
        yield
    finally:
        setattr(sealing, CIPHER, before)
