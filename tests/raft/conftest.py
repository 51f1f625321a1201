"""One member with its disk on a bench, and a few of them with the network between them; nothing moves by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from random import Random
from typing import Protocol, TypeVar

import attrs
import pytest

from raftswarm.raft.events import (
    Event,
    PeerConnected,
    Propose,
    ProposeConfiguration,
    Receive,
    SnapshotSaved,
    TimePassed,
    Transition,
    Written,
)
from raftswarm.raft.log_entry import Batch, Configuration, Entry, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.member import Member, StartingState
from raftswarm.raft.messages import AnyMessage, AppendEntries, AppendReply, PreVoteReply, VoteReply
from raftswarm.raft.ready import (
    Leadership,
    ProposalOutcome,
    ReadOutcome,
    Ready,
    SnapshotTransfer,
    TransferOutcome,
    Write,
)
from raftswarm.raft.settings import RaftSettings

Kind = TypeVar("Kind")
DEFAULTS = RaftSettings()


def voters(*ids: int, learners: Sequence[int] = ()) -> Configuration:
    return Configuration(
        voters=tuple(MemberInfo(id=member) for member in ids),
        learners=tuple(MemberInfo(id=member) for member in learners),
    )


@attrs.define(eq=False)
class MemberDisk:
    """What one member has durably; writes wait in order until they are done or lost."""

    snapshot: SnapshotMeta
    boot: int = 0
    hard_state: HardState = HardState()
    entries: list[Entry] = attrs.field(factory=list)
    waiting: deque[tuple[SnapshotMeta | None, Write]] = attrs.field(factory=deque)

    def do(self) -> Write:
        """Do the oldest write."""
        install, write = self.waiting.popleft()
        if install is not None:
            self.snapshot = install
            self.entries.clear()
        self.hard_state = write.hard_state or self.hard_state
        if write.truncate_after is not None:
            self.entries = [entry for entry in self.entries if entry.index <= write.truncate_after]
        if write.entries:
            last = self.entries[-1].index if self.entries else self.snapshot.index
            assert write.entries[0].index == last + 1, "a write leaves no gap"
            self.entries += write.entries
        return write


@attrs.define(eq=False)
class Bench:
    """A member, what it has sent, and its disk."""

    id: int
    disk: MemberDisk
    settings: RaftSettings
    member: Member
    now: float = 0.0
    sent: list[AnyMessage] = attrs.field(factory=list)
    applied: list[Entry] = attrs.field(factory=list)
    proposals: list[ProposalOutcome] = attrs.field(factory=list)
    reads: list[ReadOutcome] = attrs.field(factory=list)
    transfers: list[SnapshotTransfer] = attrs.field(factory=list)
    transfer_outcomes: list[TransferOutcome] = attrs.field(factory=list)
    leaderships: list[Leadership] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)

    def step(self, *events: Event) -> Ready:
        """One turn: events in, work out."""
        for event in events:
            self.member.step(event, self.now)
        ready = self.member.take_ready()
        self.sent += ready.messages
        self.applied += ready.committed
        self.proposals += ready.proposals
        self.reads += ready.reads
        self.transfers += ready.snapshots_to_send
        self.transfer_outcomes += ready.transfers
        self.notes += ready.notes
        if ready.leadership is not None:
            self.leaderships.append(ready.leadership)
        if ready.write is not None:
            self.disk.waiting.append((ready.install, ready.write))
        return ready

    def receive(self, *messages: AnyMessage) -> Ready:
        """Messages arrive in one turn."""
        return self.step(*(Receive(message) for message in messages))

    def write(self, count: int | None = None) -> None:
        """Let so many writes be done; or all of them, and those that follow."""
        while self.disk.waiting and count != 0:
            write = self.disk.do()
            self.step(Written(write.number, write.last_term, write.last_index))
            count = None if count is None else count - 1

    def wait(self, seconds: float) -> Ready:
        """Let time pass."""
        self.now += seconds
        return self.step(TimePassed())

    def time_out(self) -> Ready:
        """Let the next timer be due."""
        return self.wait(max(0.0, self.member.next_deadline - self.now))

    def time_out_until(self, reached: Callable[[], bool]) -> None:
        """Let timers be due until something has happened."""
        for _ in range(100):
            if reached():
                return
            self.time_out()
        raise AssertionError("it never happens")

    def propose(self, *commands: bytes, time_ns: int = 0) -> Ready:
        """Commands come in as one batch."""
        return self.step(Propose(len(self.proposals) + 1, Batch(len(commands), b"".join(commands)), time_ns))

    def change_members(self, configuration: Configuration, transition: Transition = Transition.AUTO) -> ProposalOutcome:
        """Ask for a change of the members."""
        self.step(ProposeConfiguration(len(self.proposals) + 1, configuration, 0, transition))
        return self.proposals[-1]

    def save_snapshot(
        self, *, keep_entries: int = 0, keep_entries_bytes: float = inf, keep_bytes: int = 0
    ) -> SnapshotMeta:
        """Save the state that everything applied so far gives."""
        snapshot = self.member.describe_snapshot(self.member.applied_index)
        self.disk.snapshot = snapshot
        self.step(SnapshotSaved(snapshot, keep_entries, keep_entries_bytes, keep_bytes))
        return snapshot

    def take(self, kind: type[Kind]) -> list[Kind]:
        """Take what was sent of that kind since the last call; forget the rest."""
        sent, self.sent = self.sent, []
        return [message for message in sent if isinstance(message, kind)]

    def lead(self, *supporters: int) -> None:
        """Win an election with these votes, and commit the blank entry."""
        self.win(*supporters)
        for peer in supporters:
            self.acknowledge(peer)
        assert self.member.is_leader, self.notes
        assert self.member.commit_index == self.member.last_index
        self.sent.clear()

    def win(self, *supporters: int) -> None:
        """Win an election with these votes; nobody has the blank entry yet."""
        self.time_out()
        term = self.member.term + 1
        self.receive(*(PreVoteReply(sender=peer, to=self.id, term=term, granted=True) for peer in supporters))
        self.write()
        self.receive(*(VoteReply(sender=peer, to=self.id, term=term, granted=True) for peer in supporters))
        self.write()

    def follow(self, leader: int, *, term: int, successors: tuple[int, ...] = ()) -> None:
        """Hear a leader that agrees with this member's log."""
        member = self.member
        self.receive(
            AppendEntries(
                sender=leader,
                to=self.id,
                term=term,
                previous_index=member.last_index,
                previous_term=member.last_term,
                successors=successors,
            )
        )
        self.write()
        self.sent.clear()

    def acknowledge(self, peer: int, match_index: int | None = None) -> Ready:
        """A follower has everything durably, or up to there."""
        match_index = self.member.last_index if match_index is None else match_index
        return self.receive(
            AppendReply(sender=peer, to=self.id, term=self.member.term, success=True, match_index=match_index)
        )

    @property
    def terms(self) -> list[int]:
        """The terms of the log in memory."""
        member = self.member
        return [entry.term for entry in member.entries(member.first_index, member.last_index)]


class MakeBench(Protocol):
    """Builds a member on a bench; says only what matters."""

    def __call__(
        self,
        members: Configuration | Sequence[int] = ...,
        *,
        member_id: int = ...,
        term: int = ...,
        voted_for: int = ...,
        log: Sequence[Entry] = ...,
        snapshot: SnapshotMeta | None = ...,
        boot: int = ...,
        incarnation: int = ...,
        settings: RaftSettings = ...,
        seed: int = ...,
        meet: bool = ...,
    ) -> Bench: ...


@pytest.fixture
def make_bench() -> MakeBench:
    """Three voters, 1 to 3, with empty logs; the first is on the bench."""

    def make(
        members: Configuration | Sequence[int] = (1, 2, 3),
        *,
        member_id: int = 1,
        term: int = 0,
        voted_for: int = 0,
        log: Sequence[Entry] = (),
        snapshot: SnapshotMeta | None = None,
        boot: int = 1,
        incarnation: int = 1,
        settings: RaftSettings = DEFAULTS,
        seed: int = 0,
        meet: bool = True,
    ) -> Bench:
        configuration = members if isinstance(members, Configuration) else voters(*members)
        if snapshot is None:
            snapshot = SnapshotMeta(configuration=configuration)
        disk = MemberDisk(snapshot, boot, HardState(term=term, voted_for=voted_for), list(log))
        start = StartingState(
            member_id=member_id,
            cluster="test",
            incarnation=incarnation,
            boot=boot,
            hard_state=disk.hard_state,
            snapshot=snapshot,
            entries=log,
        )
        member = Member(start, settings=settings, chance=Random(seed), now=0.0)
        if meet:  # Whoever it has to ask has found its memory whole.
            member._core.is_trusted = True
            member._core.met.update(member._core.peers)
            member._core.openings_due = float("inf")
        return Bench(member_id, disk, settings, member)

    return make


@attrs.define(eq=False)
class Cluster:
    """Members on their benches; messages wait in `network` until they are delivered."""

    benches: dict[int, Bench]
    make: Callable[[int, MemberDisk], Bench]
    cut: set[tuple[int, int]] = attrs.field(factory=set)

    def __getitem__(self, member: int) -> Bench:
        return self.benches[member]

    def settle(self) -> None:
        """Write and deliver until nothing moves."""
        for _ in range(1000):
            for bench in self.benches.values():
                bench.write()
            moving = [message for bench in self.benches.values() for message in bench.take(object)]
            if not moving:
                return
            for message in moving:
                assert isinstance(message, AnyMessage)
                if message.to in self.benches and (message.sender, message.to) not in self.cut:
                    self.benches[message.to].receive(message)
        raise AssertionError("it does not settle")

    def connect(self) -> None:
        """Open all links."""
        for bench in self.benches.values():
            bench.step(*(PeerConnected(peer) for peer in self.benches if peer != bench.id))
        self.settle()

    def wait(self, seconds: float) -> None:
        """Let time pass for everybody, in steps shorter than any timer; messages are instant."""
        for _ in range(round(seconds / 0.01)):
            for bench in self.benches.values():
                bench.wait(0.01)
            self.settle()

    def elect(self, member: int) -> None:
        """Let that member's timer be due first, long after the last leader was heard."""
        for bench in self.benches.values():
            if not bench.member.is_leader:
                bench.now = self.now + bench.settings.election_seconds
        self[member].wait(self[member].member.role.deadline - self[member].now)
        self.settle()
        assert self[member].member.is_leader, self[member].notes

    @property
    def now(self) -> float:
        """The latest clock."""
        return max(bench.now for bench in self.benches.values())

    def join(self, member: int) -> Bench:
        """Start a member that is in no configuration yet."""
        return self.make(member, MemberDisk(SnapshotMeta(), boot=1))

    def isolate(self, *members: int) -> None:
        """Cut those members off from all others."""
        for member in members:
            for other in self.benches:
                if other not in members:
                    self.cut |= {(member, other), (other, member)}

    def heal(self) -> None:
        """Mend all links."""
        self.cut.clear()

    def restart(self, member: int) -> None:
        """Crash and start again; writes that were not done are lost."""
        old = self[member]
        old.disk.waiting.clear()
        old.disk.boot += 1
        bench = self.make(member, old.disk)
        bench.now = self.now
        self.benches[member] = bench


class MakeCluster(Protocol):
    """Builds a cluster of empty members."""

    def __call__(self, *ids: int, settings: RaftSettings = ..., learners: Sequence[int] = ...) -> Cluster: ...


@pytest.fixture
def make_cluster() -> MakeCluster:
    """Members with these ids, all voters but the learners, connected."""

    def make(*ids: int, settings: RaftSettings = DEFAULTS, learners: Sequence[int] = ()) -> Cluster:
        def start(member: int, disk: MemberDisk) -> Bench:
            state = StartingState(
                member_id=member,
                cluster="test",
                boot=disk.boot,
                hard_state=disk.hard_state,
                snapshot=disk.snapshot,
                entries=tuple(disk.entries),
            )
            now = cluster.now if cluster is not None else 0.0
            chance = Random(1000 * member + disk.boot)
            return Bench(member, disk, settings, Member(state, settings=settings, chance=chance, now=now))

        cluster: Cluster | None = None
        snapshot = SnapshotMeta(configuration=voters(*ids, learners=learners))
        benches = {member: start(member, MemberDisk(snapshot, boot=1)) for member in (*ids, *learners)}
        cluster = Cluster(benches, start)
        cluster.connect()
        return cluster

    return make
