"""Your own service in a simulated swarm: what happens to it when machines fail, minutes in a second.

python examples/service_in_the_lab.py [SEED]
"""

from __future__ import annotations

import sys

from raftswarm.lab import Lab, simulate
from raftswarm.lab.swarm import Run
from raftswarm.objects.specs import ContainerSpec, Replicated, RestartPolicy, ServiceMode, ServiceSpec, TaskSpec

SECOND = 1_000_000_000
SPEC = ServiceSpec(
    name="api",
    task_template=TaskSpec(
        container_spec=ContainerSpec(image="api", stop_grace_period=2 * SECOND),
        restart_policy=RestartPolicy(delay=SECOND),
    ),
    mode=ServiceMode(replicated=Replicated(replicas=4)),
)


async def scenario(lab: Lab) -> None:
    # How your program behaves: it runs for a minute on the average, fails, and is in no hurry to stop.
    lab.install("api", lambda chance: Run(seconds=chance.expovariate(1 / 60), exit_code=1, stops_seconds=1.5))
    service = await lab.create_service(SPEC)
    await lab.converged(service)
    print(f"{lab.now:6.1f} s  runs on", *sorted(node.name for node in lab.nodes_of(service)))

    leader, worker = await lab.wait_leader(), lab["worker-1"]
    await leader.crash()
    await worker.crash(power=True)
    await lab.wait_until(lambda _: worker not in lab.nodes_of(service))
    await lab.converged(service)
    print(f"{lab.now:6.1f} s  runs on", *sorted(node.name for node in lab.nodes_of(service)))


seed = int(sys.argv[1] if len(sys.argv) > 1 else "1")
outcome = simulate(scenario, seed=seed, managers=3, workers=2)
print(f"{outcome.seconds:.0f} simulated seconds; the same seed is the same run: {outcome.digest}")
