"""A process that runs worlds for another one: an order a line comes in, an answer a line goes out, until input ends.

Worlds depend on nothing but their seeds, so processes need not know of each other. It is started as
``python -m raftswarm.lab.seed_worker PARENT`` by `seed_workers`, and ends with that process, even if it was killed.
"""

from __future__ import annotations

import gc
import os
import signal
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
LOOK_EVERY_SECONDS: Final = 1.0
"""Whether anybody waits for the answer still."""

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


def end_with(parent: int) -> None:
    """End this process, in the middle of a world if need be, once that one is its parent no more."""

    def look(*_: object) -> None:
        if os.getppid() != parent:
            os._exit(0)

    look()
    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_EVERY_SECONDS, LOOK_EVERY_SECONDS)


if __name__ == "__main__":
    if sys.argv[1:]:
        end_with(int(sys.argv[1]))
    try:
        serve()
    except BrokenPipeError:
        os._exit(0)  # Nobody waits for it any more; nothing is left to be written.
