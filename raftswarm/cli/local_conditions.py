"""``raftswarm local partition | cut | delay | loss | disk | clock | heal | conditions``: trouble on order.

Networks, disks and clocks of a local swarm's daemons are bad as long as it pleases the operator, who is outside of it
all: published ports and the Engine API stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raftswarm.api.times import SECOND, write_duration
from raftswarm.cli.local_words import directory_option, run_local
from raftswarm.cli.parsing import DURATION
from raftswarm.cli.ranges import FiniteRange

if TYPE_CHECKING:
    from raftswarm.local import LocalNode, LocalSwarm
    from raftswarm.world.conditions import Conditions

MOST_LOSS = 99.0


@click.command("partition")
@click.argument("groups", metavar="GROUP...", nargs=-1, required=True)
@directory_option
def partition(groups: tuple[str, ...], directory: Path) -> None:
    """Divide the network, such as into docker1,docker2 docker3,docker4,docker5.

    Who is not named is together with the others who are not. Connections stay open and fall silent.
    """

    def change(swarm: LocalSwarm) -> Conditions:
        named = [_nodes(swarm, group.split(",")) for word in groups for group in word.split("|")]
        flat = [node.name for group in named for node in group]
        if len(set(flat)) < len(flat):
            raise click.UsageError("a node is in one group only")
        rest = [node for node in swarm.nodes if node.name not in flat]
        return swarm.conditions.partitioned([[node.address for node in group] for group in [*named, rest]])

    _change(directory, change)


@click.command("cut")
@click.argument("sender", metavar="FROM")
@click.argument("receiver", metavar="TO")
@directory_option
def cut(sender: str, receiver: str, directory: Path) -> None:
    """Let nothing get through from one node to another; the way back stays as it is."""
    from msgspec.structs import replace

    def change(swarm: LocalSwarm) -> Conditions:
        here, there = _nodes(swarm, [sender, receiver])
        return swarm.conditions.with_links(replace(swarm.conditions.link(here.address, there.address), cut=True))

    _change(directory, change)


@click.command("delay")
@click.argument("duration", type=DURATION)
@click.argument("names", metavar="[NAME...]", nargs=-1)
@directory_option
def delay(duration: int, names: tuple[str, ...], directory: Path) -> None:
    """Have everything to and from these nodes, or all, take so much longer each way, such as 100ms."""
    from msgspec.structs import replace

    def change(swarm: LocalSwarm) -> Conditions:
        before = swarm.conditions
        ways = _ways(swarm, names)
        return before.with_links(*(replace(before.link(*way), delay_seconds=duration / SECOND) for way in ways))

    _change(directory, change)


@click.command("loss")
@click.argument("percent", type=FiniteRange(0, MOST_LOSS))
@click.argument("names", metavar="[NAME...]", nargs=-1)
@directory_option
def loss(percent: float, names: tuple[str, ...], directory: Path) -> None:
    """Lose so many percent of what goes to and from these nodes, or all; it is sent again, so it is late."""
    from msgspec.structs import replace

    def change(swarm: LocalSwarm) -> Conditions:
        before = swarm.conditions
        return before.with_links(*(replace(before.link(*way), loss=percent / 100) for way in _ways(swarm, names)))

    _change(directory, change)


@click.command("disk")
@click.argument("name")
@click.option("--slow", type=DURATION, help="How much longer each sync takes, such as 200ms; 0s for none.")
@click.option("--full/--not-full", default=None, help="Whether there is room for more.")
@directory_option
def disk(name: str, slow: int | None, full: bool | None, directory: Path) -> None:
    """Make a node's disk slow, or full.

    A node whose disk was full stops taking part in the swarm; start it again when there is room.
    """
    from msgspec.structs import replace

    def change(swarm: LocalSwarm) -> Conditions:
        machine = swarm.conditions.machine(swarm.node(name).address)
        if slow is not None:
            machine = replace(machine, sync_seconds=slow / SECOND)
        return swarm.conditions.with_machines(machine if full is None else replace(machine, disk_full=full))

    if slow is None and full is None:
        raise click.UsageError("say what is wrong with the disk: --slow DURATION, --full")
    _change(directory, change)


@click.command("clock")
@click.argument("name")
@click.option("--ahead", type=DURATION, help="How far its date is ahead, such as 2h; 0s for not at all.")
@click.option("--behind", type=DURATION, help="How far it is behind.")
@click.option("--rate", type=FiniteRange(0.1, 10), help="How fast date and timers go; 1 is right.")
@directory_option
def clock(name: str, ahead: int | None, behind: int | None, rate: float | None, directory: Path) -> None:
    """Make a node's clock wrong, or go too fast or too slow."""
    from msgspec.structs import replace

    def change(swarm: LocalSwarm) -> Conditions:
        machine = swarm.conditions.machine(swarm.node(name).address)
        if ahead is not None or behind is not None:
            machine = replace(machine, date_seconds=((ahead or 0) - (behind or 0)) / SECOND)
        return swarm.conditions.with_machines(machine if rate is None else replace(machine, clock_rate=rate))

    if ahead is None and behind is None and rate is None:
        raise click.UsageError("say what is wrong with the clock: --ahead or --behind DURATION, --rate FACTOR")
    _change(directory, change)


@click.command("heal")
@directory_option
def heal(directory: Path) -> None:
    """End all trouble with networks, disks and clocks."""
    from raftswarm.world.conditions import Conditions

    _change(directory, lambda _: Conditions())


@click.command("conditions")
@directory_option
def show(directory: Path) -> None:
    """Show what the daemons suffer now."""
    _change(directory, lambda swarm: swarm.conditions)


def _change(directory: Path, change: Callable[[LocalSwarm], Conditions]) -> None:
    from raftswarm.local import LocalSwarm

    async def go() -> list[str]:
        swarm = LocalSwarm.open(directory)
        before, after = swarm.conditions, change(swarm)
        if after != before:
            swarm.conditions = after
        return describe(swarm, after)

    for line in run_local(go):
        click.echo(line)


def describe(swarm: LocalSwarm, conditions: Conditions) -> list[str]:
    """Say what befalls whom, a line for each."""
    names = {node.address: node.name for node in swarm.nodes}
    lines = []
    ways = [
        (names.get(link.sender, link.sender), names.get(link.receiver, link.receiver), link)
        for link in conditions.links
    ]
    for sender, receiver, link in sorted(ways, key=lambda way: way[:2]):
        what = ["cut"] * link.cut
        what += [f"{write_duration(round(link.delay_seconds * SECOND))} later"] if link.delay_seconds else []
        what += [f"{link.loss * 100:g} % lost"] if link.loss else []
        lines.append(f"{sender} -> {receiver}: {', '.join(what)}")
    for machine in sorted(conditions.machines, key=lambda machine: names.get(machine.host, machine.host)):
        name = names.get(machine.host, machine.host)
        if machine.sync_seconds:
            lines.append(f"{name}: each sync takes {write_duration(round(machine.sync_seconds * SECOND))} longer")
        if machine.disk_full:
            lines.append(f"{name}: the disk is full")
        if machine.date_seconds:
            where = "ahead" if machine.date_seconds > 0 else "behind"
            lines.append(f"{name}: the date is {write_duration(round(abs(machine.date_seconds) * SECOND))} {where}")
        if machine.clock_rate != 1.0:
            lines.append(f"{name}: the clock goes {machine.clock_rate:g} times as fast")
    return lines or ["all is well"]


def _nodes(swarm: LocalSwarm, names: Sequence[str]) -> list[LocalNode]:
    return [swarm.node(name.strip()) for name in names if name.strip()]


def _ways(swarm: LocalSwarm, names: Sequence[str]) -> list[tuple[str, str]]:
    """Every way that begins or ends at one of these nodes; all if none is named."""
    chosen = {node.address for node in (_nodes(swarm, names) if names else swarm.nodes)}
    hosts = [node.address for node in swarm.nodes]
    return [way for way in permutations(hosts, 2) if chosen & set(way)]


COMMANDS = (partition, cut, delay, loss, disk, clock, heal, show)
