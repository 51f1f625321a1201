"""What random worlds have reached, to be added up over seeds, processes and days.

The one big idea: everything is a count by name, so coverages add up like numbers, in any order, and a name that is
listed (`reachable`) and not counted is something that no test by chance has ever seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from raftswarm.errors import InvalidSpec

FORMAT: Final = "raftswarm coverage"
MAX_POINTS: Final = 64
"""Of the curve of states: it is told at 1, 2, 5, 10, 20, 50 and so on seeds."""


class Coverage(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What so many seeds have reached, and how often."""

    format: Literal["raftswarm coverage"] = "raftswarm coverage"
    version: Literal[1] = 1
    seeds: int = 0
    marks: dict[str, int] = {}
    """By rule, and case: how often the engine decided by it."""
    triples: dict[str, int] = {}
    """By role, input and what was decided: ``Follower Heartbeat FOLLOWS``."""
    pairs: dict[str, int] = {}
    """By fault and what the protocol was at when it struck: ``crash joint``."""
    states: dict[str, int] = {}
    """By what all members were, made abstract: how often that was seen."""
    curve: dict[int, int] = {}
    """After so many seeds, how many different states."""

    def add(self, other: Coverage) -> None:
        """Take in what other seeds have reached. How the states grew is known in the order in which they are added."""
        before = self.seeds
        self.seeds += other.seeds
        for mine, others in (
            (self.marks, other.marks),
            (self.triples, other.triples),
            (self.pairs, other.pairs),
            (self.states, other.states),
        ):
            add_counts(mine, others)
        for seeds in curve_places(self.seeds):
            if seeds > before and self.states:
                self.curve[seeds] = len(self.states)

    def without_states(self) -> Coverage:
        """Return the counts of what is listed: no more than a few hundred, however much is added up."""
        return Coverage(seeds=self.seeds, marks=self.marks, triples=self.triples, pairs=self.pairs)


def add_counts(counts: dict[str, int], others: Mapping[str, int]) -> None:
    """Add one to the other."""
    for name, count in others.items():
        counts[name] = counts.get(name, 0) + count


def curve_places(until: int) -> list[int]:
    """Return 1, 2, 5, 10, 20, 50 and so on, up to a number of seeds."""
    places = (step * 10**power for power in range(MAX_POINTS // 3) for step in (1, 2, 5))
    return [place for place in places if place <= until]


def write_coverage(path: Path | str, coverage: Coverage) -> None:
    """Write it to a file, in one step: who is interrupted keeps the old one."""
    place = Path(path)
    aside = place.with_name(place.name + ".part")
    fields = msgspec.to_builtins(coverage, str_keys=True)
    aside.write_bytes(msgspec.json.format(msgspec.json.encode(fields, order="sorted"), indent=1))
    aside.replace(place)


def read_coverage(path: Path | str) -> Coverage:
    """Read it from a file; InvalidSpec if that holds none."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Coverage)
    except OSError as error:
        raise InvalidSpec(f"cannot read {path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise InvalidSpec(f"{path} holds no coverage: {error}") from None
