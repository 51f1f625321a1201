"""Node endpoints: what reaches the swarm."""

from __future__ import annotations

from raftswarm.manager.control import requests as control
from tests.fake_engine import Engine, FakeNode


async def test_a_node_update_takes_availability_in_any_case(node: FakeNode, engine: Engine) -> None:
    body = {"Role": "Manager", "Availability": "Drain", "Labels": {"a": "b"}}

    response = await engine.call("POST", "/nodes/docker5/update?version=2468", body)

    assert (response.status, response.body) == (200, b"")
    [request] = node.asked
    assert isinstance(request, control.UpdateNode)
    assert (request.reference, request.version) == ("docker5", 2468)
    assert (request.spec.role, request.spec.availability, request.spec.labels) == ("manager", "drain", {"a": "b"})


async def test_removing_a_node_passes_on_force(node: FakeNode, engine: Engine) -> None:
    await engine.call("DELETE", "/nodes/a?force=1")
    await engine.call("DELETE", "/nodes/b")

    assert node.asked == [control.RemoveNode(reference="a", force=True), control.RemoveNode(reference="b")]
