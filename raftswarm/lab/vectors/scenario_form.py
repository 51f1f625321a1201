"""The neutral form of scenarios, as types: nodes, steps, and where the reference ended.

Messages wait in queues and move only when a step says so; time passes only by `tick`. An election timeout is three
ticks, a heartbeat is due at each.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from raftswarm.lab.vectors.formats import ConfigState, MemberChange


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What the engine is told; all off by default."""

    pre_vote: bool = False
    check_quorum: bool = False
    max_inflight: Annotated[int, Meta(ge=1)] | None = None
    max_size_per_msg: Annotated[int, Meta(ge=0)] | None = None
    async_storage: bool = False
    step_down_on_removal: bool = False


NodeId = Annotated[int, Meta(ge=1)]
Ticks = Annotated[int, Meta(ge=0, le=1000)]


class SnapshotPoint(Struct, frozen=True):
    """Where a log is cut."""

    index: int
    term: int


KindName = Literal["noop", "data", "config"]


class LogRecord(Struct, frozen=True):
    """An entry."""

    index: int
    term: int
    kind: KindName
    data: str = ""


class InitialRecord(Struct, frozen=True):
    """An entry that is there from the start."""

    index: int
    term: int
    kind: Literal["noop", "data"]
    data: str = ""


class InitialNode(Struct, frozen=True):
    """What a node has on its disk."""

    id: NodeId
    term: int
    vote: int
    snapshot: SnapshotPoint
    log: tuple[InitialRecord, ...]
    voters: tuple[int, ...]
    learners: tuple[int, ...]


class Step(Struct, frozen=True, tag_field="do"):
    """What happens next."""


class NodeStep(Step, frozen=True):
    """Something is asked of one node."""

    node: int


class WorkStep(Step, frozen=True):
    """Nodes work, or run or do not."""


class TrafficStep(Step, frozen=True):
    """Something befalls messages."""


class Campaign(NodeStep, frozen=True, tag="campaign"):
    """The election timer of that node fires."""


class Tick(NodeStep, frozen=True, tag="tick"):
    """Its clock moves on."""

    n: Ticks


class SetElectionTimeout(NodeStep, frozen=True, tag="set_election_timeout"):
    """Its election timer is set."""

    n: Ticks


class ProposeData(NodeStep, frozen=True, tag="propose"):
    """A client's command."""

    data: str


class ProposeConfig(NodeStep, frozen=True, tag="propose_config"):
    """A change of the members; without changes, the end of a joint one."""

    changes: tuple[MemberChange, ...]
    transition: Literal["auto", "implicit", "explicit"] = "auto"
    single: bool = False


class TransferTo(NodeStep, frozen=True, tag="transfer"):
    """A change of the leader."""

    target: int


class Read(NodeStep, frozen=True, tag="read"):
    """A linearizable read."""

    data: str


class ForgetLeader(NodeStep, frozen=True, tag="forget_leader"):
    """A call that other engines do not have."""


class ReportUnreachable(NodeStep, frozen=True, tag="report_unreachable"):
    """Messages to the target were lost."""

    target: int


class SendSnapshot(NodeStep, frozen=True, tag="send_snapshot"):
    """A snapshot is sent, asked for or not."""

    target: int


class Compact(NodeStep, frozen=True, tag="compact"):
    """A log is cut before that entry."""

    first_index: int


class Flush(WorkStep, frozen=True, tag="flush"):
    """Those nodes do their work."""

    nodes: tuple[int, ...]


class Persist(WorkStep, frozen=True, tag="persist"):
    """The oldest write of each is done."""

    nodes: tuple[int, ...]


class Apply(WorkStep, frozen=True, tag="apply"):
    """What is committed is applied."""

    nodes: tuple[int, ...]


MessageType = Literal[
    "append",
    "append_reply",
    "vote",
    "vote_reply",
    "pre_vote",
    "pre_vote_reply",
    "heartbeat",
    "heartbeat_reply",
    "snapshot",
    "timeout_now",
]


class Selection(TrafficStep, frozen=True):
    """Which queued messages are meant; null is all."""

    to: tuple[int, ...] | None = None
    sender: tuple[int, ...] | None = field(default=None, name="from")
    type: MessageType | None = None


class Deliver(Selection, frozen=True, tag="deliver"):
    """Messages arrive."""


class Drop(Selection, frozen=True, tag="drop"):
    """Messages get lost."""


class Hold(Selection, frozen=True, tag="hold"):
    """Copies are put aside."""


class Replay(TrafficStep, frozen=True, tag="replay"):
    """They come back."""


class Settle(WorkStep, frozen=True, tag="settle"):
    """Those nodes, or all, do their work and get their messages until nothing moves."""

    nodes: tuple[int, ...] | None = None


class Partition(TrafficStep, frozen=True, tag="partition"):
    """Messages between groups are lost."""

    groups: tuple[tuple[int, ...], ...]


class Heal(TrafficStep, frozen=True, tag="heal"):
    """They are not any more."""


class Crash(WorkStep, frozen=True, tag="crash"):
    """Nodes lose what is not on disk."""

    nodes: tuple[int, ...]


class Restart(WorkStep, frozen=True, tag="restart"):
    """They come back."""

    nodes: tuple[int, ...]


class AddNodes(WorkStep, frozen=True, tag="add_nodes"):
    """Nodes come into being."""

    new_nodes: tuple[InitialNode, ...]


AnyStep = (
    Campaign
    | Tick
    | SetElectionTimeout
    | ProposeData
    | ProposeConfig
    | TransferTo
    | Read
    | ForgetLeader
    | ReportUnreachable
    | SendSnapshot
    | Compact
    | Flush
    | Persist
    | Apply
    | Settle
    | Crash
    | Restart
    | AddNodes
    | Deliver
    | Drop
    | Hold
    | Replay
    | Partition
    | Heal
)


RoleName = Literal["follower", "pre_candidate", "candidate", "leader", "down"]


class NodeState(Struct, frozen=True, omit_defaults=True):
    """What a node is; of one that is down only what is on its disk."""

    role: RoleName
    term: int
    vote: int
    log: tuple[LogRecord, ...]
    commit: int = 0
    config: ConfigState = ConfigState()


class Checkpoint(Struct, frozen=True):
    """After which step how many messages had been delivered, and what came of it."""

    step: Annotated[int, Meta(ge=0)]
    result: Literal["ok", "refused"]
    delivered: int


class Scenario(Struct, frozen=True):
    """A story of a few nodes, and where it ends."""

    id: str
    compare: Literal["final", "settled", "no"]
    options: Options
    nodes: Annotated[tuple[InitialNode, ...], Meta(min_length=1)]
    steps: tuple[AnyStep, ...]
    checkpoints: tuple[Checkpoint, ...]
    expect_final: dict[int, NodeState]
    expect_settled: dict[int, NodeState]
