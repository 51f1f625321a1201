"""Refusals by kind. Words and codes are SwarmKit's (SWARM 14), those of look-ups the Engine API's (SWARM 15)."""

from __future__ import annotations

from raftswarm.errors import RequestRefused


def invalid(message: str) -> RequestRefused:
    """The request can never succeed as it stands."""
    return RequestRefused(message, code="InvalidArgument")


def not_now(message: str) -> RequestRefused:
    """The state of the swarm does not allow it."""
    return RequestRefused(message, code="FailedPrecondition")


def unimplemented(message: str) -> RequestRefused:
    """Not offered."""
    return RequestRefused(message, code="Unimplemented")


def gone(kind: str, object_id: str) -> RequestRefused:
    """It was found, and removed before the request was carried out."""
    return RequestRefused(f"{kind} {object_id} not found", code="NotFound")


def out_of_sequence() -> RequestRefused:
    """The caller has seen an older version than the current one."""
    return RequestRefused("update out of sequence", code="Unknown")


def no_match(kind: str, reference: str) -> RequestRefused:
    """A look-up found nothing."""
    return RequestRefused(f"{kind} {reference} not found", code="NotFound", from_engine=True)


def ambiguous(kind: str, reference: str, matches: int) -> RequestRefused:
    """A look-up found several."""
    message = f"{kind} {reference} is ambiguous ({matches} matches found)"
    return RequestRefused(message, code="InvalidArgument", from_engine=True)


def bad_filter(message: str) -> RequestRefused:
    """A list was asked for with a filter that it does not have."""
    return RequestRefused(message, code="InvalidArgument", from_engine=True)
