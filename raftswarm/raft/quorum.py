"""Majorities, plain and joint: one function says how far a majority of every voter set has come (5.3, 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import TypeVar

import attrs

from raftswarm.raft.log_entry import Configuration

Number = TypeVar("Number", int, float)


class VoteResult(Enum):
    """How an election stands."""

    WON = "won"
    LOST = "lost"
    PENDING = "pending"


@attrs.frozen
class Quorum:
    """The voter sets of a configuration; a decision needs a majority of each one that is not empty."""

    voters: tuple[int, ...]
    outgoing: tuple[int, ...] = ()

    @classmethod
    def of(cls, configuration: Configuration) -> Quorum:
        """Take the voters' ids from a configuration."""
        return cls(
            tuple(info.id for info in configuration.voters),
            tuple(info.id for info in configuration.outgoing),
        )

    def reached(self, value_of: Callable[[int], Number]) -> Number | None:
        """Return the largest value that a majority of every set has reached; None without voters.

        Indexes give the commit index, rounds the confirmed reads, times the last contact with a quorum.
        """
        reached = [_majority_value(ids, value_of) for ids in self._sets()]
        return min(reached) if reached else None

    def is_met_by(self, members: Collection[int]) -> bool:
        """Tell whether these members are a majority of every set."""
        return all(2 * sum(voter in members for voter in ids) > len(ids) for ids in self._sets())

    def vote_result(self, votes: Mapping[int, bool]) -> VoteResult:
        """Count: won in every set, or lost in one of them, or still open."""
        if self.is_met_by([voter for voter, granted in votes.items() if granted]):
            return VoteResult.WON
        refused = {voter for voter, granted in votes.items() if not granted}
        if any(2 * sum(voter in refused for voter in ids) >= len(ids) for ids in self._sets()):
            return VoteResult.LOST
        return VoteResult.PENDING

    def includes(self, member_id: int) -> bool:
        """Tell whether that member votes."""
        return member_id in self.voters or member_id in self.outgoing

    def _sets(self) -> tuple[tuple[int, ...], ...]:
        return tuple(ids for ids in (self.voters, self.outgoing) if ids)


def _majority_value(ids: tuple[int, ...], value_of: Callable[[int], Number]) -> Number:
    return sorted(map(value_of, ids), reverse=True)[len(ids) // 2]
