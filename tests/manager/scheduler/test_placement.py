"""Spreading over branches and nodes (SWARM 5.3)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from raftswarm.manager.scheduler.placement import spread
from raftswarm.objects.specs import Placement, PlacementPreference, SpreadOver
from raftswarm.objects.states import TaskState
from raftswarm.world.slices import in_one_piece

if TYPE_CHECKING:
    from raftswarm.objects.records import Task
    from tests.manager.scheduler.conftest import Yard


def place(yard: Yard, tasks: list[Task], failures: dict[str, int] | None = None) -> Counter[str]:
    """How many tasks each node gets; those without one under ""."""
    loads = yard.ledger().loads
    placed, left = in_one_piece(spread(tasks, list(loads.values()), failures or {}))
    return Counter([node for _, node in placed] + [""] * len(left))


def test_tasks_are_spread_evenly(yard: Yard) -> None:
    for node in ("n1", "n2", "n3"):
        yard.node(node)

    assert sorted(place(yard, yard.tasks(7)).values()) == [2, 2, 3]


def test_nodes_with_fewer_tasks_of_the_service_come_first(yard: Yard) -> None:
    yard.node("n1")
    yard.node("n2")
    yard.tasks(3, node="n1", state=TaskState.RUNNING)
    yard.tasks(5, node="n2", state=TaskState.RUNNING, service="other")

    assert place(yard, yard.tasks(3)) == {"n2": 3}


def test_then_nodes_with_fewer_tasks(yard: Yard) -> None:
    yard.node("n1")
    yard.node("n2")
    yard.task(node="n1", state=TaskState.RUNNING, service="other")

    assert place(yard, yard.tasks(1)) == {"n2": 1}


def test_a_node_where_the_spec_failed_five_times_is_the_last_choice(yard: Yard) -> None:
    yard.node("n1")
    yard.node("n2")
    yard.tasks(3, node="n2", state=TaskState.RUNNING)

    assert place(yard, yard.tasks(2), {"n1": 4}) == {"n1": 2}
    assert place(yard, yard.tasks(2), {"n1": 5, "n2": 4}) == {"n2": 2}
    assert place(yard, yard.tasks(2), {"n1": 5, "n2": 6}) == {"n1": 2}


def test_a_full_node_is_left_out(yard: Yard) -> None:
    yard.node("n1", cpus=10)
    yard.node("n2", cpus=3)

    assert place(yard, yard.tasks(5, cpus=3)) == {"n1": 3, "n2": 1, "": 1}


def test_branches_are_levelled_before_nodes(yard: Yard) -> None:
    yard.node("e1", zone="east")
    for node in ("w1", "w2", "w3"):
        yard.node(node, zone="west")

    assert place(yard, yard.tasks(6, spread="node.labels.zone")) == {"e1": 3, "w1": 1, "w2": 1, "w3": 1}


def test_what_stands_in_a_branch_counts_also_on_nodes_that_take_no_more(yard: Yard) -> None:
    yard.node("e1", zone="east", availability="pause")
    yard.node("e2", zone="east")
    yard.node("w1", zone="west")
    yard.tasks(2, node="e1", state=TaskState.RUNNING)

    assert place(yard, yard.tasks(2, spread="node.labels.zone")) == {"w1": 2}


def test_what_a_full_branch_cannot_take_goes_to_the_others(yard: Yard) -> None:
    yard.node("e1", cpus=1, zone="east")
    yard.node("w1", cpus=9, zone="west")
    yard.node("x1", cpus=9)

    placed = place(yard, yard.tasks(9, cpus=1, spread="node.labels.zone"))

    assert placed == {"e1": 1, "w1": 4, "x1": 4}


def test_preferences_nest(yard: Yard) -> None:
    for zone, rack, node in (("a", "1", "a1"), ("a", "2", "a2"), ("b", "1", "b1")):
        yard.node(node, zone=zone, rack=rack)
    preferences = [
        PlacementPreference(spread=SpreadOver(spread_descriptor=name))
        for name in ("node.labels.zone", "Node.Labels.rack")
    ]

    placed = place(yard, yard.tasks(4, placement=Placement(preferences=preferences)))

    assert placed == {"a1": 1, "a2": 1, "b1": 2}


def test_other_descriptors_are_ignored(yard: Yard) -> None:
    yard.node("n1")
    yard.node("n2")

    assert place(yard, yard.tasks(2, spread="node.id")) == {"n1": 1, "n2": 1}
