"""Endpoints about the engine itself."""

from __future__ import annotations

import json

import pytest

from raftswarm.engine.node_protocol import LocalState
from tests.fake_engine import Engine, FakeNode


async def test_no_registry_is_asked_so_no_digest_is_pinned(engine: Engine) -> None:
    response = await engine.call("GET", "/v1.41/distribution/10.0.0.1:5000/library/nginx:v1/json")

    assert isinstance(response.body, bytes)
    assert (response.status, json.loads(response.body)["Descriptor"]["digest"]) == (200, "")


@pytest.mark.parametrize(
    ("state", "is_manager", "word"),
    [
        (LocalState.ACTIVE, True, "active/manager"),
        (LocalState.ACTIVE, False, "active/worker"),
        (LocalState.LOCKED, True, "locked"),
        (LocalState.INACTIVE, False, "inactive"),
    ],
)
async def test_ping_says_what_the_node_is(
    state: LocalState, is_manager: bool, word: str, node: FakeNode, engine: Engine
) -> None:
    node.become(state, is_manager=is_manager)

    for method, body in (("GET", b"OK"), ("HEAD", b"")):
        response = await engine.call(method, "/_ping")
        headers = dict(response.headers)
        assert (response.status, response.body) == (200, body)
        assert (headers["Swarm"], headers["Api-Version"], headers["Ostype"]) == (word, "1.47", "linux")
