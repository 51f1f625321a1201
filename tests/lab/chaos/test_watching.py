"""What a look at the swarm counts, and which tasks were started more than once."""

from __future__ import annotations

from pathlib import Path

from raftswarm.api.nodes import ManagerStatusJson, NodeDescriptionJson, NodeJson, NodeStatusJson, VersionJson
from raftswarm.api.tasks import TaskJson, TaskStatusJson
from raftswarm.lab.chaos.watching import see, started_twice
from raftswarm.objects.specs import NodeSpec, TaskSpec


def node(name: str, state: str = "ready", manager: ManagerStatusJson | None = None) -> NodeJson:
    return NodeJson(
        id=name,
        version=VersionJson(),
        created_at="",
        updated_at="",
        spec=NodeSpec(),
        description=NodeDescriptionJson(hostname=name),
        status=NodeStatusJson(state=state),
        manager_status=manager,
    )


def task(slot: int, where: str, state: str = "running", desired: str = "running") -> TaskJson:
    return TaskJson(
        id=f"{slot}{where}",
        version=VersionJson(),
        created_at="",
        updated_at="",
        spec=TaskSpec(),
        slot=slot,
        node_id=where,
        status=TaskStatusJson(state=state),
        desired_state=desired,
    )


def test_replicas_on_a_node_that_is_down_do_not_count_and_a_slot_counts_once() -> None:
    nodes = [
        node("a", manager=ManagerStatusJson(leader=True, reachability="reachable")),
        node("b", manager=ManagerStatusJson(reachability="unreachable")),
        node("c", state="down"),
        node("d", state="unknown"),
    ]
    tasks = [task(1, "a"), task(1, "b"), task(2, "c"), task(3, "a", "starting"), task(4, "a", desired="shutdown")]
    tasks.append(task(5, "d"))

    look = see(5.0, nodes, tasks)

    assert (look.running, look.doubled) == (2, 1)
    assert (look.ready, look.reachable, look.leader) == (2, 1, "a")


def test_a_task_that_wrote_two_lines_was_started_twice(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    assert started_twice(starts) == []

    starts.write_text("one\ntwo\none\nthree\n")

    assert started_twice(starts) == ["one"]
