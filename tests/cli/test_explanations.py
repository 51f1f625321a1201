"""``raftswarm service explain`` and ``task explain``."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from raftswarm.objects.explanations import NodeExplanation, ServiceExplanation, TaskExplanation
from tests.fake_engine import FakeNode

if TYPE_CHECKING:
    from tests.cli.conftest import Finished

Run = Callable[[str], Awaitable["Finished"]]

NODES = [
    NodeExplanation(node_id="n1", hostname="docker1", obstacles=["it is down", "64 CPUs are asked for"]),
    NodeExplanation(node_id="n2", hostname="docker10"),
]


def waiting(number: int) -> TaskExplanation:
    return TaskExplanation(
        task_id=f"t{number}", name=f"web.{number}", state="pending", summary="no suitable node", nodes=NODES
    )


@pytest.fixture(autouse=True)
def explained(node: FakeNode, load_recording: Callable[[str], dict[str, Any]]) -> None:
    for exchange in load_recording("110")["exchanges"]:
        node.load(exchange["response_body"])
    node.explanation = ServiceExplanation(
        service_id="s1", name="web", summary="replicated: 0 of 7 tasks run", tasks=[waiting(n) for n in range(1, 8)]
    )


async def test_tasks_with_one_reason_are_told_of_together(raftswarm: Run) -> None:
    finished = await raftswarm("raftswarm service explain nginx-svc-1")

    assert finished.stdout == (
        "web: replicated: 0 of 7 tasks run\n"
        "  web.1, web.2, web.3, web.4, web.5 and 2 more: pending; no suitable node\n"
        "    docker1   it is down\n"
        "              64 CPUs are asked for\n"
        "    docker10  it would fit\n"
    )
    assert finished.status == 0


async def test_machines_get_json(raftswarm: Run) -> None:
    finished = await raftswarm("raftswarm task explain t1 --json")

    told = json.loads(finished.stdout)
    assert (told["TaskID"], told["Nodes"][0]["Hostname"]) == ("t1", "docker1")


async def test_an_unknown_service_is_not_explained(raftswarm: Run) -> None:
    finished = await raftswarm("raftswarm service explain nosuch")

    assert finished.status == 1
    assert "service nosuch not found" in finished.stderr
