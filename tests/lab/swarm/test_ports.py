"""Published ports in a simulated swarm: any node answers for any task, spread round-robin, without a socket."""

from __future__ import annotations

import socket

import pytest
import trio
from msgspec.structs import replace

from raftswarm.lab.swarm import Lab, plain_service, simulate
from raftswarm.objects.specs import EndpointSpec, PortConfig

PORT = 8080
PUBLISHED = EndpointSpec(ports=[PortConfig(target_port=80, published_port=PORT)])


def test_every_node_leads_to_every_task_in_turn() -> None:
    async def scenario(lab: Lab) -> None:
        service = await lab.create_service(replace(plain_service("web", replicas=3), endpoint_spec=PUBLISHED))
        await lab.converged(service)
        await trio.sleep(2)  # Until the routes are known everywhere.

        tasks = {task.id for task in lab.tasks_of(service)}
        for node in lab.nodes:
            assert {await node.ports.visit(PORT) for _ in range(6)} == tasks

    simulate(scenario, seed=1)


def test_a_task_that_is_gone_is_skipped_and_a_removed_port_refuses() -> None:
    async def scenario(lab: Lab) -> None:
        service = await lab.create_service(replace(plain_service("web", replicas=2), endpoint_spec=PUBLISHED))
        await lab.converged(service)
        await trio.sleep(2)
        one, other = lab.tasks_of(service)
        node = lab.node_of(one)
        assert node is not None
        node.end_task(one.id)

        assert {await lab["worker-1"].ports.visit(PORT) for _ in range(4)} == {other.id}

        await lab.remove_service(service)
        await trio.sleep(3)
        with pytest.raises(ConnectionRefusedError):
            await lab["worker-1"].ports.visit(PORT)

    simulate(scenario, seed=2)


def test_nothing_in_the_world_touches_a_socket_or_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(lab: Lab) -> None:
        def refuse(*arguments: object, **named: object) -> None:
            raise AssertionError(f"{arguments} {named}")

        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(trio.to_thread, "run_sync", refuse)
        monkeypatch.setattr("threading.Thread.start", refuse)
        service = await lab.create_service(replace(plain_service("web", replicas=3), endpoint_spec=PUBLISHED))
        await lab.converged(service)
        leader = await lab.wait_leader()
        await leader.crash(power=True)
        await lab.scale(service, 5)
        await lab.heal()
        await lab.at_rest()
        assert await lab["manager-1"].ports.visit(PORT)
        monkeypatch.undo()

    simulate(scenario, seed=3)
