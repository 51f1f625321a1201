"""Whatever befalls a swarm, once it is healed every service has its tasks: hypothesis chooses what befalls it.

Rules say what happens next, and how long everybody waits then; the swarm lives through all of it at the end, in virtual
time. So a failure is shrunk to the few steps that matter, and a seed with which they do. RAFTSWARM_EXAMPLES says how
many stories are told.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from raftswarm.errors import RaftSwarmError
from raftswarm.lab.swarm import Lab, LabNode, plain_service, simulate
from raftswarm.objects.specs import ReplicatedJob, ServiceMode

EXAMPLES = int(os.environ.get("RAFTSWARM_EXAMPLES", "5"))
MANAGERS = ("manager-1", "manager-2", "manager-3")
NODES = (*MANAGERS, "worker-1", "worker-2")

nodes = st.sampled_from(NODES)
waits = st.sampled_from((0.0, 0.01, 0.3, 2.0, 20.0))

Step = Callable[[Lab], Awaitable[None]]


async def start(node: LabNode) -> None:
    with suppress(RaftSwarmError):  # Its disk is full; it is started again when the swarm is healed.
        await node.start()


class Swarms(RuleBasedStateMachine):
    """What befalls three managers and two workers; the story is told at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = 0
        self.steps: list[tuple[str, Step]] = []
        self.down: set[str] = set()
        """Nobody waits for an operator's work while most managers are away: then it is never done."""
        self.services: set[str] = set()

    def then(self, told: str, wait: float, step: Step) -> None:
        async def and_wait(lab: Lab) -> None:
            await step(lab)
            await trio.sleep(wait)

        self.steps.append((f"{told}; {wait:g} s", and_wait))

    def has_quorum(self) -> bool:
        return sum(name in self.down for name in MANAGERS) < 2

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        self.seed = seed

    @precondition(has_quorum)
    @rule(name=st.sampled_from(("web", "db", "queue")), replicas=st.integers(0, 5), wait=waits)
    def serve(self, name: str, replicas: int, wait: float) -> None:
        async def step(lab: Lab) -> None:
            if name in lab.services:
                await lab.scale(name, replicas)
            else:
                await lab.create_service(name, replicas=replicas)

        self.services.add(name)
        self.then(f"{replicas} of {name}", wait, step)

    @precondition(has_quorum)
    @rule(name=st.sampled_from(("sum", "mean")), concurrent=st.integers(1, 3), total=st.integers(0, 5), wait=waits)
    def run_job(self, name: str, concurrent: int, total: int, wait: float) -> None:
        job = ServiceMode(replicated_job=ReplicatedJob(max_concurrent=concurrent, total_completions=total))

        async def step(lab: Lab) -> None:
            if name in lab.services:
                await lab.update_service(name, lambda spec: replace(spec, mode=job))
            else:
                await lab.create_service(replace(plain_service(name, image="job"), mode=job))

        self.services.add(name)
        self.then(f"{total} of job {name}, {concurrent} at once", wait, step)

    @precondition(lambda self: self.services and self.has_quorum())
    @rule(data=st.data(), wait=waits, version=st.integers(1, 9))
    def roll_out(self, data: st.DataObject, wait: float, version: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.services)))
        self.then(f"version {version} of {name}", wait, lambda lab: lab.roll_out(name, str(version)))

    @precondition(lambda self: self.services and self.has_quorum())
    @rule(data=st.data(), wait=waits)
    def remove(self, data: st.DataObject, wait: float) -> None:
        name = data.draw(st.sampled_from(sorted(self.services)))
        self.services.discard(name)
        self.then(f"no {name}", wait, lambda lab: lab.remove_service(name))

    @precondition(has_quorum)
    @rule(name=nodes, availability=st.sampled_from(("active", "drain")), wait=waits)
    def drain(self, name: str, availability: str, wait: float) -> None:
        self.then(f"{name} is {availability}", wait, lambda lab: lab.set_availability(lab[name], availability))

    @rule(name=nodes, power=st.booleans(), wait=waits)
    def crash(self, name: str, power: bool, wait: float) -> None:
        self.down.add(name)
        self.then(f"{name} crashes, {power=}", wait, lambda lab: lab[name].crash(power=power))

    @rule(name=nodes, wait=waits)
    def stop(self, name: str, wait: float) -> None:
        self.down.add(name)
        self.then(f"{name} stops", wait, lambda lab: lab[name].stop())

    @rule(name=nodes, wait=waits)
    def pause(self, name: str, wait: float) -> None:
        self.down.add(name)
        self.then(f"{name} is paused", wait, lambda lab: lab[name].pause())

    @precondition(lambda self: self.down)
    @rule(data=st.data(), wait=waits)
    def come_back(self, data: st.DataObject, wait: float) -> None:
        name = data.draw(st.sampled_from(sorted(self.down)))
        self.down.discard(name)

        async def step(lab: Lab) -> None:
            await lab[name].resume()
            await start(lab[name])

        self.then(f"{name} comes back", wait, step)

    @rule(one=nodes, other=nodes, both=st.booleans(), wait=waits)
    def cut(self, one: str, other: str, both: bool, wait: float) -> None:
        async def step(lab: Lab) -> None:
            lab.cut(lab[one], lab[other])
            if both:
                lab.cut(lab[other], lab[one])
            await trio.sleep(wait)
            lab.mend()

        if one != other:
            self.then(f"{one} and {other} are cut, {both=}", 0.0, step)

    def teardown(self) -> None:
        async def story(lab: Lab) -> None:
            for told, step in self.steps:
                lab.note(told)
                await step(lab)
            await lab.heal()
            for node in lab.nodes:
                await lab.set_availability(node, "active")
            await lab.at_rest()

        for told, _ in self.steps:
            note(told)
        simulate(story, seed=self.seed)


TestSwarms = Swarms.TestCase
TestSwarms.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
