"""Short runs that show one thing each, to be studied or changed: they are recordings that have not happened yet.

Members have different priorities in them, so it is known who is the first to lead.
"""

from __future__ import annotations

from typing import Final

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.lab.fault_events import (
    AddMachine,
    ChangeMembers,
    Crash,
    Fault,
    FaultEvent,
    Partition,
    Pause,
    Rejoin,
    Resume,
    Start,
    TransferLeadership,
)
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.recording import Recording, sort_faults

LEADER: Final = 2
"""Of three members, or four, that have three levels of priority among them."""
LEADER_OF_FIVE: Final = 4


def _scenario(
    title: str,
    faults: list[FaultEvent],
    *,
    members: int = 3,
    priority_levels: int = 3,
    seconds: float = 8.0,
    compaction: CompactionPolicy | None = None,
) -> Recording:
    mix = FaultMix(priority_levels=priority_levels, call_every=0.1, compaction=compaction or CompactionPolicy())
    return Recording(
        seed=1, members=members, seconds=seconds, mix=mix, faults=sort_faults(faults), heals=False, title=title
    )


def _at(at: float, fault: Fault) -> FaultEvent:
    return FaultEvent(at, fault)


SCENARIOS: Final[dict[str, Recording]] = {
    "failover": _scenario(
        "The leader crashes and comes back as a follower", [_at(3.0, Crash(LEADER)), _at(5.0, Start(LEADER))]
    ),
    "partition": _scenario(
        "A leader alone: the others elect another, and what the first one appended is cut",
        [_at(3.0, Partition((LEADER_OF_FIVE,), (1, 2, 3, 5))), _at(6.0, Rejoin((LEADER_OF_FIVE,), (1, 2, 3, 5)))],
        members=5,
        priority_levels=5,
    ),
    "pause": _scenario(
        "A leader sleeps, and wakes up in a term that is over", [_at(3.0, Pause(LEADER)), _at(6.0, Resume(LEADER))]
    ),
    "snapshot": _scenario(
        "A follower is away for so long that only a snapshot can help it",
        [_at(2.0, Crash(1)), _at(6.0, Start(1))],
        compaction=CompactionPolicy(snapshot_every_commands=5, keep_entries=0, keep_bytes_for_followers=0),
    ),
    "transfer": _scenario("A leader hands over while clients write", [_at(3.0, TransferLeadership(LEADER, to=3))]),
    "members": _scenario(
        "A new member learns and gets a vote; then the leader is removed",
        [
            _at(2.0, AddMachine(4)),
            _at(2.5, ChangeMembers(voters=(1, 2, 3), learners=(4,), promised=(4,))),
            _at(6.0, ChangeMembers(voters=(1, 3, 4))),
        ],
        seconds=10.0,
    ),
    "quiet": _scenario("Nothing goes wrong", [], seconds=5.0),
}
