"""Errors as bytes and back: they cross by their type's name and their fields, and arrive as the type they were."""

from __future__ import annotations

from functools import cache
from typing import Final

import attrs
import msgspec

from raftswarm import errors
from raftswarm.errors import RaftSwarmError, RequestRefused
from raftswarm.wire.codec import Codec


class _Failure(msgspec.Struct, frozen=True):
    kind: str
    fields: msgspec.Raw


_failures: Codec[_Failure] = Codec(_Failure)
_ERROR_TYPES: Final[dict[str, type[RaftSwarmError]]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, RaftSwarmError)
}


@cache
def _codec_of(name: str) -> Codec[RaftSwarmError]:
    return Codec(_ERROR_TYPES[name])


def encode_failure(error: RaftSwarmError) -> bytes:
    """Write an error; a type that is not one of `raftswarm.errors` travels as the nearest one that is."""
    name = next(kind.__name__ for kind in type(error).__mro__ if _ERROR_TYPES.get(kind.__name__) is kind)
    kind = _ERROR_TYPES[name]
    plain = kind(**{field.name: getattr(error, field.name) for field in attrs.fields(kind)})
    return _failures.encode(_Failure(name, msgspec.Raw(_codec_of(name).encode(plain))))


def decode_failure(body: bytes) -> RaftSwarmError:
    """Read an error as the type it was; one of a newer version's arrives as RequestRefused."""
    failure = _failures.decode(body)
    if failure.kind not in _ERROR_TYPES:
        return RequestRefused(f"{failure.kind}: the other node is of a newer version", code="Unknown")
    # Rebuilt by its own constructor: a decoded exception would lack the arguments that a traceback shows.
    return attrs.evolve(_codec_of(failure.kind).decode(bytes(failure.fields)))
