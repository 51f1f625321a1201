"""The bytes of a configuration: what is newer is written only if it says something (docs/formats.md)."""

from __future__ import annotations

import msgspec

from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo
from raftswarm.raft.log_view import encode_configuration, read_configuration

BOB = {"id": 2, "address": "", "name": "bob"}


def test_a_plain_configuration_has_the_keys_that_were_always_there() -> None:
    encoded = encode_configuration(Configuration(voters=(MemberInfo(id=2, name="bob"),)))

    assert msgspec.msgpack.decode(encoded) == {"voters": [BOB], "learners": [], "outgoing": []}


def test_a_joint_configuration_says_how_it_goes_on() -> None:
    bob = MemberInfo(id=2, name="bob")
    encoded = encode_configuration(Configuration(outgoing=(bob,), learners_next=(bob,), auto_leave=True))

    assert msgspec.msgpack.decode(encoded) == {
        "voters": [],
        "learners": [],
        "outgoing": [BOB],
        "learners_next": [BOB],
        "auto_leave": True,
    }


def test_bytes_without_the_newer_keys_are_read() -> None:
    old = msgspec.msgpack.encode({"voters": [BOB], "learners": [{"id": 3, "address": "", "name": ""}], "outgoing": []})
    entry = Entry(index=1, term=1, kind=EntryKind.CONFIGURATION, first_command=1, data=old)

    assert read_configuration(entry) == Configuration(
        voters=(MemberInfo(id=2, name="bob"),), learners=(MemberInfo(id=3, promote=False),)
    )
