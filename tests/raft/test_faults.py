"""Nonsense is found before it can change anything."""

from __future__ import annotations

import pytest

from raftswarm.raft.faults import find_fault
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo, SnapshotMeta
from raftswarm.raft.log_view import encode_configuration
from raftswarm.raft.messages import AnyMessage, AppendEntries, AppendReply, Heartbeat, HeartbeatReply, InstallSnapshot

ONE = Configuration(voters=(MemberInfo(id=1),))


def entry(index: int = 1, term: int = 1, *, first: int = 1, count: int = 1) -> Entry:
    return Entry(index=index, term=term, kind=EntryKind.COMMANDS, first_command=first, command_count=count)


def change(data: bytes) -> Entry:
    return Entry(index=1, term=1, kind=EntryKind.CONFIGURATION, first_command=1, data=data)


def append(*entries: Entry, term: int = 2, previous_index: int = 0, previous_term: int = 0) -> AppendEntries:
    return AppendEntries(
        sender=2, to=1, term=term, previous_index=previous_index, previous_term=previous_term, entries=entries
    )


def install(index: int, term: int, configuration: Configuration = ONE) -> InstallSnapshot:
    meta = SnapshotMeta(index=index, term=term, configuration=configuration)
    return InstallSnapshot(sender=2, to=1, term=3, snapshot=meta)


@pytest.mark.parametrize(
    "message",
    [
        append(entry(), entry(2, 2, first=2)),
        append(change(encode_configuration(ONE))),
        append(previous_index=7, previous_term=1),
        install(5, 3),
        Heartbeat(sender=2, to=1, term=1, commit=0),
    ],
)
def test_what_a_correct_peer_sends_has_no_fault(message: AnyMessage) -> None:
    assert find_fault(message) == ""


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (Heartbeat(sender=2, to=1, term=-1, commit=0), "term or boot"),
        (Heartbeat(sender=2, to=1, term=1, commit=-1), "negative"),
        (HeartbeatReply(sender=2, to=1, term=1, round=-1), "negative"),
        (AppendReply(sender=2, to=1, term=1, success=False, conflict_index=-1), "negative"),
        (append(previous_index=-1), "negative"),
        (append(entry(), entry(3, first=2)), "entry 3 stands where 2 should"),
        (append(entry(term=2), entry(2, 1, first=2)), "entry 2 has term 1"),
        (append(entry(term=3)), "entry 1 has term 3"),
        (append(entry(term=0)), "entry 1 has term 0"),
        (append(entry(), entry(2, first=3)), "entry 2 does not count its commands on"),
        (append(entry(count=-1)), "entry 1 does not count"),
        (append(change(b"\xc1")), "entry 1 holds no configuration"),
        (append(change(encode_configuration(Configuration()))), "entry 1 holds no configuration"),
        (install(0, 1), "out of range"),
        (install(5, 4), "out of range"),
        (install(5, 3, Configuration()), "names no voters"),
    ],
)
def test_nonsense_is_named(message: AnyMessage, fault: str) -> None:
    assert fault in find_fault(message)
