"""Every answer of a recorded Docker Engine that is about nodes, services, tasks or the swarm comes out of ours alike.

The recorded answer is loaded into a fake node as stored objects, the recorded request goes through the engine, and the
two answers are compared as JSON. What is left out belongs to later parts: networks, jobs, the rotation of the root.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from raftswarm.http.messages import Response
from raftswarm.manager.control import requests as control
from tests.fake_engine import Engine, FakeNode

IN_SCOPE = re.compile(r"/v1\.41(/nodes(/\w+)?|/services(/[\w.-]+)?|/tasks(/\w+)?|/swarm)")
LATER = {"NetworksAttachments", "JobStatus", "JobIteration", "LastExecution"}


def exchanges(shared: Path) -> list[tuple[str, dict[str, Any]]]:
    files = sorted((shared / "docker-api" / "recordings").glob("*.json"))
    return [
        (path.stem, exchange)
        for path in files
        for exchange in json.loads(path.read_text(encoding="utf-8"))["exchanges"]
    ]


def target_of(exchange: dict[str, Any]) -> str:
    path: str = exchange["path"].partition("?")[0]
    query = exchange["query"]
    return f"{path}?{urlencode(query)}" if query else path


def is_rotating(shown: Any) -> bool:
    return isinstance(shown, dict) and shown.get("RootRotationInProgress") is True


def without_later_parts(shown: Any) -> Any:
    if isinstance(shown, dict):
        shown = {key: without_later_parts(value) for key, value in shown.items() if key not in LATER}
        if shown.get("DefaultAddrPool") == ["10.0.0.0/8"]:
            shown["DefaultAddrPool"] = None  # The recorded engine shows its default only after a change of leader.
        return shown
    if isinstance(shown, list):
        return [without_later_parts(part) for part in shown]
    return shown


def body_of(response: Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body) if response.body.strip() else None


async def test_objects_are_shown_as_the_recorded_engine_shows_them(
    needs_shared: Path, node: FakeNode, engine: Engine
) -> None:
    compared = 0
    for name, exchange in exchanges(needs_shared):
        path = exchange["path"].partition("?")[0]
        if exchange["method"] != "GET" or exchange["status"] != 200 or not IN_SCOPE.fullmatch(path):
            continue
        node.forget()
        expected = exchange["response_body"]
        if expected is None or isinstance(expected, str) or is_rotating(expected):
            continue
        node.load(expected)
        target = target_of(exchange)
        if "filters" in exchange["query"]:  # The fake answers with all it has; filters are tested elsewhere.
            target = path + ("?status=true" if "status" in exchange["query"] else "")

        response = await engine.call("GET", target)

        assert response.status == 200, (name, target, response)
        assert body_of(response) == without_later_parts(expected), (name, target)
        compared += 1
    assert compared > 500


async def test_the_swarm_section_of_info_is_the_recorded_one(
    needs_shared: Path, node: FakeNode, engine: Engine
) -> None:
    compared = 0
    for name, exchange in exchanges(needs_shared):
        if exchange["path"] != "/v1.41/info" or exchange["status"] != 200:
            continue
        node.load(exchange["response_body"])
        expected = exchange["response_body"]["Swarm"]
        cluster = expected.get("Cluster", {})
        if is_rotating(cluster) or cluster.get("ID") == "":
            continue  # Without a quorum ours still shows its own copy of the cluster.

        shown = body_of(await engine.call("GET", "/v1.41/info"))

        assert shown["Swarm"] == without_later_parts(expected), name
        assert shown["NCPU"] == exchange["response_body"]["NCPU"]
        compared += 1
    assert compared > 30


async def test_a_created_service_is_stored_as_the_recorded_engine_stored_it(
    needs_shared: Path, node: FakeNode, engine: Engine
) -> None:
    compared = 0
    recorded = exchanges(needs_shared)
    for (name, exchange), (next_name, following) in itertools.pairwise(recorded):
        created = exchange["path"] == "/v1.41/services/create" and exchange["status"] == 201
        inspected = following["path"].startswith("/v1.41/services/") and following["method"] == "GET"
        if not (created and inspected and name == next_name):
            continue
        node.asked.clear()

        response = await engine.call("POST", "/v1.41/services/create", exchange["request_body"])

        assert response.status == 201, (name, response)
        [request] = node.asked
        assert isinstance(request, control.CreateService)
        stored = json.loads(msgspec.json.encode(request.spec))
        expected = following["response_body"]["Spec"]
        for template in (stored["TaskTemplate"], expected["TaskTemplate"]):
            template["ContainerSpec"].pop("Privileges", None)  # Differ by API version.
            for network in template.get("Networks", []):
                network["Target"] = "resolved"  # From a name to an id: a later part.
        if not exchange["request_body"].get("Name"):
            stored["Name"] = expected["Name"]
        assert stored == expected, name
        compared += 1
    assert compared > 20
