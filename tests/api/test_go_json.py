"""Bodies that are not JSON are refused in the words of Go's encoding/json; nothing is the same as absent."""

from __future__ import annotations

import msgspec
import pytest

from raftswarm.api.errors import ApiError
from raftswarm.api.go_json import convert, decode
from raftswarm.objects.specs import Global, Placement, Replicated, ServiceMode, ServiceSpec, TaskSpec


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "got EOF while reading request body"),
        ("  \n", "got EOF while reading request body"),
        ("{nope", "invalid character 'n' looking for beginning of object key string"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("trip", "invalid character 'i' in literal true (expecting 'u')"),
        ("[-x]", "invalid character 'x' in numeric literal"),
        ('"\n"', r"invalid character '\n' in string literal"),
        ('"\x01"', r"invalid character '\x01' in string literal"),
        (r'"\q"', "invalid character 'q' in string escape code"),
        (r'"\u12x4"', r"invalid character 'x' in \u hexadecimal character escape"),
        ("[']", r"invalid character '\'' looking for beginning of value"),
        ('{"a":', "unexpected EOF"),
        ('["a', "unexpected EOF"),
        ("[" * 100_000, "exceeded max depth"),
        ("[" * 500 + "]" * 500, "exceeded max depth"),
    ],
)
def test_malformed_json_is_refused_in_gos_words(body: str, words: str) -> None:
    with pytest.raises(ApiError) as refusal:
        decode(body.encode())

    assert (refusal.value.status, refusal.value.message) == (400, words)


def test_bytes_that_are_not_text_are_replaced() -> None:
    assert decode(b'{"a": "\xff"}') == {"a": "\ufffd"}


def test_null_and_empty_lists_count_as_absent() -> None:
    assert decode(b'{"a": null, "b": [], "c": {"d": null}, "e": [{"f": null}], "g": {}, "h": 0}') == {
        "c": {},
        "e": [{}],
        "g": {},
        "h": 0,
    }


def test_fields_are_known_by_their_names_in_any_case() -> None:
    assert convert({"mode": {"replicated": {"replicas": 3}}}, ServiceSpec).mode == ServiceMode(
        replicated=Replicated(replicas=3)
    )
    assert convert({"global": {}}, ServiceMode) == ServiceMode(global_=Global())


def test_labels_keep_their_case_and_other_fields_are_ignored() -> None:
    given = {"Name": "web", "LABELS": {"Name": "a", "name": "b"}, "Nonsense": {"Name": "c"}}

    assert convert(given, ServiceSpec) == ServiceSpec(name="web", labels={"Name": "a", "name": "b"})


def test_records_in_lists_are_read_alike() -> None:
    given = {"PLACEMENT": {"preferences": [{"SPREAD": {"spreadDescriptor": "node.labels.zone"}}]}}

    placement = convert(given, TaskSpec).placement

    assert isinstance(placement, Placement)
    assert placement.preferences
    assert placement.preferences[0].spread
    assert placement.preferences[0].spread.spread_descriptor == "node.labels.zone"


def test_a_value_of_the_wrong_kind_is_named_by_its_field() -> None:
    with pytest.raises(
        msgspec.ValidationError, match=r"Expected `int \| null`, got `str` - at `\$.Replicated.Replicas`"
    ):
        convert({"replicated": {"replicas": "many"}}, ServiceMode)
