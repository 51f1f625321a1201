"""Which role decides what about which input: the core's tables, `Member.step` and `Member._act_on`, row by row."""

from __future__ import annotations

from typing import Final

UNREACHABLE_TRIPLES: Final[dict[str, str]] = {}


def list_triples() -> list[str]:
    """Return all of them."""
    return []
