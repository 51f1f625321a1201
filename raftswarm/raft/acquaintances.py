"""What a member remembers of its peers' claims, to notice one whose disk was rolled back (docs/raft.md).

The one big idea: a start may know less than the starts before it said only if something was lost. Messages name the
boot they come from, so the claims of earlier boots are told from those of the present one, whatever the network
reorders; the first message of a new boot freezes what its opening has to live up to.

Two claims bind. A term: it is told only once it is durable. And entries: while its leader's term lasts, a follower has
all that it acknowledged; beyond that term it may have had to give up what was never committed, but nothing else.
"""

from __future__ import annotations

import attrs

from raftswarm.raft.messages import AnyMessage, Opening


@attrs.frozen
class Claims:
    """What a peer said that it has durably."""

    term: int = 0
    led_term: int = 0
    led_index: int = 0
    """What it acknowledged to us as leader of `led_term`."""
    committed_index: int = 0
    """What of that we knew to be committed."""

    def are_met_by(self, opening: Opening) -> bool:
        """Tell whether a start that found this on its disk may have made them."""
        index = self.committed_index
        if opening.term == self.led_term:
            index = max(index, self.led_index)
        return opening.term >= self.term and opening.last_index >= index


@attrs.define(eq=False)
class Acquaintance:
    """One peer."""

    incarnation: int = 1
    boot: int = 0
    start: int = 0
    """What its opening of this boot drew; 0 before that came."""
    claims: Claims = Claims()
    required: Claims = Claims()
    """The claims of earlier boots."""
    is_regressed: bool = False
    """It fell short of them; for good, unless it comes back as another incarnation."""

    def is_from_earlier_boot(self, message: AnyMessage) -> bool:
        """Tell whether an earlier life of the peer sent this."""
        return 0 < message.boot < self.boot

    def begin_boot(self, boot: int) -> None:
        """It was started again: from now on it has to know what it knew."""
        self.required = self.claims
        self.boot = boot
        self.start = 0

    def hear_term(self, term: int) -> None:
        """It told its term."""
        if term > self.claims.term:
            self.claims = attrs.evolve(self.claims, term=term)

    def hear_acknowledged(self, leader_term: int, match_index: int, commit_index: int) -> None:
        """As leader of that term we know how far its log goes, and how much of that is committed."""
        self.claims = attrs.evolve(
            self.claims,
            led_term=leader_term,
            led_index=match_index,
            committed_index=max(self.claims.committed_index, min(match_index, commit_index)),
        )

    def judge(self, opening: Opening) -> bool:
        """Take in an opening; tell whether its sender remembers all it claimed."""
        if opening.incarnation > self.incarnation:
            self.incarnation, self.boot, self.start = opening.incarnation, opening.boot, 0
            self.claims = self.required = Claims()
            self.is_regressed = False
        if opening.incarnation < self.incarnation or opening.boot < self.boot:
            # An opening that the network kept, or a copy of an old disk: only its sender can tell. It is told, and
            # takes part no more if the opening was its own; what the newer start says goes on counting.
            return False
        is_copy = self.start not in (0, opening.start)  # No two starts of one disk have the same boot number.
        if is_copy or not self.required.are_met_by(opening):
            self.is_regressed = True
        self.start = self.start or opening.start
        return not self.is_regressed
