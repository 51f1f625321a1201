"""A process that runs worlds for another one: an order a line comes in, an answer a line goes out, until input ends.

Worlds depend on nothing but their seeds, so processes need not know of each other. It is started as
``python -m raftswarm.lab.seed_worker`` by `seed_workers`.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

import msgspec

from raftswarm.errors import RaftSwarmError
from raftswarm.lab.running import Order, Row, run_order


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of an order."""

    row: Row | None = None
    refused: str = ""
    """Why there is none."""


RARELY: Final = (50_000, 20, 50)
"""When garbage is looked for: a world leaves little that refers to itself, and the search took a tenth of the time."""

encode_order: Final = msgspec.json.Encoder().encode
decode_answer: Final = msgspec.json.Decoder(Answer).decode
_decode_order: Final = msgspec.json.Decoder(Order).decode
_encode_answer: Final = msgspec.json.Encoder().encode


def serve() -> None:
    """Answer orders until there are no more."""
    gc.set_threshold(*RARELY)
    for line in sys.stdin.buffer:
        try:
            answer = Answer(run_order(_decode_order(line)))
        except RaftSwarmError as refusal:
            answer = Answer(refused=str(refusal))
        sys.stdout.buffer.write(_encode_answer(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
