"""The control API as data: what the Engine API, and any other front, may ask of the swarm (SWARM 14).

Handled on the leader by `control.handler`; followers forward requests whole. Refusals are `RequestRefused` with
SwarmKit's code and words, without the ``rpc error:`` prefix, which the Engine API adds as Docker's does.
"""

from __future__ import annotations

import msgspec

from raftswarm.errors import RequestRefused
from raftswarm.objects.explanations import ServiceExplanation, TaskExplanation
from raftswarm.objects.records import Cluster, Node, Service, Task
from raftswarm.objects.specs import NodeSpec, ServiceSpec, SwarmSpec
from raftswarm.objects.swarm_status import SwarmStatus
from raftswarm.world.slices import Slices

Filters = dict[str, list[str]]
"""Key to accepted values: OR inside a key, AND across keys."""


class ControlRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of all control requests."""


class ControlAnswer(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of all answers."""


class Accepted(ControlAnswer, frozen=True, kw_only=True):
    """It is written."""


class GetCluster(ControlRequest, frozen=True, kw_only=True):
    """Answered by `ClusterAnswer`."""


class ClusterAnswer(ControlAnswer, frozen=True, kw_only=True):
    """The cluster, its root key and unlock key blanked out."""

    cluster: Cluster


class UpdateCluster(ControlRequest, frozen=True, kw_only=True):
    """Replace the spec, or rotate secrets, or both."""

    version: int
    spec: SwarmSpec
    rotate_worker_token: bool = False
    rotate_manager_token: bool = False
    rotate_unlock_key: bool = False
    unlock_by_peers: bool | None = None
    """None: as it is."""


class GetUnlockKey(ControlRequest, frozen=True, kw_only=True):
    """Answered by `UnlockKeyAnswer`."""


class UnlockKeyAnswer(ControlAnswer, frozen=True, kw_only=True):
    """Empty when autolock is off."""

    unlock_key: str


class ManagerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A manager as Raft sees it now; computed at read time, never stored."""

    leader: bool
    reachable: bool
    address: str


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node as it is shown."""

    node: Node
    manager_status: ManagerStatus | None = None


class GetStatus(ControlRequest, frozen=True, kw_only=True):
    """How does the swarm stand? Answered by `StatusAnswer`."""


class StatusAnswer(ControlAnswer, frozen=True, kw_only=True):
    """As the leader sees it."""

    status: SwarmStatus


class ListNodes(ControlRequest, frozen=True, kw_only=True):
    """Filters: id, name, role, membership, node.label, label."""

    filters: Filters = {}


class NodesAnswer(ControlAnswer, frozen=True, kw_only=True):
    """Sorted by id."""

    nodes: tuple[NodeView, ...]


class GetNode(ControlRequest, frozen=True, kw_only=True):
    """By full id, name, or unique id prefix, in that order."""

    reference: str


class NodeAnswer(ControlAnswer, frozen=True, kw_only=True):
    """One node."""

    view: NodeView


class UpdateNode(ControlRequest, frozen=True, kw_only=True):
    """Replace the spec."""

    reference: str
    version: int
    spec: NodeSpec


class RemoveNode(ControlRequest, frozen=True, kw_only=True):
    """Forget a node that is down, or any worker with `force`."""

    reference: str
    force: bool = False


class CreateService(ControlRequest, frozen=True, kw_only=True):
    """Answered by `CreatedAnswer`."""

    spec: ServiceSpec


class CreatedAnswer(ControlAnswer, frozen=True, kw_only=True):
    """The new object's id."""

    id: str


class ServiceTaskCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Docker's `ServiceStatus`."""

    running: int
    desired: int
    completed: int = 0


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """A service as it is shown."""

    service: Service
    counts: ServiceTaskCounts | None = None


class ListServices(ControlRequest, frozen=True, kw_only=True):
    """Filters: id, name, label, mode, runtime."""

    filters: Filters = {}
    with_counts: bool = False


class ServicesAnswer(ControlAnswer, frozen=True, kw_only=True):
    """Sorted by id."""

    services: tuple[ServiceView, ...]


class GetService(ControlRequest, frozen=True, kw_only=True):
    """By full id, name, or unique id prefix."""

    reference: str


class ServiceAnswer(ControlAnswer, frozen=True, kw_only=True):
    """One service."""

    view: ServiceView


class UpdateService(ControlRequest, frozen=True, kw_only=True):
    """Replace the spec, or with `rollback` go back to the previous one."""

    reference: str
    version: int
    spec: ServiceSpec
    rollback: bool = False


class RemoveService(ControlRequest, frozen=True, kw_only=True):
    """Remove it and its tasks."""

    reference: str


class ListTasks(ControlRequest, frozen=True, kw_only=True):
    """Filters: id, name, service, node, label, desired-state, _up-to-date, runtime."""

    filters: Filters = {}


class TasksAnswer(ControlAnswer, frozen=True, kw_only=True):
    """Sorted by id."""

    tasks: tuple[Task, ...]


class GetTask(ControlRequest, frozen=True, kw_only=True):
    """By full id or unique id prefix."""

    reference: str


class TaskAnswer(ControlAnswer, frozen=True, kw_only=True):
    """One task."""

    task: Task


class ExplainTask(ControlRequest, frozen=True, kw_only=True):
    """Why is it where it is? Answered by `TaskExplained`."""

    reference: str


class TaskExplained(ControlAnswer, frozen=True, kw_only=True):
    """Why a task is where it is."""

    explanation: TaskExplanation


class ExplainService(ControlRequest, frozen=True, kw_only=True):
    """Why is it not as it should be? Answered by `ServiceExplained`."""

    reference: str


class ServiceExplained(ControlAnswer, frozen=True, kw_only=True):
    """Why a service is as it is."""

    explanation: ServiceExplanation


AnyControlRequest = (
    GetCluster
    | UpdateCluster
    | GetUnlockKey
    | GetStatus
    | ListNodes
    | GetNode
    | UpdateNode
    | RemoveNode
    | CreateService
    | ListServices
    | GetService
    | UpdateService
    | RemoveService
    | ListTasks
    | GetTask
    | ExplainTask
    | ExplainService
)
_ShortAnswer = (
    Accepted
    | ClusterAnswer
    | UnlockKeyAnswer
    | StatusAnswer
    | NodesAnswer
    | NodeAnswer
    | CreatedAnswer
    | ServicesAnswer
    | ServiceAnswer
    | TaskAnswer
    | TaskExplained
    | ServiceExplained
)
AnyControlAnswer = _ShortAnswer | TasksAnswer


class _TasksInPieces(ControlAnswer, frozen=True, kw_only=True, tag="TasksAnswer"):
    """A `TasksAnswer` whose tasks are encoded, each for itself: there may be too many of them for one go."""

    tasks: tuple[msgspec.Raw, ...]


_encoder = msgspec.msgpack.Encoder()
_task_decoder = msgspec.msgpack.Decoder(Task)
_request_decoder: msgspec.msgpack.Decoder[AnyControlRequest] = msgspec.msgpack.Decoder(AnyControlRequest)
_answer_decoder: msgspec.msgpack.Decoder[_ShortAnswer | _TasksInPieces] = msgspec.msgpack.Decoder(
    _ShortAnswer | _TasksInPieces
)


def encode_request(request: AnyControlRequest) -> bytes:
    """Encode for the link to the leader."""
    return _encoder.encode(request)


def decode_request(body: bytes) -> AnyControlRequest:
    """Decode on the leader; RequestRefused when a peer sent something else."""
    try:
        return _request_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RequestRefused(f"not a control request: {error}", code="InvalidArgument") from error


def encode_answer(answer: AnyControlAnswer) -> Slices[bytes]:
    """Encode for the link back."""
    if not isinstance(answer, TasksAnswer):
        return _encoder.encode(answer)
    tasks: list[msgspec.Raw] = []
    for task in answer.tasks:
        yield
        tasks.append(msgspec.Raw(_encoder.encode(task)))
    return _encoder.encode(_TasksInPieces(tasks=tuple(tasks)))


def decode_answer(body: bytes) -> Slices[AnyControlAnswer]:
    """Decode on the follower; RequestRefused when the leader answered with something else."""
    try:
        answer = _answer_decoder.decode(body)
        if not isinstance(answer, _TasksInPieces):
            return answer
        tasks: list[Task] = []
        for task in answer.tasks:
            yield
            tasks.append(_task_decoder.decode(task))
        return TasksAnswer(tasks=tuple(tasks))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RequestRefused(f"the leader's answer cannot be understood: {error}", code="Internal") from error
