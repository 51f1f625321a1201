"""What each role decides about each input: the tables of the core (`Member.step`, `Member._act_on`), row by row.

A decision is the first rule that is named when an input is taken in; ``taken`` if none has to be. To go to a later term
comes before that: then the member is a follower, and what it decides next is a follower's decision. So the list is
that of the core's guards; what follows from them is for marks to say.
"""

from __future__ import annotations

from typing import Final

FOLLOWER: Final = "Follower"
PRE_CANDIDATE: Final = "PreCandidate"
CANDIDATE: Final = "Candidate"
LEADER: Final = "Leader"
MEMBER: Final = "Member"
"""Whatever its role: that is not looked at."""

_NOT_HEARD: Final = (
    "PreVote PreVoteReply RequestVote VoteReply AppendEntries AppendReply Heartbeat HeartbeatReply ReadIndex "
    "ReadIndexReply InstallSnapshot SnapshotReply TimeoutNow Opening"
)

_DECISIONS: Final[dict[str, dict[str, str]]] = {
    # Messages.
    "PreVote": {
        FOLLOWER: (
            "PRE_VOTE_GIVEN PRE_VOTE_REFUSED.EARLIER_TERM PRE_VOTE_REFUSED.HAS_LEADER PRE_VOTE_REFUSED.VOTED "
            "PRE_VOTE_REFUSED.STICKY PRE_VOTE_REFUSED.FORGETFUL PRE_VOTE_REFUSED.LOG"
        ),
        PRE_CANDIDATE: ("PRE_VOTE_GIVEN PRE_VOTE_REFUSED.EARLIER_TERM PRE_VOTE_REFUSED.VOTED PRE_VOTE_REFUSED.LOG"),
        CANDIDATE: (
            "PRE_VOTE_GIVEN PRE_VOTE_REFUSED.EARLIER_TERM PRE_VOTE_REFUSED.VOTED PRE_VOTE_REFUSED.STICKY "
            "PRE_VOTE_REFUSED.LOG"
        ),
        LEADER: ("PRE_VOTE_REFUSED.EARLIER_TERM PRE_VOTE_REFUSED.HAS_LEADER PRE_VOTE_REFUSED.STICKY"),
    },
    "PreVoteReply": {
        FOLLOWER: "LATER_TERM LATE_ANSWER NOT_ASKED_ANY_MORE",
        PRE_CANDIDATE: "LATER_TERM PRE_VOTES_WON PRE_VOTE_LATE taken",
        CANDIDATE: "LATER_TERM LATE_ANSWER NOT_ASKED_ANY_MORE",
        LEADER: "LATER_TERM LATE_ANSWER NOT_ASKED_ANY_MORE",
    },
    "RequestVote": {
        FOLLOWER: (
            "LATER_TERM VOTE_IGNORED VOTE_GIVEN VOTE_REPEATED VOTE_REFUSED.EARLIER_TERM VOTE_REFUSED.VOTED "
            "VOTE_REFUSED.HAS_LEADER VOTE_REFUSED.PROMISED VOTE_REFUSED.FORGETFUL VOTE_REFUSED.LOG"
        ),
        PRE_CANDIDATE: (
            "LATER_TERM VOTE_GIVEN VOTE_REPEATED VOTE_REFUSED.EARLIER_TERM VOTE_REFUSED.VOTED VOTE_REFUSED.LOG"
        ),
        CANDIDATE: "LATER_TERM VOTE_IGNORED VOTE_REFUSED.EARLIER_TERM VOTE_REFUSED.VOTED",
        LEADER: "LATER_TERM VOTE_IGNORED VOTE_REFUSED.EARLIER_TERM VOTE_REFUSED.VOTED",
    },
    "VoteReply": {
        FOLLOWER: "LATER_TERM LATE_ANSWER NOT_ASKED_ANY_MORE",
        PRE_CANDIDATE: "LATER_TERM LATE_ANSWER NOT_ASKED_ANY_MORE",
        CANDIDATE: "LATER_TERM LATE_ANSWER ELECTION_WON ELECTION_LOST taken",
        LEADER: "LATER_TERM LATE_ANSWER NOT_ASKED_ANY_MORE",
    },
    "AppendEntries": {
        FOLLOWER: (
            "LATER_TERM EARLIER_TERM DROPPED.AppendEntries FOLLOWS LOGS_DIFFER.TOO_SHORT LOGS_DIFFER.OTHER_TERM "
            "ENTRIES_COMMITTED ENTRIES_KNOWN CONFLICT_CUT MEMBERS_CHANGE LEARNS_COMMIT taken"
        ),
        PRE_CANDIDATE: "LATER_TERM EARLIER_TERM FOLLOWS",
        CANDIDATE: "LATER_TERM EARLIER_TERM FOLLOWS",
        LEADER: "LATER_TERM EARLIER_TERM DROPPED.AppendEntries",
    },
    "Heartbeat": {
        FOLLOWER: "LATER_TERM EARLIER_TERM DROPPED.Heartbeat FOLLOWS PROMISES_TOO_MUCH LEARNS_COMMIT taken",
        PRE_CANDIDATE: "LATER_TERM EARLIER_TERM FOLLOWS",
        CANDIDATE: "LATER_TERM EARLIER_TERM FOLLOWS",
        LEADER: "LATER_TERM EARLIER_TERM DROPPED.Heartbeat",
    },
    "InstallSnapshot": {
        FOLLOWER: (
            "LATER_TERM EARLIER_TERM DROPPED.InstallSnapshot FOLLOWS INSTALLS_SNAPSHOT SNAPSHOT_IN_LOG SNAPSHOT_OLD"
        ),
        PRE_CANDIDATE: "LATER_TERM EARLIER_TERM FOLLOWS",
        CANDIDATE: "LATER_TERM EARLIER_TERM FOLLOWS",
        LEADER: "LATER_TERM EARLIER_TERM DROPPED.InstallSnapshot",
    },
    "AppendReply": {
        FOLLOWER: "LATE_ANSWER NOT_ASKED_ANY_MORE",
        PRE_CANDIDATE: "LATE_ANSWER NOT_ASKED_ANY_MORE",
        CANDIDATE: "LATE_ANSWER",
        LEADER: (
            "LATE_ANSWER DROPPED.AppendReply CLAIMS_TOO_MUCH LATE_REFUSAL BACKS_UP.WITHIN_A_TERM BACKS_UP.OVER_TERMS "
            "SNAPSHOT_TAKEN COMMITS.OWN_TERM COMMITS.EARLIER_TERMS_TOO COMMIT_HELD_BACK taken"
        ),
    },
    "HeartbeatReply": {
        FOLLOWER: "LATER_TERM LATE_ANSWER NOT_ASKED_ANY_MORE",
        PRE_CANDIDATE: "LATER_TERM LATE_ANSWER NOT_ASKED_ANY_MORE",
        CANDIDATE: "LATER_TERM LATE_ANSWER NOT_ASKED_ANY_MORE",
        LEADER: (
            "LATER_TERM LATE_ANSWER DROPPED.HeartbeatReply LEASE_GIVEN_UP READS_CONFIRMED PROBE_REPEATED "
            "ENTRIES_REPEATED INSTALL_REPEATED INSTALL_GIVEN_UP taken"
        ),
    },
    "SnapshotReply": {
        FOLLOWER: "LATE_ANSWER NOT_ASKED_ANY_MORE",
        PRE_CANDIDATE: "LATE_ANSWER NOT_ASKED_ANY_MORE",
        CANDIDATE: "LATE_ANSWER",
        LEADER: "LATE_ANSWER DROPPED.SnapshotReply SNAPSHOT_TAKEN COMMIT_HELD_BACK taken",
    },
    "ReadIndex": {
        FOLLOWER: "LATE_ANSWER NOT_ASKED_ANY_MORE",
        PRE_CANDIDATE: "LATE_ANSWER NOT_ASKED_ANY_MORE",
        CANDIDATE: "LATE_ANSWER",
        LEADER: "LATE_ANSWER DROPPED.ReadIndex taken",
    },
    "ReadIndexReply": {
        FOLLOWER: "LATE_ANSWER DROPPED.ReadIndexReply taken",
        PRE_CANDIDATE: "LATE_ANSWER DROPPED.ReadIndexReply taken",
        CANDIDATE: "LATE_ANSWER DROPPED.ReadIndexReply",
        LEADER: "LATE_ANSWER DROPPED.ReadIndexReply",
    },
    "TimeoutNow": {
        FOLLOWER: "LATE_ANSWER DROPPED.TimeoutNow CAMPAIGN_FOR_TRANSFER",
        PRE_CANDIDATE: "LATE_ANSWER NOT_ASKED_ANY_MORE",
        CANDIDATE: "LATE_ANSWER",
        LEADER: "LATE_ANSWER NOT_ASKED_ANY_MORE",
    },
    "Opening": {MEMBER: "MEETS OPENING_LATE PEER_REGRESSED"},
    "Regressed": {MEMBER: "IS_REGRESSED REFUSAL_LATE NEW_INCARNATION taken"},
    # What else happens.
    "TimePassed": {
        FOLLOWER: "OPENS_AGAIN TIMED_OUT taken",
        PRE_CANDIDATE: "TIMED_OUT taken",
        CANDIDATE: "TIMED_OUT taken",
        LEADER: (
            "STEPS_DOWN.CUT_OFF TRANSFER_GIVEN_UP READ_TOO_LATE HANDS_OVER.SLOW_DISK HANDS_OVER.PRIORITY "
            "READS_WAIT_FOR_COMMIT READS_CONFIRMED taken"
        ),
    },
    "Written": {
        FOLLOWER: "LATE_WRITE OWN_VOTE_LATE taken",
        PRE_CANDIDATE: "LATE_WRITE OWN_VOTE_LATE taken",
        CANDIDATE: "LATE_WRITE OWN_VOTE_LATE ELECTION_WON ELECTION_LOST taken",
        LEADER: "LATE_WRITE COMMITS.OWN_TERM COMMITS.EARLIER_TERMS_TOO COMMIT_HELD_BACK taken",
    },
    "Propose": {
        FOLLOWER: "PROPOSAL_REFUSED",
        PRE_CANDIDATE: "PROPOSAL_REFUSED",
        CANDIDATE: "PROPOSAL_REFUSED",
        LEADER: "taken",
    },
    "ProposeConfiguration": {
        FOLLOWER: "CHANGE_REFUSED.NOT_NOW",
        PRE_CANDIDATE: "CHANGE_REFUSED.NOT_NOW",
        CANDIDATE: "CHANGE_REFUSED.NOT_NOW",
        LEADER: (
            "CHANGE_TOO_EARLY.ANOTHER_UNCOMMITTED CHANGE_TOO_EARLY.NOTHING_OF_ITS_TERM CHANGE_REFUSED.NOT_NOW "
            "CHANGE_REFUSED.NEVER CHANGE_IN_ONE_STEP JOINT_ENTERED.IMPLICIT JOINT_ENTERED.EXPLICIT "
            "JOINT_LEFT.BY_WHO_ENTERED_IT JOINT_LEFT.BY_A_NEW_LEADER"
        ),
    },
    "ReadBarrier": dict.fromkeys((FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER), "taken"),
    "TransferLeadership": {
        FOLLOWER: "TRANSFER_REFUSED.NO_LEADER",
        PRE_CANDIDATE: "TRANSFER_REFUSED.NO_LEADER",
        CANDIDATE: "TRANSFER_REFUSED.NO_LEADER",
        LEADER: "TRANSFER_REFUSED.NO_OTHER_VOTER TRANSFER_REPLACED TRANSFER_BEGUN",
    },
    "SnapshotSaved": {
        FOLLOWER: "SNAPSHOT_OVERTAKEN taken",
        PRE_CANDIDATE: "taken",
        CANDIDATE: "taken",
        LEADER: "KEEPS_FOR_FOLLOWER taken",
    },
    "SnapshotSent": {
        FOLLOWER: "SNAPSHOT_FOR_NOTHING",
        PRE_CANDIDATE: "SNAPSHOT_FOR_NOTHING",
        CANDIDATE: "SNAPSHOT_FOR_NOTHING",
        LEADER: "SNAPSHOT_DELIVERED SNAPSHOT_BROKE_OFF SNAPSHOT_FAILED SNAPSHOT_FOR_NOTHING",
    },
    "PeerConnected": {
        FOLLOWER: "taken",
        PRE_CANDIDATE: "taken",
        CANDIDATE: "taken",
        LEADER: "LINK_OPEN taken",
    },
    "PeerStopped": {
        FOLLOWER: "STOPPED_LEADER taken",
        PRE_CANDIDATE: "STOPPED_LEADER taken",
        CANDIDATE: "taken",
        LEADER: "LINK_LOSES taken",
    },
    "PeerUnreachable": {
        FOLLOWER: "taken",
        PRE_CANDIDATE: "taken",
        CANDIDATE: "taken",
        LEADER: "LINK_LOSES taken",
    },
    # What is decided when all events of a turn have been taken in.
    "Turn": {
        FOLLOWER: "READ_TOO_LATE READ_ASKED_AGAIN TRANSFER_DONE TRANSFER_FAILED taken",
        PRE_CANDIDATE: "READ_TOO_LATE TRANSFER_FAILED taken",
        CANDIDATE: "READ_TOO_LATE TRANSFER_FAILED taken",
        LEADER: (
            "READS_FROM_BEFORE READS_BY_LEASE READS_CONFIRMED CHANGE_TOO_EARLY.ANOTHER_UNCOMMITTED "
            "CHANGE_TOO_EARLY.NOTHING_OF_ITS_TERM JOINT_LEFT.BY_WHO_ENTERED_IT JOINT_LEFT.BY_A_NEW_LEADER CAUGHT_UP "
            "ROUND_TOO_SLOW WINDOW_FULL NEEDS_SNAPSHOT.THE_NEWEST NEEDS_SNAPSHOT.WHERE_IT_BROKE_OFF NOBODY_TO_SEND_TO "
            "TRANSFER_TOLD TRANSFER_FAILED taken"
        ),
    },
}
"""By input and role."""

_STICKY_LEADER: Final = "without check-quorum only, and that no world goes without: a deaf leader might lead for ever"
_OWN_LATER_TERM: Final = "it answers a leader of that term, who has not forgotten it, unless its disk was damaged"
_NEW_TERM: Final = "a candidate's term is new: nobody can have heard its leader, or answer it as one, before it lost"

UNREACHABLE_TRIPLES: Final[dict[str, str]] = {
    "Leader PreVote PRE_VOTE_GIVEN": _STICKY_LEADER,
    "Leader PreVote PRE_VOTE_REFUSED.LOG": _STICKY_LEADER,
    "Leader AppendReply LATER_TERM": _OWN_LATER_TERM,
    "Leader SnapshotReply LATER_TERM": _OWN_LATER_TERM,
    "Leader ReadIndex LATER_TERM": _OWN_LATER_TERM,
    "Follower TimeoutNow LATER_TERM": "who is told to campaign has acknowledged the whole log in that very term",
    "Candidate ReadIndexReply taken": _NEW_TERM,
    "Candidate AppendReply NOT_ASKED_ANY_MORE": _NEW_TERM,
    "Candidate SnapshotReply NOT_ASKED_ANY_MORE": _NEW_TERM,
    "Candidate ReadIndex NOT_ASKED_ANY_MORE": _NEW_TERM,
    "Leader Written OWN_VOTE_LATE": "the own vote and the questions to others wait for one write, so it counts first",
    "Leader Propose PROPOSAL_REFUSED": "a replica proposes no more than there is room for, nothing in a transfer",
    "Leader RequestVote VOTE_GIVEN": "it voted for itself, and in a later term it is a follower first",
}
"""What the core's tables would allow and no world can bring about, and why."""


_JUST_BEGUN: Final = "a leader's snapshot has to arrive when its member has just begun to campaign, or leads"
_FORGOTTEN: Final = "a leader's disk was damaged: it has forgotten its term"
_MANY: Final = "so much has to happen within the moments in which somebody campaigns"

RARE_TRIPLES: Final[dict[str, str]] = {
    **{
        f"{role} InstallSnapshot {decision}": _JUST_BEGUN
        for role, decision in (
            (PRE_CANDIDATE, "LATER_TERM"),
            (PRE_CANDIDATE, "FOLLOWS"),
            (CANDIDATE, "LATER_TERM"),
            (CANDIDATE, "FOLLOWS"),
            (LEADER, "LATER_TERM"),
        )
    },
    "Candidate PreVote PRE_VOTE_REFUSED.STICKY": "its leader has told it to campaign, and it has promised it a lease",
    "Candidate RequestVote VOTE_IGNORED": "its leader has told it to campaign, and it has promised it a lease",
    "Candidate Heartbeat LATER_TERM": _MANY,
    "Candidate AppendEntries LATER_TERM": _MANY,
    "Candidate Heartbeat FOLLOWS": _MANY,
    "Candidate ProposeConfiguration CHANGE_REFUSED.NOT_NOW": _MANY,
    "PreCandidate ProposeConfiguration CHANGE_REFUSED.NOT_NOW": _MANY,
    "Candidate TransferLeadership TRANSFER_REFUSED.NO_LEADER": _MANY,
    "Candidate SnapshotSent SNAPSHOT_FOR_NOTHING": _MANY,
    "Candidate Turn TRANSFER_FAILED": _MANY,
    "PreCandidate Written LATE_WRITE": _MANY,
    "PreCandidate Written OWN_VOTE_LATE": _MANY,
    "Candidate Written OWN_VOTE_LATE": _MANY,
    "Leader Written LATE_WRITE": "what it acknowledged as a follower is written only after it has won an election",
    "Leader HeartbeatReply INSTALL_GIVEN_UP": "who has received a snapshot has to lose it",
    "Follower SnapshotSaved SNAPSHOT_OVERTAKEN": "its own is saved while a leader's is being installed",
    "Follower ReadIndex LATER_TERM": _FORGOTTEN,
    "Follower AppendReply LATER_TERM": _FORGOTTEN,
}
"""What few worlds reach, and why; nobody counts on it."""


def list_triples() -> list[str]:
    """Return all that worlds are to reach, as ``role input decision``."""
    decided = [
        f"{role} {kind} {decision}"
        for kind, roles in _DECISIONS.items()
        for role, decisions in roles.items()
        for decision in decisions.split()
    ]
    listed = [*decided, *(f"{MEMBER} {kind} NOT_HEARD" for kind in _NOT_HEARD.split())]
    return [triple for triple in listed if triple not in RARE_TRIPLES]
