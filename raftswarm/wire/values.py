"""Results that travel: None, bool, int, float, str, bytes, and lists, tuples and dicts of them, as msgpack.

What encodes here means the same to whoever decodes it: no sets, whose order differs between processes, and no classes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 32

_PLAIN: Final = frozenset((type(None), bool, int, float, str, bytes))

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder[Any]()


def encode_value(value: object) -> bytes:
    """Return the value's bytes; TypeError, saying why, if it is not one that travels."""
    if type(value) not in _PLAIN and (reason := _why_not(value, MAX_DEPTH)):
        raise TypeError(reason)
    try:
        return _encoder.encode(value)
    except OverflowError:
        raise TypeError("an int of more than 64 bits does not travel") from None
    except UnicodeEncodeError:
        raise TypeError("a str with half a character does not travel") from None


def decode_value(data: bytes | memoryview) -> object:
    """Return the value; tuples come back as lists."""
    value: object = _decoder.decode(data)
    return value


def _why_not(value: object, depth: int) -> str:
    if type(value) in _PLAIN:
        return ""
    if depth == 0:
        return f"values nested deeper than {MAX_DEPTH} do not travel"
    if type(value) is dict:
        for key in value:
            if type(key) not in _PLAIN:
                return f"a dict with a {type(key).__name__} as key does not travel"
        inner: Any = value.values()
    elif type(value) in {list, tuple}:
        inner = value
    else:
        return f"a {type(value).__name__} does not travel: return msgpack values (None, bool, int, str, list, dict, …)"
    return next(filter(None, (_why_not(item, depth - 1) for item in inner)), "")
