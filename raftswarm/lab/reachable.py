"""What worlds are to reach: every mark, triple and pair; and what they cannot reach, with the reason.

Marks and pairs are made from what they are of, the rules and the faults: whoever adds one of these adds to the lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, get_args

import attrs

from raftswarm.consensus.rules import ReplicaRule, SessionRule
from raftswarm.lab.coverage import Coverage
from raftswarm.lab.fault_events import Fault
from raftswarm.lab.phase import Phase
from raftswarm.lab.triples import UNREACHABLE_TRIPLES, list_triples
from raftswarm.raft.messages import AnyMessage
from raftswarm.raft.rules import NamedRule, Refusal, Rule
from raftswarm.storage.rules import StorageRule

RULES: Final[tuple[type[NamedRule], ...]] = (Rule, StorageRule, ReplicaRule, SessionRule)

_MESSAGES: Final = tuple(kind.__name__ for kind in get_args(AnyMessage))
_OF_FOLLOWERS: Final = ("AppendReply", "HeartbeatReply", "SnapshotReply", "ReadIndex")
_REFUSALS: Final = tuple(refusal.name for refusal in Refusal)
CASES: Final[dict[NamedRule, tuple[str, ...]]] = {
    Rule.PRE_VOTE_REFUSED: _REFUSALS,
    Rule.VOTE_REFUSED: _REFUSALS,
    Rule.STEPS_DOWN: ("CUT_OFF", "REMOVED", "SET_BACK"),
    Rule.LOGS_DIFFER: ("TOO_SHORT", "OTHER_TERM"),
    Rule.BACKS_UP: ("WITHIN_A_TERM", "OVER_TERMS"),
    Rule.COMMITS: ("OWN_TERM", "EARLIER_TERMS_TOO"),
    Rule.LATE_WRITE: ("RequestVote", "VoteReply", "AppendReply", "SnapshotReply"),
    Rule.CHANGE_REFUSED: ("NOT_NOW", "NEVER"),
    Rule.CHANGE_TOO_EARLY: ("ANOTHER_UNCOMMITTED", "NOTHING_OF_ITS_TERM"),
    Rule.JOINT_ENTERED: ("IMPLICIT", "EXPLICIT"),
    Rule.JOINT_LEFT: ("BY_WHO_ENTERED_IT", "BY_A_NEW_LEADER"),
    Rule.NEEDS_SNAPSHOT: ("THE_NEWEST", "WHERE_IT_BROKE_OFF"),
    Rule.TRANSFER_REFUSED: ("NO_LEADER", "NO_OTHER_VOTER"),
    Rule.HANDS_OVER: ("SLOW_DISK", "PRIORITY"),
    Rule.DROPPED: ("AppendEntries", "Heartbeat", "InstallSnapshot", "TimeoutNow", "ReadIndexReply", *_OF_FOLLOWERS),
    Rule.NOT_HEARD: _MESSAGES,
    StorageRule.CHUNK_REFUSED: ("ANOTHER", "SIZE", "DAMAGED", "SUM"),
}
"""Rules that cover several things."""

UNREACHABLE_MARKS: Final[dict[str, str]] = {
    "PRE_VOTE_REFUSED.PROMISED": "of pre-votes a promise is a part of stickiness",
    "VOTE_REFUSED.STICKY": "who is sticky pays no attention to a later term, and refuses others for theirs",
    "STEPS_DOWN.SET_BACK": "who is set back is told so before a majority finds its disk whole, so it never leads",
    "NOT_HEARD.Regressed": "only one that is not for this member would be; nonsense that is for others is heartbeats",
    "CHUNK_REFUSED.SIZE": "frames of links are whole or refused before, and no member makes a chunk of no bytes",
    "CHUNK_REFUSED.SUM": "each chunk was compared with the offer already",
}
"""Marks that no world hits, and why."""


def list_marks() -> list[str]:
    """Return every mark that some world hits, sooner or later."""
    marks = [
        f"{rule.name}.{case}" if case else rule.name
        for rules in RULES
        for rule in rules
        for case in CASES.get(rule, ("",))
    ]
    return [mark for mark in marks if mark not in UNREACHABLE_MARKS]


# Pairs.


_ONLY_JOINT: Final = "strikes only a joint configuration"
UNREACHABLE_PAIRS: Final[dict[str, str]] = {
    f"leave_joint {Phase.IDLE.value}": _ONLY_JOINT,
}
"""Faults that never strike in a phase, and why."""


def list_pairs() -> list[str]:
    """Return every fault in every phase in which it can strike."""
    kinds = [kind.__struct_config__.tag for kind in get_args(Fault)]
    pairs = [f"{kind} {phase.value}" for kind in kinds for phase in Phase]
    return [pair for pair in pairs if pair not in UNREACHABLE_PAIRS]


# What was reached of it.


@attrs.frozen
class Reach:
    """Of one list, what was reached how often."""

    what: str
    counts: Mapping[str, int]
    """Of what is listed; 0 of what was not reached."""
    not_listed: Sequence[str]
    """Reached, and not on the list: that, or its reason for calling it unreachable, is wrong."""
    unreachable: Mapping[str, str]
    """Not on the list, by its reason."""

    @property
    def missed(self) -> list[str]:
        """What was not reached."""
        return [name for name, count in self.counts.items() if not count]

    def seldom(self, below: float) -> dict[str, int]:
        """What was reached, but not so often."""
        return {name: count for name, count in self.counts.items() if 0 < count < below}


def list_reach(coverage: Coverage) -> list[Reach]:
    """Compare what was reached with the lists."""
    return [
        _compare("marks", list_marks(), coverage.marks, UNREACHABLE_MARKS),
        _compare("triples of role, input and decision", list_triples(), coverage.triples, UNREACHABLE_TRIPLES),
        _compare("pairs of fault and phase", list_pairs(), coverage.pairs, UNREACHABLE_PAIRS),
    ]


def _compare(what: str, listed: Sequence[str], reached: Mapping[str, int], unreachable: Mapping[str, str]) -> Reach:
    counts = {name: reached.get(name, 0) for name in listed}
    return Reach(what, counts, sorted({*reached} - {*listed}), unreachable)
