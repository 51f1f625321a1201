"""State changes as structured events, in the form that TLA+ trace validation of Raft uses (docs/formats.md).

The one big idea: an event is a picture of one member right after it has changed, or as it sends or takes in a message.
So a specification can follow each member step by step, and reject the first step that it does not allow. Pre-votes and
openings change nothing that a specification of Raft knows, and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from raftswarm.raft.log_entry import MemberInfo
from raftswarm.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    RequestVote,
    SnapshotReply,
    VoteReply,
)
from raftswarm.raft.roles import Candidate, Follower, Leader, PreCandidate, Role
from raftswarm.raft.rules import NamedRule, Rule, RuleSink

if TYPE_CHECKING:
    from raftswarm.raft.core import Core


class TracedState(msgspec.Struct, frozen=True):
    """Term, vote (a member id as text, "0" for none) and commit index."""

    term: int
    vote: str
    commit: int


class TracedMessage(msgspec.Struct, frozen=True, rename={"sender": "from", "log_term": "logTerm"}):
    """What of a message a specification looks at."""

    type: str
    term: int
    sender: str
    to: str
    entries: int = 0
    """How many; of a snapshot, its index."""
    log_term: int = 0
    index: int = 0
    """The previous entry's, the last one's, or what is acknowledged, as the type has it."""
    commit: int = 0
    reject: bool = False


class TraceEvent(msgspec.Struct, frozen=True, omit_defaults=True, rename={"member": "nid", "message": "msg"}):
    """One line of a trace."""

    name: str
    member: str
    state: TracedState
    role: str
    log: int
    """Index of the last entry."""
    conf: tuple[tuple[str, ...], tuple[str, ...]]
    """Voters, and the old ones of a joint configuration."""
    message: TracedMessage | None = None
    prop: dict[str, object] = {}
    """More about this event: docs/formats.md."""


TraceSink: TypeAlias = Callable[[TraceEvent], object]
"""Takes events as they happen; must not raise."""

ROLES: Final[dict[type[Role], str]] = {
    Follower: "StateFollower",
    PreCandidate: "StatePreCandidate",
    Candidate: "StateCandidate",
    Leader: "StateLeader",
}
BECOMES: Final[dict[type[Role], str]] = {
    Follower: "BecomeFollower",
    Candidate: "BecomeCandidate",
    Leader: "BecomeLeader",
}
MESSAGES: Final[dict[type[AnyMessage], str]] = {
    AppendEntries: "AppendEntriesRequest",
    Heartbeat: "AppendEntriesRequest",
    InstallSnapshot: "AppendEntriesRequest",
    AppendReply: "AppendEntriesResponse",
    HeartbeatReply: "AppendEntriesResponse",
    SnapshotReply: "AppendEntriesResponse",
    RequestVote: "RequestVoteRequest",
    VoteReply: "RequestVoteResponse",
}
"""An event's name is one of these behind `Send` or `Receive`."""


RULE: Final = "Rule"
"""Name of the events that say by which rule something happened; a specification needs none of them."""


def json_lines(write: Callable[[bytes], object]) -> TraceSink:
    """Return a sink that writes each event as one line of JSON, but for the rules."""
    encode = msgspec.json.Encoder().encode

    def sink(event: TraceEvent) -> None:
        if event.name != RULE:
            write(encode(event) + b"\n")

    return sink


def picture(core: Core, name: str, message: TracedMessage | None = None, **properties: object) -> TraceEvent:
    """Return an event with the state that the member has now."""
    configuration = core.configuration
    return TraceEvent(
        name=name,
        member=str(core.id),
        state=TracedState(core.term, str(core.voted_for), core.commit_index),
        role=ROLES[type(core.role)],
        log=core.log.last_index,
        conf=(_ids(configuration.voters), _ids(configuration.outgoing)),
        message=message,
        prop=properties,
    )


def trace_start(core: Core) -> None:
    """Tell what a member begins with, its whole log included."""
    if core.trace is not None:
        log = core.log
        terms = [entry.term for entry in log.entries(log.first_index, log.last_index)]
        core.trace(picture(core, "InitState", first=log.first_index, terms=terms))


def trace_message(core: Core, way: str, message: AnyMessage) -> None:
    """Tell of a message that is sent (`Send`) or taken in (`Receive`)."""
    kind = MESSAGES.get(type(message))
    if kind is None or core.trace is None:
        return
    properties: dict[str, object] = {}
    match message:
        case AppendEntries(entries=entries):
            properties["terms"] = [entry.term for entry in entries]
        case InstallSnapshot(snapshot=snapshot):
            properties["snapshotTerm"] = snapshot.term
    core.trace(picture(core, way + kind, _describe(message), **properties))


def trace_configuration(core: Core) -> None:
    """Tell of the members that are now in force: from the moment they are in the log (4.1)."""
    if core.named is None:
        return
    configuration = core.configuration
    change = {"newconf": _ids(configuration.voters), "learners": _ids(configuration.learners)}
    if core.trace is not None:
        core.trace(picture(core, "ApplyConfChange", cc=change))
    voters = f"voters {', '.join(change['newconf'])}"
    outgoing = _ids(configuration.outgoing)
    told = f"{voters} and old voters {', '.join(outgoing)}" if outgoing else voters
    core.because(Rule.MEMBERS_CHANGE, configuration=told)


def trace_rules(core: Core, trace: TraceSink, listener: RuleSink | None) -> RuleSink:
    """Return a sink that tells a trace by which rule something happened, and whoever else listens."""

    def sink(rule: NamedRule, facts: Mapping[str, object]) -> None:
        if listener is not None:
            listener(rule, facts)
        section, sentence = rule.tell(**facts)
        trace(picture(core, RULE, None, **{**facts, "rule": rule.name, "section": section, "because": sentence}))

    return sink


def _describe(message: AnyMessage) -> TracedMessage:
    kind, numbers = _details(message)
    return TracedMessage(type=kind, term=message.term, sender=str(message.sender), to=str(message.to), **numbers)


def _details(message: AnyMessage) -> tuple[str, dict[str, Any]]:
    details: tuple[str, dict[str, Any]] = "MsgHeartbeatResp", {}
    match message:
        case AppendEntries(previous_index=index, previous_term=term, entries=entries, commit=commit):
            details = "MsgApp", {"entries": len(entries), "log_term": term, "index": index, "commit": commit}
        case Heartbeat(commit=commit):
            details = "MsgHeartbeat", {"commit": commit}
        case InstallSnapshot(snapshot=snapshot):
            details = "MsgSnap", {"entries": snapshot.index}
        case AppendReply(success=success, match_index=index, conflict_term=term):
            details = "MsgAppResp", {"log_term": term, "index": index, "reject": not success}
        case SnapshotReply(match_index=index):
            details = "MsgAppResp", {"index": index}
        case RequestVote(last_index=index, last_term=term):
            details = "MsgVote", {"log_term": term, "index": index}
        case VoteReply(granted=granted):
            details = "MsgVoteResp", {"reject": not granted}
    return details


def _ids(members: Iterable[MemberInfo]) -> tuple[str, ...]:
    return tuple(str(info.id) for info in members)
