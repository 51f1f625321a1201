"""Service endpoints: what reaches the swarm."""

from __future__ import annotations

from urllib.parse import quote

from raftswarm.manager.control import requests as control
from tests.fake_engine import Engine, FakeNode

BODY = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}}


async def test_a_service_without_a_name_gets_one(node: FakeNode, engine: Engine) -> None:
    response = await engine.call("POST", "/services/create", BODY | {"Name": ""})

    assert response.status == 201
    [request] = node.asked
    assert isinstance(request, control.CreateService)
    assert request.spec.name


async def test_a_service_update_passes_on_version_and_rollback(node: FakeNode, engine: Engine) -> None:
    first = await engine.call("POST", "/services/web/update?version=5&registryAuthFrom=spec", BODY)
    await engine.call("POST", "/services/web/update?version=6&rollback=previous", BODY)

    assert first.body == b'{"Warnings":null}\n'
    versions = [(ask.version, ask.rollback) for ask in node.asked if isinstance(ask, control.UpdateService)]
    assert versions == [(5, False), (6, True)]


async def test_counts_are_asked_for_only_with_status(node: FakeNode, engine: Engine) -> None:
    await engine.call("GET", "/services?status=true")
    await engine.call("GET", "/services?filters=" + quote('{"name":["web"]}'))

    assert node.asked == [
        control.ListServices(with_counts=True),
        control.ListServices(filters={"name": ["web"]}),
    ]
