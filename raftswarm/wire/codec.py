"""One kind of value, as msgpack and back; whatever does not decode to it is a `WireError`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from raftswarm.wire.errors import WireError

T = TypeVar("T")


class Codec(Generic[T]):
    """Encodes and decodes values of one type, or of a tagged union."""

    def __init__(self, kind: Any) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)

    def encode(self, value: T) -> bytes:
        """Return the value's bytes."""
        return self._encoder.encode(value)

    def decode(self, data: bytes | memoryview) -> T:
        """Return the value; WireError, saying where, if these are not its bytes."""
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(f"a message does not decode: {error}") from error
