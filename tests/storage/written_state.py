"""The state directory of a short life, the same bytes each time: what `fixtures/` keeps of each format version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.consensus.opening import bootstrap_write
from raftswarm.consensus.sessions import SessionMachine
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.raft.state_machine import Context
from raftswarm.recipes.machine import RecipeMachine
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.state_directory import lock_state
from raftswarm.wire.batch import encode_batch
from raftswarm.wire.envelopes import encode_command, encode_open, encode_plain
from tests.receiving import receive

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

CLUSTER = "cluster-1"
MEMBER = 7
UNLOCK_KEY = "SWMKEY-1-" + "A" * 43
"""Of ``locked``."""
SECOND_NS = 1_000_000_000
VOTERS = Configuration(
    voters=(MemberInfo(id=MEMBER, address="127.0.0.1:2377", name="n", priority=2),),
    learners=(MemberInfo(id=9, address="127.0.0.2:2377", name="m", promote=True),),
)
COUNT_UP = b"\xc1\x01\x93\x0a\xa5count\x01"
"""`raftswarm.recipes`: increase the counter ``count`` by 1."""
FIRST = [encode_plain(COUNT_UP), encode_open(bytes(range(16))), encode_plain(COUNT_UP)]
OPENED = 0x0001020304050605
"""The session that the second command opens: 2, XOR the first 8 bytes of its nonce."""
SECOND = [encode_command(OPENED, 1, 0, COUNT_UP)]
THIRD = [encode_plain(COUNT_UP)]
SAVED = SnapshotMeta(index=3, term=2, commands=3, time_ns=3 * SECOND_NS, configuration=VOTERS)
RECEIVED = SnapshotMeta(index=50, term=4, commands=40, time_ns=4 * SECOND_NS, configuration=VOTERS)


def write_state(disk: MemoryDisk, entropy: SeededEntropy) -> None:
    """Live that life: a member in ``raft``, one that installed a snapshot in a group, and a key ring that is locked."""
    lock_state(disk, "state").close()
    keys = KeyRing.create(disk, "state/certificates", entropy)
    keys.put("tls", b"private")
    _live(disk, keys, entropy)
    _be_sent_a_snapshot(disk, keys, entropy)
    KeyRing.create(disk, "state/locked", entropy).lock_with(UNLOCK_KEY)


def _live(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    MemberStorage.create(
        disk,
        "state/raft",
        keys,
        entropy,
        member_id=MEMBER,
        cluster=CLUSTER,
        incarnation=1,
        segment_bytes=4096,
    ).close()
    storage, _ = MemberStorage.open(disk, "state/raft", keys, entropy, segment_bytes=4096)
    storage.write(bootstrap_write(VOTERS, time_ns=SECOND_NS))
    blank = Entry(index=2, term=2, kind=EntryKind.BLANK, first_command=1, time_ns=2 * SECOND_NS)
    first = commands(3, 2, 1, FIRST)
    storage.write(Write(number=1, hard_state=HardState(term=2, voted_for=MEMBER), entries=(blank, first)))
    storage.write(Write(number=2, entries=(commands(4, 2, 4, THIRD),)))
    replacing = commands(4, 3, 4, SECOND)
    storage.write(Write(number=3, hard_state=HardState(term=3), truncate_after=3, entries=(replacing,)))
    machine = SessionMachine(RecipeMachine())
    for number, command in enumerate(FIRST, 1):
        machine.apply(command, Context(number, first.time_ns, first.index, first.term))
    storage.save_snapshot(SAVED, machine.capture().chunks())
    storage.mark()
    storage.close()
    storage, _ = MemberStorage.open(disk, "state/raft", keys, entropy, segment_bytes=4096)
    storage.write(Write(number=1, entries=(commands(5, 3, 5, THIRD),)))
    storage.close()


def _be_sent_a_snapshot(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> None:
    place = "state/groups/orders"
    MemberStorage.create(
        disk,
        place,
        keys,
        entropy,
        member_id=MEMBER,
        cluster=f"{CLUSTER}/orders",
        incarnation=2,
        segment_bytes=2048,
    ).close()
    storage, _ = MemberStorage.open(disk, place, keys, entropy, segment_bytes=2048)
    receive(storage, RECEIVED, [b"the leader's ", b"state"])
    storage.install(RECEIVED)
    storage.write(Write(number=1, entries=(commands(51, 4, 41, THIRD),)))
    storage.close()


def commands(index: int, term: int, first_command: int, payloads: list[bytes]) -> Entry:
    """Return an entry that a leader makes of them."""
    batch = encode_batch(payloads)
    return Entry(
        index=index,
        term=term,
        kind=EntryKind.COMMANDS,
        first_command=first_command,
        command_count=batch.command_count,
        time_ns=index * SECOND_NS,
        data=batch.data,
    )
