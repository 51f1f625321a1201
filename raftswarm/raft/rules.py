"""Why a member did what it did: the rules that the engine names when somebody asks, each with its section.

The one big idea: the place in the engine that decides also names its rule, with the facts that it decided by, so an
explanation cannot tell another story than the code. The same names are the marks of coverage: what random worlds
never name, they do not test. Nothing is computed for it unless somebody listens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, TypeAlias


class NamedRule(Enum):
    """What the rules of all floors have in common: where a rule stands, and what is done by it."""

    __hash__ = object.__hash__
    """Rules are equal only to themselves; to hash their names, as Enum does, takes ten times longer."""

    @property
    def section(self) -> str:
        """Where it stands; of the extended Raft paper, unless it says otherwise."""
        return str(self.value[0])

    def tell(self, **facts: object) -> tuple[str, str]:
        """Return its section and what a member does by it, as a sentence without a subject."""
        section, sentence = self.value
        return section.format(**facts), sentence.format(**facts)


RuleSink: TypeAlias = Callable[[NamedRule, Mapping[str, object]], object]
"""Hears of each rule by which something happens, with the facts; must not raise.

The fact ``case``, where there is one, tells apart what one sentence covers."""


def ignore_rule(rule: NamedRule, facts: Mapping[str, object]) -> None:
    """Nobody asks."""


class Rule(NamedRule):
    """A section of the extended Raft paper (or of the dissertation), and what a member does by it."""

    # Elections.
    TIMED_OUT = "5.2", "has come to the end of its election timer without hearing from a leader"
    NO_VOTE = "dissertation 4.2.3", "does not campaign: it has no vote"
    NOT_SURE = "docs/raft.md, Openings", "does not campaign yet: its disk may lack what it once claimed"
    VOTE_NOT_TAKEN_YET = "dissertation 4.2.2", "campaigns on: the change that takes its vote is not committed"
    PRE_VOTE = "dissertation 9.6", "asks whether it could win term {term} before it spends a term on it"
    PRE_VOTE_GIVEN = "dissertation 9.6", "would vote for member {candidate} in term {term}"
    PRE_VOTE_REFUSED = "dissertation 9.6", "would not vote for member {candidate} in term {term}: {why}"
    PRE_VOTE_LATE = "dissertation 9.6", "ignores what member {voter} would do in term {term}: it asks about another"
    PRE_VOTES_WON = "dissertation 9.6", "could win: {voters} would vote for it"
    GIVES_WAY = "docs/raft.md, Split votes", "leaves it to member {candidate} to campaign"
    LEAVES_TIME = "docs/raft.md, Hints", "waits a moment longer before it campaigns: member {candidate} may win"
    CAMPAIGNS_SOON = "docs/raft.md, Split votes", "will campaign soon: member {candidate} has the worse log"
    KEEPS_QUESTION = "docs/raft.md, Hints", "keeps the question of member {candidate}: has the leader stopped?"
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
    COUNTS_STOPPED = "docs/raft.md, Split votes", "counts member {leader}, which has stopped or is silent, as a refusal"
    ELECTION_WON = "5.2", "wins term {term} with the votes of {voters}, a majority"
    ELECTION_LOST = "5.2", "cannot win term {term} any more: {voters} refused"
    STOPPED_LEADER = "docs/raft.md, Hints", "knows that leader {leader} has stopped, and does not wait for its timer"
    IS_FIRST_HEIR = "docs/raft.md, Hints", "is the first to campaign after leader {leader}, and waits for nobody"
    IS_LATER_HEIR = "docs/raft.md, Hints", "lets {place} others campaign first after leader {leader}"
    ANSWERS_AGAIN = "docs/raft.md, Hints", "shares the hint now, and answers member {candidate} again"

    # Terms and leaders.
    LATER_TERM = "5.1", "goes from term {old} to term {term}, of which {what} tells it"
    EARLIER_TERM = "5.1", "answers a {what} of term {term} with its own, later term: whoever sent it is deposed"
    LATE_ANSWER = "5.1", "ignores a {what} of the earlier term {term}"
    NOT_ASKED_ANY_MORE = "5.1", "ignores a {what}: it no longer asks what that answers"
    FOLLOWS = "5.2", "takes member {leader} as the leader of term {term}"
    STEPS_DOWN = "{section}", "gives up leading term {term}: {why}"

    # The log.
    LOGS_DIFFER = "5.3", "refuses entries behind {index} of term {term}: {why}"
    ENTRIES_COMMITTED = "5.4.3", "skips entries that are committed here: this message is late"
    ENTRIES_KNOWN = "5.3", "has all entries of this message already"
    CONFLICT_CUT = "5.3", "cuts its log from entry {first} to {last}: the leader has others there"
    CUT_UNDER_WAY = "docs/raft.md, Durable before claimed", "counts on no write under way above entry {index}"
    CHANGE_UNDONE = "dissertation 4.1", "undoes a change of the members, which was cut from its log"
    PROMISES_TOO_MUCH = "5.3", "cannot commit entry {index} as member {leader} says: its log ends before that"
    BACKS_UP = "5.3, end", "goes back to entry {next_index} to find where its log and member {peer}'s agree"
    LATE_REFUSAL = "5.3", "ignores a refusal of member {peer}: it knows more by now"
    PROBE_REPEATED = "5.3", "sends member {peer} entries again: one probe at least was not answered"
    ENTRIES_REPEATED = "5.3", "sends member {peer} entries again: it did not acknowledge them for {seconds} s"
    WINDOW_FULL = "dissertation 10.2.1", "sends member {peer} nothing more until it acknowledges some"
    LINK_OPEN = "dissertation 10.2.1", "begins anew to find out what member {peer} has: the link is new"
    LINK_LOSES = "dissertation 10.2.1", "sends member {peer} no entries until it is heard from: messages to it get lost"
    CLAIMS_TOO_MUCH = "5.3", "ignores that member {peer} acknowledges entry {index}: its own log ends before that"
    COMMITS = (
        "5.3, 5.4.2",
        "commits up to entry {index} of term {of_term}, while it leads term {term}: a majority has that on disk",
    )
    COMMIT_HELD_BACK = "5.4.2, Figure 8", "does not commit entry {index} by counting: it is of term {term}, not its own"
    COMMITS_BEFORE_DISK = "dissertation 10.2.1", "commits up to entry {index}, which its own disk does not have yet"
    LEARNS_COMMIT = "5.3", "learns from its leader that its log is committed up to entry {index}"
    LATE_WRITE = "docs/raft.md, Durable before claimed", "does not send a {what} of term {term}, durable too late"
    OWN_VOTE_LATE = "5.2", "does not count its own vote in term {term}: it is no candidate of that any more"
    PROPOSAL_REFUSED = "5.1", "refuses a proposal: {why}"

    # Reads.
    READS_CONFIRMED = (
        "dissertation 6.4",
        "answers reads with index {index}: since then a majority heard it lead term {term}",
    )
    READS_BY_LEASE = (
        "dissertation 6.4.1",
        "answers reads with index {index} at once, by a lease of {left_seconds} s more",
    )
    LEASE_GIVEN_UP = "dissertation 6.4.1", "has no lease in term {term}: member {peer} promises too little"
    READS_WAIT_FOR_COMMIT = "dissertation 6.4", "lets reads wait: it has committed nothing in term {term} yet"
    READS_FROM_BEFORE = "dissertation 6.4", "answers the reads that waited for a leader itself, now that it leads"
    READS_LEFT_OVER = "dissertation 6.4", "keeps the reads that it could not answer as a leader for the next one"
    READ_ASKED_AGAIN = "dissertation 6.4", "asks leader {leader} again, from which index on its reads may be served"
    READ_TOO_LATE = "dissertation 6.4", "gives a read up that no leader could answer in time"

    # Members.
    MEMBERS_CHANGE = "dissertation 4.1", "counts votes by {configuration} from now on: that is in its log"
    CHANGE_REFUSED = "dissertation 4.1", "refuses a change of the members: {why}"
    CHANGE_TOO_EARLY = "dissertation 4.1", "appends no change of the members yet: {why}"
    CHANGE_IN_ONE_STEP = "dissertation 4.1", "changes its members in a single step"
    JOINT_ENTERED = "dissertation 4.3", "changes its members by a joint configuration"
    JOINT_LEFT = "dissertation 4.3", "leaves the joint configuration"
    CAUGHT_UP = "dissertation 4.2.1", "finds that member {learner} has caught up, and may be given its vote"
    ROUND_TOO_SLOW = "dissertation 4.2.1", "lets member {learner} catch up again: that round took too long"
    TELLS_REMOVED = "dissertation 4.2.3", "tells those whom the change removes that it is committed"

    # Snapshots.
    NEEDS_SNAPSHOT = "7", "sends member {peer} its snapshot: the entries it lacks are compacted"
    NOBODY_TO_SEND_TO = "7", "sends member {peer} no snapshot yet: nobody seems to be there"
    SNAPSHOT_DELIVERED = "7", "has member {peer} install the snapshot that it was sent"
    SNAPSHOT_BROKE_OFF = "7", "will go on sending member {peer} its snapshot where it broke off"
    SNAPSHOT_FAILED = "7", "has not sent member {peer} its snapshot, and will find out anew what it lacks"
    SNAPSHOT_FOR_NOTHING = "7", "pays no attention to how sending a snapshot to member {peer} ended"
    SNAPSHOT_TAKEN = "7", "goes on with entries to member {peer}, which has the snapshot or needs none any more"
    INSTALL_REPEATED = "7", "tells member {peer} again to install the snapshot that it was sent"
    INSTALL_GIVEN_UP = "7", "holds the snapshot that it sent member {peer} for lost"
    INSTALLS_SNAPSHOT = "7", "replaces its log by the leader's snapshot up to entry {index}"
    SNAPSHOT_IN_LOG = "7", "has in its log what the snapshot up to entry {index} stands for: that is committed"
    SNAPSHOT_OLD = "7", "needs no snapshot up to entry {index}: more is committed here"
    SNAPSHOT_OVERTAKEN = "7", "cuts nothing for its snapshot up to entry {index}: it has installed a newer one"
    KEEPS_FOR_FOLLOWER = "7", "keeps {count} entries before its snapshot for a follower that still needs them"

    # Transfers of leadership.
    TRANSFER_BEGUN = "dissertation 3.10", "brings member {heir} up to date, to hand leadership to it"
    TRANSFER_REFUSED = "dissertation 3.10", "does not hand leadership over: {why}"
    TRANSFER_TOLD = "dissertation 3.10", "tells member {heir}, which has its whole log, to campaign"
    TRANSFER_GIVEN_UP = "dissertation 3.10", "leads on: member {heir} has not taken over within an election timeout"
    TRANSFER_REPLACED = "dissertation 3.10", "forgets whom it was handing leadership to: a later wish took its place"
    TRANSFER_DONE = "dissertation 3.10", "sees member {leader} lead, as was wished"
    TRANSFER_FAILED = "dissertation 3.10", "tells whoever wished for another leader that it did not come to that"
    HANDS_OVER = "docs/raft.md, Who leads", "hands leadership to member {heir}: {why}"

    # Openings.
    OPENS_AGAIN = "docs/raft.md, Openings", "says again what it found on its disk to those who have not answered"
    IS_TRUSTED = "docs/raft.md, Openings", "may vote from now on: a majority has found nothing missing on its disk"
    MEETS = "docs/raft.md, Openings", "finds that member {peer} remembers all that it once claimed"
    HEARS_OF_START = "docs/raft.md, Openings", "hears that member {peer} has been started again: this is boot {boot}"
    OPENING_LATE = "docs/raft.md, Openings", "refuses the opening of an earlier start of member {peer}"
    PEER_REGRESSED = "docs/raft.md, Openings", "counts on member {peer} no more: it remembers less than it claimed"
    IS_REGRESSED = "docs/raft.md, Openings", "takes no further part: its disk was set back, as member {peer} knows"
    NEW_INCARNATION = "docs/raft.md, Openings", "introduces itself to member {peer}, which knows an earlier incarnation"
    REFUSAL_LATE = "docs/raft.md, Openings", "ignores that an earlier opening was refused by member {peer}"

    # Messages that do not count.
    NOT_HEARD = "docs/raft.md, Openings", "pays no attention to a {what} from member {sender} in term {term}: {why}"
    DROPPED = "Figure 2", "drops a {what} from member {sender} in term {term}: {why}"


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
