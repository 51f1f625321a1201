"""Storage on the simulated disk, watched: after any crash it recovers exactly what it had acknowledged."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from raftswarm.errors import Rejected
from raftswarm.lab.invariants import Invariants, Violation
from raftswarm.lab.journal import REFUSED, Journal
from raftswarm.lab.witnesses import WitnessedMachine, WitnessedStorage
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.raft.state_machine import Context
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.world.chance import SeededEntropy
from raftswarm.world.simulated_disk import PowerLost, SimulatedDisk
from tests.receiving import receive

ALICE = 1
BOOTSTRAP = SnapshotMeta(configuration=Configuration(voters=(MemberInfo(id=ALICE),)))


class Machine:
    """One disk with one member's storage, which a test uses at random and ends at random."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.disk = SimulatedDisk()
        self.invariants = Invariants()
        self.segment_bytes = self.chance.choice((1024, 4096, 65536))
        self._entropy = SeededEntropy(self.chance)
        self._term = 0
        keys = KeyRing.create(self.disk, "keys", self._entropy)
        storage = MemberStorage.create(
            self.disk,
            "raft",
            keys,
            self._entropy,
            member_id=ALICE,
            cluster="lab",
            incarnation=1,
            segment_bytes=self.segment_bytes,
        )
        storage.save_snapshot(BOOTSTRAP, [b"at first"])
        storage.close()
        self.invariants.created(ALICE, BOOTSTRAP)

    def recover(self, disk: SimulatedDisk) -> tuple[MemberStorage, Recovered]:
        keys = KeyRing.open(disk, "keys", self._entropy)
        return MemberStorage.open(disk, "raft", keys, self._entropy, segment_bytes=self.segment_bytes)

    def start(self) -> WitnessedStorage:
        storage, recovered = self.recover(self.disk)
        self.invariants.started(ALICE, recovered)
        return WitnessedStorage(storage, ALICE, self.invariants)

    def use(self, storage: WitnessedStorage) -> None:
        """Do what a replica does, in any order."""
        log = self.invariants.durable(ALICE).log
        saved = self.invariants.durable(ALICE).snapshot.index
        self._term += 1
        match self.chance.randrange(10):
            case 0:
                storage.mark()
            case 1 | 2 if log.last_index > saved:
                index = self.chance.randint(saved + 1, log.last_index)
                storage.save_snapshot(SnapshotMeta(index=index, term=log.term_at(index) or 0), [bytes(100), b"x"])
                storage.compact(index - self.chance.choice((0, 3)) + 1)
            case 3:
                snapshot = SnapshotMeta(index=log.last_index + self.chance.randint(1, 9), term=self._term)
                receive(storage, snapshot, [b"received"])
                if self.chance.random() < 0.8:
                    storage.install(snapshot)
                    storage.write(Write(number=1, last_index=snapshot.index, last_term=snapshot.term))
            case 4 if log.last_index > saved:
                self.append(storage, truncate_after=self.chance.randint(saved, log.last_index))
            case _:
                self.append(storage)

    def append(self, storage: WitnessedStorage, *, truncate_after: int | None = None) -> None:
        log = self.invariants.durable(ALICE).log
        last = log.last_index if truncate_after is None else truncate_after
        entries = tuple(
            Entry(
                index=index,
                term=self._term,
                kind=EntryKind.COMMANDS,
                first_command=index,
                data=bytes(self.chance.choice((0, 10, 600))),
            )
            for index in range(last + 1, last + 1 + self.chance.choice((0, 1, 1, 5)))
        )
        vote = HardState(term=self._term, voted_for=self.chance.choice((0, ALICE)))
        storage.write(
            Write(
                number=1,
                hard_state=vote if self.chance.random() < 0.5 else None,
                truncate_after=truncate_after,
                entries=entries,
                last_index=last + len(entries),
                last_term=self._term if entries else log.term_at(last) or 0,
            )
        )

    def end(self) -> None:
        if self.chance.random() < 0.5:
            self.disk.lose_process()
        else:
            self.disk.lose_power(self.chance)


def use_until_it_dies(machine: Machine, storage: WitnessedStorage) -> None:
    try:
        while True:
            machine.use(storage)
    except PowerLost:
        pass


@pytest.mark.parametrize("seed", range(40))
def test_storage_recovers_what_it_acknowledged_after_any_crash(seed: int) -> None:
    machine = Machine(seed)
    for _ in range(10):
        machine.disk.cut_after(machine.chance.randrange(120))
        try:
            storage = machine.start()
        except PowerLost:
            pass
        else:
            use_until_it_dies(machine, storage)
        machine.end()

    machine.start()


@pytest.mark.parametrize("seed", range(20))
def test_what_a_killed_process_left_in_the_page_cache_is_made_durable_before_it_counts(seed: int) -> None:
    machine = Machine(seed)
    storage = machine.start()
    machine.disk.cut_after(machine.chance.randrange(120))
    use_until_it_dies(machine, storage)
    machine.disk.lose_process()

    _, recovered = machine.recover(machine.disk)

    _, again = machine.recover(machine.disk.after_power_loss())
    assert (again.hard_state, again.snapshot) == (recovered.hard_state, recovered.snapshot)
    assert again.entries[-1:] == recovered.entries[-1:]


@pytest.mark.parametrize("forgotten", [{"hard_state": None}, {"entries": ()}])
def test_storage_that_forgets_is_found(forgotten: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    write = MemberStorage.write
    monkeypatch.setattr(MemberStorage, "write", lambda self, w: write(self, msgspec.structs.replace(w, **forgotten)))
    machine = Machine(seed=1)
    storage = machine.start()
    entry = Entry(index=1, term=1, kind=EntryKind.BLANK, first_command=1)
    vote = HardState(term=1, voted_for=ALICE)
    storage.write(Write(number=1, hard_state=vote, entries=(entry,), last_index=1, last_term=1))
    machine.disk.lose_process()

    with pytest.raises(Violation, match=r"^8: member 1 recovered"):
        machine.start()


def make_machine(invariants: Invariants, calls: list[int]) -> WitnessedMachine:
    return WitnessedMachine(Journal(), ALICE, invariants, lambda call, _: calls.append(call))


def context(number: int) -> Context:
    return Context(command_number=number, time_ns=0, index=number, term=1)


def command(call: int, text: bytes) -> bytes:
    return WitnessedMachine.CALL.pack(call) + text


def test_a_state_machine_sees_its_command_without_the_number_of_the_call() -> None:
    calls: list[int] = []
    machine = make_machine(Invariants(), calls)

    machine.apply(command(7, b"text"), context(1))

    assert isinstance(machine.machine, Journal)
    assert machine.machine.last == [b"text"]
    assert calls == [7]


def test_a_state_machine_that_answers_differently_is_found() -> None:
    invariants = Invariants()
    make_machine(invariants, []).apply(command(1, b"text"), context(1))
    other = make_machine(invariants, [])

    with pytest.raises(Violation, match=r"^5:"):
        other.apply(command(1, REFUSED), context(1))


def test_a_refused_command_is_part_of_the_history() -> None:
    invariants = Invariants()
    calls: list[int] = []
    with pytest.raises(Rejected):
        make_machine(invariants, calls).apply(command(1, REFUSED), context(1))

    assert calls == [1]


def test_a_restored_machine_goes_on_with_the_same_digests() -> None:
    invariants = Invariants()
    first = make_machine(invariants, [])
    first.apply(command(1, b"one"), context(1))
    second = make_machine(invariants, [])

    second.restore(first.capture().chunks())

    first.apply(command(2, b"two"), context(2))
    second.apply(command(2, b"two"), context(2))
