"""Which nodes can take a task, and the words that say why not (SWARM 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftswarm.manager.scheduler.filters import Needs, explain, first_failing
from raftswarm.manager.scheduler.ledger import NodeLoad
from raftswarm.objects.records import Node, NodeDescription, Platform
from raftswarm.objects.specs import (
    ContainerSpec,
    Driver,
    Mount,
    Placement,
    Reservations,
    Resources,
    TaskSpec,
    VolumeOptions,
)
from raftswarm.objects.specs import Platform as WantedPlatform
from raftswarm.objects.states import NodeState, TaskState

if TYPE_CHECKING:
    from tests.manager.scheduler.conftest import Yard


SILENT = NodeDescription()
"""Of a node that has not described itself."""


def reason(yard: Yard, spec: TaskSpec, node: NodeDescription = SILENT) -> str:
    """Why a node with that description cannot take the task; empty if it can."""
    load = NodeLoad(Node(id="n1", state=NodeState.READY, description=node))
    return explain(Needs.of(yard.task(spec=spec)), [load])


@pytest.mark.parametrize(
    ("state", "availability", "passes"),
    [
        (NodeState.READY, "active", True),
        (NodeState.READY, "pause", False),
        (NodeState.READY, "drain", False),
        (NodeState.DOWN, "active", False),
        (NodeState.UNKNOWN, "active", False),
        (NodeState.DISCONNECTED, "active", False),
    ],
)
def test_only_ready_and_active_nodes_take_tasks(yard: Yard, state: NodeState, availability: str, passes: bool) -> None:
    load = NodeLoad(yard.node("n1", state=state, availability=availability))

    assert (first_failing(Needs.of(yard.task()), load) is None) is passes


def test_what_a_task_reserves_must_be_free(yard: Yard) -> None:
    load = NodeLoad(yard.node("n1", cpus=10, memory=10))
    load.add(yard.task(cpus=6, memory=6, state=TaskState.RUNNING, node="n1"))

    assert first_failing(Needs.of(yard.task(cpus=4, memory=4)), load) is None
    for too_much in (yard.task(cpus=5), yard.task(memory=5)):
        assert explain(Needs.of(too_much), [load]) == "insufficient resources on 1 node"


def test_who_reserves_nothing_fits_on_a_full_node(yard: Yard) -> None:
    load = NodeLoad(yard.node("n1", cpus=1))
    load.add(yard.task(cpus=6, state=TaskState.RUNNING, node="n1"))

    assert first_failing(Needs.of(yard.task()), load) is None


def test_generic_resources_are_on_no_node(yard: Yard) -> None:
    wanted = Reservations(generic_resources=[{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 1}}])

    assert reason(yard, TaskSpec(resources=Resources(reservations=wanted))) == "insufficient resources on 1 node"


@pytest.mark.parametrize(
    ("spec", "passes"),
    [
        (TaskSpec(log_driver=Driver(name="json-file")), True),
        (TaskSpec(log_driver=Driver(name="none")), True),
        (TaskSpec(log_driver=Driver(name="fluentd")), False),
        (TaskSpec(log_driver=Driver(name="custom")), True),
    ],
)
def test_the_log_driver_must_be_there(yard: Yard, spec: TaskSpec, passes: bool) -> None:
    node = NodeDescription(engine_version="27", plugins=(("Log", "json-file"), ("Log", "custom:latest")))

    assert (reason(yard, spec, node) == "") is passes
    assert reason(yard, spec, NodeDescription(engine_version="27")) == ""


def test_volume_drivers_other_than_local_must_be_there(yard: Yard) -> None:
    def mounting(driver: str) -> TaskSpec:
        options = VolumeOptions(driver_config=Driver(name=driver))
        return TaskSpec(container_spec=ContainerSpec(mounts=[Mount(type="volume", volume_options=options)]))

    node = NodeDescription(engine_version="27", plugins=(("Volume", "nfs"),))

    assert reason(yard, mounting("nfs"), node) == ""
    assert reason(yard, mounting("local"), node) == ""
    assert reason(yard, mounting("ceph"), node) == "missing plugin on 1 node"
    assert reason(yard, mounting("ceph"), SILENT) == ""


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        ([], True),
        ([WantedPlatform(os="linux", architecture="amd64")], True),
        ([WantedPlatform(architecture="x86_64")], True),
        ([WantedPlatform(os="linux")], True),
        ([WantedPlatform(os="windows"), WantedPlatform(os="linux", architecture="amd64")], True),
        ([WantedPlatform(os="linux", architecture="arm64")], False),
    ],
)
def test_one_of_the_platforms_must_be_the_nodes(yard: Yard, wanted: list[WantedPlatform], passes: bool) -> None:
    node = NodeDescription(platform=Platform(os="linux", architecture="x86_64"))

    assert (reason(yard, TaskSpec(placement=Placement(platforms=wanted)), node) == "") is passes


def test_a_host_port_is_taken_once_per_node_and_protocol(yard: Yard) -> None:
    load = NodeLoad(yard.node("n1"))
    load.add(yard.task(port=80, state=TaskState.RUNNING, node="n1"))

    assert explain(Needs.of(yard.task(port=80)), [load]) == "host-mode port already in use on 1 node"
    assert explain(Needs.of(yard.task(port=81)), [load]) == ""


def test_a_service_has_so_many_replicas_on_a_node_at_most(yard: Yard) -> None:
    load = NodeLoad(yard.node("n1"))
    load.add(yard.task(state=TaskState.RUNNING, node="n1"))
    load.add(yard.task(service="other", state=TaskState.RUNNING, node="n1"))

    assert explain(Needs.of(yard.task(placement=Placement(max_replicas=2))), [load]) == ""
    full = explain(Needs.of(yard.task(placement=Placement(max_replicas=1))), [load])
    assert full == "max replicas per node limit exceed"


def test_reasons_are_counted_and_the_most_frequent_comes_first(yard: Yard) -> None:
    loads = [
        NodeLoad(yard.node("n1", availability="drain")),
        NodeLoad(yard.node("n2")),
        NodeLoad(yard.node("n3")),
        NodeLoad(yard.node("n4", zone="east")),
    ]
    needs = Needs.of(yard.task(placement=Placement(constraints=["node.labels.zone==west"])))

    assert explain(needs, loads) == (
        "scheduling constraints not satisfied on 3 nodes; 1 node not available for new tasks"
    )
