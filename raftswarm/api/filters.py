"""Docker's ``filters`` parameter: JSON in one of two forms, and a fixed set of keys for each list."""

from __future__ import annotations

from typing import Final

import msgspec

from raftswarm.api import go_json
from raftswarm.api.errors import ApiError

Filters = dict[str, list[str]]

NODE_FILTERS: Final = frozenset({"id", "label", "membership", "name", "node.label", "role"})
SERVICE_FILTERS: Final = frozenset({"id", "label", "mode", "name", "runtime"})
EVENT_FILTERS: Final = frozenset(
    {
        "config",
        "container",
        "daemon",
        "event",
        "image",
        "label",
        "network",
        "node",
        "plugin",
        "scope",
        "secret",
        "service",
        "type",
        "volume",
    }
)
TASK_FILTERS: Final = frozenset({"_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service"})


def parse_filters(text: str, known: frozenset[str]) -> Filters:
    """Read ``{"key":{"value":true}}`` or ``{"key":["value"]}``."""
    if not text:
        return {}
    try:
        given = msgspec.json.decode(text.encode(), type=dict[str, dict[str, bool] | list[str]])
    except (msgspec.DecodeError, RecursionError) as error:
        # Docker answers 500 here, for what is the caller's mistake; clients know it so.
        raise ApiError(go_json.describe_syntax_error(text) or f"invalid filters: {error}", status=500) from None
    filters = {key: list(values) for key, values in given.items()}
    for key in sorted(filters):
        if key not in known:
            raise ApiError(f"Invalid filter '{key}'")
    return filters


def write_filters(filters: Filters) -> str:
    """Write filters in the form the docker CLI sends."""
    return msgspec.json.encode({key: dict.fromkeys(values, True) for key, values in filters.items()}).decode()
