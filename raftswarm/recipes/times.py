"""Leases are told in seconds and kept in the log's nanoseconds."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from raftswarm.errors import InvalidSpec

MAX_TTL_SECONDS: Final = 10 * 365 * 86_400

TimeToLive = Annotated[int, msgspec.Meta(gt=0, le=MAX_TTL_SECONDS * 10**9)]
"""Nanoseconds of the log's time."""


def to_nanoseconds(ttl_seconds: float) -> int:
    """Return a time to live; InvalidSpec if it is none."""
    if not 0 < ttl_seconds <= MAX_TTL_SECONDS:
        raise InvalidSpec(f"a lease of {ttl_seconds:g} s: it has to be more than 0, and at most ten years")
    return max(1, int(ttl_seconds * 1e9))
