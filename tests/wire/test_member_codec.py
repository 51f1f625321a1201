"""What Raft members say to each other, as bytes (Figures 2 and 13)."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from raftswarm.raft.log_entry import MAX_NUMBER, Configuration, Entry, EntryKind, MemberInfo, SnapshotMeta
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
from raftswarm.wire import WireError
from raftswarm.wire.member_codec import (
    Introduction,
    SnapshotArrived,
    SnapshotOffer,
    SnapshotWanted,
    cut_chunk,
    decode_introduction,
    decode_message,
    decode_snapshot_part,
    encode_introduction,
    encode_message,
    encode_snapshot_part,
    is_intact,
)

ENTRY = Entry(index=5, term=2, kind=EntryKind.COMMANDS, first_command=9, command_count=2, time_ns=7, data=b"ab")
SNAPSHOT = SnapshotMeta(
    index=7, term=2, commands=70, time_ns=8, configuration=Configuration(voters=(MemberInfo(id=1, address="a:1"),))
)
MESSAGES: list[AnyMessage] = [
    PreVote(sender=1, to=2, term=3, last_index=4, last_term=5, leader_hint=6),
    PreVoteReply(sender=1, to=2, term=3, granted=True),
    RequestVote(sender=1, to=2, term=3, last_index=4, last_term=5, transfer=True),
    VoteReply(sender=1, to=2, term=3, granted=False),
    AppendEntries(
        sender=1, to=2, term=3, previous_index=4, previous_term=5, entries=(ENTRY, ENTRY), commit=6, successors=(2, 3)
    ),
    AppendReply(sender=1, to=2, term=3, success=False, match_index=4, conflict_term=5, conflict_index=6),
    Heartbeat(sender=1, to=2, term=3, commit=4, round=5),
    HeartbeatReply(sender=1, to=2, term=3, round=5, last_index=6),
    ReadIndex(sender=1, to=2, term=3, number=4),
    ReadIndexReply(sender=1, to=2, term=3, number=4, index=5),
    InstallSnapshot(sender=1, to=2, term=3, snapshot=SNAPSHOT),
    SnapshotReply(sender=1, to=2, term=3, installed=True, match_index=4),
    TimeoutNow(sender=1, to=2, term=3),
    Opening(sender=1, to=2, term=3, cluster="c", incarnation=1, boot=4, last_index=5, last_term=6),
    Regressed(sender=1, to=2, term=3, known_boot=4, known_term=5, known_index=6),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_survives_its_bytes(message: AnyMessage) -> None:
    assert decode_message(encode_message(message)) == message


def test_no_kind_of_message_was_forgotten_above() -> None:
    assert {type(message) for message in MESSAGES} == set(get_args(AnyMessage))


@pytest.mark.parametrize("number", [-1, MAX_NUMBER + 1])
def test_a_number_that_no_member_could_mean_is_refused_wherever_it_stands(number: int) -> None:
    bad_entry = msgspec.structs.replace(ENTRY, term=number)
    for message in (
        Heartbeat(sender=1, to=2, term=number, commit=4),
        Heartbeat(sender=number, to=2, term=1, commit=4),
        AppendEntries(sender=1, to=2, term=3, previous_index=4, previous_term=5, entries=(ENTRY, bad_entry)),
        AppendEntries(sender=1, to=2, term=3, previous_index=4, previous_term=5, successors=(number,)),
        InstallSnapshot(sender=1, to=2, term=3, snapshot=msgspec.structs.replace(SNAPSHOT, index=number)),
    ):
        with pytest.raises(WireError, match="does not decode"):
            decode_message(encode_message(message))
    with pytest.raises(WireError):
        decode_introduction(encode_introduction(Introduction(group="g", sender=number, to=1)))


def test_the_largest_number_is_allowed() -> None:
    message = Heartbeat(sender=MAX_NUMBER, to=2, term=0, commit=MAX_NUMBER)

    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize(
    "frame", [b"", b"\x90", b"\x91\xa7Teleport", msgspec.msgpack.encode(["Heartbeat", 1]), b"GET / HTTP/1.1\r\n"]
)
def test_what_is_no_message_is_a_wire_error(frame: bytes) -> None:
    with pytest.raises(WireError):
        decode_message(frame)


OFFER = SnapshotOffer(snapshot=SNAPSHOT, chunks=2, size_bytes=6, digest=b"d" * 32)


def test_a_snapshots_parts_survive_their_bytes() -> None:
    for part in (OFFER, SnapshotWanted(number=2), cut_chunk(OFFER, 1, b"abc"), SnapshotArrived()):
        assert decode_snapshot_part(encode_snapshot_part(part)) == part


def test_a_piece_of_a_snapshot_is_intact_only_as_it_was_cut() -> None:
    chunk = cut_chunk(OFFER, 1, b"abc")

    assert is_intact(OFFER, chunk)
    assert not is_intact(OFFER, msgspec.structs.replace(chunk, data=b"abd"))
    assert not is_intact(OFFER, msgspec.structs.replace(chunk, number=2))
    assert not is_intact(msgspec.structs.replace(OFFER, digest=b"e" * 32), chunk)
