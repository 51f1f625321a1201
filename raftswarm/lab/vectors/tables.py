"""Rows of unit tables: one question each to a log, or to a member that has it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from raftswarm.lab.vectors.bare_member import SETTINGS, BareMember, log_of, make_member
from raftswarm.lab.vectors.formats import (
    AppendRow,
    BacktrackRow,
    CommitRow,
    ElectionRow,
    FirstConflictRow,
    IndexAndTerm,
    Row,
    TablesFile,
    UpToDateRow,
    VoteRow,
)
from raftswarm.lab.vectors.outcomes import Outcome, attempt, compare
from raftswarm.lab.vectors.post import Post
from raftswarm.lab.vectors.scenario_form import InitialNode, InitialRecord, SnapshotPoint
from raftswarm.lab.vectors.scenarios import ROLES
from raftswarm.raft.events import Receive
from raftswarm.raft.log_entry import Entry, SnapshotMeta
from raftswarm.raft.log_view import LogView
from raftswarm.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendReply,
    Heartbeat,
    PreVoteReply,
    RequestVote,
    VoteReply,
)
from raftswarm.raft.quorum import Quorum
from raftswarm.raft.replication import may_commit_by_counting

NOTHING = SnapshotPoint(0, 0)


def check_tables(file: TablesFile) -> list[Outcome]:
    """Check every row of every table."""
    return [
        attempt(f"{name}[{number}]", partial(check_row, f"{name}[{number}]", row))
        for name in file.tables.__struct_fields__
        for number, row in enumerate(getattr(file.tables, name).rows)
    ]


def check_row(name: str, row: Row) -> Outcome:
    """Check one row."""
    match row:
        case VoteRow():
            return _check_vote(name, row)
        case AppendRow():
            return _check_append(name, row)
        case ElectionRow():
            return _check_election(name, row)
        case _:
            expected, got = _ask_log(row)
            return compare(name, answer=(expected, got))


def _ask_log(row: CommitRow | UpToDateRow | FirstConflictRow | BacktrackRow) -> tuple[object, object]:
    """Return what a log is expected to answer, and what it answers."""
    match row:
        case CommitRow():
            return row.expect_commit, _count(row)
        case UpToDateRow():
            return row.expect, _one_two_three().is_up_to_date(row.last_term, row.last_index)
        case FirstConflictRow():
            return row.expect, _find_conflict(row)
        case BacktrackRow():
            log = LogView(SnapshotMeta(index=row.snapshot[0], term=row.snapshot[1]), _entries(row.log))
            return row.expect_index, log.last_index_with_term_at_most(row.index, row.term)


def _check_vote(name: str, row: VoteRow) -> Outcome:
    # Whoever is no follower has given itself the vote of its term.
    vote = row.voted_for or (0 if row.role == "follower" else row.voter_id)
    bench = _member(3, term=row.voter_term, vote=vote, log=row.voter_log)
    request = RequestVote(
        sender=row.candidate, to=1, term=row.request_term, last_index=row.last_index, last_term=row.last_term
    )
    [reply] = [reply for reply in _tell(bench, request) if isinstance(reply, VoteReply)]
    return compare(name, granted=(row.expect_granted, reply.granted))


def _check_append(name: str, row: AppendRow) -> Outcome:
    bench = _member(3, term=row.term, log=row.log)
    member = bench.member
    if row.commit:
        _tell(bench, Heartbeat(sender=2, to=1, term=row.term, commit=row.commit))
    request = AppendEntries(
        sender=2,
        to=1,
        term=row.request.term,
        previous_index=row.request.prev_index,
        previous_term=row.request.prev_term,
        entries=_entries(row.request.entries),
        commit=row.request.leader_commit,
    )
    accepted = [reply.success for reply in _tell(bench, request) if isinstance(reply, AppendReply)]
    terms = tuple((index, member.term_at(index)) for index in range(1, member.last_index + 1))
    if row.expect_fatal:  # A peer's bytes never stop us: they are dropped, and nothing changes.
        return compare(name, replies=([], accepted), log=(row.log, terms))
    return compare(
        name,
        accepted=([row.expect_accepted], accepted),
        last_index=(row.expect_last_index, member.last_index),
        commit=(row.expect_commit or 0, member.commit_index),
        log=(row.expect_log if row.expect_log is not None else terms, terms),
    )


def _count(row: CommitRow) -> int:
    log = LogView(SnapshotMeta(), _entries((index, term) for index, term in enumerate(row.log_terms, start=1)))
    agreed = Quorum(tuple(range(len(row.matches)))).reached(row.matches.__getitem__)
    assert agreed is not None, "there are voters"
    return agreed if may_commit_by_counting(log, agreed, commit_index=0, term=row.term) else 0


def _find_conflict(row: FirstConflictRow) -> int:
    offered = _entries(row.entries)
    position = _one_two_three().first_conflict(offered)
    return offered[position].index if position < len(offered) else 0


def _check_election(name: str, row: ElectionRow) -> Outcome:
    bench = _member(row.size)
    bench.campaign()
    bench.work()
    _tell(bench, *(PreVoteReply(sender=peer, to=1, term=1, granted=True) for peer in range(2, row.size + 1)))
    _tell(bench, *(VoteReply(sender=peer, to=1, term=1, granted=granted) for peer, granted in row.votes.items()))
    return compare(
        name, role=(row.expect_role, ROLES[type(bench.member.role)]), term=(row.expect_term, bench.member.term)
    )


def _member(size: int, *, term: int = 0, vote: int = 0, log: Iterable[IndexAndTerm] = ()) -> BareMember:
    """Return the first of so many members, with that on its disk; the others have nothing, and know it."""
    voters = tuple(range(1, size + 1))
    first = InitialNode(1, term, vote, NOTHING, _records(log), voters, ())
    others = (InitialNode(voter, 0, 0, NOTHING, (), voters, ()) for voter in voters[1:])
    nodes = [make_member(node, SETTINGS) for node in (first, *others)]
    Post().start(*nodes)
    return nodes[0]


def _tell(bench: BareMember, *messages: AnyMessage) -> list[AnyMessage]:
    """Let messages arrive one after another; return what the member says when all is written."""
    for message in messages:
        bench.step(Receive(message))
        bench.work()
    return bench.take_sent()


def _one_two_three() -> LogView:
    return LogView(SnapshotMeta(), _entries([(1, 1), (2, 2), (3, 3)]))


def _entries(places: Iterable[IndexAndTerm]) -> tuple[Entry, ...]:
    records = _records(places)
    return tuple(log_of(records, first_command=records[0].index if records else 1))


def _records(places: Iterable[IndexAndTerm]) -> tuple[InitialRecord, ...]:
    return tuple(InitialRecord(index, term, "data") for index, term in places)
