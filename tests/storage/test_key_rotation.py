"""A new data key (SWARM 11): what the old one sealed goes with a snapshot, and no crash loses anything."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import attrs
import pytest

from raftswarm.errors import InvalidKey, StateLocked
from raftswarm.raft.log_entry import HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.storage.sealing import key_id
from tests.receiving import receive

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

RAFT = "state/raft"
CERTIFICATES = "state/certificates"
SEGMENT_BYTES = 2048
KEYS = ["SWMKEY-1-" + letter * 42 + "A" for letter in "ABC"]
MakeWrite = Callable[..., Write]


def at(index: int) -> SnapshotMeta:
    return SnapshotMeta(index=index, term=1, commands=index)


@attrs.define
class Life:
    """A member's storage, and what was acknowledged to whom."""

    disk: MemoryDisk
    entropy: SeededEntropy
    make_write: MakeWrite
    unlock_keys: tuple[str | None, ...] = (None,)
    """One of which opens the ring: before a change of the lock and after it, both may."""
    wanted: str | None = None
    """What the cluster said last."""
    exposed: set[bytes] = attrs.field(factory=set)
    """Data keys that whoever has an earlier unlock key, and a copy of the ring of that time, knows."""
    last_index: int = 0
    snapshot_index: int = 0
    version: int = 0
    keys: KeyRing = attrs.field(init=False)
    storage: MemberStorage = attrs.field(init=False)

    def begin(self) -> None:
        self.keys = KeyRing.create(self.disk, CERTIFICATES, self.entropy)
        MemberStorage.create(
            self.disk,
            RAFT,
            self.keys,
            self.entropy,
            member_id=1,
            cluster="c",
            incarnation=1,
            segment_bytes=SEGMENT_BYTES,
        ).close()

    def start(self) -> Recovered:
        """Open ring and log, as a daemon does that is given the keys somebody remembers, one after the other."""
        refused: Exception | None = None
        for unlock_key in self.unlock_keys:
            try:
                self.keys = KeyRing.open(self.disk, CERTIFICATES, self.entropy, unlock_key=unlock_key)
                break
            except (InvalidKey, StateLocked) as error:
                refused = error
        else:
            raise AssertionError("locked out") from refused
        self.unlock_keys = (self.keys.locked_by,)
        self.storage, recovered = MemberStorage.open(
            self.disk, RAFT, self.keys, self.entropy, segment_bytes=SEGMENT_BYTES
        )
        return recovered

    def write(self, count: int) -> None:
        indexes = range(self.last_index + 1, self.last_index + 1 + count)
        self.storage.write(self.make_write(*indexes, hard_state=HardState(term=1)))
        self.last_index += count

    def save(self, index: int) -> None:
        self.storage.save_snapshot(at(index), [b"state %d" % index])
        self.snapshot_index = index

    def lock(self, unlock_key: str | None) -> None:
        """As `ManagerRole` does when the cluster says so."""
        if unlock_key != self.wanted:
            self.version += 1
            self.wanted = unlock_key
            self.exposed.add(self.keys.data_key)
        self.unlock_keys = (*self.unlock_keys, unlock_key)
        if self.keys.follow(unlock_key, self.version):
            self.storage.adopt_key()
        self.unlock_keys = (unlock_key,)

    def save_as_wanted(self) -> None:
        """As `SnapshotSaver` does."""
        wanted_at = self.storage.snapshot_wanted_at
        if wanted_at is not None and wanted_at <= self.last_index:
            self.save(self.last_index)


@pytest.fixture
def life(disk: MemoryDisk, entropy: SeededEntropy, make_write: MakeWrite) -> Life:
    life = Life(disk, entropy, make_write)
    life.begin()
    life.start()
    return life


def sealed_under(disk: MemoryDisk) -> dict[str, bytes]:
    """Return by path the key that each segment, spare and snapshot names; of spares also what lies in them."""
    found = {}
    for path, image in disk.image().items():
        if "/log/" in path:
            found[path] = image[136:144]
        elif "/snapshots/" in path:
            found[path] = image[96:104]
    return found


def assert_only(life: Life, data_key: bytes) -> None:
    """Nothing is left under another key, and the ring knows no other."""
    assert set(sealed_under(life.disk).values()) == {key_id(data_key)}
    assert life.keys.data_key == data_key
    assert life.keys.earlier_data_keys == ()
    assert life.storage.snapshot_wanted_at is None


def test_nothing_new_is_written_under_the_old_key(life: Life) -> None:
    life.write(3)
    old = life.keys.data_key
    before = sealed_under(life.disk)

    life.lock(KEYS[0])
    life.write(3)
    life.save(2)

    after = sealed_under(life.disk)
    assert {key for path, key in after.items() if path not in before} == {key_id(life.keys.data_key)}
    assert life.keys.earlier_data_keys == (old,)


def test_what_the_old_key_sealed_goes_with_the_first_snapshot_that_covers_it(life: Life) -> None:
    life.write(40)
    life.lock(KEYS[0])
    life.write(2)
    assert life.storage.snapshot_wanted_at == 40

    life.save(39)
    assert life.keys.earlier_data_keys, "entry 40 is still under the old key alone"
    assert life.storage.snapshot_wanted_at == 40
    life.save(41)

    assert_only(life, life.keys.data_key)
    assert [entry.index for entry in life.start().entries if entry.index > 41] == [42]


def test_what_is_gone_does_not_come_back_when_the_power_fails(life: Life) -> None:
    life.write(40)
    life.save(10)
    life.lock(KEYS[0])

    life.save(40)

    found = sealed_under(life.disk.after_crash(lambda _: False))
    assert set(found.values()) == {key_id(life.keys.data_key)}


def test_a_snapshot_of_the_same_index_is_written_again(life: Life) -> None:
    life.write(5)
    life.save(5)
    life.lock(KEYS[0])
    assert life.storage.snapshot_wanted_at == 5

    life.save_as_wanted()

    assert_only(life, life.keys.data_key)


def test_spares_of_the_old_key_go_at_once(life: Life) -> None:
    life.write(60)
    for _ in range(8):
        life.write(5)
    life.save(100)
    life.storage.compact(101)
    assert any(path.endswith(".spare") for path in sealed_under(life.disk))

    life.lock(KEYS[0])

    assert not any(path.endswith(".spare") for path in sealed_under(life.disk))
    life.save(100)
    assert_only(life, life.keys.data_key)


def test_no_sealed_byte_of_the_old_key_is_left_behind_a_new_segments_records(life: Life) -> None:
    """A segment that is begun in the file of an old one would keep what that held."""
    for _ in range(20):
        life.write(5)
    held = [image[512:] for path, image in life.disk.image().items() if path.endswith(".segment")]
    records = [image[start : start + 64] for image in held for start in range(0, len(image), 512)]
    life.save(100)
    life.storage.compact(101)
    life.lock(KEYS[0])
    life.save(100)
    life.write(3)
    life.write(3)

    left = b"".join(life.disk.image().values())
    assert not [record for record in records if record.startswith(b"RSWR") and record in left]


def test_a_second_change_before_the_first_is_finished_keeps_all_keys_that_are_needed(life: Life) -> None:
    life.write(2)
    life.lock(KEYS[0])
    life.write(2)
    life.lock(KEYS[1])
    life.write(2)
    assert len(life.keys.earlier_data_keys) == 2
    assert len(set(sealed_under(life.disk).values())) == 3

    assert [entry.index for entry in life.start().entries] == [1, 2, 3, 4, 5, 6]
    life.save_as_wanted()

    assert_only(life, life.keys.data_key)


def test_a_snapshot_that_arrived_under_the_old_key_is_replaced_too(life: Life) -> None:
    life.write(2)
    receive(life.storage, at(70), [b"leader's"])
    life.lock(KEYS[0])
    life.storage.install(at(70))
    life.last_index = 70
    assert life.storage.snapshot_wanted_at == 70

    life.save_as_wanted()

    assert_only(life, life.keys.data_key)
    assert life.start().snapshot == at(70)


def test_a_leaders_snapshot_under_the_new_key_is_as_good_as_our_own(life: Life) -> None:
    life.write(40)
    life.lock(KEYS[0])
    receive(life.storage, at(70), [b"leader's"])

    life.storage.install(at(70))

    assert_only(life, life.keys.data_key)


def test_a_start_in_the_middle_goes_on(life: Life) -> None:
    life.write(4)
    life.keys.follow(KEYS[0], 1)  # And then the process dies, before the log hears of it.
    life.unlock_keys = (KEYS[0],)

    recovered = life.start()

    assert [entry.index for entry in recovered.entries] == [1, 2, 3, 4]
    assert life.storage.snapshot_wanted_at == 4
    life.save_as_wanted()
    assert_only(life, life.keys.data_key)


def rotations(life: Life, chance: Random) -> list[Callable[[], None]]:
    """What befalls a member while its keys change, several times."""
    acts: list[Callable[[], None]] = []
    for lock in (KEYS[0], KEYS[1], None, KEYS[2]):
        acts += [
            lambda: life.write(chance.randint(1, 12)),
            lambda: life.write(chance.randint(1, 12)),
            lambda lock=lock: life.lock(lock),  # type: ignore[misc]
            lambda: life.write(chance.randint(1, 4)),
            life.save_as_wanted,
            lambda: life.storage.compact(life.snapshot_index + 1),
        ]
    return acts


def chosen_by(chance: Random) -> Callable[[object], bool]:
    return lambda _: chance.random() < 0.5


@pytest.mark.parametrize("seed", range(150))
def test_a_crash_at_any_step_locks_nobody_out_and_leaves_no_old_key_in_use(
    life: Life, crash: type[BaseException], seed: int
) -> None:
    """The machine stops at a random disk call of four changes of keys; then it is started, and finishes."""
    chance = Random(seed)
    life.disk.crash_at = life.disk.calls + chance.randrange(1, 260)
    acknowledged = HardState(), 0
    try:
        for act in rotations(life, chance):
            act()
            acknowledged = HardState(term=1), life.last_index
    except crash:
        life.disk = life.disk.after_kill() if seed % 3 == 0 else life.disk.after_crash(chosen_by(chance))
    life.disk.crash_at = None

    recovered = life.start()

    last = max([recovered.snapshot.index, *(entry.index for entry in recovered.entries)])
    assert (recovered.hard_state, last) >= acknowledged
    newest = life.storage.read_snapshot()
    assert newest is None or b"".join(newest[1]) == b"state %d" % recovered.snapshot.index
    life.last_index = last
    life.lock(life.wanted)  # The member reads in its log what the cluster said last.
    life.write(1)
    life.save_as_wanted()
    assert_only(life, life.keys.data_key)
    assert life.keys.locked_by == life.wanted
    if life.wanted is not None:
        assert life.keys.data_key not in life.exposed
    life.storage.close()
    again = life.start()
    assert max(again.snapshot.index, *(entry.index for entry in again.entries)) == life.last_index


def test_the_ids_of_keys_stand_where_this_module_looks_for_them() -> None:
    assert struct.calcsize(">8sHB5xQQQQQQQQQ16s32s") == 136
    assert struct.calcsize(">8sH6sQQQQ16s32s") == 96
