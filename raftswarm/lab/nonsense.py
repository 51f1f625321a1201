"""Messages that no member ever sends: what the engine has to drop, or to take for what it is, without any harm.

The one big idea: each is made to fit the moment, with terms and places of the member that gets it, so that it passes
every check but the one that is meant for it. None of them could be true, so none may change a log, a vote or a term.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

import msgspec

from raftswarm.lab.witnesses import WitnessedMember
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo, SnapshotMeta
from raftswarm.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Opening,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    Regressed,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)
from raftswarm.raft.roles import Candidate, Follower, Leader, PreCandidate, Role

STRANGER: Final = 999
"""No member of any world."""
FAR: Final = 1000

Draft: TypeAlias = Callable[[WitnessedMember, int], AnyMessage | None]
"""What that member would be told by another one; None if that could be true at the moment, or makes no difference."""


def make_nonsense(what: str, member: WitnessedMember, sender: int) -> AnyMessage | None:
    """Return such a message; None if there is none of that name, or it does not fit the moment."""
    draft = NONSENSE.get(what)
    return None if draft is None else draft(member, sender)


# What is nonsense in itself.


def _negative_term(member: WitnessedMember, sender: int) -> AnyMessage:
    return Heartbeat(sender=sender, to=member.id, term=-1, commit=0)


def _negative_number(member: WitnessedMember, sender: int) -> AnyMessage:
    term = member.term
    drafts: tuple[AnyMessage, ...] = (
        Heartbeat(sender=sender, to=member.id, term=term, commit=-1),
        HeartbeatReply(sender=sender, to=member.id, term=term, round=-1),
        AppendReply(sender=sender, to=member.id, term=term, success=True, match_index=-1),
        AppendEntries(sender=sender, to=member.id, term=term, previous_index=-1, previous_term=0),
        ReadIndexReply(sender=sender, to=member.id, term=term, number=-1, index=0),
    )
    return drafts[member.last_index % len(drafts)]


def _for_another(member: WitnessedMember, sender: int) -> AnyMessage:
    return Heartbeat(sender=sender, to=STRANGER, term=member.term, commit=0)


def _of_itself(member: WitnessedMember, _: int) -> AnyMessage:
    return Heartbeat(sender=member.id, to=member.id, term=member.term, commit=0)


def _of_another_cluster(member: WitnessedMember, sender: int) -> AnyMessage:
    return Opening(
        sender=sender, to=member.id, term=member.term, cluster="another", incarnation=1, last_index=0, last_term=0
    )


def _entries(member: WitnessedMember, sender: int, *entries: Entry) -> AnyMessage:
    last_index, last_term = member.last_index, member.last_term
    return AppendEntries(
        sender=sender,
        to=member.id,
        term=member.term,
        previous_index=last_index,
        previous_term=last_term,
        entries=entries,
    )


def _next_entry(member: WitnessedMember, **changes: object) -> Entry:
    index = member.last_index
    commands = member.commands_through(index)
    entry = Entry(index=index + 1, term=max(member.term, 1), kind=EntryKind.BLANK, first_command=commands + 1)
    return msgspec.structs.replace(entry, **changes)


def _gap(member: WitnessedMember, sender: int) -> AnyMessage:
    return _entries(member, sender, _next_entry(member, index=member.last_index + 2))


def _entry_of_a_later_term(member: WitnessedMember, sender: int) -> AnyMessage:
    return _entries(member, sender, _next_entry(member, term=member.term + 1))


def _uncounted_commands(member: WitnessedMember, sender: int) -> AnyMessage:
    return _entries(member, sender, _next_entry(member, first_command=0))


def _no_configuration(member: WitnessedMember, sender: int) -> AnyMessage:
    return _entries(member, sender, _next_entry(member, kind=EntryKind.CONFIGURATION, data=b"?"))


def _snapshot_of_nothing(member: WitnessedMember, sender: int) -> AnyMessage:
    return InstallSnapshot(sender=sender, to=member.id, term=member.term, snapshot=SnapshotMeta())


def _snapshot_without_voters(member: WitnessedMember, sender: int) -> AnyMessage | None:
    if not (member.commit_index and member.term):
        return None
    snapshot = SnapshotMeta(index=1, term=1, configuration=Configuration())
    return InstallSnapshot(sender=sender, to=member.id, term=member.term, snapshot=snapshot)


# What is nonsense to this member, in its role, at this moment.


def _second_leader(member: WitnessedMember, sender: int) -> AnyMessage | None:
    """Another than who leads this term says that it does."""
    if member.leader in {0, sender}:
        return None
    if member.last_index % 2:
        return Heartbeat(sender=sender, to=member.id, term=member.term, commit=0)
    return _entries(member, sender)


def _second_snapshot_leader(member: WitnessedMember, sender: int) -> AnyMessage | None:
    """The same, and has a snapshot installed that is needed no more."""
    if member.leader in {0, sender} or not member.commit_index:
        return None
    voters = (MemberInfo(id=sender),)
    snapshot = SnapshotMeta(index=1, term=1, configuration=Configuration(voters=voters))
    return InstallSnapshot(sender=sender, to=member.id, term=member.term, snapshot=snapshot)


def _campaign_untold(member: WitnessedMember, sender: int) -> AnyMessage | None:
    """Only the leader may hand over, and only to who may lead."""
    may_lead = member.is_known_whole and member.has_vote
    if not isinstance(member.role, Follower) or (member.leader in {0, sender} and may_lead):
        return None
    return TimeoutNow(sender=sender, to=member.id, term=member.term)


def _contradiction(member: WitnessedMember, _: int) -> AnyMessage | None:
    """Its leader has another entry where this one knows what is committed."""
    if not isinstance(member.role, Follower) or not member.leader:
        return None
    for index in range(member.commit_index, 1, -1):
        before, term = member.term_at(index - 1), member.term_at(index)
        if before is None or term is None:
            break
        if term < member.term:
            entry = Entry(index=index, term=member.term, kind=EntryKind.BLANK, first_command=1)
            return AppendEntries(
                sender=member.leader,
                to=member.id,
                term=member.term,
                previous_index=index - 1,
                previous_term=before,
                entries=(entry,),
            )
    return None


def _commands_counted_otherwise(member: WitnessedMember, _: int) -> AnyMessage | None:
    if not isinstance(member.role, Follower) or not member.leader:
        return None
    commands = member.commands_through(member.last_index)
    return _entries(member, member.leader, _next_entry(member, first_command=commands + FAR))


def _committed_too_far(member: WitnessedMember, _: int) -> AnyMessage | None:
    if not isinstance(member.role, Follower) or not member.leader:
        return None
    return Heartbeat(sender=member.leader, to=member.id, term=member.term, commit=member.last_index + FAR)


def _acknowledged_too_far(member: WitnessedMember, sender: int) -> AnyMessage | None:
    if not isinstance(member.role, Leader):
        return None
    return AppendReply(sender=sender, to=member.id, term=member.term, success=True, match_index=member.last_index + FAR)


def _refused_too_far(member: WitnessedMember, sender: int) -> AnyMessage | None:
    """It says that it lacks what it has, and what nobody has."""
    if not isinstance(member.role, Leader):
        return None
    far = member.last_index + FAR
    return AppendReply(
        sender=sender,
        to=member.id,
        term=member.term,
        success=False,
        match_index=far,
        conflict_term=1,
        conflict_index=far,
    )


def _no_promise(member: WitnessedMember, sender: int) -> AnyMessage | None:
    """It promises no lease: then there is none."""
    return HeartbeatReply(sender=sender, to=member.id, term=member.term) if isinstance(member.role, Leader) else None


def _of_a_stranger(member: WitnessedMember, _: int) -> AnyMessage | None:
    """It answers a leader that has never asked it."""
    term = member.term
    drafts: tuple[AnyMessage, ...] = (
        AppendReply(sender=STRANGER, to=member.id, term=term, success=True),
        HeartbeatReply(sender=STRANGER, to=member.id, term=term),
        SnapshotReply(sender=STRANGER, to=member.id, term=term, installed=True, match_index=0),
        ReadIndex(sender=STRANGER, to=member.id, term=term, number=1),
    )
    return drafts[member.last_index % len(drafts)] if member.is_leader else None


def _of_an_earlier_boot(member: WitnessedMember, sender: int) -> AnyMessage | None:
    """What an earlier start said has come so late that a later one was heard of."""
    boot, to, term = member.known_boot(sender) - 1, member.id, member.term
    if boot < 1:
        return None
    drafts: tuple[AnyMessage, ...] = (
        PreVote(sender=sender, to=to, term=term + 1, boot=boot, last_index=FAR, last_term=term),
        PreVoteReply(sender=sender, to=to, term=term + 1, boot=boot, granted=True),
        RequestVote(sender=sender, to=to, term=term + 1, boot=boot, last_index=FAR, last_term=term),
        VoteReply(sender=sender, to=to, term=term, boot=boot, granted=True),
        AppendReply(sender=sender, to=to, term=term, boot=boot, success=True, match_index=member.last_index),
        HeartbeatReply(sender=sender, to=to, term=term, boot=boot, round=FAR),
        SnapshotReply(sender=sender, to=to, term=term, boot=boot, installed=True, match_index=member.last_index),
        ReadIndex(sender=sender, to=to, term=term, boot=boot, number=1),
        ReadIndexReply(sender=sender, to=to, term=term, boot=boot, number=member.newest_read, index=0),
        Heartbeat(sender=sender, to=to, term=term, boot=boot, commit=0),
        TimeoutNow(sender=sender, to=to, term=term, boot=boot),
    )
    return drafts[member.last_index % len(drafts)]


def _late_candidate(member: WitnessedMember, sender: int) -> AnyMessage | None:
    """It asks for a vote in a term that another has won."""
    if member.leader in {0, sender} or member.hard_state.voted_for not in {0, sender}:
        return None
    return RequestVote(
        sender=sender, to=member.id, term=member.term, last_index=member.last_index, last_term=member.last_term
    )


def _answer_to_no_read(member: WitnessedMember, sender: int) -> AnyMessage:
    return ReadIndexReply(
        sender=sender, to=member.id, term=member.term, number=member.newest_read + FAR, index=member.commit_index
    )


def _refusal_of_an_earlier_opening(member: WitnessedMember, sender: int) -> AnyMessage:
    return Regressed(sender=sender, to=member.id, term=member.term, start=1, known_boot=0, known_term=0, known_index=0)


def _of_an_earlier_incarnation(member: WitnessedMember, sender: int) -> AnyMessage:
    return Regressed(
        sender=sender,
        to=member.id,
        term=member.term,
        incarnation=member.incarnation + 1,
        known_boot=FAR,
        known_term=0,
        known_index=0,
    )


# What might have been true once, or would be in another role: the network may keep anything for any time.


_ANSWERS: Final[tuple[type[AnyMessage], ...]] = (
    PreVoteReply,
    VoteReply,
    AppendReply,
    HeartbeatReply,
    SnapshotReply,
    ReadIndex,
    ReadIndexReply,
    TimeoutNow,
)
_QUESTIONS: Final[tuple[type[AnyMessage], ...]] = (RequestVote, AppendEntries, Heartbeat, InstallSnapshot)
_RUMOURS: Final[tuple[type[AnyMessage], ...]] = (PreVoteReply, VoteReply, HeartbeatReply)
_ASKED_IN: Final[Mapping[type[AnyMessage], type[Role]]] = {
    PreVoteReply: PreCandidate,
    VoteReply: Candidate,
    AppendReply: Leader,
    HeartbeatReply: Leader,
    SnapshotReply: Leader,
    ReadIndex: Leader,
    TimeoutNow: Follower,
}
"""The role whose question it answers, or that it is for. Any role may have asked for a `ReadIndexReply`."""


def _say(kind: type[AnyMessage], member: WitnessedMember, sender: int, term: int) -> AnyMessage:
    """Return a message of that kind that says as little as possible."""
    numbers: dict[type[AnyMessage], dict[str, object]] = {
        PreVoteReply: {"granted": False},
        VoteReply: {"granted": False},
        AppendReply: {"success": True},
        SnapshotReply: {"installed": False, "match_index": 0},
        ReadIndex: {"number": 1},
        ReadIndexReply: {"number": 0, "index": 0},
        RequestVote: {"last_index": 0, "last_term": 0},
        AppendEntries: {"previous_index": 0, "previous_term": 0},
        Heartbeat: {"commit": 0},
        InstallSnapshot: {"snapshot": SnapshotMeta(index=1, term=1, configuration=_only(sender))},
    }
    fields = {"sender": sender, "to": member.id, "term": term, **numbers.get(kind, {})}
    return kind(**fields)  # type: ignore[arg-type]


def _only(member: int) -> Configuration:
    return Configuration(voters=(MemberInfo(id=member),))


def _of_an_earlier_term(kind: type[AnyMessage], member: WitnessedMember, sender: int) -> AnyMessage | None:
    if member.term < 2 or not member.commit_index:
        return None
    return _say(kind, member, sender, member.term - 1)


def _answer_to_no_question(kind: type[AnyMessage], member: WitnessedMember, sender: int) -> AnyMessage | None:
    """In this very term, to a role that asks no such thing."""
    if isinstance(member.role, (_ASKED_IN[kind], Candidate)):
        return None
    return _say(kind, member, sender, member.term)


def _rumour_of_a_later_term(kind: type[AnyMessage], member: WitnessedMember, sender: int) -> AnyMessage:
    """Nobody need be in it; but whoever hears of it goes there."""
    return _say(kind, member, sender, member.term + 1)


NONSENSE: Final[dict[str, Draft]] = {
    **{
        draft.__name__.lstrip("_"): draft
        for draft in (
            _negative_term,
            _negative_number,
            _for_another,
            _of_itself,
            _of_another_cluster,
            _gap,
            _entry_of_a_later_term,
            _uncounted_commands,
            _no_configuration,
            _snapshot_of_nothing,
            _snapshot_without_voters,
            _second_leader,
            _second_snapshot_leader,
            _campaign_untold,
            _contradiction,
            _commands_counted_otherwise,
            _committed_too_far,
            _acknowledged_too_far,
            _refused_too_far,
            _no_promise,
            _of_a_stranger,
            _of_an_earlier_boot,
            _late_candidate,
            _answer_to_no_read,
            _refusal_of_an_earlier_opening,
            _of_an_earlier_incarnation,
        )
    },
    **{f"late_{kind.__name__}": partial(_of_an_earlier_term, kind) for kind in (*_ANSWERS, *_QUESTIONS)},
    **{f"unasked_{kind.__name__}": partial(_answer_to_no_question, kind) for kind in _ASKED_IN},
    **{f"rumour_{kind.__name__}": partial(_rumour_of_a_later_term, kind) for kind in _RUMOURS},
}
"""By name. All but rumours change neither term nor vote nor log of who hears them."""
