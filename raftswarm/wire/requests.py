"""What nodes ask of managers over a link: certificates, Raft membership, the dispatcher's sessions, control requests.

Each request is a tagged struct that names who may send it; each has one kind of answer, or a stream of one kind.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from raftswarm.objects.records import Node, NodeDescription, Task, TaskStatus
from raftswarm.objects.specs import PortConfig
from raftswarm.raft.log_entry import Configuration

ANYONE = ("", "swarm-worker", "swarm-manager")
"""The empty role is a caller without a certificate."""
NODES = ("swarm-worker", "swarm-manager")
MANAGERS = ("swarm-manager",)


class Request(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of all requests."""

    allowed_roles: ClassVar[tuple[str, ...]] = MANAGERS


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of all answers and stream items."""


# Certificates (SWARM 10.3). Any manager takes the request of a node that joins; only the leader signs.


class IssueCertificate(Request, frozen=True, kw_only=True):
    """Let me in: a signing request with a join token; or, with a certificate on the link, a renewal without."""

    allowed_roles = ANYONE

    csr: str
    token: str = ""
    availability: str = "active"
    hostname: str = ""


class IssuedCertificate(Answer, frozen=True, kw_only=True):
    """A certificate and what its node needs to begin."""

    node_id: str
    cluster_id: str
    role: str
    certificate: str
    root_certificate: str
    unlock_key: str = ""
    """For managers, while autolock is on."""
    cluster_version: int = 0
    """Of the cluster object that has it."""
    epoch: int = 0
    """In which a manager's log is to begin."""


# The unlock key from peers, where the swarm allows it. Leader only; others answer `NotLeader`.


class KeepUnlockCredential(Request, frozen=True, kw_only=True):
    """Take this digest of my node's credential in place of the one before; answered by `Done`."""

    digest: bytes


class AskUnlockKey(Request, frozen=True, kw_only=True):
    """Give me the unlock key: my node's certificate is sealed under it, so there is none on the link."""

    allowed_roles = ANYONE

    node_id: str
    credential: bytes


class UnlockKeyGiven(Answer, frozen=True, kw_only=True):
    """The key in force."""

    unlock_key: str


# Raft membership (SWARM 12.3). Leader only; others answer `NotLeader`.


class JoinMembers(Request, frozen=True, kw_only=True):
    """Add my node as a Raft member; it runs already, with an empty log, and waits to be told the configuration."""

    member_id: int
    """Drawn at random by the joiner, so that it can acknowledge the very change that adds it."""
    address: str
    """Where the other members reach it."""
    epoch: int = 0
    """Of the joiner's log: members of different epochs do not speak."""


class JoinedMembers(Answer, frozen=True, kw_only=True):
    """The member is in a committed configuration."""

    configuration: Configuration


class LeaveMembers(Request, frozen=True, kw_only=True):
    """Remove my node's member, if quorum survives it."""


class Done(Answer, frozen=True, kw_only=True):
    """Nothing to say but yes."""


# Dispatcher (SWARM 7). Leader only; others answer `NotLeader` with the leader's address.


class OpenSession(Request, frozen=True, kw_only=True):
    """Register this node's agent; answered by a stream of `SessionMessage`, the first at once."""

    allowed_roles = NODES

    description: NodeDescription
    session_id: str = ""
    """To resume one."""


class ManagerPeer(msgspec.Struct, frozen=True, kw_only=True):
    """A manager that an agent may turn to."""

    node_id: str
    address: str


class SessionMessage(Answer, frozen=True, kw_only=True):
    """Sent at the start and whenever one of these changed."""

    session_id: str
    node: Node
    managers: tuple[ManagerPeer, ...]
    heartbeat_seconds: float
    epoch: int = 0
    """Of the manager: an agent that has heard of a later one does not follow this."""


class BeatHeart(Request, frozen=True, kw_only=True):
    """The agent lives."""

    allowed_roles = NODES

    session_id: str


class HeartBeaten(Answer, frozen=True, kw_only=True):
    """Beat again within this time (jittered by the dispatcher)."""

    period_seconds: float


class GetAssignments(Request, frozen=True, kw_only=True):
    """Answered by a stream of `Assignments`: the first complete, then differences."""

    allowed_roles = NODES

    session_id: str


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """A running task that serves a published port."""

    task_id: str
    address: str
    """Of the task."""
    node_id: str = ""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A port that every node publishes, and who serves it."""

    service_id: str
    port: PortConfig
    backends: tuple[Backend, ...] = ()


class Assignments(Answer, frozen=True, kw_only=True):
    """What a node should run, and the routes its proxy should hold."""

    complete: bool
    """True: whatever is not named is to go. False: apply to what was sent before."""
    tasks: tuple[Task, ...] = ()
    """To run, or to bring to a higher desired state."""
    removed: tuple[str, ...] = ()
    """Task ids whose records may be forgotten."""
    routes: tuple[Route, ...] | None = None
    """All routes of the swarm, when they changed."""


class ReportStatus(Request, frozen=True, kw_only=True):
    """What the agent observed; a lower state than the stored one is ignored."""

    allowed_roles = NODES

    session_id: str
    statuses: tuple[tuple[str, TaskStatus], ...]


# Control (SWARM 14): any manager takes Engine API calls and forwards them to the leader in this form, one hop.


class Control(Request, frozen=True, kw_only=True):
    """A control request, encoded by `manager.control.requests`."""

    body: bytes


class Controlled(Answer, frozen=True, kw_only=True):
    """Its answer, encoded likewise."""

    body: bytes


AnyRequest = (
    IssueCertificate
    | KeepUnlockCredential
    | AskUnlockKey
    | JoinMembers
    | LeaveMembers
    | OpenSession
    | BeatHeart
    | GetAssignments
    | ReportStatus
    | Control
)
AnyAnswer = (
    IssuedCertificate | UnlockKeyGiven | JoinedMembers | Done | SessionMessage | HeartBeaten | Assignments | Controlled
)
