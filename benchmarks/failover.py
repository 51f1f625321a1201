"""How long a swarm takes no writes when its leader dies, or hangs. Lower is better.

Three managers on this machine, writes through the Engine API of every manager the whole time. The leader is killed
(SIGKILL) or paused (SIGSTOP) again and again; the time is from then to the end of the first write that began later and
was accepted. Every acknowledged write is looked for at the end: `lost` must be 0.

    python benchmarks/failover.py [--rounds 20] [--pause]

What the engine alone does then is a part of `commits.py`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from pathlib import Path

import attrs
import trio

from benchmarks.harness.surroundings import load_average, one_at_a_time
from raftswarm.client import ApiError, EngineClient
from raftswarm.errors import RaftSwarmError
from raftswarm.local import LocalNode, LocalSwarm
from raftswarm.objects.specs import ContainerSpec, Replicated, ServiceMode, ServiceSpec, TaskSpec
from raftswarm.raft.settings import RaftSettings

SETTLE_SECONDS = 1.0


@attrs.define
class Journal:
    """What was acknowledged, and whether since the leader was lost."""

    acknowledged: set[str] = attrs.field(factory=set)
    asked: int = 0
    lost_leader_at: float = math.inf
    accepted: trio.Event = attrs.field(factory=trio.Event)
    """Set by the first accepted write that began after the leader was lost."""

    def lose_leader(self) -> None:
        """The clock starts."""
        self.accepted = trio.Event()
        self.lost_leader_at = trio.current_time()

    def accept(self, name: str, begin: float) -> None:
        """A write that began then was accepted."""
        self.acknowledged.add(name)
        if begin >= self.lost_leader_at:
            self.accepted.set()


async def write(node: LocalNode, journal: Journal) -> None:
    """Create services through one manager, one after another, for ever."""
    while True:
        journal.asked += 1
        name = f"write-{journal.asked}"
        begin = trio.current_time()
        try:
            with trio.move_on_after(5.0):
                async with EngineClient(node.docker_host) as client:
                    await client.create_service(empty_service(name))
                journal.accept(name, begin)
        except (ApiError, RaftSwarmError):
            await trio.sleep(0.002)  # Whether it happened is not known, so it does not count.


def empty_service(name: str) -> ServiceSpec:
    """A service that wants no tasks: a write, and nothing else."""
    return ServiceSpec(
        name=name,
        task_template=TaskSpec(container_spec=ContainerSpec(image="nothing")),
        mode=ServiceMode(replicated=Replicated(replicas=0)),
    )


async def leader_of(swarm: LocalSwarm) -> LocalNode:
    """The node that leads, as a manager that runs says."""
    while True:
        for node in swarm.nodes:
            if node.state != "running":
                continue
            try:
                with trio.move_on_after(2.0):
                    async with EngineClient(node.docker_host) as client:
                        nodes = await client.nodes()
                    reachable = [
                        one for one in nodes if one.manager_status and one.manager_status.reachability == "reachable"
                    ]
                    for one in reachable:
                        if one.manager_status and one.manager_status.leader and len(reachable) == len(swarm.nodes):
                            return swarm.node(str(one.description.hostname))
            except (ApiError, RaftSwarmError):
                pass
        await trio.sleep(0.05)


async def measure(swarm: LocalSwarm, rounds: int, *, pause: bool) -> list[float]:
    """Take the leader away that often; return how long each time nothing was written, in seconds."""
    times: list[float] = []
    journal = Journal()
    async with trio.open_nursery() as nursery:
        for node in swarm.nodes:
            nursery.start_soon(write, node, journal)
        for number in range(rounds):
            leader = await leader_of(swarm)
            await trio.sleep(SETTLE_SECONDS)
            journal.lose_leader()
            if pause:
                swarm.pause(leader)
            else:
                await swarm.kill(leader)
            await journal.accepted.wait()
            times.append(trio.current_time() - journal.lost_leader_at)
            print(f"  {number + 1:>3}  {leader.name}  {times[-1] * 1000:7.1f} ms", flush=True)
            if pause:
                swarm.resume(leader)
            else:
                await swarm.start(leader)
        await leader_of(swarm)
        nursery.cancel_scope.cancel()
    async with EngineClient(swarm.nodes[0].docker_host) as client:
        names = {service.spec.name for service in await client.services()}
    lost = journal.acknowledged - names
    print(f"acknowledged {len(journal.acknowledged)}, lost {len(lost)}")
    assert not lost, f"acknowledged writes are gone: {sorted(lost)[:10]}"
    return times


async def main(rounds: int, *, pause: bool) -> None:
    timeout = RaftSettings().election_seconds
    directory = Path(tempfile.mkdtemp(prefix="raftswarm-failover-"))
    swarm = LocalSwarm.create(directory, managers=3, workers=0, name_prefix="docker")
    print(f"load before: {load_average():.2f}")
    try:
        await swarm.start(*swarm.nodes)
        await swarm.form()
        times = await measure(swarm, rounds, pause=pause)
    finally:
        with trio.CancelScope(shield=True):
            await swarm.down()
    print(f"load after: {load_average():.2f}")
    kind = "paused" if pause else "killed"
    print(
        f"failover leader={kind} rounds={rounds} election_timeout={timeout * 1000:.0f} ms "
        f"median={statistics.median(times) * 1000:.1f} ms worst={max(times) * 1000:.1f} ms "
        f"({statistics.median(times) / timeout:.2f} and {max(times) / timeout:.2f} election timeouts)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pause", action="store_true", help="pause the leader instead of killing it")
    arguments = parser.parse_args()
    with one_at_a_time():
        trio.run(lambda: main(arguments.rounds, pause=arguments.pause))
