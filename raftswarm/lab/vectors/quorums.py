"""Cases of a quorum: how far it has come, and how an election stands."""

from __future__ import annotations

from raftswarm.lab.vectors.formats import CommitCase, QuorumFile, VoteCase
from raftswarm.lab.vectors.outcomes import Outcome, compare
from raftswarm.raft.quorum import Quorum


def check_quorums(file: QuorumFile) -> list[Outcome]:
    """Check every case."""
    return [_check(case) for case in file.cases]


def _check(case: CommitCase | VoteCase) -> Outcome:
    quorum = Quorum(case.voters, case.voters_outgoing or ())
    match case:
        case CommitCase(acked=acked, expect_committed=expected):
            return compare(case.id, committed=(expected, quorum.reached(lambda member: acked.get(member, 0))))
        case VoteCase(votes=votes, expect_vote=expected_vote):
            given = {member: granted for member, granted in votes.items() if granted is not None}
            return compare(case.id, vote=(expected_vote, quorum.vote_result(given).value))
