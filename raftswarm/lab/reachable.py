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
from raftswarm.lab.triples import RARE_TRIPLES, UNREACHABLE_TRIPLES, list_triples
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
}
"""Marks that no world hits, and why."""


RARE_MARKS: Final[dict[str, str]] = {
    "RECEIVED_CROWDED_OUT": "three snapshots have to arrive before one is installed, each by another leader",
    "INSTALLED_ONE_OF_TWO": "the second has to be told of while the disk is at the first, having arrived before that",
    "STOPS_APPLYING": "more has to be committed than one turn applies, and then a snapshot overtakes that",
    "INSTALL_GIVEN_UP": "who has received a snapshot has to lose it, and its leader to lead on for ten timeouts",
    "SNAPSHOT_OVERTAKEN": "a member's own snapshot has to be saved while a leader's is being installed",
    "SAVED_TOO_LATE": "the same, and the own one's last slice has to come to the disk later",
    "INSTALLING_SEGMENT_KEPT": "the same, and then the log is compacted",
    "ANOTHERS_ENTRY": "a deposed leader has to learn of the new one and of its commit in one turn",
    "LATE_WRITE.SnapshotReply": "a term has to end while a snapshot is being installed",
    "SNAPSHOT_OVER_CALLS": "a deposed leader has to be told of a snapshot in the turn in which it hears of the term",
}
"""Marks that need so much to come together that few worlds hit them; nobody counts on them."""


def list_marks() -> list[str]:
    """Return every mark that worlds are to hit."""
    marks = [
        f"{rule.name}.{case}" if case else rule.name
        for rules in RULES
        for rule in rules
        for case in CASES.get(rule, ("",))
    ]
    return [mark for mark in marks if mark not in UNREACHABLE_MARKS and mark not in RARE_MARKS]


# Pairs.


_ONLY_JOINT: Final = "strikes only a joint configuration"
UNREACHABLE_PAIRS: Final[dict[str, str]] = {
    f"leave_joint {Phase.IDLE.value}": _ONLY_JOINT,
}
"""Faults that never strike in a phase, and why."""


_MUST_BE_NOTICED: Final = "a disk is set back only where all others would notice, and then they are mostly at rest"
_DAMAGE: Final = "damage strikes only where no change of the members is under way and a majority stays whole"
RARE_PAIRS: Final[dict[str, str]] = {
    **{
        f"put_back {phase.value}": _MUST_BE_NOTICED
        for phase in (Phase.JOINT, Phase.TRANSFER, Phase.RECOVERY, Phase.SNAPSHOT)
    },
    **{
        f"{kind} {phase.value}": _DAMAGE
        for kind in ("lie_on_sync", "misdirect", "lose_name", "lose")
        for phase in (Phase.JOINT, Phase.TRANSFER, Phase.SNAPSHOT)
    },
}
"""Pairs that few worlds reach; nobody counts on them."""


def list_pairs() -> list[str]:
    """Return every fault in every phase in which it is to strike."""
    kinds = [kind.__struct_config__.tag for kind in get_args(Fault)]
    pairs = [f"{kind} {phase.value}" for kind in kinds for phase in Phase]
    return [pair for pair in pairs if pair not in UNREACHABLE_PAIRS and pair not in RARE_PAIRS]


# What was reached of it.


@attrs.frozen
class Reach:
    """Of one list, what was reached how often."""

    what: str
    counts: Mapping[str, int]
    """Of what is listed; 0 of what was not reached."""
    rare: Mapping[str, int]
    """The same of what nobody counts on."""
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
        _compare("marks", list_marks(), coverage.marks, RARE_MARKS, UNREACHABLE_MARKS),
        _compare("triples", list_triples(), coverage.triples, RARE_TRIPLES, UNREACHABLE_TRIPLES),
        _compare("pairs", list_pairs(), coverage.pairs, RARE_PAIRS, UNREACHABLE_PAIRS),
    ]


def _compare(
    what: str,
    listed: Sequence[str],
    reached: Mapping[str, int],
    rare: Mapping[str, str],
    unreachable: Mapping[str, str],
) -> Reach:
    counts = {name: reached.get(name, 0) for name in listed}
    not_listed = sorted({*reached} - {*listed} - {*rare})
    return Reach(what, counts, {name: reached.get(name, 0) for name in rare}, not_listed, unreachable)
