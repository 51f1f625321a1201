"""Random swarms: whatever users, machines and leaders do, every rule holds behind every command, and at rest.

Each seed is a run of its own. RAFTSWARM_SEEDS runs more; RAFTSWARM_FIRST_SEED begins elsewhere, and with one seed
replays it.
"""

from __future__ import annotations

import contextlib
import os
from random import Random

import pytest
import trio
from msgspec.structs import replace

from raftswarm.errors import RaftSwarmError
from raftswarm.lab.swarm.scheduling import run_seeded
from raftswarm.manager.control.requests import CreateService, RemoveNode, RemoveService, UpdateService
from raftswarm.manager.control.service_specs import mode_name
from raftswarm.objects.ids import ID_RANDOM_BYTES, make_id
from raftswarm.objects.records import Node, NodeDescription, Platform, Service
from raftswarm.objects.specs import (
    ContainerSpec,
    EndpointSpec,
    Global,
    NodeSpec,
    Placement,
    PortConfig,
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
    is_job,
)
from raftswarm.store.store import Transaction
from tests.lab.small_swarm import SmallSwarm, ToyAgent

FIRST_SEED = int(os.environ.get("RAFTSWARM_FIRST_SEED", "1"))
SEEDS = int(os.environ.get("RAFTSWARM_SEEDS", "10"))
OPERATIONS = 60
SECOND = 1_000_000_000
GIB = 1 << 30
MOST_NODES = 6
IMAGES = ("good-1", "good-2", "good-3", "bad-1", "flaky-1", "short-1", "short-2")


class Operators:
    """Users and misfortune: one thing after another, drawn from the swarm's chance."""

    def __init__(self, swarm: SmallSwarm) -> None:
        self.swarm = swarm
        self.chance: Random = swarm.chance
        self.kinds = [
            *[self.create_service] * 3,
            *[self.update_service] * 9,
            *[self.roll_back] * 2,
            self.remove_service,
            *[self.change_availability] * 2,
            self.change_machine,
            self.change_label,
            self.lose_power,
            *[self.lose_touch] * 2,
            self.replace_node,
            *[self.change_leader] * 2,
            self.change_history,
        ]

    async def do_something(self) -> None:
        await trio.sleep(self.chance.choice([0.0, 0.02, 0.3, 1.0, 3.0, 12.0]))
        with contextlib.suppress(RaftSwarmError):  # Refused, or overtaken: users live with that.
            await self.chance.choice(self.kinds)()

    # Services.

    async def create_service(self) -> None:
        if len(self.services()) < 4:
            name = self.chance.choice("abcdef")
            await self.swarm.services.create(CreateService(spec=self.draw_spec(name)))

    async def update_service(self) -> None:
        if service := self.some_service():
            drawn = self.draw_spec(service.spec.name)
            spec = service.spec
            for field in self.chance.sample(["task_template", "mode", "update_config", "endpoint_spec"], 2):
                spec = replace(spec, **{field: getattr(drawn, field)})
            if mode_name(spec.mode) != mode_name(service.spec.mode):
                spec = replace(spec, mode=service.spec.mode)
            if is_job(spec.mode):
                spec = replace(spec, update_config=None)
            await self.write_spec(service, spec)

    async def write_spec(self, service: Service, spec: ServiceSpec, *, rollback: bool = False) -> None:
        request = UpdateService(reference=service.id, version=service.version, spec=spec, rollback=rollback)
        await self.swarm.services.update(request)

    async def roll_back(self) -> None:
        if service := self.some_service():
            await self.write_spec(service, service.spec, rollback=True)

    async def remove_service(self) -> None:
        if service := self.some_service():
            await self.swarm.services.remove(RemoveService(reference=service.id))

    def services(self) -> list[Service]:
        return list(self.swarm.store.find(Service))

    def some_service(self) -> Service | None:
        services = self.services()
        return self.chance.choice(services) if services else None

    def draw_spec(self, name: str) -> ServiceSpec:
        draw = self.chance.choice
        template = TaskSpec(
            container_spec=ContainerSpec(image=draw(IMAGES)),
            resources=draw([None, None, Resources(reservations=Reservations(nano_cpus=SECOND, memory_bytes=GIB))]),
            restart_policy=draw(
                [
                    None,
                    RestartPolicy(condition="any", delay=SECOND),
                    RestartPolicy(condition="on-failure", delay=0, max_attempts=2),
                    RestartPolicy(condition="any", delay=0, max_attempts=3, window=5 * SECOND),
                    RestartPolicy(condition="none"),
                ]
            ),
            placement=draw(
                [
                    None,
                    None,
                    Placement(constraints=["node.labels.disk==ssd"]),
                    Placement(constraints=["node.labels.disk!=ssd"], max_replicas=2),
                    Placement(max_replicas=1),
                ]
            ),
        )
        update = UpdateConfig(
            parallelism=draw([0, 1, 1, 2]),
            delay=draw([0, 2 * SECOND]),
            failure_action=draw(["pause", "continue", "rollback"]),
            monitor=draw([0, SECOND]),
            max_failure_ratio=draw([0, 0, 0.3]),
            order=draw(["stop-first", "start-first"]),
        )
        ports = [
            PortConfig(target_port=80),
            PortConfig(target_port=80, published_port=8080),
            PortConfig(target_port=80, published_port=9000, publish_mode="host"),
        ]
        mode: ServiceMode = draw(
            [
                ServiceMode(global_=Global()),
                ServiceMode(replicated=Replicated(replicas=draw([0, 1, 2, 3, 5]))),
                ServiceMode(replicated=Replicated(replicas=draw([1, 3, 5]))),
                ServiceMode(
                    replicated_job=ReplicatedJob(max_concurrent=draw([1, 2, 3]), total_completions=draw([1, 3, 5]))
                ),
                ServiceMode(global_job=Global()),
            ]
        )
        return ServiceSpec(
            name=name,
            task_template=template,
            mode=mode,
            update_config=None if is_job(mode) else draw([update, update, None]),
            rollback_config=draw([replace(update, failure_action="pause"), None]),
            endpoint_spec=EndpointSpec(ports=self.chance.sample(ports, draw([0, 0, 1, 2]))),
        )

    # Nodes.

    def some_agent(self) -> ToyAgent:
        return self.chance.choice(list(self.swarm.agents.values()))

    async def change_node(self, node_id: str, **changes: object) -> None:
        def write(transaction: Transaction) -> None:
            node = transaction.get(Node, node_id)
            if node is not None:
                transaction.update(replace(node, **changes))

        await self.swarm.writes.write(write)

    async def change_availability(self) -> None:
        availability = self.chance.choice(["active", "active", "pause", "drain"])
        node = self.swarm.store.get(Node, self.some_agent().node_id)
        if node is not None:
            await self.change_node(node.id, spec=replace(node.spec, availability=availability))

    async def change_machine(self) -> None:
        agent = self.some_agent()
        agent.describe(replace(agent.description, nano_cpus=self.chance.choice([3, 4]) * SECOND))

    async def change_label(self) -> None:
        node = self.swarm.store.get(Node, self.some_agent().node_id)
        if node is not None:
            await self.change_node(
                node.id, spec=replace(node.spec, labels={"disk": self.chance.choice(["ssd", "hdd"])})
            )

    async def lose_power(self) -> None:
        self.some_agent().lose_power()

    async def lose_touch(self) -> None:
        agent = self.some_agent()
        agent.is_in_touch = not agent.is_in_touch

    async def replace_node(self) -> None:
        agent = self.some_agent()
        if len(self.swarm.agents) > 3:
            await self.swarm.nodes.remove(RemoveNode(reference=agent.node_id, force=True))
            del self.swarm.agents[agent.node_id]
        if len(self.swarm.agents) < MOST_NODES:
            await self.add_node()

    async def add_node(self) -> None:
        node = Node(
            id=make_id(self.chance.randbytes(ID_RANDOM_BYTES)),
            spec=NodeSpec(labels={"disk": self.chance.choice(["ssd", "hdd"])}),
            description=NodeDescription(
                hostname="host",
                platform=Platform(architecture="x86_64", os="linux"),
                nano_cpus=4 * SECOND,
                memory_bytes=8 * GIB,
            ),
        )
        await self.swarm.add_node(node)

    # Managers.

    async def change_leader(self) -> None:
        await self.swarm.change_leader(self.chance.choice([0.0, 0.3, 5.0, 40.0]))

    async def change_history(self) -> None:
        limit = self.chance.choice([0, 1, 5])

        def write(transaction: Transaction) -> None:
            cluster = transaction.cluster
            assert cluster is not None
            orchestration = replace(cluster.spec.orchestration, task_history_retention_limit=limit)
            transaction.update(replace(cluster, spec=replace(cluster.spec, orchestration=orchestration)))

        await self.swarm.writes.write(write)

    # The end.

    async def put_in_order(self) -> None:
        """Everybody is in touch again, and no service keeps failing or may go back to what failed."""
        for agent in self.swarm.agents.values():
            agent.is_in_touch = True
        while doomed := [service for service in self.services() if is_doomed(service)]:
            for service in doomed:
                is_of_job = is_job(service.spec.mode)
                container = ContainerSpec(image="short-9" if is_of_job else "good-9")
                template = replace(service.spec.task_template, container_spec=container)
                update = None if is_of_job else UpdateConfig(failure_action="continue")
                spec = replace(service.spec, task_template=template, update_config=update)
                with contextlib.suppress(RaftSwarmError):
                    await self.write_spec(service, spec)
            await trio.sleep(1)


def is_doomed(service: Service) -> bool:
    container, config = service.spec.task_template.container_spec, service.spec.update_config
    assert container is not None
    is_under_way = service.update_status is not None and service.update_status.completed_at == 0
    may_fail = config is None or config.failure_action != "continue"
    rests = ("good", "short") if is_job(service.spec.mode) else "good"
    return not container.image.startswith(rests) or (is_under_way and may_fail)


async def live(seed: int) -> int:
    swarm = SmallSwarm(seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(swarm.run)
        operators = Operators(swarm)
        for _ in range(4):
            await operators.add_node()
        for _ in range(OPERATIONS):
            await operators.do_something()
        await operators.put_in_order()
        await swarm.come_to_rest()
        nursery.cancel_scope.cancel()
    return swarm.log.applied


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_rules_hold_whatever_happens(seed: int) -> None:
    applied = run_seeded(lambda _: live(seed), seed)

    assert applied > OPERATIONS, "a swarm in which nothing happened tests nothing"
