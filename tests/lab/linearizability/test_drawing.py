"""A judged history as a picture: every operation is a bar, and colours say what the verdict says."""

from __future__ import annotations

from collections.abc import Hashable
from xml.etree import ElementTree as ET

from raftswarm.lab.linearizability import MODELS, Operation, check, draw_history
from raftswarm.lab.linearizability.drawing import OTHER, PLACED, STUCK

SVG = "{http://www.w3.org/2000/svg}"


def operation(client: int, kind: str, at: tuple[float, float | None], *, key: str = "k", **said: Hashable) -> Operation:
    return Operation(client=client, kind=kind, key=key, invoked=at[0], returned=at[1], **said)


def bars(history: list[Operation]) -> list[tuple[str, str]]:
    """Colour and title of each."""
    picture = ET.fromstring(draw_history(history, check(history, MODELS["cas-register"])))
    found = [(bar.get("fill", ""), bar.findtext(f"{SVG}title")) for bar in picture.iter(f"{SVG}rect")]
    return [(colour, title) for colour, title in found if title is not None]


def test_what_has_no_place_is_red_and_what_the_order_has_is_numbered() -> None:
    history = [
        operation(1, "write", (1, 2), argument=5),
        operation(2, "read", (3, 4), result=6),
        operation(3, "write", (5, None), argument=7),
        operation(4, "write", (1, 2), argument=5, key="another"),
    ]

    assert bars(history) == [
        (PLACED, "client 1: write 5 -> None  [1, 2], place 1 of the longest order"),
        (STUCK, "client 2: read -> 6  [3, 4]"),
        (OTHER, "client 3: write 7 -> unknown  [5, ?]"),
    ]


def test_of_a_good_history_everything_is_shown() -> None:
    history = [operation(1, "write", (1, 2), argument=5), operation(2, "read", (3, 4), result=5)]

    assert [colour for colour, _ in bars(history)] == [OTHER, OTHER]


def test_an_empty_history_can_be_drawn() -> None:
    assert bars([]) == []
