"""JSON bodies as Docker reads them: nulls and empty lists are nothing, and refusals come in Go's words.

msgspec decides what is valid. Only when it refuses does `describe_syntax_error` walk the text again, to say where Go's
decoder would have stopped and why.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from raftswarm.api.errors import ApiError

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STRING_PART: Final = re.compile(r'[^"\\\x00-\x1f]*')
_LITERALS: Final = {"t": "true", "f": "false", "n": "null"}
_DEPTH_LIMIT: Final = 200

T = TypeVar("T", bound=msgspec.Struct)


def decode(body: bytes) -> Any:
    """Decode a request's body; `ApiError` in Go's words if it is not JSON."""
    if not body.strip():
        raise ApiError("got EOF while reading request body")
    text = body.decode("utf-8", errors="replace")  # As Go does.
    try:
        return _without_nothing(msgspec.json.decode(text), _DEPTH_LIMIT)
    except msgspec.DecodeError as error:
        raise ApiError(describe_syntax_error(text) or f"invalid JSON: {error}") from None
    except RecursionError:
        raise ApiError("exceeded max depth") from None


def convert(given: object, wanted: type[T]) -> T:
    """Read decoded JSON as a record. As in Go, fields go by their names in any case: docker-py says ``replicated``."""
    return msgspec.convert(_with_our_names(given, _describe(wanted)), wanted)


@functools.cache
def _describe(wanted: type) -> inspect.Type:
    return inspect.type_info(wanted)


def _with_our_names(given: Any, wanted: inspect.Type) -> Any:
    match wanted:
        case inspect.StructType(fields=fields) if isinstance(given, dict):
            by_name = {field.encode_name.lower(): field for field in fields}
            renamed: dict[str, Any] = {}
            for key, part in given.items():
                if (field := by_name.get(key.lower())) is not None:
                    renamed[field.encode_name] = _with_our_names(part, field.type)
            return renamed
        case inspect.ListType(item_type=item_type) if isinstance(given, list):
            return [_with_our_names(part, item_type) for part in given]
        case inspect.UnionType(types=types):
            return functools.reduce(_with_our_names, types, given)
        case _:
            return given


def _without_nothing(value: Any, depth: int) -> Any:
    """Drop what Go takes for absent, so that a spec has one form however it was written."""
    if depth == 0:
        raise RecursionError
    if isinstance(value, dict):
        return {
            key: _without_nothing(part, depth - 1) for key, part in value.items() if part is not None and part != []
        }
    if isinstance(value, list):
        return [_without_nothing(part, depth - 1) for part in value]
    return value


class _Stop(Exception):
    """Where and why Go's decoder stops."""


def describe_syntax_error(text: str) -> str | None:
    """Say what is wrong with `text`, in the words of Go's encoding/json; None if Go would read it."""
    try:
        end = _skip_space(text, _walk_value(text, _skip_space(text, 0)))
        if end < len(text):
            _stop(text, end, "after top-level value")
    except _Stop as stop:
        return str(stop)
    except RecursionError:
        return "exceeded max depth"
    return None


def _stop(text: str, place: int, context: str) -> None:
    if place >= len(text):
        raise _Stop("unexpected EOF")
    raise _Stop(f"invalid character {_quote(text[place])} {context}")


def _quote(character: str) -> str:
    if character == "'":
        return r"'\''"
    if character == '"':
        return "'\"'"
    escapes = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": "\\\\"}
    plain = character if character.isprintable() else f"\\x{ord(character):02x}"
    return f"'{escapes.get(character, plain)}'"


def _skip_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _walk_value(text: str, place: int) -> int:
    start = text[place : place + 1]
    if start == "{":
        return _walk_object(text, _skip_space(text, place + 1))
    if start == "[":
        return _walk_array(text, _skip_space(text, place + 1))
    if start == '"':
        return _walk_string(text, place + 1)
    if start in _LITERALS:
        return _walk_literal(text, place, _LITERALS[start])
    if start and start in "-0123456789":
        found = _NUMBER.match(text, place)
        if found:
            return found.end()
        _stop(text, place + 1, "in numeric literal")
    _stop(text, place, "looking for beginning of value")
    raise AssertionError("unreachable")


def _walk_object(text: str, place: int) -> int:
    if text[place : place + 1] == "}":
        return place + 1
    while True:
        if text[place : place + 1] != '"':
            _stop(text, place, "looking for beginning of object key string")
        place = _skip_space(text, _walk_string(text, place + 1))
        if text[place : place + 1] != ":":
            _stop(text, place, "after object key")
        place = _skip_space(text, _walk_value(text, _skip_space(text, place + 1)))
        if text[place : place + 1] == "}":
            return place + 1
        if text[place : place + 1] != ",":
            _stop(text, place, "after object key:value pair")
        place = _skip_space(text, place + 1)


def _walk_array(text: str, place: int) -> int:
    if text[place : place + 1] == "]":
        return place + 1
    while True:
        place = _skip_space(text, _walk_value(text, place))
        if text[place : place + 1] == "]":
            return place + 1
        if text[place : place + 1] != ",":
            _stop(text, place, "after array element")
        place = _skip_space(text, place + 1)


def _walk_string(text: str, place: int) -> int:
    while True:
        found = _STRING_PART.match(text, place)
        place = found.end() if found else place
        if text[place : place + 1] == '"':
            return place + 1
        if text[place : place + 1] != "\\":
            _stop(text, place, "in string literal")
        place += 1
        if text[place : place + 1] == "u":
            for digit in range(place + 1, place + 5):
                if text[digit : digit + 1] not in tuple("0123456789abcdefABCDEF"):
                    _stop(text, digit, r"in \u hexadecimal character escape")
            place += 5
        elif text[place : place + 1] in tuple('"\\/bfnrt'):
            place += 1
        else:
            _stop(text, place, "in string escape code")


def _walk_literal(text: str, place: int, literal: str) -> int:
    for offset, expected in enumerate(literal):
        if text[place + offset : place + offset + 1] != expected:
            _stop(text, place + offset, f"in literal {literal} (expecting '{expected}')")
    return place + len(literal)
