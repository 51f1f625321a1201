"""What other engines' suites expect: quorums and unit tables, as data (`shared/vectors`)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from raftswarm.raft.events import Transition
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo, SnapshotMeta
from raftswarm.raft.log_view import LogView
from raftswarm.raft.membership import plan_change, plan_leave
from raftswarm.raft.messages import AppendEntries, AppendReply, PreVoteReply, RequestVote, VoteReply
from raftswarm.raft.quorum import Quorum
from raftswarm.raft.replication import may_commit_by_counting
from raftswarm.raft.roles import Candidate, Follower, Leader

if TYPE_CHECKING:
    from tests.raft.conftest import MakeBench

VECTORS = Path(os.environ.get("RAFTSWARM_SHARED", Path(__file__).parents[3] / "shared")) / "vectors"
ROLES = {"leader": Leader, "candidate": Candidate, "follower": Follower}

Row = dict[str, Any]


def load(name: str) -> Any:
    if not (VECTORS / name).exists():
        assert not os.environ.get("CI"), f"{name} of the shared vectors is missing, and under CI nothing may be"
        pytest.skip(f"needs {name} of the shared vectors", allow_module_level=True)
    return json.loads((VECTORS / name).read_text())


CASES = load("quorum.json")["cases"]
CHANGES = load("confchange.json")["sequences"]
TABLES = load("tables.json")["tables"]


def rows(table: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", TABLES[table]["rows"], ids=str)


def entries(pairs: list[list[int]]) -> tuple[Entry, ...]:
    return tuple(
        Entry(index=index, term=term, kind=EntryKind.COMMANDS, first_command=index, command_count=1)
        for index, term in pairs
    )


def quorum_of(case: Row) -> Quorum:
    return Quorum(tuple(case["voters"]), tuple(case["voters_outgoing"] or ()))


@pytest.mark.parametrize("case", [case for case in CASES if case["kind"] == "committed"], ids=lambda case: case["id"])
def test_a_quorum_commits(case: Row) -> None:
    acknowledged = {int(member): index for member, index in case["acked"].items()}

    assert quorum_of(case).reached(lambda member: acknowledged.get(member, 0)) == case["expect_committed"]


@pytest.mark.parametrize("case", [case for case in CASES if case["kind"] == "vote"], ids=lambda case: case["id"])
def test_a_quorum_votes(case: Row) -> None:
    votes = {int(member): granted for member, granted in case["votes"].items() if granted is not None}

    assert quorum_of(case).vote_result(votes).value == case["expect_vote"]


@rows("up_to_date")
def test_a_log_is_up_to_date(row: Row) -> None:
    log = LogView(SnapshotMeta(), entries([[1, 1], [2, 2], [3, 3]]))

    assert log.is_up_to_date(row["last_term"], row["last_index"]) is row["expect"]


@rows("first_conflict")
def test_the_first_conflict_is_found(row: Row) -> None:
    log = LogView(SnapshotMeta(), entries([[1, 1], [2, 2], [3, 3]]))
    offered = entries(row["entries"])

    position = log.first_conflict(offered)

    assert (offered[position].index if position < len(offered) else 0) == row["expect"]


@rows("backtrack")
def test_a_leader_steps_back_by_terms(row: Row) -> None:
    index, term = row["snapshot"]
    log = LogView(SnapshotMeta(index=index, term=term), entries(row["log"]))

    assert log.last_index_with_term_at_most(row["index"], row["term"]) == row["expect_index"]


@rows("vote")
def test_a_vote_is_given_or_refused(row: Row, make_bench: MakeBench) -> None:
    voted_for = row["voted_for"] or (0 if row["role"] == "follower" else row["voter_id"])
    bench = make_bench(log=entries(row["voter_log"]), term=row["voter_term"], voted_for=voted_for)

    bench.receive(
        RequestVote(
            sender=row["candidate"],
            to=1,
            term=row["request_term"],
            last_index=row["last_index"],
            last_term=row["last_term"],
        )
    )
    bench.write()

    assert bench.take(VoteReply)[0].granted is row["expect_granted"]


@rows("append")
def test_entries_are_taken_or_refused(row: Row, make_bench: MakeBench) -> None:
    request = row["request"]
    bench = make_bench(log=entries(row["log"]), term=row["term"])
    bench.member._core.commit_index = row["commit"]

    bench.receive(
        AppendEntries(
            sender=2,
            to=1,
            term=request["term"],
            previous_index=request["prev_index"],
            previous_term=request["prev_term"],
            entries=entries(request["entries"]),
            commit=request["leader_commit"],
        )
    )
    bench.write()

    replies = bench.take(AppendReply)
    if row.get("expect_fatal"):  # There an engine has to stop; here a peer's bytes are dropped and change nothing.
        assert replies == []
        assert bench.terms == [term for _, term in row["log"]]
        return
    assert [reply.success for reply in replies] == [row["expect_accepted"]]
    assert bench.member.last_index == row["expect_last_index"]
    assert bench.member.commit_index == row.get("expect_commit", 0)
    assert bench.terms == [term for _, term in row.get("expect_log", [])] or "expect_log" not in row


@rows("commit")
def test_a_leader_commits_by_counting_in_its_own_term(row: Row) -> None:
    matches = row["matches"]
    log = LogView(SnapshotMeta(), entries([[index, term] for index, term in enumerate(row["log_terms"], start=1)]))
    agreed = Quorum(tuple(range(len(matches)))).reached(matches.__getitem__)
    assert agreed is not None

    committed = agreed if may_commit_by_counting(log, agreed, commit_index=0, term=row["term"]) else 0

    assert committed == row["expect_commit"]


@rows("election_result")
def test_an_election_ends(row: Row, make_bench: MakeBench) -> None:
    bench = make_bench(tuple(range(1, row["size"] + 1)))
    bench.time_out()
    others = range(2, row["size"] + 1)
    bench.receive(*(PreVoteReply(sender=peer, to=1, term=1, granted=True) for peer in others))
    bench.write()

    for peer, granted in row["votes"].items():
        bench.receive(VoteReply(sender=int(peer), to=1, term=1, granted=granted))

    assert isinstance(bench.member.role, ROLES[row["expect_role"]])
    assert bench.member.term == row["expect_term"]


@pytest.mark.parametrize("sequence", CHANGES, ids=lambda sequence: sequence["id"])
def test_configurations_follow_one_another(sequence: Row) -> None:
    configuration = Configuration()

    for step in sequence["steps"]:
        planned = plan_step(configuration, step)
        expected = step["expect"]
        assert isinstance(planned, str) == ("error" in expected), step
        if isinstance(planned, Configuration):
            configuration = planned
            assert describe(configuration) == expected["config"]


def plan_step(old: Configuration, step: Row) -> Configuration | str:
    match step["op"]:
        case "simple":
            return plan_change(old, make_changes(old, step["changes"]), Transition.SINGLE)
        case "enter_joint":
            transition = Transition.IMPLICIT if step.get("auto_leave") else Transition.EXPLICIT
            return plan_change(old, make_changes(old, step["changes"]), transition)
        case "leave_joint":
            return plan_leave(old)
        case other:
            raise AssertionError(f"unknown step {other}")


def make_changes(old: Configuration, changes: list[Row]) -> Configuration:
    """The members that are wished; node 0 is nobody, and an update says nothing of who takes part."""
    voters = {info.id for info in old.voters}
    learners = {info.id for info in (*old.learners, *old.learners_next)}
    for change in changes:
        member = change["node"]
        if member == 0 or change["type"] == "update":
            continue
        voters.discard(member)
        learners.discard(member)
        if change["type"] == "add_voter":
            voters.add(member)
        elif change["type"] == "add_learner":
            learners.add(member)
    return Configuration(voters=infos(voters), learners=infos(learners))


def infos(members: set[int]) -> tuple[MemberInfo, ...]:
    return tuple(MemberInfo(id=member) for member in sorted(members))


def describe(configuration: Configuration) -> Row:
    return {
        "voters": [info.id for info in configuration.voters],
        "voters_outgoing": [info.id for info in configuration.outgoing],
        "learners": [info.id for info in configuration.learners],
        "learners_next": [info.id for info in configuration.learners_next],
        "auto_leave": configuration.auto_leave,
    }
