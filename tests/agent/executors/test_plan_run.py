"""From a spec to a command of this machine; refused in Docker's words where it cannot be (SWARM 8.4)."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from raftswarm.agent.executors.executor import TaskRejected
from raftswarm.agent.executors.plan_run import (
    Machine,
    choose_command,
    image_name,
    minimal_environment,
    plan_run,
    stop_grace_seconds,
    stop_signal,
)
from raftswarm.agent.executors.templates import Host
from raftswarm.objects.records import Endpoint, Task
from raftswarm.objects.specs import ContainerSpec, EndpointSpec, Mount, PortConfig, TaskSpec

MACHINE = Machine(
    host=Host(node_id="node1", hostname="docker1"),
    images={"shop/web": ("/opt/web", "--serve")},
    environment={"PATH": "/bin", "HOME": "/root"},
    has_program={"redis", "python"}.__contains__,
)


def make_task(endpoint: Endpoint | None = None, **fields: Any) -> Task:
    spec = TaskSpec(container_spec=ContainerSpec(**{"image": "redis:latest", **fields}))
    return Task(id="t1", spec=spec, service_name="web", slot=2, endpoint=endpoint)


def environment_of(task: Task) -> dict[str, str]:
    return plan_run(task, "127.64.0.1", MACHINE).environment


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("web", "web"),
        ("web:latest", "web"),
        ("web:2@sha256:abc", "web"),
        ("docker.io/library/web:2", "web"),
        ("registry:5000/shop/web", "registry:5000/shop/web"),
        ("registry:5000/shop/web:2", "registry:5000/shop/web"),
    ],
)
def test_tag_and_digest_do_not_belong_to_an_images_name(reference: str, name: str) -> None:
    assert image_name(reference) == name


@pytest.mark.parametrize(
    ("image", "command", "args", "result"),
    [
        ("anything", ["sleep"], ["60"], ["sleep", "60"]),
        ("redis:7", None, None, ["redis"]),
        ("redis:7", None, ["--port", "1"], ["redis", "--port", "1"]),
        ("python:3", None, ["python", "-m", "http.server"], ["python", "-m", "http.server"]),
        ("python:3", None, ["python3.12", "-m", "http.server"], ["python3.12", "-m", "http.server"]),
        ("python:3", None, ["pythonic.py"], ["python", "pythonic.py"]),
        ("shop/web:2", None, ["-v"], ["/opt/web", "--serve", "-v"]),
        ("alpine:latest", None, ["ping", "docker.com"], ["ping", "docker.com"]),
    ],
)
def test_the_command_is_the_specs_or_what_the_image_stands_for(
    image: str, command: list[str] | None, args: list[str] | None, result: list[str]
) -> None:
    assert choose_command(ContainerSpec(image=image, command=command, args=args), MACHINE) == result


def test_an_image_that_stands_for_nothing_is_rejected_in_dockers_words() -> None:
    with pytest.raises(TaskRejected, match=r"^No such image: nosuchimage:1 \(.*command"):
        choose_command(ContainerSpec(image="nosuchimage:1"), MACHINE)


def test_an_image_is_never_taken_for_a_path() -> None:
    machine = Machine(host=MACHINE.host, images={}, environment={}, has_program=lambda _: True)

    with pytest.raises(TaskRejected, match="No such image"):
        choose_command(ContainerSpec(image="usr/bin/python"), machine)


def test_a_task_inherits_little_and_learns_its_address() -> None:
    assert environment_of(make_task()) == {
        "PATH": "/bin",
        "HOME": "/root",
        "HOSTNAME": "docker1",
        "RAFTSWARM_TASK_ADDRESS": "127.64.0.1",
    }


def test_port_is_the_target_of_the_first_published_one() -> None:
    ports = (PortConfig(target_port=80, published_port=8080), PortConfig(target_port=90))

    assert environment_of(make_task(Endpoint(ports=ports)))["PORT"] == "80"
    assert environment_of(make_task(Endpoint(spec=EndpointSpec(ports=[*ports]))))["PORT"] == "80"


def test_the_users_environment_wins() -> None:
    environment = environment_of(make_task(env=["HOME=/data", "SLOT={{.Task.Slot}}", "PATH"]))

    assert environment["HOME"] == "/data"
    assert environment["SLOT"] == "2"
    assert "PATH" not in environment


def test_arguments_may_name_the_tasks_address_and_keep_what_is_their_own() -> None:
    run = plan_run(make_task(args=["--bind={{.Task.Address}}", "--format={{.Names}}"]), "127.64.0.1", MACHINE)

    assert run.command == ("redis", "--bind=127.64.0.1", "--format={{.Names}}")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"user": "nobody"}, "another user"),
        ({"mounts": [Mount(source="/a", target="/b")]}, "mounts"),
        ({"read_only": True}, "read-only"),
        ({"env": ["my.name=1"]}, "my.name"),
        ({"env": ["A={{.Task.Color}}"]}, r"expanding env failed: .*\.Task\.Color"),
        ({"hostname": "{{.Nothing}}"}, "Nothing"),
        ({"args": ["a\0b"]}, "zero byte"),
    ],
)
def test_what_a_process_cannot_have_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskRejected, match=words):
        plan_run(make_task(**fields), "127.64.0.1", MACHINE)


@pytest.mark.parametrize(
    ("text", "number"),
    [("", signal.SIGTERM), ("SIGINT", signal.SIGINT), ("quit", signal.SIGQUIT), ("10", signal.SIGUSR1)],
)
def test_a_stop_signal_has_a_name_or_a_number(text: str, number: int) -> None:
    assert stop_signal(ContainerSpec(stop_signal=text)) == number


def test_a_stop_signal_that_there_is_not_is_refused() -> None:
    with pytest.raises(TaskRejected, match="Invalid signal: SIGNOPE"):
        stop_signal(ContainerSpec(stop_signal="SIGNOPE"))


def test_a_task_has_ten_seconds_to_stop_unless_told_otherwise() -> None:
    assert stop_grace_seconds(ContainerSpec()) == 10
    assert stop_grace_seconds(ContainerSpec(stop_grace_period=1_500_000_000)) == 1.5
    assert stop_grace_seconds(ContainerSpec(stop_grace_period=0)) == 0


def test_of_the_daemons_environment_a_task_sees_little() -> None:
    environment = minimal_environment({"PATH": "/bin", "LANG": "C", "RAFTSWARM_UNLOCK_KEY": "secret"})

    assert environment == {"PATH": "/bin", "LANG": "C"}
    assert minimal_environment({})["PATH"].endswith("/bin")
