"""``GET /events``: which changes are told, to whom, and in which words (the recordings' README)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.api.events import ActorJson, EventJson
from raftswarm.engine.events import KEPT, describe
from raftswarm.http.messages import Streamed
from raftswarm.objects.records import AnyObject, Endpoint, Node, NodeDescription, Service, UpdateStatus
from raftswarm.objects.specs import ContainerSpec, NodeSpec, Replicated, ServiceMode, ServiceSpec, TaskSpec
from raftswarm.objects.states import NodeState, UpdateState
from raftswarm.store.contracts import Change
from tests.fake_engine import NOW, Engine, FakeNode

SECOND = 1_000_000_000
WEB = Service(
    id="s1",
    spec=ServiceSpec(
        name="web",
        task_template=TaskSpec(container_spec=ContainerSpec(image="nginx:1")),
        mode=ServiceMode(replicated=Replicated(replicas=2)),
    ),
    created_at=7 * SECOND,
    updated_at=7 * SECOND,
)
NODE = Node(id="n1", description=NodeDescription(hostname="docker5"), state=NodeState.READY, updated_at=8 * SECOND)


def told(before: AnyObject | None, after: AnyObject | None) -> EventJson | None:
    return describe(Change(before, after, 1), now=99 * SECOND)


def differences(before: AnyObject, after: AnyObject) -> dict[str, str]:
    event = told(before, after)
    assert event is not None
    assert event.action == "update"
    return {key: value for key, value in event.actor.attributes.items() if key != "name"}


class TestDescribe:
    def test_a_service_is_created_and_removed(self) -> None:
        assert told(None, WEB) == EventJson(
            type="service",
            action="create",
            actor=ActorJson(id="s1", attributes={"name": "web"}),
            time=7,
            time_nano=7 * SECOND,
        )
        gone = told(WEB, None)
        assert gone is not None
        assert (gone.action, gone.time) == ("remove", 99), "of a removal nothing is left that could know when"

    def test_an_update_of_a_service_names_image_replicas_and_state(self) -> None:
        template = TaskSpec(container_spec=ContainerSpec(image="nginx:2"))
        spec = replace(WEB.spec, task_template=template, mode=ServiceMode(replicated=Replicated(replicas=3)))
        updating = replace(WEB, spec=spec, update_status=UpdateStatus(state=UpdateState.UPDATING))
        completed = replace(updating, update_status=UpdateStatus(state=UpdateState.COMPLETED))

        assert differences(WEB, updating) == {
            "image.new": "nginx:2",
            "image.old": "nginx:1",
            "replicas.new": "3",
            "replicas.old": "2",
            "updatestate.new": "updating",
        }
        assert differences(updating, completed) == {"updatestate.new": "completed", "updatestate.old": "updating"}

    def test_an_update_of_a_node_names_state_availability_and_role(self) -> None:
        down = replace(NODE, state=NodeState.DOWN, spec=NodeSpec(role="manager", availability="drain"))

        assert differences(NODE, down) == {
            "state.new": "down",
            "state.old": "ready",
            "availability.new": "drain",
            "availability.old": "active",
            "role.new": "manager",
            "role.old": "worker",
        }
        assert differences(NODE, replace(NODE, spec=NodeSpec(labels={"a": "b"}))) == {}

    def test_what_the_swarm_notes_for_itself_is_no_event(self) -> None:
        assert told(WEB, replace(WEB, endpoint=Endpoint(), version=9)) is None
        assert told(NODE, replace(NODE, certificate_expiry=9, version=9)) is None


def an_event(number: int, *, at: int = NOW, type_: str = "service", action: str = "update") -> EventJson:
    attributes = {"name": f"web-{number}", "image.new": "nginx:2"}
    actor = ActorJson(id=f"s{number}", attributes=attributes)
    return EventJson(type=type_, action=action, actor=actor, time=at // SECOND, time_nano=at)


@asynccontextmanager
async def listening(engine: Engine, target: str) -> AsyncIterator[list[dict[str, Any]]]:
    """What a client of that call receives, as it comes."""
    received: list[dict[str, Any]] = []

    async def send(data: bytes) -> None:
        received.extend(json.loads(line) for line in data.splitlines())

    response = await engine.call("GET", target)
    assert (response.status, isinstance(response.body, Streamed)) == (200, True)
    assert isinstance(response.body, Streamed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(response.body.write, send)
        await wait_all_tasks_blocked()
        yield received
        nursery.cancel_scope.cancel()


def names(received: list[dict[str, Any]]) -> list[str]:
    return [event["Actor"]["Attributes"]["name"] for event in received]


async def test_a_client_hears_what_happens_from_now_on(node: FakeNode, engine: Engine) -> None:
    node.events.add([an_event(1)])

    async with listening(engine, "/events") as received:
        node.events.add([an_event(2), an_event(3)])
        await wait_all_tasks_blocked()

    assert names(received) == ["web-2", "web-3"]


async def test_the_past_ends_by_itself(node: FakeNode, engine: Engine) -> None:
    node.events.add([an_event(number, at=NOW - (10 - number) * SECOND) for number in range(10)])
    now = NOW // SECOND

    with trio.fail_after(1):
        async with listening(engine, f"/events?since={now - 5}&until={now - 3}.5") as received:
            pass

    assert names(received) == ["web-5", "web-6", "web-7"]


async def test_until_a_time_to_come_the_stream_goes_on(
    node: FakeNode, engine: Engine, autojump_clock: MockClock
) -> None:
    node.events.add([an_event(1)])
    response = await engine.call("GET", f"/events?until={NOW // SECOND + 5}")
    assert isinstance(response.body, Streamed)
    lines: list[bytes] = []

    async def send(data: bytes) -> None:
        lines.append(data)

    await response.body.write(send)

    assert trio.current_time() == pytest.approx(5)
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": ["node"]}, ["web-2"]),
        ({"type": ["node", "service"]}, ["web-1", "web-2", "web-3"]),
        ({"event": ["create"]}, ["web-3"]),
        ({"scope": ["swarm"]}, ["web-1", "web-2", "web-3"]),
        ({"scope": ["local"]}, []),
        ({"service": ["web-1", "s3"]}, ["web-1", "web-3"]),
        ({"service": ["web-1"], "event": ["create"]}, []),
        ({"label": ["image.new=nginx:2"], "type": ["node"]}, ["web-2"]),
        ({"label": ["image.new=other"]}, []),
        ({"container": ["c1"]}, []),
    ],
)
async def test_filters_choose(
    node: FakeNode, engine: Engine, filters: dict[str, list[str]], expected: list[str]
) -> None:
    node.events.add([an_event(1), an_event(2, type_="node"), an_event(3, action="create")])

    async with listening(engine, f"/events?since=1&filters={quote(json.dumps(filters))}") as received:
        pass

    assert names(received) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("since=yesterday", 'strconv.ParseInt: parsing "yesterday": invalid syntax'),
        ("since=5&until=4", "`since` time (5) cannot be after `until` time (4)"),
        ("filters=" + quote('{"nosuch":["x"]}'), "Invalid filter 'nosuch'"),
    ],
)
async def test_what_makes_no_sense_is_refused(engine: Engine, query: str, message: str) -> None:
    assert await engine.refused("GET", f"/events?{query}") == (400, message)


async def test_a_client_that_lags_behind_loses_the_oldest_and_memory_is_bounded(node: FakeNode, engine: Engine) -> None:
    node.events.add(an_event(number) for number in range(KEPT + 10))

    async with listening(engine, "/events?since=1") as received:
        pass

    assert (len(received), names(received)[0]) == (KEPT, "web-10")


async def test_an_event_has_the_recorded_shape(
    node: FakeNode, engine: Engine, load_recording: Callable[[str], dict[str, Any]]
) -> None:
    [recorded, *_] = load_recording("192")["exchanges"][-1]["response_body"]
    made = Service(
        id=recorded["Actor"]["ID"], spec=ServiceSpec(name="ev"), created_at=recorded["timeNano"], updated_at=1
    )
    event = told(None, made)
    assert event is not None
    node.events.add([event])

    async with listening(engine, "/events?since=1") as received:
        pass

    assert received == [recorded]
