"""Lists as JSON, of any length: each object is rendered and encoded for itself, in slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from raftswarm.http.messages import Response, encode_json, json_text_response
from raftswarm.world.slices import Slices, run_sliced

T = TypeVar("T")


async def list_response(items: Iterable[T], show: Callable[[T], object]) -> Response:
    """Answer with what `show` makes of each item."""
    return json_text_response(await run_sliced(encode_list(items, show)))


def encode_list(items: Iterable[T], show: Callable[[T], object]) -> Slices[bytes]:
    """The same bytes as if the list had been encoded at once, with a newline."""
    pieces: list[bytes] = []
    for item in items:
        yield
        pieces.append((b"," if pieces else b"[") + encode_json(show(item)))
    pieces.append(b"]\n" if pieces else b"[]\n")
    return b"".join(pieces)  # The one copy of all of it.
