"""Filters of lists: OR inside a key, AND across keys and across labels, as Docker has them (SWARM 14)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from raftswarm.manager.control.refusals import bad_filter
from raftswarm.manager.control.requests import Filters


def check_keys(filters: Filters, known: Iterable[str]) -> None:
    """Refuse a key that the list does not have."""
    for key in sorted(filters):
        if key not in known:
            raise bad_filter(f"Invalid filter '{key}'")


def check_values(filters: Filters, key: str, known: Iterable[str]) -> None:
    """Refuse a value that the key cannot have."""
    for value in filters.get(key, ()):
        if value.lower() not in known:
            raise bad_filter(f"Invalid {key} filter: '{value}'")


def equals_any(filters: Filters, key: str, actual: str) -> bool:
    """Tell whether the key is not asked for, or one of its values is this, without regard to case."""
    return not filters.get(key) or actual.lower() in {value.lower() for value in filters[key]}


def begins_with_any(filters: Filters, key: str, actual: str) -> bool:
    """Tell whether the key is not asked for, or one of its values is the beginning of this."""
    return not filters.get(key) or actual.startswith(tuple(filters[key]))


def has_labels(filters: Filters, key: str, labels: Mapping[str, str]) -> bool:
    """Tell whether all the labels asked for are there: ``name``, or ``name=value``."""
    for wanted in filters.get(key, ()):
        name, _, value = wanted.partition("=")
        if name not in labels or (value and labels[name] != value):
            return False
    return True
