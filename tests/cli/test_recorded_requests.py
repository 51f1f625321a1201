"""``raftswarm`` asks for what docker asked for in the recordings: the same command line makes the same change.

Compared is what reaches the swarm, with everything empty left out: docker spells out more of what is nothing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from raftswarm.manager.control import requests
from tests.fake_engine import Engine, FakeNode

if TYPE_CHECKING:
    from tests.cli.conftest import Finished

Load = Callable[[str], dict[str, Any]]
Run = Callable[[str], Awaitable["Finished"]]
CHANGES = (requests.CreateService, requests.UpdateService, requests.UpdateNode, requests.UpdateCluster)


def without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        parts = {key: without_nothing(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part not in ({}, [], None, False, "")}
    if isinstance(value, list):
        return [without_nothing(part) for part in value]
    return value


def changes_of(node: FakeNode) -> list[Any]:
    asked = [request for request in node.asked if isinstance(request, CHANGES)]
    return [without_nothing(json.loads(msgspec.json.encode(change))) for change in (*asked, *node.options)]


@pytest.mark.parametrize(
    "number",
    [
        "013",  # service create
        "101",
        "113",
        "160",
        "162",
        "167",
        "176",
        "177",
        "418",
        "426",
        "442",
        "443",
        "444",
        "445",
        "446",
        "510",
        "017",  # service update, scale, rollback
        "105",
        "114",
        "116",
        "117",
        "127",
        "130",
        "269",
        "438",
        "440",
        "504",
        "513",
        "263",  # node update, promote, demote
        "265",
        "266",
        "270",
        "274",
        "284",
        "287",
        "290",
        "310",  # swarm update
        "324",
        "334",
        "337",
        "323",
    ],
)
async def test_asks_for_the_change_docker_asked_for(
    number: str, load_recording: Load, node: FakeNode, engine: Engine, raftswarm: Run
) -> None:
    recording = load_recording(number)
    for exchange in recording["exchanges"]:
        if exchange["method"] == "GET":
            node.load(exchange["response_body"])
    for exchange in recording["exchanges"]:
        if exchange["method"] == "POST":
            query = "&".join(f"{key}={value}" for key, value in exchange["query"].items())
            await engine.call("POST", f"{exchange['path']}?{query}", exchange["request_body"])
    expected = changes_of(node)
    node.unlock_key = "SWMKEY-1-key"
    node.asked.clear()
    command = recording["command"].replace(" -d ", " ")
    if "docker service" in command:
        verb = command.split()[2]
        command = command.replace(f"service {verb}", f"service {verb} -d", 1)

    finished = await raftswarm(command)

    assert finished.status == 0, finished.stderr
    actual = changes_of(node)
    for change in (*actual, *expected):
        if change.get("type") == "CreateService" and "--name" not in command:
            change["spec"].pop("Name")
    assert expected
    assert actual == expected


@pytest.mark.parametrize("number", ["011", "026", "040", "076"])
async def test_begins_a_swarm_as_docker_does(
    number: str, load_recording: Load, node: FakeNode, engine: Engine, raftswarm: Run
) -> None:
    from raftswarm.engine.node_protocol import LocalState

    recording = load_recording(number)
    [init] = [exchange for exchange in recording["exchanges"] if exchange["path"].endswith("/swarm/init")]
    node.become(LocalState.INACTIVE)
    await engine.call("POST", init["path"], init["request_body"])

    await raftswarm(recording["command"])

    expected, actual = node.options
    assert actual == expected
