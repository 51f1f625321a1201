"""Tasks in Docker's JSON."""

from __future__ import annotations

from msgspec.structs import replace

from raftswarm.api.nodes import VersionJson
from raftswarm.api.times import write_time
from raftswarm.objects import records
from raftswarm.objects.docker_names import DockerStruct, shown
from raftswarm.objects.specs import Labels, PortConfig, TaskSpec


class ContainerStatusJson(DockerStruct, frozen=True, kw_only=True):
    """The process behind a task."""

    container_id: str = shown("")
    pid: int = shown(0)
    exit_code: int = shown(0)


class PortStatusJson(DockerStruct, frozen=True, kw_only=True):
    """Host-mode ports as bound."""

    ports: list[PortConfig] = []


class TaskStatusJson(DockerStruct, frozen=True, kw_only=True):
    """What was observed last."""

    timestamp: str = ""
    state: str = ""
    message: str = ""
    err: str = ""
    container_status: ContainerStatusJson | None = None
    port_status: PortStatusJson = shown(PortStatusJson())


class IterationJson(DockerStruct, frozen=True, kw_only=True):
    """Which run of a job; Docker leaves 0 out."""

    index: int = 0


class TaskJson(DockerStruct, frozen=True, kw_only=True):
    """``GET /tasks/{id}``."""

    id: str
    version: VersionJson
    created_at: str
    updated_at: str
    labels: Labels = shown({})
    spec: TaskSpec
    service_id: str = ""
    slot: int = 0
    node_id: str = ""
    status: TaskStatusJson
    desired_state: str = ""
    job_iteration: IterationJson | None = None


def show_task(task: records.Task) -> TaskJson:
    """Render a task. Its spec has no `Runtime`, unlike the service's: Docker shows none."""
    status = task.status
    return TaskJson(
        id=task.id,
        version=VersionJson(index=task.version),
        created_at=write_time(task.created_at),
        updated_at=write_time(task.updated_at),
        spec=replace(task.spec, runtime=""),
        service_id=task.service_id,
        slot=task.shown_slot,
        node_id=task.node_id,
        status=TaskStatusJson(
            timestamp=write_time(status.timestamp),
            state=status.state.docker_word,
            message=status.message,
            err=status.error,
            container_status=_show_container(status.container),
            port_status=PortStatusJson(ports=list(status.ports)),
        ),
        desired_state=task.desired_state.docker_word,
        job_iteration=None if task.job_iteration is None else IterationJson(index=task.job_iteration),
    )


def _show_container(container: records.ContainerStatus | None) -> ContainerStatusJson | None:
    if container is None:
        return None
    return ContainerStatusJson(container_id=container.container_id, pid=container.pid, exit_code=container.exit_code)
