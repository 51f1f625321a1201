"""Why a member did what it did: the rules that the engine names when somebody asks, each with its section.

The one big idea: the place in the engine that decides also names its rule, with the facts that it decided by, so an
explanation cannot tell another story than the code. Nothing is computed for it unless there is a trace.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Rule(Enum):
    """A section of the extended Raft paper (or of the dissertation), and what a member does by it."""

    # Elections.
    TIMED_OUT = "5.2", "has come to the end of its election timer without hearing from a leader"
    PRE_VOTE = "dissertation 9.6", "asks whether it could win term {term} before it spends a term on it"
    PRE_VOTE_GIVEN = "dissertation 9.6", "would vote for member {candidate} in term {term}"
    PRE_VOTE_REFUSED = "dissertation 9.6", "would not vote for member {candidate} in term {term}: {why}"
    PRE_VOTES_WON = "dissertation 9.6", "could win: {voters} would vote for it"
    CAMPAIGN = "5.2", "begins term {term}, votes for itself and asks the others for their votes"
    CAMPAIGN_FOR_TRANSFER = "dissertation 3.10", "begins term {term} at once, as its leader told it to"
    VOTE_GIVEN = (
        "5.2, 5.4.1",
        (
            "gives its vote in term {term} to member {candidate}, whose log ends with entry {index} of term {of_term}; "
            "its own ends with {last_index} of term {last_term}"
        ),
    )
    VOTE_REPEATED = "5.2", "gives its vote in term {term} to member {candidate} again: it is the one it voted for"
    VOTE_REFUSED = "{section}", "refuses its vote in term {term} to member {candidate}: {why}"
    VOTE_IGNORED = "dissertation 4.2.3", "pays no attention to member {candidate}'s term {term}: it hears from a leader"
    ELECTION_WON = "5.2", "wins term {term} with the votes of {voters}, a majority"
    ELECTION_LOST = "5.2", "cannot win term {term} any more: {voters} refused"
    STOPPED_LEADER = "docs/raft.md, Hints", "knows that leader {leader} has stopped, and does not wait for its timer"

    # Terms and leaders.
    LATER_TERM = "5.1", "goes from term {old} to term {term}, of which {what} tells it"
    EARLIER_TERM = "5.1", "answers a {what} of term {term} with its own, later term: whoever sent it is deposed"
    LATE_ANSWER = "5.1", "ignores a {what} of the earlier term {term}"
    FOLLOWS = "5.2", "takes member {leader} as the leader of term {term}"
    STEPS_DOWN = "{section}", "gives up leading term {term}: {why}"
    TRANSFER_TOLD = "dissertation 3.10", "tells member {heir}, which has its whole log, to campaign"

    # The log.
    LOGS_DIFFER = "5.3", "refuses entries behind {index} of term {term}: {why}"
    CONFLICT_CUT = "5.3", "cuts its log from entry {first} to {last}: the leader has others there"
    BACKS_UP = "5.3, end", "goes back to entry {next_index} to find where its log and member {peer}'s agree"
    COMMITS = (
        "5.3, 5.4.2",
        "commits up to entry {index} of term {of_term}, while it leads term {term}: a majority has that on disk",
    )
    COMMIT_HELD_BACK = "5.4.2, Figure 8", "does not commit entry {index} by counting: it is of term {term}, not its own"
    LEARNS_COMMIT = "5.3", "learns from its leader that its log is committed up to entry {index}"

    # Reads.
    READS_CONFIRMED = (
        "dissertation 6.4",
        "answers reads with index {index}: since then a majority heard it lead term {term}",
    )
    READS_BY_LEASE = (
        "dissertation 6.4.1",
        "answers reads with index {index} at once, by a lease of {left_seconds} s more",
    )

    # Members and snapshots.
    MEMBERS_CHANGE = "dissertation 4.1", "counts votes by {configuration} from now on: that is in its log"
    NEEDS_SNAPSHOT = "7", "sends member {peer} its snapshot: the entries it lacks are compacted"
    INSTALLS_SNAPSHOT = "7", "replaces its log by the leader's snapshot up to entry {index}"

    # Messages that do not count.
    DROPPED = "Figure 2", "drops a {what} from member {sender} in term {term}: {why}"

    @property
    def section(self) -> str:
        """Where it stands; of the extended Raft paper, unless it says otherwise."""
        return self.value[0]

    def tell(self, **facts: object) -> tuple[str, str]:
        """Return its section and what a member does by it, as a sentence without a subject."""
        section, sentence = self.value
        return section.format(**facts), sentence.format(**facts)


class Refusal(Enum):
    """Why a vote is refused: the first of the conditions of Figure 2 that does not hold."""

    EARLIER_TERM = "5.1", "that term is over, it is in term {own_term}"
    VOTED = "5.2", "it voted for member {voted_for}"
    HAS_LEADER = "5.2", "member {leader} leads that term"
    PROMISED = "dissertation 6.4.1", "it promised its leader to vote for nobody yet"
    FORGETFUL = "docs/raft.md, Openings", "it is not sure yet that its disk has all that it once claimed"
    LOG = "5.4.1", "its own log ends later, with entry {last_index} of term {last_term}, not {index} of term {of_term}"
    STICKY = "dissertation 4.2.3", "it hears from leader {leader}"


MESSAGE_SECTIONS: Final[dict[str, str]] = {
    "MsgApp": "5.3",
    "MsgAppResp": "5.3",
    "MsgHeartbeat": "5.2",
    "MsgHeartbeatResp": "5.2",
    "MsgVote": "5.2",
    "MsgVoteResp": "5.2",
    "MsgSnap": "7",
}
"""Where the messages of a trace are defined."""
