"""Status and words of refusals: those the engine gives itself, and those of the swarm passed on (SWARM 14, 15)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raftswarm.api.errors import ApiError
from raftswarm.engine.node_protocol import LocalState
from raftswarm.engine.refusals import NO_LEADER, explain, with_code
from raftswarm.errors import InvalidKey, NotLeader, RaftSwarmError, RequestRefused
from tests.fake_engine import Engine, FakeNode

Load = Callable[[str], dict[str, Any]]


def refused_exchange(recording: dict[str, Any]) -> dict[str, Any]:
    refused = [exchange for exchange in recording["exchanges"] if exchange["status"] >= 400]
    [exchange] = [exchange for exchange in refused if "/distribution/" not in exchange["path"]]
    found: dict[str, Any] = exchange
    return found


def body_of(exchange: dict[str, Any]) -> Any:
    body = exchange["request_body"]
    return body.encode() if isinstance(body, str) else body


@pytest.mark.parametrize(
    "number",
    [
        "607",  # page not found
        "608",
        "612",  # versions
        "613",
        "640",
        "619",  # bodies
        "620",
        "621",
        "622",
        "623",
        "631",  # filters
        "632",
        "283",  # words
        "475",
        "420",
        "435",
        "436",
        "439",
    ],
)
async def test_a_manager_refuses_in_the_recorded_words(number: str, load_recording: Load, engine: Engine) -> None:
    exchange = refused_exchange(load_recording(number))
    query = "&".join(f"{key}={value}" for key, value in exchange["query"].items())
    target = exchange["path"].partition("?")[0] + (f"?{query}" if query else "")

    status, message = await engine.refused(exchange["method"], target, body_of(exchange))

    assert (status, message) == (exchange["status"], exchange["response_body"]["message"])


@pytest.mark.parametrize("number", ["072", "073", "075", "077", "636", "643", "644", "008", "009", "010"])
async def test_a_node_outside_a_swarm_refuses_in_the_recorded_words(
    number: str, load_recording: Load, node: FakeNode, engine: Engine
) -> None:
    node.become(LocalState.INACTIVE)
    exchange = refused_exchange(load_recording(number))

    status, message = await engine.refused(exchange["method"], exchange["path"].partition("?")[0], body_of(exchange))

    assert (status, message) == (exchange["status"], exchange["response_body"]["message"])


@pytest.mark.parametrize("number", ["634", "635", "053"])
async def test_a_worker_refuses_in_the_recorded_words(
    number: str, load_recording: Load, node: FakeNode, engine: Engine
) -> None:
    node.become(LocalState.ACTIVE, is_manager=False)
    exchange = refused_exchange(load_recording(number))

    status, message = await engine.refused(exchange["method"], exchange["path"])

    assert (status, message) == (exchange["status"], exchange["response_body"]["message"])


async def test_versions_outside_the_range_are_refused(engine: Engine) -> None:
    assert await engine.refused("GET", "/v1.99/info") == (
        400,
        "client version 1.99 is too new. Maximum supported API version is 1.47",
    )
    assert await engine.refused("GET", "/v1.10/info") == (
        400,
        (
            "client version 1.10 is too old. Minimum supported API version is 1.24,"
            " please upgrade your client to a newer version"
        ),
    )
    assert (await engine.call("GET", "/v1.24/_ping")).status == 200
    assert (await engine.call("GET", "/v1.47/_ping")).status == 200
    assert (await engine.call("GET", "/_ping")).status == 200


async def test_a_body_of_the_wrong_shape_is_refused_with_the_name_of_the_field(engine: Engine) -> None:
    status, message = await engine.refused("POST", "/services/create", {"Name": 7})

    assert status == 400
    assert "$.Name" in message


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            RequestRefused("node x is not down and can't be removed", code="FailedPrecondition"),
            400,
            "rpc error: code = FailedPrecondition desc = node x is not down and can't be removed",
        ),
        (RequestRefused("update out of sequence"), 500, "rpc error: code = Unknown desc = update out of sequence"),
        (
            RequestRefused("name conflicts with an existing object: service web already exists", code="AlreadyExists"),
            409,
            "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service web already exists",
        ),
        (RequestRefused("no", code="Unimplemented"), 501, "rpc error: code = Unimplemented desc = no"),
        (InvalidKey("does not fit"), 401, "swarm could not be unlocked: invalid key provided"),
        (ApiError("page not found", status=404), 404, "page not found"),
        (
            NotLeader("who?"),
            500,
            with_code("Unknown", NO_LEADER),
        ),
    ],
)
def test_an_error_is_explained_by_status_and_words(error: RaftSwarmError, status: int, message: str) -> None:
    explained = explain(error)

    assert (explained.status, explained.message) == (status, message)


async def test_what_nobody_answers_in_20_seconds_is_given_up(
    node: FakeNode, engine: Engine, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trio

    async def never(request: object) -> Any:
        await trio.sleep_forever()

    monkeypatch.setattr(node, "control", never)
    began = trio.current_time()

    status, message = await engine.refused("GET", "/nodes")

    assert (status, message) == (500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded")
    assert trio.current_time() - began == pytest.approx(20)
