"""Whatever a member does and whatever befalls its disk: its start finds what was promised, or says that it cannot.

Figure 2, section 7. The power may fail at any disk call, a bit may change anywhere, the log of a moment before may lie
beside a newer snapshot. Snapshots of our own are saved in slices, between which anything else happens.
"""

from __future__ import annotations

import errno
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raftswarm.errors import DiskFull, StorageError
from raftswarm.lab.trials import flip_newest
from raftswarm.raft.log_entry import Entry, EntryKind, HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.storage.snapshots import Saving
from raftswarm.world.simulated_disk import PowerLost, SimulatedDisk
from tests.receiving import receive

SEGMENT_BYTES = 2048
SLICE_BYTES = 100
LOG = "state/raft/log"
OLD_LOGS = 5
NEWEST_RECORDS = 4


@attrs.define
class SeededEntropy:
    seed: int
    drawn: int = 0

    def token_bytes(self, count: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_256(b"%d %d" % (self.seed, self.drawn)).digest(count)


@attrs.frozen
class Remembered:
    """What a member may rely on. Entries up to the snapshot's index are covered by it."""

    hard_state: HardState = HardState()
    snapshot: SnapshotMeta = SnapshotMeta()
    state: bytes = b""
    entries: tuple[Entry, ...] = ()

    @property
    def last_index(self) -> int:
        return self.entries[-1].index if self.entries else self.snapshot.index

    def behind(self, snapshot: SnapshotMeta, state: bytes) -> Remembered:
        """With a snapshot of our own, unless there is a newer one."""
        if snapshot.index < self.snapshot.index:
            return self
        entries = tuple(entry for entry in self.entries if entry.index > snapshot.index)
        return attrs.evolve(self, snapshot=snapshot, state=state, entries=entries)


Act = Callable[[MemberStorage], object]


def plan(kind: str, size: int, before: Remembered, applied: int) -> tuple[Act, Remembered]:
    """Return what a member does next, and what it remembers then. What is applied is never cut."""
    match kind:
        case "install" | "receive":
            return plan_receiving(kind, size, before)
        case "compact":
            return lambda storage: storage.compact(before.snapshot.index + 1 - size % 4), before
        case "mark":
            return lambda storage: storage.mark(), before
        case _:
            return plan_write(kind, size, before, applied)


def plan_write(kind: str, size: int, before: Remembered, applied: int) -> tuple[Act, Remembered]:
    term = before.hard_state.term
    match kind:
        case "vote":
            hard_state = HardState(term=term + size % 2, voted_for=size)
            return write_of(hard_state=hard_state), attrs.evolve(before, hard_state=hard_state)
        case "append":
            entries = make_entries(before.last_index + 1, size, term)
            return write_of(entries=entries), attrs.evolve(before, entries=before.entries + entries)
        case _:
            keep_until = max(before.last_index - size % 5, applied)
            kept = tuple(entry for entry in before.entries if entry.index <= keep_until)
            after = kept[-1].index if kept else before.snapshot.index
            hard_state = HardState(term=term + 1)
            entries = kept + make_entries(after + 1, size % 3, term + 1)
            act = write_of(hard_state=hard_state, truncate_after=after, entries=entries[len(kept) :])
            return act, attrs.evolve(before, hard_state=hard_state, entries=entries)


def plan_receiving(kind: str, size: int, before: Remembered) -> tuple[Act, Remembered]:
    snapshot = SnapshotMeta(index=before.last_index + 1 + size, term=before.hard_state.term)
    if kind == "receive":
        return lambda storage: receive(storage, snapshot, [b"never installed"]), before
    state = b"the leader's state" * size * 100
    return (
        lambda storage: receive_and_install(storage, snapshot, state),
        attrs.evolve(before, snapshot=snapshot, state=state, entries=()),
    )


def write_of(
    hard_state: HardState | None = None, truncate_after: int | None = None, entries: tuple[Entry, ...] = ()
) -> Act:
    write = Write(number=1, hard_state=hard_state, truncate_after=truncate_after, entries=entries)
    return lambda storage: storage.write(write)


def make_entries(first: int, count: int, term: int) -> tuple[Entry, ...]:
    return tuple(
        Entry(index=index, term=term, kind=EntryKind.COMMANDS, first_command=index, data=b"%d:%d " % (index, term) * 20)
        for index in range(first, first + count)
    )


def receive_and_install(storage: MemberStorage, snapshot: SnapshotMeta, state: bytes) -> None:
    receive(storage, snapshot, [state])
    storage.install(snapshot)


def look(storage: MemberStorage, recovered: Recovered) -> Remembered:
    found = storage.read_snapshot()
    entries = tuple(entry for entry in recovered.entries if entry.index > recovered.snapshot.index)
    return Remembered(recovered.hard_state, recovered.snapshot, b"".join(found[1]) if found else b"", entries)


@attrs.define
class OwnSnapshot:
    """One that is being saved, slice by slice."""

    snapshot: SnapshotMeta
    chunks: list[bytes]
    began_with: Remembered
    old_logs: tuple[SimulatedDisk, ...]
    """The log as it was before."""
    saving: Saving = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.saving = Saving(self.snapshot, iter(self.chunks))

    @property
    def state(self) -> bytes:
        return b"".join(self.chunks)


WRITES = ("vote", "append", "replace")
KINDS = st.sampled_from([*WRITES, "append", "install", "receive", "compact", "mark"])
SIZES = st.integers(0, 12)
SEEDS = st.integers(0, 2**32)


class Member(RuleBasedStateMachine):
    """One member's disk, and what it was promised."""

    @initialize(seed=SEEDS)
    def create(self, seed: int) -> None:
        self.disk = SimulatedDisk()
        self.entropy = SeededEntropy(seed)
        self.chance = Random(seed)
        self.remembered = Remembered()
        self.without_last = Remembered()
        """What is left when the last record is lost: the same once something behind it says that it was synced."""
        self.own: OwnSnapshot | None = None
        self.logs: deque[SimulatedDisk] = deque(maxlen=OLD_LOGS)
        self.boot = 0
        self.disk.make_directory("state")
        self.disk.sync_directory(".")
        self.keys = KeyRing.create(self.disk, "state/certificates", self.entropy)
        MemberStorage.create(
            self.disk,
            "state/raft",
            self.keys,
            self.entropy,
            member_id=1,
            cluster="c",
            incarnation=1,
            segment_bytes=SEGMENT_BYTES,
        ).close()
        self.start(Remembered())

    # What is found.

    @invariant()
    def what_is_durable_is_what_was_promised(self) -> None:
        """Whatever the member has acknowledged or shown outlasts the power, though nothing unsynced arrived."""
        assert self.find(self.disk.after_power_loss()) == self.remembered

    def find(self, disk: SimulatedDisk) -> Remembered:
        return look(*self.open(disk))

    def open(self, disk: SimulatedDisk) -> tuple[MemberStorage, Recovered]:
        return MemberStorage.open(
            disk,
            "state/raft",
            self.keys,
            self.entropy,
            segment_bytes=SEGMENT_BYTES,
            snapshot_slice_bytes=SLICE_BYTES,
        )

    @contextmanager
    def power_may_fail(self, *allowed: Remembered) -> Iterator[None]:
        """Meanwhile look before each disk call at what a loss of power would leave."""

        def look_at_what_is_left(_kind: str, _path: str) -> None:
            assert self.find(self.disk.after_power_loss()) in allowed
            if self.chance.random() < 0.2:
                assert self.find(self.disk.tear(self.chance)) in allowed

        self.disk.watcher = look_at_what_is_left
        try:
            yield
        finally:
            self.disk.watcher = None

    def start(self, *allowed: Remembered) -> None:
        self.own = None
        with self.power_may_fail(*allowed):
            self.storage, recovered = self.open(self.disk)
        self.remembered = self.without_last = look(self.storage, recovered)
        assert self.remembered in allowed
        assert recovered.boot > self.boot
        self.boot = recovered.boot

    # What it does.

    def plan(self, kind: str, size: int) -> tuple[Act, Remembered]:
        return plan(kind, size, self.remembered, self.own.snapshot.index if self.own is not None else 0)

    def has_done(self, kind: str, before: Remembered, after: Remembered) -> None:
        self.remembered = after
        if kind in WRITES:
            self.without_last = before
        if self.storage.is_marked:
            self.without_last = after

    @rule(kind=KINDS, size=SIZES)
    def act(self, kind: str, size: int) -> None:
        self.do(kind, size)

    def do(self, kind: str, size: int) -> None:
        self.logs.append(self.disk.copy())
        before, (act, after) = self.remembered, self.plan(kind, size)
        with self.power_may_fail(before, after):
            act(self.storage)
        self.has_done(kind, before, after)

    @precondition(lambda self: self.own is None and len(self.remembered.entries) > 0)
    @rule(pick=SIZES, slices=st.integers(1, 4), meanwhile=st.lists(st.tuples(KINDS, SIZES), max_size=3))
    def begin_to_save(self, pick: int, slices: int, meanwhile: list[tuple[str, int]]) -> None:
        """Something else may happen behind each slice."""
        entries = self.remembered.entries
        last = entries[pick % len(entries)]
        self.own = OwnSnapshot(
            SnapshotMeta(index=last.index, term=last.term),
            [b"our state at %d, slice %d " % (last.index, number) * 10 for number in range(slices)],
            self.remembered,
            tuple(self.logs),
        )
        self.save(1)
        for kind, size in meanwhile:
            self.do(kind, size)
            if self.own is not None:
                self.save(1)

    @precondition(lambda self: self.own is not None)
    @rule(slices=st.integers(1, 4))
    def save(self, slices: int) -> None:
        own = self.own
        assert own is not None
        after = self.remembered.behind(own.snapshot, own.state)
        for _ in range(slices):
            with self.power_may_fail(self.remembered, after):
                is_complete = self.storage.save_slice(own.saving)
            if is_complete:
                self.has_saved(own)
                break

    def has_saved(self, own: OwnSnapshot) -> None:
        self.own = None
        is_newest = own.snapshot.index >= self.remembered.snapshot.index
        is_last_seen = (own.began_with.hard_state, own.began_with.last_index) == (
            self.remembered.hard_state,
            self.remembered.last_index,
        )
        self.remembered = self.remembered.behind(own.snapshot, own.state)
        self.without_last = self.without_last.behind(own.snapshot, own.state)
        if is_newest:
            if is_last_seen:
                self.without_last = self.remembered
            self.lay_old_logs_beside(own)
            self.do("compact", own.snapshot.index)

    def lay_old_logs_beside(self, own: OwnSnapshot) -> None:
        """Each is refused, or lacks nothing of what there was when the snapshot was begun."""
        for log in own.old_logs:
            disk = self.disk.copy()
            disk.put_back(log, LOG)
            with suppress(StorageError):
                assert self.find(disk) == own.began_with.behind(own.snapshot, own.state)

    # What befalls it.

    @rule(kind=KINDS, size=SIZES)
    def find_no_room(self, kind: str, size: int) -> None:
        before, (act, after) = self.remembered, self.plan(kind, size)
        self.disk.fail_from_now(OSError(errno.ENOSPC, "no space left"))
        with suppress(DiskFull):
            act(self.storage)
        self.what_is_durable_is_what_was_promised()
        self.disk.end_failure()
        act(self.storage)
        self.has_done(kind, before, after)

    @rule(place=st.floats(0, 1, exclude_max=True))
    def change_a_bit(self, place: float) -> None:
        """In each of the newest records, and somewhere: it is noticed, or at most an end that nothing vouches for."""
        for back in range(NEWEST_RECORDS):
            self.recover_damaged(flip_newest(self.disk.copy(), LOG, back, place))
        disk = self.disk.copy()
        files = list(disk.sizes("state/raft").items())
        path, size = files[int(place * len(files))]
        if size:
            disk.flip_bit(path, self.chance.randrange(size), self.chance.randrange(8))
            self.recover_damaged(disk)

    def recover_damaged(self, disk: SimulatedDisk) -> None:
        with suppress(StorageError):
            assert self.find(disk) in {self.remembered, self.without_last}

    @rule(seed=st.none() | SEEDS)
    def stop_and_start(self, seed: int | None) -> None:
        """With a seed, it is the power that stops it."""
        if seed is None:
            self.storage.close()
        else:
            self.disk.lose_power(Random(seed))
        self.start(self.remembered)

    @rule(kind=KINDS, size=SIZES, calls=st.integers(0, 14), seed=SEEDS, is_power=st.booleans())
    def die_while_doing(self, *, kind: str, size: int, calls: int, seed: int, is_power: bool) -> None:
        act, after = self.plan(kind, size)
        self.disk.cut_after(calls)
        try:
            act(self.storage)
        except PowerLost:
            allowed = {self.remembered, after}
        else:
            allowed = {after}
        self.die(seed, is_power=is_power)
        self.start(*allowed)

    @rule(calls=st.integers(0, 40), first=SEEDS, second=SEEDS, is_power=st.booleans())
    def die_while_starting(self, *, calls: int, first: int, second: int, is_power: bool) -> None:
        self.disk.lose_power(Random(first))
        self.disk.cut_after(calls)
        with suppress(PowerLost):
            self.start(self.remembered)
        self.die(second, is_power=is_power)
        self.start(self.remembered)

    def die(self, seed: int, *, is_power: bool) -> None:
        if is_power:
            self.disk.lose_power(Random(seed))
        else:
            self.disk.lose_process()


TestMember = Member.TestCase
TestMember.settings = settings(max_examples=80, stateful_step_count=25, deadline=None, derandomize=True)
