"""Why a task is where it is, as data: made on the leader, shown to users."""

from __future__ import annotations

from raftswarm.objects.docker_names import DockerStruct, shown


class NodeExplanation(DockerStruct, frozen=True, kw_only=True):
    """What keeps a waiting task from one node."""

    node_id: str
    hostname: str = shown("")
    obstacles: list[str] = shown([])
    """Each says what would have to change; none where the task would fit."""


class TaskExplanation(DockerStruct, frozen=True, kw_only=True):
    """Why a task does not run, or that it does."""

    task_id: str
    name: str = shown("")
    """``service.slot``."""
    state: str = shown("")
    desired_state: str = shown("")
    summary: str = shown("")
    nodes: list[NodeExplanation] = shown([])
    """Of tasks that wait for a node."""


class ServiceExplanation(DockerStruct, frozen=True, kw_only=True):
    """Why a service is not as it should be, or that it is."""

    service_id: str
    name: str = shown("")
    summary: str = shown("")
    tasks: list[TaskExplanation] = shown([])
    """Those that are wanted, by slot."""
