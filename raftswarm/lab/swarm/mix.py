"""A random mix: users change services, operators change nodes, and everything fails that can.

Each kind of event has a loop and a source of chance of its own, so that taking one out leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Final

import attrs
import trio
from msgspec.structs import replace

from raftswarm.errors import RaftSwarmError
from raftswarm.lab.swarm.lab import Lab, plain_service
from raftswarm.lab.swarm.nodes import LabNode
from raftswarm.objects.specs import Global, Replicated, ReplicatedJob, ServiceMode, ServiceSpec

SECONDS: Final = 60.0
"""Until nothing new befalls the swarm."""
MOST_SERVICES: Final = 4
MOST_REPLICAS: Final = 6

Act = Callable[[Lab, Random], Awaitable[None]]


@attrs.frozen
class Kind:
    """Something that happens again and again."""

    name: str
    every: float
    """Mean seconds between two of it."""
    act: Act


async def play_random_mix(lab: Lab, seconds: float = SECONDS) -> None:
    """Let everything happen for so long, and end what must not stay: tasks that never rest."""
    async with trio.open_nursery() as nursery:
        for kind in KINDS:
            nursery.start_soon(_repeat, lab, kind, lab.now + seconds)
    await lab.heal()
    for service in [name for name in _service_names(lab) if name.startswith("flaky")]:
        await lab.remove_service(service)


async def _repeat(lab: Lab, kind: Kind, until: float) -> None:
    chance = lab.chance(kind.name)
    while True:
        await trio.sleep(chance.expovariate(1.0 / kind.every))
        if lab.now >= until:
            return
        await kind.act(lab, chance)


# Users.


def _service_names(lab: Lab) -> list[str]:
    return sorted(lab.services)


async def _change_services(lab: Lab, chance: Random) -> None:
    names = _service_names(lab)
    if (len(names) < MOST_SERVICES and chance.random() < 0.5) or not names:
        spec = _draw_service(chance)
        if spec.name not in names:
            await lab.create_service(spec)
        return
    name = chance.choice(names)
    what = chance.random()
    if what < 0.5:
        mode = ServiceMode(replicated=Replicated(replicas=chance.randint(0, MOST_REPLICAS)))
        await lab.update_service(name, lambda spec: replace(spec, mode=mode) if spec.mode.replicated else spec)
    elif what < 0.85:
        await lab.roll_out(name, str(chance.randrange(1000)))
    else:
        await lab.remove_service(name)


def _draw_service(chance: Random) -> ServiceSpec:
    """Draw a service of any mode; jobs run what ends, or fails and is tried again."""
    image = chance.choice(("serve", "serve", "serve", "stubborn", "flaky", "job", "job"))
    spec = plain_service(f"{image}-{chance.randrange(1000)}", replicas=chance.randint(1, MOST_REPLICAS), image=image)
    is_job = image == "job" or (image == "flaky" and chance.random() < 0.5)
    if chance.random() < 0.25:
        return replace(spec, mode=ServiceMode(global_job=Global()) if is_job else ServiceMode(global_=Global()))
    if is_job:
        job = ReplicatedJob(max_concurrent=chance.randint(1, 3), total_completions=chance.randint(1, MOST_REPLICAS))
        return replace(spec, mode=ServiceMode(replicated_job=job))
    return spec


async def _change_nodes(lab: Lab, chance: Random) -> None:
    node = chance.choice(lab.nodes)
    await lab.set_availability(node, chance.choice(("drain", "pause")))
    await trio.sleep(chance.expovariate(1 / 10))
    await lab.set_availability(node, "active")


# Faults.


def _draw_length(chance: Random) -> float:
    return chance.choice((0.0, chance.expovariate(1 / 2), chance.expovariate(1 / 10), chance.expovariate(1 / 25)))


async def _crash(lab: Lab, chance: Random) -> None:
    node = chance.choice(lab.nodes)
    await node.crash(power=chance.random() < 0.3)
    await trio.sleep(_draw_length(chance))
    await _start(node)


async def _stop(lab: Lab, chance: Random) -> None:
    node = chance.choice(lab.nodes)
    await node.stop()
    await trio.sleep(_draw_length(chance))
    await _start(node)


async def _start(node: LabNode) -> None:
    with suppress(RaftSwarmError):  # Its disk is full, say: `heal` tries again.
        await node.start()


async def _pause(lab: Lab, chance: Random) -> None:
    node = chance.choice(lab.nodes)
    await node.pause()
    await trio.sleep(_draw_length(chance))
    await node.resume()


async def _cut(lab: Lab, chance: Random) -> None:
    nodes = list(lab.nodes)
    chance.shuffle(nodes)
    what = chance.random()
    if what < 0.3:
        lab.partition(nodes[: chance.randint(1, len(nodes) - 1)])
    elif what < 0.6:
        lab.cut(nodes[0], nodes[1])
    elif what < 0.8:
        lab.break_links(nodes[0], nodes[1])
    else:
        lab.slow_down(nodes[0], nodes[1], chance.uniform(0.0, 0.3))
    await trio.sleep(_draw_length(chance))
    lab.mend()


async def _fill_disk(lab: Lab, chance: Random) -> None:
    node = chance.choice(lab.nodes)
    node.fill_disk()
    await trio.sleep(_draw_length(chance))
    node.free_disk()
    if node.has_given_up:
        await node.restart()


async def _shift_clock(lab: Lab, chance: Random) -> None:
    node = chance.choice(lab.nodes)
    node.shift_clock(chance.uniform(-1800.0, 1800.0))
    await trio.sleep(_draw_length(chance))
    node.shift_clock(-node.clock.offset_seconds)


async def _end_task(lab: Lab, chance: Random) -> None:
    running = [(node, task_id) for node in lab.nodes for task_id in sorted(node.running_tasks)]
    if running:
        node, task_id = chance.choice(running)
        node.end_task(task_id, chance.choice((0, 1, 137)))


KINDS: Final = (
    Kind("services", 4.0, _change_services),
    Kind("availability", 20.0, _change_nodes),
    Kind("crash", 12.0, _crash),
    Kind("stop", 25.0, _stop),
    Kind("pause", 25.0, _pause),
    Kind("cut", 10.0, _cut),
    Kind("disk", 50.0, _fill_disk),
    Kind("clock", 30.0, _shift_clock),
    Kind("task", 5.0, _end_task),
)
