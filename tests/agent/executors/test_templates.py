"""Templates in a spec are filled in where the task runs (SWARM 8.4)."""

from __future__ import annotations

import pytest

from raftswarm.agent.executors.templates import Host, UnknownName, expand, template_values
from raftswarm.objects.records import Platform, Task
from raftswarm.objects.specs import TaskSpec

HOST = Host(node_id="node1", hostname="docker1", platform=Platform(architecture="x86_64", os="linux"))


def values(slot: int = 3) -> dict[str, str]:
    task = Task(
        id="t1",
        spec=TaskSpec(),
        service_id="s1",
        service_name="web",
        service_labels={"zone": "a", "com.example.tier": "front"},
        slot=slot,
        node_id="node1",
    )
    return template_values(task, HOST, "127.64.0.1", 80)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("{{.Service.ID}} {{.Service.Name}}", "s1 web"),
        ("{{ .Node.Hostname }}-{{.Node.ID}}", "docker1-node1"),
        ("{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}", "linux/x86_64"),
        ("{{.Task.Name}}", "web.3.t1"),
        ("{{.Task.ID}}.{{.Task.Slot}}", "t1.3"),
        ("{{.Service.Labels.zone}}", "a"),
        ('{{index .Service.Labels "com.example.tier"}}', "front"),
        ("http://{{.Task.Address}}:{{.Task.Port}}/", "http://127.64.0.1:80/"),
    ],
)
def test_a_template_is_replaced_by_its_value(text: str, result: str) -> None:
    assert expand(text, values()) == result


def test_the_slot_of_a_task_without_one_is_its_node() -> None:
    assert expand("{{.Task.Slot}}", values(slot=0)) == "node1"


def test_a_name_that_there_is_not_is_an_error() -> None:
    with pytest.raises(UnknownName, match=r"\.Task\.Color"):
        expand("{{.Task.Color}}", values())


def test_what_may_belong_to_the_program_is_left_to_it() -> None:
    assert expand("{{.Names}} {{.Task.Slot}}", values(), strict=False) == "{{.Names}} 3"
