"""Transactions as bytes: the log of every manager must read them alike, or not at all."""

from __future__ import annotations

import pytest
from msgspec import Raw

from raftswarm.errors import PayloadTooLarge, Rejected
from raftswarm.objects.records import Service
from raftswarm.objects.specs import ServiceSpec
from raftswarm.store.change_set import (
    MAX_BYTES,
    MAX_CHANGES,
    ChangeSet,
    Delete,
    NameRead,
    Put,
    Read,
    TableRead,
    UnknownCommandVersion,
    decode,
    decode_object,
    encode,
    encode_object,
)

GOLDEN = (
    "01 94"  # Version 1; changes, reads, names, tables.
    "92 93 01 a7 73657276696365 82 a2 6964 a2 7331 a4 73706563 84 a4 4e616d65 a3 776562"
    "a6 4c6162656c73 80 ac 5461736b54656d706c617465 81 ab 466f726365557064617465 00 a4 4d6f6465 80"
    "94 00 a4 7461736b a2 7431 07"
    "91 93 a4 6e6f6465 a2 6e31 05"
    "91 93 a7 73657276696365 a3 776562 a0"
    "91 92 a7 73657276696365 cd 012c"
)


def make_change_set() -> ChangeSet:
    return ChangeSet(
        changes=(
            Put("service", Raw(encode_object(Service(id="s1", spec=ServiceSpec(name="web"))))),
            Delete("task", "t1", 7),
        ),
        reads=(Read("node", "n1", 5),),
        names=(NameRead("service", "web", ""),),
        tables=(TableRead("service", 300),),
    )


def test_the_format_is_what_version_one_says() -> None:
    assert encode(make_change_set()) == bytes.fromhex(GOLDEN)


def test_a_change_set_survives_the_log() -> None:
    decoded = decode(encode(make_change_set()))

    put = decoded.changes[0]
    assert isinstance(put, Put)
    assert decode_object(put.kind, put.body) == Service(id="s1", spec=ServiceSpec(name="web"))
    assert (decoded.changes[1], decoded.reads, decoded.names, decoded.tables) == (
        Delete("task", "t1", 7),
        (Read("node", "n1", 5),),
        (NameRead("service", "web", ""),),
        (TableRead("service", 300),),
    )


def test_another_version_stops_the_member_instead_of_being_guessed_at() -> None:
    command = bytearray(encode(make_change_set()))
    command[0] += 1

    with pytest.raises(UnknownCommandVersion, match="run the release that wrote them"):
        decode(bytes(command))


@pytest.mark.parametrize(
    "command", [b"", b"\x01", b"\x01\xc0", b"\x01\x91\x91\x93\x01\xa1\xff\x80", b"\x01\x95\x90\x90\x90\x90\x90"]
)
def test_malformed_bytes_are_rejected(command: bytes) -> None:
    with pytest.raises(Rejected):
        decode(command)


def test_an_object_of_another_kind_is_rejected() -> None:
    with pytest.raises(Rejected, match="malformed cluster"):
        decode_object("cluster", encode_object(Service(id="s1", spec=ServiceSpec())))
    with pytest.raises(Rejected, match="no such table: spaceship"):
        decode_object("spaceship", b"\x80")


def test_a_transaction_has_at_most_200_changes() -> None:
    deletes = tuple(Delete("task", str(number), 1) for number in range(MAX_CHANGES + 1))

    encode(ChangeSet(changes=deletes[:-1]))
    with pytest.raises(PayloadTooLarge, match="split it"):
        encode(ChangeSet(changes=deletes))


def test_a_transaction_has_at_most_one_and_a_half_mebibytes() -> None:
    body = encode_object(Service(id="s", spec=ServiceSpec(labels={"big": "x" * MAX_BYTES})))

    with pytest.raises(PayloadTooLarge, match="split it"):
        encode(ChangeSet(changes=(Put("service", Raw(body)),)))
