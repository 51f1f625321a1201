"""The neutral forms of unit data about Raft, as types: what a file holds is checked while it is read.

They are facts that other engines' suites agree on: cases of a quorum, rows of tables, sequences of configurations.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Struct

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

    matches: Annotated[tuple[int, ...], Meta(min_length=1)]
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

    size: Annotated[int, Meta(ge=1, le=100)]
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


# confchange.json


class ConfigState(Struct, frozen=True):
    """Members."""

    voters: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


class MemberChange(Struct, frozen=True):
    """One wish of a change of the members; an update says nothing of who takes part, and node 0 is nobody."""

    type: Literal["add_voter", "add_learner", "remove", "update"]
    node: int


class ChangeExpectation(Struct, frozen=True):
    """What follows: a configuration, or a refusal, in the reference's words."""

    config: ConfigState | None = None
    error: str = ""


class ChangeStep(Struct, frozen=True):
    """A change of a configuration."""

    op: Literal["simple", "enter_joint", "leave_joint"]
    changes: tuple[MemberChange, ...]
    expect: ChangeExpectation
    auto_leave: bool = False


class ChangeSequence(Struct, frozen=True):
    """Changes one after another, from nobody on."""

    id: str
    steps: tuple[ChangeStep, ...]


class ChangesFile(Struct, frozen=True):
    """Sequences, each on its own."""

    sequences: tuple[ChangeSequence, ...]


# Histories: `lab.linearizability.files` reads them.


class IndexedHistory(Struct, frozen=True):
    """What is known of a history."""

    file: str
    model: str
    linearizable: bool


class HistoryIndex(Struct, frozen=True):
    """What is known of the histories in a folder."""

    files: tuple[IndexedHistory, ...]
