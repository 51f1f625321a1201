"""The neutral forms of test data about Raft, as types: what a file holds is checked while it is read.

They are facts that other engines' suites agree on: cases of a quorum, rows of unit tables, sequences of configurations,
and scenarios in which messages move only when a step says so.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from msgspec import Struct, field

# quorum.json


class CommitCase(Struct, frozen=True, tag_field="kind", tag="committed"):
    """How far a quorum has come."""

    id: str
    voters: tuple[int, ...]
    voters_outgoing: tuple[int, ...] | None
    acked: dict[int, int]
    expect_committed: int | None


class VoteCase(Struct, frozen=True, tag_field="kind", tag="vote"):
    """How an election stands; null is a voter that has not answered."""

    id: str
    voters: tuple[int, ...]
    voters_outgoing: tuple[int, ...] | None
    votes: dict[int, bool | None]
    expect_vote: Literal["won", "lost", "pending"]


class QuorumFile(Struct, frozen=True):
    """Cases, each on its own."""

    cases: tuple[CommitCase | VoteCase, ...]


# tables.json

IndexAndTerm = tuple[int, int]


class VoteRow(Struct, frozen=True):
    """A vote is asked for."""

    role: Literal["follower", "pre_candidate", "candidate", "leader"]
    voter_id: int
    voter_term: int
    voter_log: tuple[IndexAndTerm, ...]
    voted_for: int | None
    candidate: int
    request_term: int
    last_index: int
    last_term: int
    expect_granted: bool


class AppendRequest(Struct, frozen=True):
    """What a leader sends."""

    term: int
    prev_index: int
    prev_term: int
    leader_commit: int
    entries: tuple[IndexAndTerm, ...]


class AppendRow(Struct, frozen=True):
    """A follower is sent entries."""

    log: tuple[IndexAndTerm, ...]
    term: int
    commit: int
    request: AppendRequest
    expect_accepted: bool | None = None
    expect_last_index: int | None = None
    expect_commit: int | None = None
    expect_log: tuple[IndexAndTerm, ...] | None = None
    expect_fatal: bool = False
    """The reference stops here, since what is committed would change."""


class CommitRow(Struct, frozen=True):
    """A leader counts."""

    matches: tuple[int, ...]
    log_terms: tuple[int, ...]
    term: int
    expect_commit: int


class UpToDateRow(Struct, frozen=True):
    """A log is compared with terms 1, 2, 3."""

    last_index: int
    last_term: int
    expect: bool


class FirstConflictRow(Struct, frozen=True):
    """Entries are compared with terms 1, 2, 3."""

    entries: tuple[IndexAndTerm, ...]
    expect: int


class BacktrackRow(Struct, frozen=True):
    """A leader looks for where the logs may agree."""

    snapshot: IndexAndTerm
    log: tuple[IndexAndTerm, ...]
    index: int
    term: int
    expect_index: int


class ElectionRow(Struct, frozen=True):
    """Votes come in."""

    size: int
    votes: dict[int, bool]
    expect_role: Literal["leader", "candidate", "follower"]
    expect_term: int


Row = VoteRow | AppendRow | CommitRow | UpToDateRow | FirstConflictRow | BacktrackRow | ElectionRow
AnyRow = TypeVar("AnyRow", bound=Row)


class Table(Struct, Generic[AnyRow], frozen=True):
    """Rows of one kind."""

    rows: tuple[AnyRow, ...] = ()


class Tables(Struct, frozen=True, forbid_unknown_fields=True):
    """Any of them may be missing."""

    vote: Table[VoteRow] = Table()
    append: Table[AppendRow] = Table()
    commit: Table[CommitRow] = Table()
    up_to_date: Table[UpToDateRow] = Table()
    first_conflict: Table[FirstConflictRow] = Table()
    backtrack: Table[BacktrackRow] = Table()
    election_result: Table[ElectionRow] = Table()


class TablesFile(Struct, frozen=True):
    """Unit tables."""

    tables: Tables


# Scenarios.


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What the engine is told; all off by default."""

    pre_vote: bool = False
    check_quorum: bool = False
    max_inflight: int | None = None
    max_size_per_msg: int | None = None
    async_storage: bool = False
    step_down_on_removal: bool = False


class SnapshotPoint(Struct, frozen=True):
    """Where a log is cut."""

    index: int
    term: int


class LogRecord(Struct, frozen=True):
    """An entry."""

    index: int
    term: int
    kind: Literal["noop", "data", "config"]
    data: str = ""


class InitialRecord(Struct, frozen=True):
    """An entry that is there from the start."""

    index: int
    term: int
    kind: Literal["noop", "data"]
    data: str = ""


class InitialNode(Struct, frozen=True):
    """What a node has on its disk."""

    id: int
    term: int
    vote: int
    snapshot: SnapshotPoint
    log: tuple[InitialRecord, ...]
    voters: tuple[int, ...]
    learners: tuple[int, ...]


class MemberChange(Struct, frozen=True):
    """One wish of a change of the members."""

    type: Literal["add_voter", "add_learner", "remove"]
    node: int


class Step(Struct, frozen=True, tag_field="do"):
    """What happens next."""


class Campaign(Step, tag="campaign"):
    """The election timer of that node fires."""

    node: int


class Tick(Step, tag="tick"):
    """Its clock moves on."""

    node: int
    n: int


class SetElectionTimeout(Step, tag="set_election_timeout"):
    """Its election timer is set."""

    node: int
    n: int


class ProposeData(Step, tag="propose"):
    """A client's command."""

    node: int
    data: str


class ProposeConfig(Step, tag="propose_config"):
    """A change of the members; without changes, the end of a joint one."""

    node: int
    changes: tuple[MemberChange, ...]
    transition: Literal["auto", "implicit", "explicit"] = "auto"
    single: bool = False


class TransferTo(Step, tag="transfer"):
    """A change of the leader."""

    node: int
    target: int


class Read(Step, tag="read"):
    """A linearizable read."""

    node: int
    data: str


class ForgetLeader(Step, tag="forget_leader"):
    """A call that other engines do not have."""

    node: int


class ReportUnreachable(Step, tag="report_unreachable"):
    """Messages to the target were lost."""

    node: int
    target: int


class SendSnapshot(Step, tag="send_snapshot"):
    """A snapshot is sent, asked for or not."""

    node: int
    target: int


class Compact(Step, tag="compact"):
    """A log is cut before that entry."""

    node: int
    first_index: int


class Flush(Step, tag="flush"):
    """Those nodes do their work."""

    nodes: tuple[int, ...]


class Persist(Step, tag="persist"):
    """The oldest write of each is done."""

    nodes: tuple[int, ...]


class Apply(Step, tag="apply"):
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


class Selection(Step):
    """Which queued messages are meant; null is all."""

    to: tuple[int, ...] | None = None
    sender: tuple[int, ...] | None = field(default=None, name="from")
    type: MessageType | None = None


class Deliver(Selection, tag="deliver"):
    """Messages arrive."""


class Drop(Selection, tag="drop"):
    """Messages get lost."""


class Hold(Selection, tag="hold"):
    """Copies are put aside."""


class Replay(Step, tag="replay"):
    """They come back."""


class Settle(Step, tag="settle"):
    """Those nodes, or all, do their work and get their messages until nothing moves."""

    nodes: tuple[int, ...] | None = None


class Partition(Step, tag="partition"):
    """Messages between groups are lost."""

    groups: tuple[tuple[int, ...], ...]


class Heal(Step, tag="heal"):
    """They are not any more."""


class Crash(Step, tag="crash"):
    """Nodes lose what is not on disk."""

    nodes: tuple[int, ...]


class Restart(Step, tag="restart"):
    """They come back."""

    nodes: tuple[int, ...]


class AddNodes(Step, tag="add_nodes"):
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
    | Deliver
    | Drop
    | Hold
    | Replay
    | Settle
    | Partition
    | Heal
    | Crash
    | Restart
    | AddNodes
)


class ConfigState(Struct, frozen=True):
    """Members."""

    voters: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


class NodeState(Struct, frozen=True, omit_defaults=True):
    """What a node is; of one that is down only what is on its disk."""

    role: Literal["follower", "pre_candidate", "candidate", "leader", "down"]
    term: int
    vote: int
    log: tuple[LogRecord, ...]
    commit: int = 0
    config: ConfigState = ConfigState()


class Checkpoint(Struct, frozen=True):
    """After which step how many messages had been delivered, and what came of it."""

    step: int
    result: Literal["ok", "refused"]
    delivered: int


class Scenario(Struct, frozen=True):
    """A story of a few nodes, and where it ends."""

    id: str
    compare: Literal["final", "settled", "no"]
    options: Options
    nodes: tuple[InitialNode, ...]
    steps: tuple[AnyStep, ...]
    checkpoints: tuple[Checkpoint, ...]
    expect_final: dict[int, NodeState]
    expect_settled: dict[int, NodeState]
