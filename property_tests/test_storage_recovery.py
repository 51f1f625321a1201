"""Whatever a member does, and whenever the power fails: its start finds what was acknowledged (Figure 2, section 7)."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from contextlib import suppress
from random import Random

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raftswarm.errors import DiskFull
from raftswarm.raft.log_entry import Entry, EntryKind, HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.world.simulated_disk import PowerLost, SimulatedDisk
from tests.receiving import receive

SEGMENT_BYTES = 2048


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


Act = Callable[[MemberStorage], object]


def plan(kind: str, size: int, before: Remembered) -> tuple[Act, Remembered]:
    """Return what a member does next, and what it remembers then."""
    match kind:
        case "save" | "install" | "receive" | "compact":
            return plan_snapshot(kind, size, before)
        case "mark":
            return lambda storage: storage.mark(), before
        case _:
            return plan_write(kind, size, before)


def plan_write(kind: str, size: int, before: Remembered) -> tuple[Act, Remembered]:
    term = before.hard_state.term
    match kind:
        case "vote":
            hard_state = HardState(term=term + size % 2, voted_for=size)
            return write_of(hard_state=hard_state), attrs.evolve(before, hard_state=hard_state)
        case "append":
            entries = make_entries(before.last_index + 1, size, term)
            return write_of(entries=entries), attrs.evolve(before, entries=before.entries + entries)
        case _:
            kept = before.entries[: len(before.entries) - size % 5] if size % 5 <= len(before.entries) else ()
            after = kept[-1].index if kept else before.snapshot.index
            hard_state = HardState(term=term + 1)
            entries = kept + make_entries(after + 1, size % 3, term + 1)
            act = write_of(hard_state=hard_state, truncate_after=after, entries=entries[len(kept) :])
            return act, attrs.evolve(before, hard_state=hard_state, entries=entries)


def plan_snapshot(kind: str, size: int, before: Remembered) -> tuple[Act, Remembered]:
    term = before.hard_state.term
    match kind:
        case "save" if before.entries:
            last = before.entries[size % len(before.entries)]
            snapshot = SnapshotMeta(index=last.index, term=last.term)
            state = b"our state at %d" % last.index
            entries = tuple(entry for entry in before.entries if entry.index > last.index)
            return (
                lambda storage: storage.save_snapshot(snapshot, [state]),
                attrs.evolve(before, snapshot=snapshot, state=state, entries=entries),
            )
        case "install":
            snapshot = SnapshotMeta(index=before.last_index + 1 + size, term=term)
            state = b"the leader's state" * size * 100
            return (
                lambda storage: receive_and_install(storage, snapshot, state),
                attrs.evolve(before, snapshot=snapshot, state=state, entries=()),
            )
        case "receive":
            snapshot = SnapshotMeta(index=before.last_index + 1 + size, term=term)
            return lambda storage: receive(storage, snapshot, [b"never installed"]), before
        case _:
            return lambda storage: storage.compact(before.snapshot.index + 1 - size % 4), before


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


KINDS = st.sampled_from(["vote", "append", "append", "replace", "save", "install", "receive", "compact", "mark"])
SIZES = st.integers(0, 12)
SEEDS = st.integers(0, 2**32)


class Member(RuleBasedStateMachine):
    """One member's disk, and what it was promised."""

    @initialize(seed=SEEDS)
    def create(self, seed: int) -> None:
        self.disk = SimulatedDisk()
        self.entropy = SeededEntropy(seed)
        self.remembered = Remembered()
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
        self.start({Remembered()})

    @invariant()
    def what_is_durable_is_what_was_promised(self) -> None:
        """Whatever the member has acknowledged or shown outlasts the power, though nothing unsynced arrived."""
        disk = self.disk.after_power_loss()
        found = MemberStorage.open(disk, "state/raft", self.keys, self.entropy, segment_bytes=SEGMENT_BYTES)
        assert look(*found) == self.remembered

    def start(self, allowed: set[Remembered]) -> None:
        self.storage, recovered = MemberStorage.open(
            self.disk, "state/raft", self.keys, self.entropy, segment_bytes=SEGMENT_BYTES
        )
        self.remembered = look(self.storage, recovered)
        assert self.remembered in allowed
        assert recovered.boot > self.boot
        self.boot = recovered.boot

    @rule(kind=KINDS, size=SIZES)
    def do(self, kind: str, size: int) -> None:
        act, self.remembered = plan(kind, size, self.remembered)
        act(self.storage)

    @rule(kind=KINDS, size=SIZES)
    def find_no_room(self, kind: str, size: int) -> None:
        act, after = plan(kind, size, self.remembered)
        self.disk.fail_from_now(OSError(errno.ENOSPC, "no space left"))
        with suppress(DiskFull):
            act(self.storage)
        self.what_is_durable_is_what_was_promised()
        self.disk.end_failure()
        act(self.storage)
        self.remembered = after

    @rule()
    def stop_and_start(self) -> None:
        self.storage.close()
        self.start({self.remembered})

    @rule(seed=SEEDS)
    def lose_power_at_rest(self, seed: int) -> None:
        self.disk.lose_power(Random(seed))
        self.start({self.remembered})

    @rule(kind=KINDS, size=SIZES, calls=st.integers(0, 14), seed=SEEDS, is_power=st.booleans())
    def die_while_doing(self, *, kind: str, size: int, calls: int, seed: int, is_power: bool) -> None:
        act, after = plan(kind, size, self.remembered)
        self.disk.cut_after(calls)
        try:
            act(self.storage)
        except PowerLost:
            allowed = {self.remembered, after}
        else:
            allowed = {after}
        self.die(seed, is_power=is_power)
        self.start(allowed)

    @rule(calls=st.integers(0, 40), first=SEEDS, second=SEEDS, is_power=st.booleans())
    def die_while_starting(self, *, calls: int, first: int, second: int, is_power: bool) -> None:
        self.disk.lose_power(Random(first))
        self.disk.cut_after(calls)
        with suppress(PowerLost):
            self.start({self.remembered})
        self.die(second, is_power=is_power)
        self.start({self.remembered})

    def die(self, seed: int, *, is_power: bool) -> None:
        if is_power:
            self.disk.lose_power(Random(seed))
        else:
            self.disk.lose_process()


TestMember = Member.TestCase
TestMember.settings = settings(max_examples=60, stateful_step_count=25, deadline=None, derandomize=True)
