"""Task endpoints: what reaches the swarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from raftswarm.manager.control import requests as control
from tests.fake_engine import Engine, FakeNode


async def test_names_in_task_filters_become_ids(
    node: FakeNode, engine: Engine, load_recording: Callable[[str], dict[str, Any]]
) -> None:
    for exchange in load_recording("151")["exchanges"]:
        node.load(exchange["response_body"])

    await engine.call("GET", "/tasks?filters=" + quote(json.dumps({"service": ["tomcat"], "node": ["docker2"]})))

    assert node.asked[-1] == control.ListTasks(
        filters={"service": ["7uv544f8aamapmkqoqobgjnco"], "node": ["52yujbbb1vb4cqv62ulcwupui"]}
    )


async def test_an_unknown_service_in_a_task_filter_is_not_found(engine: Engine) -> None:
    status, message = await engine.refused("GET", "/tasks?filters=" + quote('{"service":["nosuch"]}'))

    assert (status, message) == (404, "service nosuch not found")
