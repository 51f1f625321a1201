"""Results that travel: what comes out means what went in, and what cannot travel is named."""

from __future__ import annotations

import pytest

from raftswarm.wire.values import MAX_DEPTH, decode_value, encode_value


@pytest.mark.parametrize("value", [None, True, -5, 2**64 - 1, 1.5, "ä", b"\x00", [1, ["x"]], {"a": [b""], 2: None}])
def test_a_plain_value_comes_back_as_it_was(value: object) -> None:
    assert decode_value(encode_value(value)) == value


def test_a_tuple_comes_back_as_a_list() -> None:
    assert decode_value(encode_value((1, (2,)))) == [1, [2]]


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({1, 2}, "a set"),
        ([Thing()], "a Thing"),
        ({("a",): 1}, "a tuple as key"),
        (2**64, "64 bits"),
        ("\ud800", "half a character"),
    ],
)
def test_what_means_nothing_elsewhere_is_refused_by_name(value: object, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        encode_value(value)


def test_nesting_has_an_end_that_is_the_same_everywhere() -> None:
    deep: list[object] = []
    for _ in range(MAX_DEPTH):
        deep = [deep]

    with pytest.raises(TypeError, match="nested deeper than 32"):
        encode_value(deep)
    cyclic: list[object] = []
    cyclic.append(cyclic)
    with pytest.raises(TypeError, match="nested deeper than 32"):
        encode_value(cyclic)
