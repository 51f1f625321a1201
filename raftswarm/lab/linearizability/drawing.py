"""A judged history as a picture: a lane for each client, a bar from each call to its answer.

Of a refuted one only the object at fault is drawn: green what the longest order places, with its place in it; red what
has no place behind that.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Final

from raftswarm.lab import svg
from raftswarm.lab.linearizability.checking import Verdict
from raftswarm.lab.linearizability.operations import Operation

LEFT: Final = 90
TOP: Final = 44
LANE: Final = 26
BAR: Final = 18
EVENT: Final = 14
"""Width between two events of the history, as long as that fits in `MOST`."""
MOST: Final = 20_000
LETTER: Final = 7.5
MARGIN: Final = 20

PLACED: Final = "#8fd19e"
STUCK: Final = "#e57373"
OTHER: Final = "#cfd8dc"


def draw_history(operations: Iterable[Operation], verdict: Verdict, name: str = "History") -> str:
    """Return the picture, a whole SVG file."""
    refuted = verdict.stuck is not None
    shown = [operation for operation in operations if not refuted or operation.key == verdict.key]
    return "\n".join(_draw(shown, verdict, name)) + "\n"


def _draw(operations: list[Operation], verdict: Verdict, name: str) -> Iterator[str]:
    places = {id_of(one): place for place, one in enumerate(verdict.stuck.order if verdict.stuck else (), start=1)}
    stuck = id_of(verdict.stuck.next_to_return) if verdict.stuck else None
    rows: dict[Hashable, int] = {}
    for operation in operations:
        rows.setdefault(operation.client, len(rows))
    moments = sorted({at for one in operations for at in (one.invoked, one.returned) if at is not None})
    step = min(EVENT, MOST / (len(moments) + 1))
    x_of = {at: LEFT + place * step for place, at in enumerate(moments)}
    width = LEFT + len(moments) * step + MARGIN
    yield svg.begin(max(width, 600), TOP + len(rows) * LANE + MARGIN)
    of_object = f", object {verdict.key!r}" if verdict.key is not None else ""
    yield svg.text(LEFT, 22, f"{name}: {verdict.outcome.value}{of_object}", size=16)
    for client, row in rows.items():
        yield svg.text(LEFT - 10, TOP + row * LANE + BAR - 4, f"client {client}", anchor="end")
    for operation in operations:
        x, y = x_of[operation.invoked], TOP + rows[operation.client] * LANE
        end = width - MARGIN if operation.returned is None else x_of[operation.returned]
        identity = id_of(operation)
        place = places.get(identity)
        colour = STUCK if identity == stuck else PLACED if place else OTHER
        told = f"{operation}{f', place {place} of the longest order' if place else ''}"
        yield svg.bar(x, y, max(end - x, 2.0), BAR, colour, told, dashed=operation.returned is None)
        label = f"{place}: {operation.kind}" if place else operation.kind
        if len(label) * LETTER < end - x:
            yield svg.text(x + 3, y + BAR - 5, label)
    yield svg.end()


def id_of(operation: Operation) -> tuple[Hashable, float]:
    """Tell operations apart: a client begins one at a time."""
    return operation.client, operation.invoked
