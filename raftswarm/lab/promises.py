"""What a violation breaks: the promise in a sentence, its name in the paper, and where it stands.

The one big idea: a violation says what was seen, by the number of its invariant (docs/testing.md). Whoever meets it for
the first time has to be told what should have been seen, and who says so.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec


class Promise(msgspec.Struct, frozen=True):
    """Something that has to hold whatever happens."""

    text: str
    section: str
    """Of the extended Raft paper, unless it says otherwise."""

    def __str__(self) -> str:
        """Render it with its section."""
        return f"{self.text} ({self.section})"


_PROMISES: Final[tuple[tuple[str, Promise], ...]] = (
    ("1", Promise("a term has at most one leader, since each member gives one vote in it", "Election Safety, 5.2")),
    ("2", Promise("a leader only appends to its log: it never changes or removes an entry", "Leader Append-Only, 5.3")),
    ("3", Promise("logs with an entry of the same index and term are the same up to it", "Log Matching, 5.3")),
    ("4", Promise("whatever was committed is in the log of every later leader", "Leader Completeness, 5.4")),
    (
        "5",
        Promise(
            "members that have applied the same commands, or read them back from a snapshot, are in the same state",
            "State Machine Safety, 5.4.3; section 7",
        ),
    ),
    (
        "6",
        Promise(
            "what one member has committed at an index, no member ever commits otherwise", "State Machine Safety, 5.4.3"
        ),
    ),
    (
        "7",
        Promise(
            "an entry counts as committed only once it is on the disks of a majority, and stays on them",
            "5.3; Figure 2, persistent state",
        ),
    ),
    (
        "8",
        Promise(
            "what a member had on its disk it still has after any start: term, vote, log and snapshot never go back",
            "Figure 2, persistent state",
        ),
    ),
    (
        "9",
        Promise(
            "nobody applies what is not committed, commits what is not in its log, or keeps a snapshot "
            "of more than it has applied",
            "Figure 2, volatile state; section 7",
        ),
    ),
    ("10", Promise("a member answers only when what it says is on its disk", "Figure 2, persistent state")),
    (
        "11",
        Promise(
            "a leader counts an entry at a member only while that member has the very same entry on its disk",
            "Figure 2, matchIndex; 5.3",
        ),
    ),
    (
        "12",
        Promise(
            "members change one step at a time, and any majority before a step meets any majority after it",
            "dissertation 4.1, 4.3",
        ),
    ),
    (
        "13",
        Promise(
            "who leads has the votes of a majority; in a joint configuration, of the old and of the new voters",
            "5.2; dissertation 4.3",
        ),
    ),
    (
        "23",
        Promise("a member acts on the newest configuration of its log, committed or not", "dissertation 4.1"),
    ),
    (
        "14",
        Promise(
            "a member whose disk was set back takes no part: those who remember more tell it so",
            "docs/raft.md, Openings",
        ),
    ),
    (
        "15: read",
        Promise(
            "a read waits until its member's state machine has applied all up to the index that the leader confirmed",
            "dissertation 6.4",
        ),
    ),
    (
        "15",
        Promise(
            "a client's command takes effect once, in its turn, and its answer is that of this one "
            "time, however often it is sent",
            "section 8; dissertation 6.3",
        ),
    ),
    ("16", Promise("a leader that a committed change leaves out leads no longer", "dissertation 4.2.2")),
    (
        "17",
        Promise(
            "who hears a leader gives nobody its vote, so that members that are cut off or removed disturb nobody",
            "dissertation 4.2.3, 9.6",
        ),
    ),
    ("18", Promise("a snapshot names the members that were in force at its index", "section 7")),
    ("19", Promise("damage of a disk is noticed, and whoever cannot read a disk leaves it alone", "docs/formats.md")),
    ("20", Promise("a program is told that it leads once all before its leader's term is applied", "section 8")),
    (
        "21",
        Promise(
            "a read is answered only by who knows that it still leads: a majority answered what left after it"
            " came, or has promised, for a time that is not over, to vote for nobody",
            "dissertation 6.4, 6.4.1",
        ),
    ),
    (
        "22",
        Promise(
            "who answered a leader's heartbeat votes for nobody until an election timeout later, also in other terms"
            " and after another start",
            "dissertation 6.4.1",
        ),
    ),
    (
        "read \\d+ saw",
        Promise(
            "a read sees every write that was acknowledged before it began: its leader has committed an"
            " entry of its own term, and a majority has heard it lead since the read came",
            "dissertation 6.4",
        ),
    ),
    (
        "call",
        Promise(
            "a client that is told that its command succeeded, or that nothing happened, is told the truth", "section 8"
        ),
    ),
    (
        ".* did not (happen|end) within",
        Promise(
            "once the faults are over, a majority has a leader, serves whoever asks, and agrees on one state",
            "5.6; docs/testing.md, Phases",
        ),
    ),
    (
        ".* is told that its disk was set back",
        Promise("nobody is taken for set back who is not", "docs/raft.md, Openings"),
    ),
    ("the power failed", Promise("whatever was synced is read back after any loss of power", "docs/formats.md")),
)
"""By what stands behind "Violation: ": an invariant's number, or a regular expression."""
_OTHERS: Final[tuple[tuple[str, Promise], ...]] = (
    (
        "CorruptLog",
        Promise("a member can read back what it wrote, unless a fault has damaged its disk", "docs/formats.md"),
    ),
    (
        "AssertionError",
        Promise("the engine's own state never contradicts itself: one of its assertions fails", "docs/architecture.md"),
    ),
)
_ANY: Final = Promise("nothing fails in the engine but with an error that it promises", "docs/embedding.md")


def find_promise(violation: str) -> Promise | None:
    """Return what a violation breaks; None if it is one that a test made up itself."""
    kind, _, told = violation.partition(": ")
    if kind == "Violation":
        for pattern, promise in _PROMISES:
            if re.match(f"{pattern}:" if pattern.isdigit() else pattern, told):
                return promise
        return None
    return next((promise for name, promise in _OTHERS if kind == name), _ANY)
