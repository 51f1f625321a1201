"""What a client and a member say to each other: many requests in a frame, many answers in a frame (docs/formats.md).

Requests of a link are numbered from 1 in the order in which they are sent. Frames are answered in any order, the
requests of one frame in theirs, so that answers need no number but the first. Commands travel in the envelopes in
which the log keeps them (`envelopes`), so a member passes them on as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from raftswarm.errors import RaftSwarmError, ResultLost
from raftswarm.wire.codec import Codec
from raftswarm.wire.failures import encode_failure
from raftswarm.wire.values import encode_value

FRAME_BYTES: Final = 256 * 1024
"""A frame is full then; only one whose last part is longer has more."""
FRAME_PARTS: Final = 1024
MAX_ANSWER_BYTES: Final = 3 * 1024 * 1024

_SMALL: Final = frozenset((type(None), bool, int, float))
"""Results that need no look at their size: a thousand of them fit any frame."""
NOBODY_FAILED: Final[Mapping[int, RaftSwarmError]] = {}


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
    """Outcomes of consecutive requests of one frame."""

    first: int
    """Number of the first one: the first of its frame that had no answer yet."""
    results: list[Any]
    """`values`; None in the place of each that failed."""
    failures: dict[int, bytes]
    """`failures.encode_failure`, by place in `results`."""


class Failures(_Frame, frozen=True, array_like=True, tag=4):
    """The same error for consecutive requests of one frame; number 0 is `Hello`, after which nothing else comes."""

    first: int
    count: int
    error: bytes
    """`failures.encode_failure`."""


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


def encode_outcomes(
    first: int, results: Sequence[object], failed: Mapping[int, RaftSwarmError] = NOBODY_FAILED
) -> Iterator[tuple[bytes, int]]:
    """Write the outcomes of consecutive requests, the first of that number, as frames; yield how many each has, too.

    `failed` has the errors by their places in `results`, which is empty there. A result that does not travel becomes
    `ResultLost`.
    """
    if not failed and len(results) <= FRAME_PARTS and _SMALL.issuperset(map(type, results)):
        with suppress(OverflowError):  # An int of more than 64 bits.
            yield encode_from_member(Answers(first, list(results), {})), len(results)
            return
    yield from _cut(first, results, failed)


def _cut(first: int, results: Sequence[object], failed: Mapping[int, RaftSwarmError]) -> Iterator[tuple[bytes, int]]:
    answers: list[Any] = []
    failures: dict[int, bytes] = {}
    size = 0
    for place, result in enumerate(results):
        error, encoded = _encode(result, failed.get(place))
        if answers and (size + len(encoded) > FRAME_BYTES or len(answers) == FRAME_PARTS):
            yield encode_from_member(Answers(first, answers, failures)), len(answers)
            first += len(answers)
            answers, failures, size = [], {}, 0
        if error:
            failures[len(answers)] = encoded
        answers.append(None if error else msgspec.Raw(encoded))
        size += len(encoded)
    yield encode_from_member(Answers(first, answers, failures)), len(answers)


def _encode(result: object, error: RaftSwarmError | None) -> tuple[bool, bytes]:
    """Tell whether it is an error, and its bytes."""
    if error is None:
        try:
            encoded = encode_value(result)
        except TypeError as reason:
            error = ResultLost(f"the command was applied, but its result is lost: {reason}")
        else:
            if len(encoded) <= MAX_ANSWER_BYTES:
                return False, encoded
            error = ResultLost(f"the command was applied, but its result of {len(encoded)} bytes does not travel")
    return True, encode_failure(error)
