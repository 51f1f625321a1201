"""The roles, each with the state that exists only in it, and the table of changes between them (Figure 4)."""

from __future__ import annotations

from math import inf
from typing import Final

import attrs

from raftswarm.raft.messages import PreVote
from raftswarm.raft.progress import Progress
from raftswarm.raft.read_queue import ReadQueue


@attrs.define(eq=False, kw_only=True)
class Follower:
    """Takes what the leader sends; waits for one when there is none."""

    deadline: float
    """When to ask for pre-votes, if no leader is heard from before."""
    leader: int = 0
    """0 when unknown."""
    successors: tuple[int, ...] = ()
    """In which order the leader wants voters to campaign when it has stopped."""
    asked: PreVote | None = None
    """Somebody holds that the leader has stopped: to be answered again if we come to know it too."""


@attrs.define(eq=False, kw_only=True)
class PreCandidate:
    """Asks whether an election could be won, without disturbing anybody (9.6)."""

    deadline: float
    """When to ask again."""
    lost_leader: int
    """The leader that it stopped hearing from; 0 when there was none."""
    votes: dict[int, bool]


@attrs.define(eq=False, kw_only=True)
class Candidate:
    """Asks for votes in a new term (5.2)."""

    deadline: float
    """When to give this election up."""
    lost_leader: int
    """As the pre-candidate had it."""
    votes: dict[int, bool]
    """Its own vote is among them once it is durable."""


@attrs.frozen
class Transfer:
    """A leader hands over (3.10)."""

    to: int
    gives_up_at: float
    is_told: bool = False
    """The target has the whole log and was told to campaign."""


@attrs.define(eq=False, kw_only=True)
class Leader:
    """Appends and replicates."""

    term: int
    """That it leads: its member is in a later one already when this role ends for it."""
    deadline: float
    """When the next heartbeat is due."""
    began_at: float
    first_index: int
    """The blank entry that began this term."""
    progress: dict[int, Progress]
    """Every other member, in the order of their ids."""
    successors: tuple[int, ...]
    """Other voters, best log first."""
    uncommitted_bytes: int
    commit_before: int
    """What was committed when a turn last ended."""
    has_news: bool = False
    """Somebody has yet to be told what is committed now."""
    reads: ReadQueue = attrs.field(factory=ReadQueue)
    lease_from: float = -inf
    """When the newest heartbeats left that a quorum has answered."""
    gave_up_lease: bool = False
    """It told somebody to campaign in spite of all promises: there is no lease in this term any more."""
    transfer: Transfer | None = None
    offered_at: float = -inf
    """When it last wished by itself to hand over."""
    failed_heirs: dict[int, float] = attrs.field(factory=dict)
    """Who did not take over in time, and when that was."""


Role = Follower | PreCandidate | Candidate | Leader

# Figure 4 of the Raft paper, with the dissertation's pre-vote (9.6). A change not in this table is a bug.
ROLE_CHANGES: Final[dict[type[Role], tuple[type[Role], ...]]] = {
    Follower: (Follower, PreCandidate, Candidate),
    PreCandidate: (PreCandidate, Follower, Candidate),
    Candidate: (Candidate, PreCandidate, Follower, Leader),
    Leader: (Follower,),
}
