"""An engine without networks, secrets and configs says so, in words that Docker's clients understand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raftswarm.engine.node_protocol import LocalState
from raftswarm.http.messages import Response
from tests.fake_engine import Engine, FakeNode

KINDS = ("network", "secret", "config")


def answer_of(response: Response) -> tuple[int, Any]:
    assert isinstance(response.body, bytes)
    return response.status, json.loads(response.body)


@pytest.mark.parametrize("kind", KINDS)
async def test_there_are_none(kind: str, engine: Engine) -> None:
    listed = await engine.call("GET", f"/v1.41/{kind}s?filters=%7B%22name%22%3A%7B%22x%22%3Atrue%7D%7D")
    asked = await engine.call("GET", f"/v1.41/{kind}s/x")
    removed = await engine.call("DELETE", f"/v1.41/{kind}s/x")

    assert answer_of(listed) == (200, [])
    assert answer_of(asked) == (404, {"message": f"{kind} x not found"})
    assert answer_of(removed) == (404, {"message": f"{kind} x not found"})


@pytest.mark.parametrize("kind", KINDS)
async def test_none_can_be_made(kind: str, engine: Engine) -> None:
    response = await engine.call("POST", f"/v1.41/{kind}s/create", {"Name": "x"})

    assert answer_of(response) == (501, {"message": f"this engine cannot make a {kind}"})


@pytest.mark.parametrize(("kind", "status"), [("network", 200), ("secret", 503), ("config", 503)])
async def test_a_worker_is_not_asked_for_what_is_the_swarms(
    kind: str, status: int, node: FakeNode, engine: Engine
) -> None:
    node.become(LocalState.ACTIVE, is_manager=False)

    assert (await engine.call("GET", f"/v1.41/{kind}s")).status == status
