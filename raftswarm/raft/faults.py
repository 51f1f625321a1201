"""Nonsense in messages: what no correct peer sends. It is found before a message can change anything."""

from __future__ import annotations

from raftswarm.raft.log_entry import EntryKind, SnapshotMeta
from raftswarm.raft.log_view import read_configuration
from raftswarm.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    ReadIndex,
    ReadIndexReply,
    SnapshotReply,
)


def find_fault(message: AnyMessage) -> str:
    """Return what is wrong with a message in itself; empty when nothing is."""
    if message.term < 0 or message.boot < 0:
        return "its term or boot is negative"
    match message:
        case AppendEntries():
            return _find_fault_in_entries(message)
        case InstallSnapshot(snapshot=snapshot, term=term):
            return _find_fault_in_snapshot(snapshot, term)
        case AppendReply(match_index=match_index, conflict_term=term, conflict_index=index):
            lowest = min(match_index, term, index)
        case Heartbeat(commit=commit, round=number):
            lowest = min(commit, number)
        case HeartbeatReply(round=lowest) | SnapshotReply(match_index=lowest) | ReadIndex(number=lowest):
            pass
        case ReadIndexReply(number=number, index=index):
            lowest = min(number, index)
        case _:
            lowest = 0
    return "a number in it is negative" if lowest < 0 else ""


def _find_fault_in_entries(message: AppendEntries) -> str:
    if min(message.previous_index, message.previous_term, message.commit) < 0:
        return "a number in it is negative"
    index, term, command = message.previous_index, message.previous_term, 0
    for entry in message.entries:
        index += 1
        if entry.index != index:
            return f"entry {entry.index} stands where {index} should"
        if not max(term, 1) <= entry.term <= message.term:
            return f"entry {index} has term {entry.term}"
        if entry.command_count < 0 or entry.first_command < 1 or (command and entry.first_command != command):
            return f"entry {index} does not count its commands on"
        if entry.kind is EntryKind.CONFIGURATION:
            configuration = read_configuration(entry)
            if configuration is None or not configuration.voters:
                return f"entry {index} holds no configuration"
        term, command = entry.term, entry.first_command + entry.command_count
    return ""


def _find_fault_in_snapshot(snapshot: SnapshotMeta, term: int) -> str:
    if snapshot.index < 1 or not 1 <= snapshot.term <= term or snapshot.commands < 0:
        return "its snapshot has an index or term out of range"
    return "" if snapshot.configuration.voters else "its snapshot names no voters"
