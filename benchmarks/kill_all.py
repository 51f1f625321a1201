"""What survives when all managers are killed at once, again and again, under load. `lost` and `undone` must be 0.

Three managers on this machine. Callers create services through all of them, one after another; at a random moment all
three daemons get SIGKILL at once and are started again. Then every service that was ever acknowledged has to be there,
on each manager, unless its removal was acknowledged; what was removed has to stay away. Before the next round most of
them are removed, so that the swarm stays small.

    python benchmarks/kill_all.py [--times 200] [--writers 6] [--seed 1] [--dir DIRECTORY]
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from benchmarks.failover import empty_service, leader_of
from benchmarks.harness.surroundings import load_average, one_at_a_time
from benchmarks.harness.tables import figure, render
from raftswarm.client import ApiError, EngineClient
from raftswarm.errors import RaftSwarmError
from raftswarm.local import LocalNode, LocalSwarm
from raftswarm.local.daemons import send_signal, wait_gone

T = TypeVar("T")

WRITES_BEFORE = 20
"""Acknowledged in a round before the managers may be killed."""
AT_MOST_LATER_SECONDS = 0.5
KEPT = 5
"""Services of each round that are not removed before the next."""
RETRY_SECONDS = 0.02
PATIENCE_SECONDS = 60.0
GONE_SECONDS = 15.0


@attrs.define
class Ledger:
    """What callers know to have happened."""

    there: dict[str, str] = attrs.field(factory=dict)
    """Acknowledged services: name to id."""
    gone: set[str] = attrs.field(factory=set)
    """Names of services whose removal was acknowledged, or that turned out not to have been created."""
    unknown: set[str] = attrs.field(factory=set)
    """Names of services that were on their way, either way, when nobody answered any more."""
    asked: int = 0
    acknowledged: int = 0
    removed: int = 0
    enough: trio.Event = attrs.field(factory=trio.Event)
    """A round has seen as many acknowledged as it wants to."""


@attrs.frozen
class Round:
    """One time."""

    acknowledged: int
    unknown: int
    """Calls without an answer."""
    back_seconds: float
    """From the start of the daemons until a manager takes a write."""


async def kill_all(directory: Path, times: int, *, writers: int, seed: int) -> tuple[list[Round], Ledger]:
    """Kill and start all managers that often; AssertionError when something acknowledged is lost."""
    chance = random.Random(seed)
    ledger, rounds = Ledger(), list[Round]()
    swarm = LocalSwarm.create(directory, managers=3, workers=0, name_prefix="manager")
    try:
        await swarm.start(*swarm.nodes)
        await swarm.form()
        for number in range(1, times + 1):
            before = ledger.acknowledged
            await load_and_kill(swarm, ledger, writers, chance)
            unknown = len(ledger.unknown)
            begin = trio.current_time()
            await swarm.start(*swarm.nodes)
            await leader_of(swarm)
            await check(swarm, ledger)
            back = trio.current_time() - begin
            rounds.append(Round(ledger.acknowledged - before, unknown, back))
            await remove_most(swarm, ledger)
            print(
                f"{number:>4}  acknowledged {rounds[-1].acknowledged:>4}, without an answer {rounds[-1].unknown:>3}, "
                f"back after {back:5.2f} s",
                flush=True,
            )
    finally:
        with trio.CancelScope(shield=True):
            await swarm.down()
    return rounds, ledger


async def load_and_kill(swarm: LocalSwarm, ledger: Ledger, writers: int, chance: random.Random) -> None:
    """Let callers write through all managers, and kill these in the middle of it."""
    enough = ledger.acknowledged + WRITES_BEFORE
    ledger.enough = trio.Event()
    async with trio.open_nursery() as nursery:
        for number in range(writers):
            nursery.start_soon(write, swarm.nodes[number % len(swarm.nodes)], ledger, enough)
        with trio.fail_after(PATIENCE_SECONDS):
            await ledger.enough.wait()
        await trio.sleep(chance.uniform(0.0, AT_MOST_LATER_SECONDS))
        for node in swarm.nodes:
            send_signal(node.process, signal.SIGKILL)
        for node in swarm.nodes:
            assert await wait_gone(node.process, GONE_SECONDS), f"{node.name} survived SIGKILL"
        nursery.cancel_scope.cancel()


async def write(node: LocalNode, ledger: Ledger, enough: int) -> None:
    """Create services through one manager, one after another, until cancelled; say when so many are acknowledged."""
    while True:
        ledger.asked += 1
        name = f"write-{ledger.asked}"
        ledger.unknown.add(name)
        try:
            async with EngineClient(node.docker_host) as client:
                service = await client.create_service(empty_service(name))
        except (ApiError, RaftSwarmError):
            await trio.sleep(RETRY_SECONDS)
        else:
            ledger.unknown.discard(name)
            ledger.there[name] = service
            ledger.acknowledged += 1
            if ledger.acknowledged >= enough:
                ledger.enough.set()


async def check(swarm: LocalSwarm, ledger: Ledger) -> None:
    """Look at every manager; what is of unknown outcome is known now, as a leader's answer is final."""
    for node in swarm.nodes:
        services = await retried(lambda client: client.services(), node)
        found = {service.spec.name: service.id for service in services}
        lost = sorted(set(ledger.there) - set(found))
        undone = sorted(ledger.gone & set(found))
        assert not lost, f"{len(lost)} acknowledged services are lost, as {node.name} says: {lost[:10]}"
        assert not undone, f"{len(undone)} removed services are back, as {node.name} says: {undone[:10]}"
        ledger.there |= {name: found[name] for name in sorted(ledger.unknown & set(found))}
        ledger.gone |= ledger.unknown - set(found)
        ledger.unknown.clear()


async def remove_most(swarm: LocalSwarm, ledger: Ledger) -> None:
    """Remove all but a few of the newest services."""
    node = swarm.nodes[0]
    for name in list(ledger.there)[:-KEPT]:
        service = ledger.there.pop(name)
        ledger.unknown.add(name)

        async def remove(client: EngineClient, service: str = service) -> None:
            try:
                await client.remove_service(service)
            except ApiError as error:
                if error.status != 404:  # Removed by an earlier try whose answer was lost.
                    raise

        await retried(remove, node)
        ledger.unknown.discard(name)
        ledger.gone.add(name)
        ledger.removed += 1


async def retried(call: Callable[[EngineClient], Awaitable[T]], node: LocalNode) -> T:
    """Call until a manager answers."""
    refusal: Exception | None = None
    with trio.move_on_after(PATIENCE_SECONDS):
        while True:
            try:
                async with EngineClient(node.docker_host) as client:
                    return await call(client)
            except (ApiError, RaftSwarmError) as error:
                refusal = error
                await trio.sleep(RETRY_SECONDS)
    raise AssertionError(f"{node.name} does not answer for {PATIENCE_SECONDS:g} s: {refusal}")


def show(rounds: Sequence[Round], ledger: Ledger) -> str:
    """Return the table of all rounds; nothing was lost in any of them."""
    rows = [
        [title, *(figure(of([float(getattr(one, name)) for one in rounds])) for of in (min, statistics.median, max))]
        for title, name in (
            ("acknowledged writes before the kill", "acknowledged"),
            ("calls without an answer", "unknown"),
            ("seconds until all is served again", "back_seconds"),
        )
    ]
    table = render(("per kill of all three managers", "least", "median", "most"), rows)
    return (
        f"{table}\n\nkill-all times={len(rounds)} acknowledged={ledger.acknowledged} removed={ledger.removed} "
        "lost=0 undone=0"
    )


async def main(arguments: argparse.Namespace) -> None:
    directory = Path(tempfile.mkdtemp(prefix="raftswarm-kill-all-", dir=arguments.dir))
    print(f"load before: {load_average():.2f}")
    rounds, ledger = await kill_all(directory, arguments.times, writers=arguments.writers, seed=arguments.seed)
    print(f"load after: {load_average():.2f}\n")
    print(show(rounds, ledger))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", help="where the managers keep their state; default: the directory for temporary files")
    given = parser.parse_args()
    if given.times < 1 or given.writers < 1:
        sys.exit("--times and --writers are at least 1")
    with one_at_a_time():
        trio.run(main, given)
