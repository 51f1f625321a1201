"""Filters of lists (SWARM 14)."""

from __future__ import annotations

import pytest

from raftswarm.errors import RequestRefused
from raftswarm.manager.control.filters import begins_with_any, check_keys, check_values, equals_any, has_labels


def test_values_of_a_key_are_alternatives() -> None:
    filters = {"name": ["web", "db"], "role": ["Manager", "worker"]}

    assert begins_with_any(filters, "name", "db-1")
    assert not begins_with_any(filters, "name", "my-web")
    assert equals_any(filters, "role", "manager")
    assert not equals_any({"role": ["worker"]}, "role", "manager")


def test_a_key_that_is_not_asked_for_lets_everything_through() -> None:
    assert begins_with_any({}, "name", "x")
    assert equals_any({}, "role", "x")
    assert has_labels({}, "label", {})


def test_labels_must_all_be_there() -> None:
    labels = {"a": "1", "b": "2"}

    assert has_labels({"label": ["a", "b=2"]}, "label", labels)
    assert not has_labels({"label": ["a", "b=1"]}, "label", labels)
    assert not has_labels({"label": ["c"]}, "label", labels)


def test_an_unknown_key_or_value_is_refused_in_the_engines_words() -> None:
    with pytest.raises(RequestRefused, match=r"^Invalid filter 'nosuch'$") as refused:
        check_keys({"nosuch": ["1"]}, ("name",))
    assert (refused.value.code, refused.value.from_engine) == ("InvalidArgument", True)

    check_values({"role": ["Worker"]}, "role", ("worker",))
    with pytest.raises(RequestRefused, match=r"^Invalid role filter: 'king'$"):
        check_values({"role": ["king"]}, "role", ("worker",))
