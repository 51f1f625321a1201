"""Whatever stands on the agenda of a random world is told in words, with whom it reaches."""

from __future__ import annotations

import re
from collections import Counter
from typing import get_args

from raftswarm.lab.agenda import describe_event
from raftswarm.lab.replaying import Replay
from raftswarm.lab.steps import Step, StepLog
from raftswarm.raft.messages import AnyMessage
from tests.lab.recorded import drawn

MESSAGES = {kind.__name__ for kind in get_args(AnyMessage)}
KNOWN = {
    "the world begins",
    "member N takes its turn",
    "member N has given up",
    "member N has dialled member N",
    "member N is refused a link to member N",
    "member N hears that messages got lost",
    "a timer of member N is looked at",
    "a job of member N's disk is done",
    "a part of a snapshot from member N arrives at member N",
    "the link for snapshots from N to N breaks",
    "a client asks for something",
    "a queue of a client goes on",
    "clients question member N",
}


def test_what_is_planned_on_the_heap_is_known_by_its_name() -> None:
    """If this fails, something was renamed, or is new: `agenda` has to learn of it."""
    kinds: Counter[str] = Counter()

    def look(step: Step, _: object) -> None:
        kinds[re.sub(r"\d+", "N", step.event)] += 1

    for seed in range(1, 13):
        Replay(drawn(seed), log=StepLog(first=0, observe=look)).run()

    assert kinds.keys() <= KNOWN | {f"{kind} of member N arrives at member N" for kind in MESSAGES}
    assert {"member N takes its turn", "AppendEntries of member N arrives at member N"} <= kinds.keys()


def test_what_is_not_known_is_told_by_its_name() -> None:
    assert describe_event(Counter, ()) == ("Counter", 0)
