"""Who is struck, and how: on a swarm that is laid out and does not run, since networks and disks are a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftswarm.lab.chaos.schedule import PlannedFault
from raftswarm.lab.chaos.striking import Nemesis
from raftswarm.local import LocalSwarm
from raftswarm.world.conditions import Conditions


@pytest.fixture
def swarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalSwarm:
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    return LocalSwarm.create(tmp_path / "swarm", managers=3, workers=2, name_prefix="docker")


@pytest.fixture
def nemesis(swarm: LocalSwarm) -> Nemesis:
    async def leader() -> str:
        return "docker2"

    return Nemesis(swarm, leader)


def planned(kind: str, form: str, target: str = "leader", *, place: int = 0, amount: float = 0.0) -> PlannedFault:
    return PlannedFault(kind=kind, form=form, target=target, place=place, at=0.0, seconds=1.0, amount=amount)


def cuts(swarm: LocalSwarm) -> set[str]:
    names = {node.address: node.name.removeprefix("docker") for node in swarm.nodes}
    return {names[link.sender] + names[link.receiver] for link in swarm.conditions.links if link.cut}


@pytest.mark.parametrize(
    ("target", "place", "struck"),
    [
        ("leader", 5, "docker2"),
        ("follower", 0, "docker1"),
        ("follower", 3, "docker3"),
        ("worker", 0, "docker4"),
        ("worker", 7, "docker5"),
    ],
)
async def test_a_role_becomes_a_node_when_it_strikes(nemesis: Nemesis, target: str, place: int, struck: str) -> None:
    [node] = await nemesis.choose(planned("kill", "daemon", target, place=place))

    assert node.name == struck


@pytest.mark.parametrize("target", ["leader", "follower", "worker"])
@pytest.mark.parametrize("place", range(5))
async def test_whoever_is_cut_off_in_company_leaves_a_majority_of_managers(
    nemesis: Nemesis, target: str, place: int
) -> None:
    nodes = await nemesis.choose(planned("partition", "halves", target, place=place))

    assert sum(node.role == "manager" for node in nodes) <= 1
    assert 2 <= len(nodes) <= 3
    assert len({node.name for node in nodes}) == len(nodes)


@pytest.mark.parametrize(
    ("form", "ways"),
    [
        ("alone", {"21", "23", "24", "25", "12", "32", "42", "52"}),
        ("deaf", {"12", "32", "42", "52"}),
        ("dumb", {"21", "23", "24", "25"}),
        ("late", set()),
    ],
)
async def test_a_partition_cuts_these_ways_and_is_mended(
    nemesis: Nemesis, swarm: LocalSwarm, form: str, ways: set[str]
) -> None:
    fault = planned("partition", form, amount=0.1)
    nodes = await nemesis.choose(fault)

    await nemesis.strike(fault, nodes)

    assert cuts(swarm) == ways
    assert len(swarm.conditions.links) == len(ways) or form == "late"
    await nemesis.mend(fault, nodes)
    assert swarm.conditions == Conditions()


async def test_a_slow_network_is_slow_both_ways(nemesis: Nemesis, swarm: LocalSwarm) -> None:
    fault = planned("partition", "late", amount=0.1)

    await nemesis.strike(fault, await nemesis.choose(fault))

    leader = swarm.node("docker2").address
    assert len(swarm.conditions.links) == 8
    assert all(link.delay_seconds == 0.1 and leader in (link.sender, link.receiver) for link in swarm.conditions.links)


@pytest.mark.parametrize(
    ("kind", "form", "amount", "field", "value"),
    [
        ("slow-disk", "syncs", 0.4, "sync_seconds", 0.4),
        ("full-disk", "writes", 0.0, "disk_full", True),
        ("clock", "date", -600.0, "date_seconds", -600.0),
        ("clock", "rate", 2.0, "clock_rate", 2.0),
    ],
)
async def test_a_machine_has_this_trouble_and_no_other(
    nemesis: Nemesis, swarm: LocalSwarm, kind: str, form: str, amount: float, field: str, value: object
) -> None:
    fault = planned(kind, form, amount=amount)

    await nemesis.strike(fault, await nemesis.choose(fault))

    [machine] = swarm.conditions.machines
    assert machine.host == swarm.node("docker2").address
    assert getattr(machine, field) == value
