"""The `filters` parameter in both of Docker's forms."""

from __future__ import annotations

import pytest

from raftswarm.api.errors import ApiError
from raftswarm.api.filters import NODE_FILTERS, TASK_FILTERS, Filters, parse_filters, write_filters


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("", {}),
        ('{"service":{"a":true,"b":true}}', {"service": ["a", "b"]}),
        ('{"service":["a"],"_up-to-date":["true"]}', {"service": ["a"], "_up-to-date": ["true"]}),
    ],
)
def test_filters_are_read_in_both_forms(text: str, filters: Filters) -> None:
    assert parse_filters(text, TASK_FILTERS) == filters


def test_what_is_written_is_read() -> None:
    filters = {"role": ["manager"], "name": ["a", "b"]}

    assert parse_filters(write_filters(filters), NODE_FILTERS) == filters


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ('{"nosuch":["x"]}', 400, "Invalid filter 'nosuch'"),
        ("x", 500, "invalid character 'x' looking for beginning of value"),
        ('{"name": 7}', 500, "invalid filters: "),
    ],
)
def test_filters_that_mean_nothing_are_refused(text: str, status: int, words: str) -> None:
    with pytest.raises(ApiError) as refusal:
        parse_filters(text, NODE_FILTERS)

    assert refusal.value.status == status
    assert refusal.value.message.startswith(words)
