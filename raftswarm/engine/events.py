"""``GET /events``: what happens to nodes and services, as managers see it.

A manager tells its engine of every change of its tables (`describe`); the engine keeps the last of them, so that
clients may ask for what has passed. Workers have nothing to tell, and there are no events of tasks, as in Docker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import attrs
import trio

from raftswarm.api.errors import ApiError
from raftswarm.api.events import ActorJson, EventJson
from raftswarm.api.filters import EVENT_FILTERS, Filters, parse_filters
from raftswarm.api.times import SECOND, read_unix_time
from raftswarm.engine.router import Call, Route, route
from raftswarm.http.messages import Response, Send, Streamed, encode_json
from raftswarm.objects.records import Node, Service
from raftswarm.store.contracts import Change
from raftswarm.world.clock import WallClock

KEPT: Final = 1024
"""How many events are remembered; a client that lags behind by more has missed some."""
_END_OF_TIME: Final = 2**63


class EventLog:
    """The last events, in order, and whoever waits for more."""

    def __init__(self) -> None:
        self._events: deque[EventJson] = deque(maxlen=KEPT)
        self._more = trio.lowlevel.ParkingLot()
        self.end = 0
        """How many there ever were."""

    def add(self, events: Iterable[EventJson]) -> None:
        """Remember them, and tell all who listen."""
        for event in events:
            self._events.append(event)
            self.end += 1
        self._more.unpark_all()

    def after(self, place: int) -> Sequence[EventJson]:
        """Those behind the first `place` ones, as far as they are remembered."""
        missing = max(0, self.end - place)
        return list(self._events)[-missing:] if missing else []

    async def wait_after(self, place: int) -> None:
        """Wait until there is one behind the first `place` ones."""
        while self.end <= place:
            await self._more.park()


@attrs.frozen
class EventEndpoints:
    """``/events``."""

    _log: EventLog
    _clock: WallClock

    def routes(self) -> list[Route]:
        """Say which calls are served here."""
        return [route("GET", "/events", self.listen)]

    async def listen(self, call: Call) -> Response:
        """Stream events, one JSON object in a line, until the client hangs up or the time it gave has come."""
        filters = parse_filters(call.query.get("filters", ""), EVENT_FILTERS)
        try:
            since, until = (read_unix_time(call.query.get(name, "")) for name in ("since", "until"))
        except ValueError as error:
            raise ApiError(str(error)) from error
        if since is not None and until is not None and until < since:
            raise ApiError(f"`since` time ({call.query['since']}) cannot be after `until` time ({call.query['until']})")
        place = self._log.end if since is None and until is None else 0
        patience = float("inf") if until is None else max(0, until - self._clock.now_ns()) / SECOND
        deadline = trio.current_time() + patience

        async def write(send: Send) -> None:
            seen = place
            while True:
                fresh, seen = self._log.after(seen), self._log.end
                for event in fresh:
                    if (since or 0) <= event.time_nano <= (_END_OF_TIME if until is None else until) and matches(
                        event, filters
                    ):
                        await send(encode_json(event) + b"\n")
                if trio.current_time() >= deadline:
                    return
                with trio.move_on_at(deadline):
                    await self._log.wait_after(seen)

        return Response(headers=(("Content-Type", "application/json"),), body=Streamed(write))


def matches(event: EventJson, filters: Filters) -> bool:
    """Tell whether an event is asked for: any value of a key, and all keys."""
    names = (event.actor.id, event.actor.attributes.get("name", ""))
    for key, values in filters.items():
        match key:
            case "type" | "scope":
                asked = (event.type if key == "type" else event.scope) in values
            case "event":
                asked = event.action in values
            case "label":
                asked = all(_has_attribute(event, label) for label in values)
            case "service" | "node":
                asked = event.type == key and any(name.startswith(value) for value in values for name in names)
            case _:  # Of such objects there are no events.
                asked = False
        if values and not asked:
            return False
    return True


def _has_attribute(event: EventJson, label: str) -> bool:
    key, has_value, value = label.partition("=")
    found = event.actor.attributes.get(key)
    return found is not None and (not has_value or found == value)


# From a change of the tables to an event.


def describe(change: Change, now: int) -> EventJson | None:
    """The event that tells of a change, in Docker's words; None for what users did not do and cannot see."""
    match change.before, change.after:
        case None, (Node() | Service()) as made:
            return _event(made, "create", made.created_at, {})
        case (Node() | Service()) as gone, None:
            return _event(gone, "remove", now, {})
        case Node() as before, Node() as after if _visible(before) != _visible(after):
            return _event(after, "update", after.updated_at, _node_differences(before, after))
        case Service() as before, Service() as after if _shown(before) != _shown(after):
            return _event(after, "update", after.updated_at, _service_differences(before, after))
        case _:
            return None


def _event(thing: Node | Service, action: str, moment: int, differences: dict[str, str]) -> EventJson:
    name = thing.spec.name if isinstance(thing, Service) else thing.spec.name or thing.description.hostname
    return EventJson(
        type=thing.kind,
        action=action,
        actor=ActorJson(id=thing.id, attributes={"name": name} | differences),
        time=moment // SECOND,
        time_nano=moment,
    )


def _visible(node: Node) -> object:
    return node.spec, node.role, node.state, node.description, node.address


def _shown(service: Service) -> object:
    return service.spec, service.update_status, service.job_status


def _node_differences(before: Node, after: Node) -> dict[str, str]:
    return (
        _difference("state", before.state.value, after.state.value)
        | _difference("availability", before.spec.availability, after.spec.availability)
        | _difference("role", before.spec.role, after.spec.role)
    )


def _service_differences(before: Service, after: Service) -> dict[str, str]:
    return (
        _difference("image", _image(before), _image(after))
        | _difference("replicas", _replicas(before), _replicas(after))
        | _difference("updatestate", _update_state(before), _update_state(after))
    )


def _difference(name: str, before: str, after: str) -> dict[str, str]:
    if before == after or not after:
        return {}
    return {f"{name}.new": after} | ({f"{name}.old": before} if before else {})


def _image(service: Service) -> str:
    container = service.spec.task_template.container_spec
    return container.image if container is not None else ""


def _replicas(service: Service) -> str:
    replicated = service.spec.mode.replicated
    return str(replicated.replicas) if replicated is not None else ""


def _update_state(service: Service) -> str:
    return service.update_status.state.value if service.update_status is not None else ""
