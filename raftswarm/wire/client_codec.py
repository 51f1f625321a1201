"""What a client and a member say to each other: many requests in a frame, many answers in a frame (docs/formats.md).

Requests of a link are numbered from 1 in the order in which they are sent; answers name them and come in any order.
Commands travel in the envelopes in which the log keeps them (`envelopes`), so a member passes them on as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from raftswarm.wire.codec import Codec

FRAME_BYTES: Final = 256 * 1024
"""A frame is full then; only one whose first part is longer has more."""
FRAME_PARTS: Final = 1024
MAX_ANSWER_BYTES: Final = 3 * 1024 * 1024

T = TypeVar("T")


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    """Base of all: an array that begins with the number of its kind."""


# From the client.


class Hello(_Frame, frozen=True, array_like=True, tag=6):
    """The first frame: which of the groups on that address is meant."""

    group: str


class Commands(_Frame, frozen=True, array_like=True, tag=0):
    """Commands, to be proposed in this order."""

    first: int
    """Number of the first one; the others follow it."""
    envelopes: list[bytes]


class Questions(_Frame, frozen=True, array_like=True, tag=1):
    """Questions, to be answered linearizably."""

    first: int
    questions: list[bytes]


class Look(_Frame, frozen=True, array_like=True, tag=2):
    """Are you there? Answered by `Whereabouts` at once."""


# From the member.


class Answers(_Frame, frozen=True, array_like=True, tag=3):
    """Results by the requests' numbers."""

    numbers: list[int]
    results: list[Any]
    """`values`; each at its number's place."""


class Failures(_Frame, frozen=True, array_like=True, tag=4):
    """Errors by the requests' numbers; number 0 is `Hello`, after which nothing else comes."""

    numbers: list[int]
    errors: list[bytes]
    """`failures.encode_failure`; each at its number's place."""


class Whereabouts(_Frame, frozen=True, array_like=True, tag=5):
    """Sent first, and whenever it changes: who leads, as far as the member knows."""

    leads: bool
    """The member that speaks leads, and has applied all that came before."""
    leader: str
    """Address of another member that leads; empty if none is known."""
    members: list[str]
    """Addresses of all that take part."""


FromClient = Hello | Commands | Questions | Look
FromMember = Answers | Failures | Whereabouts

_from_client: Codec[FromClient] = Codec(FromClient)
_from_member: Codec[FromMember] = Codec(FromMember)

encode_from_client = _from_client.encode
decode_from_client = _from_client.decode
encode_from_member = _from_member.encode
decode_from_member = _from_member.decode


def cut(parts: Iterable[tuple[T, bytes]]) -> Iterator[list[tuple[T, bytes]]]:
    """Gather parts, in order, into lists that each fit a frame."""
    gathered: list[tuple[T, bytes]] = []
    size = 0
    for part in parts:
        length = len(part[1])
        if gathered and (size + length > FRAME_BYTES or len(gathered) == FRAME_PARTS):
            yield gathered
            gathered, size = [], 0
        gathered.append(part)
        size += length
    if gathered:
        yield gathered
