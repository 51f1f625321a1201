"""What happened in a world as plain sentences, with the sections of the paper that the engine itself names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from raftswarm.lab.steps import Step
from raftswarm.raft.rules import MESSAGE_SECTIONS
from raftswarm.raft.tracing import RULE, TracedMessage, TraceEvent

BECOMES: Final = {
    "BecomeFollower": "is a follower",
    "BecomeCandidate": "is a candidate",
    "BecomeLeader": "is the leader",
}


class Sentence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a member did in a step, or that befell it."""

    step: int
    at: float
    text: str
    member: int = 0
    section: str = ""
    """Of the extended Raft paper, unless it says otherwise."""
    rule: str = ""

    def __str__(self) -> str:
        """Render it with its section."""
        subject = f"member {self.member} " if self.member else ""
        return f"{subject}{self.text}" + (f" ({self.section})" if self.section else "")


Origins = Mapping[TracedMessage, Sequence[int]]
"""Which steps sent a message that may not have arrived yet; of several that say the same it is not known which did."""


NO_ORIGINS: Final[Origins] = {}


def tell_event(step: Step, event: TraceEvent, origins: Origins = NO_ORIGINS) -> Iterator[Sentence]:
    """Put an event of the engine into words; `origins` says where a message that is taken in comes from."""
    member = int(event.member)
    if event.name == RULE:
        yield name_rule(step, event)
    elif event.message is not None:
        message = event.message
        section = MESSAGE_SECTIONS.get(message.type, "")
        if event.name.startswith("Receive"):
            sent = _describe_origin(origins.get(message, ()))
            text = f"takes in {describe_message(message)} of member {message.sender}{sent}"
        else:
            text = f"makes {describe_message(message)} for member {message.to}"
        yield Sentence(step.number, step.at, text, member, section)
    elif event.name in BECOMES:
        yield Sentence(step.number, step.at, f"{BECOMES[event.name]} in term {event.state.term}", member, "Figure 4")
    elif event.name in {"Replicate", "ChangeConf"}:
        yield Sentence(step.number, step.at, f"appends entry {event.log} to its log", member, "5.3")
    elif event.name == "InitState":
        first = int(str(event.prop.get("first", 1)))
        kept = f"a snapshot and entries {first} to {event.log}" if first > 1 else f"a log up to entry {event.log}"
        text = f"starts with term {event.state.term} and {kept} from its disk"
        yield Sentence(step.number, step.at, text, member, "Figure 2")


def _describe_origin(steps: Sequence[int]) -> str:
    if len({*steps}) > 1:
        return f", sent in a step from {steps[0]} to {steps[-1]}"
    return f", sent in step {steps[0]}" if steps else ""


def name_rule(step: Step, event: TraceEvent) -> Sentence:
    """Put the rule that an event names into words."""
    told = event.prop
    return Sentence(
        step.number, step.at, str(told["because"]), int(event.member), str(told["section"]), str(told["rule"])
    )


def describe_message(message: TracedMessage) -> str:
    """Put a message into words."""
    of_term = f"of term {message.term}"
    match message.type:
        case "MsgApp" if message.entries:
            last = message.index + message.entries
            entries = f"entry {last}" if message.entries == 1 else f"entries {message.index + 1} to {last}"
            text = f"AppendEntries {of_term} with {entries}, behind {message.index} of term {message.log_term}"
        case "MsgApp":
            text = f"AppendEntries {of_term} without entries, behind {message.index} of term {message.log_term}"
        case "MsgAppResp" if message.reject:
            text = f"a refusal {of_term} of entries behind {message.index}"
        case "MsgAppResp":
            text = f"an acknowledgement {of_term} of the log up to entry {message.index}"
        case "MsgHeartbeat":
            text = f"a heartbeat {of_term}, commit index {message.commit}"
        case "MsgHeartbeatResp":
            text = f"an answer {of_term} to a heartbeat"
        case "MsgVote":
            text = f"RequestVote {of_term}, for a log that ends with entry {message.index} of term {message.log_term}"
        case "MsgVoteResp":
            text = f"a vote {of_term}" if not message.reject else f"a refused vote {of_term}"
        case _:
            text = f"a snapshot {of_term} up to entry {message.entries}"
    return text
