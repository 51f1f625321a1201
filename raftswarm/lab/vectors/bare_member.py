"""A bare member with its disk and its clock: nothing moves by itself.

The one big idea: what a member hands out and what its disk has done are told apart, so that a step of a scenario may
come between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from random import Random

import attrs

from raftswarm.lab.vectors.scenario_form import InitialNode, InitialRecord
from raftswarm.raft.events import Event, SnapshotSaved, SnapshotSent, TimePassed, Written
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.member import Member, StartingState
from raftswarm.raft.messages import AnyMessage
from raftswarm.raft.ready import ProposalOutcome, ReadOutcome, Write
from raftswarm.raft.settings import RaftSettings

CLUSTER = "vectors"
TICK_SECONDS = 1.0
SETTINGS = RaftSettings(heartbeat_seconds=TICK_SECONDS, election_seconds=3 * TICK_SECONDS)


class LateTimers(Random):
    """Draws election timers as late as can be, so that they fire when a step says so, and not before."""

    def random(self) -> float:
        """Return the latest draw."""
        return 0.99

    def getrandbits(self, count: int, /) -> int:
        """Numbers that must differ are drawn as ever."""
        return super().getrandbits(count)


@attrs.define(eq=False)
class Disk:
    """What a member has durably; writes wait in order until they are done, or lost."""

    snapshot: SnapshotMeta
    hard_state: HardState = HardState()
    entries: list[Entry] = attrs.field(factory=list)
    boot: int = 0
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
        self.entries += write.entries
        return write


@attrs.define(eq=False)
class BareMember:
    """One member, running or not."""

    id: int
    disk: Disk
    settings: RaftSettings = SETTINGS
    now: float = 0.0
    running: Member | None = None
    outbox: list[AnyMessage] = attrs.field(factory=list)
    """What it has handed out and nobody has taken yet."""
    proposals: dict[int, ProposalOutcome] = attrs.field(factory=dict)
    reads: dict[int, ReadOutcome] = attrs.field(factory=dict)
    applied: list[Entry] = attrs.field(factory=list)

    @property
    def member(self) -> Member:
        """The running member."""
        assert self.running is not None, f"node {self.id} does not run"
        return self.running

    def start(self) -> None:
        """Begin with what is on disk."""
        assert self.running is None, f"node {self.id} runs"
        self.disk.boot += 1
        self.applied.clear()
        start = StartingState(
            member_id=self.id,
            cluster=CLUSTER,
            boot=self.disk.boot,
            hard_state=self.disk.hard_state,
            snapshot=self.disk.snapshot,
            entries=tuple(self.disk.entries),
        )
        chance = LateTimers(100 * self.id + self.disk.boot)
        self.running = Member(start, settings=self.settings, chance=chance, now=self.now)

    def crash(self) -> None:
        """Forget what is not on disk."""
        self.running = None
        self.disk.waiting.clear()
        self.outbox.clear()

    def step(self, event: Event) -> None:
        """Let something happen."""
        self.member.step(event, self.now)

    def tick(self) -> None:
        """Let its clock move on."""
        self.now += TICK_SECONDS
        self.step(TimePassed())

    def set_election_timer(self, ticks: float) -> None:
        """Let its election timer fire after so long; a leader, and whoever has no vote, has none."""
        role = self.member.role
        if not self.member.is_leader and role.deadline != float("inf"):
            role.deadline = self.now + ticks * TICK_SECONDS

    def campaign(self) -> None:
        """Let its election timer fire."""
        self.set_election_timer(0)
        self.step(TimePassed())

    def compact(self, first_index: int) -> None:
        """Save a snapshot of what is before that entry, and forget it."""
        self.disk.snapshot = self.member.describe_snapshot(first_index - 1)
        self.step(SnapshotSaved(self.disk.snapshot))

    def hand_out(self) -> bool:
        """Take the work of what happened: messages into the outbox, writes to the disk; False when there is none."""
        ready = self.member.take_ready()
        self.outbox += ready.messages
        self.applied += ready.committed
        self.proposals.update({outcome.token: outcome for outcome in ready.proposals})
        self.reads.update({outcome.token: outcome for outcome in ready.reads})
        if ready.write is not None:
            self.disk.waiting.append((ready.install, ready.write))
        for transfer in ready.snapshots_to_send:  # The data travels beside the messages, and at once.
            self.step(SnapshotSent(transfer.to, transfer.snapshot.index, delivered=True))
        return bool(ready)

    def write(self) -> None:
        """Do the oldest write, if there is one."""
        if self.disk.waiting:
            write = self.disk.do()
            self.step(Written(write.number, write.last_term, write.last_index))

    def work(self) -> None:
        """Hand out and write until there is nothing left to do."""
        while self.hand_out() or self.disk.waiting:
            self.write()

    def take_sent(self) -> list[AnyMessage]:
        """Take the messages that it has handed out."""
        sent, self.outbox = self.outbox, []
        return sent


def configuration_of(voters: Iterable[int], learners: Iterable[int] = ()) -> Configuration:
    """Return members that have nothing but an id."""
    return Configuration(
        voters=tuple(MemberInfo(id=member) for member in sorted(voters)),
        learners=tuple(MemberInfo(id=member) for member in sorted(learners)),
    )


def log_of(records: Iterable[InitialRecord], first_command: int) -> list[Entry]:
    """Return entries with one command each, or blank ones."""
    entries = []
    for record in records:
        count = 1 if record.kind == "data" else 0
        entries.append(
            Entry(
                index=record.index,
                term=record.term,
                kind=EntryKind.COMMANDS if count else EntryKind.BLANK,
                first_command=first_command,
                command_count=count,
                time_ns=record.index,
                data=record.data.encode(),
            )
        )
        first_command += count
    return entries


def make_member(node: InitialNode, settings: RaftSettings = SETTINGS) -> BareMember:
    """Return a member with that on its disk."""
    point = node.snapshot
    snapshot = SnapshotMeta(
        index=point.index,
        term=point.term,
        commands=point.index,  # As if each entry before had been a command.
        time_ns=point.index,
        configuration=configuration_of(node.voters, node.learners),
    )
    disk = Disk(snapshot, HardState(term=node.term, voted_for=node.vote), log_of(node.log, point.index + 1))
    return BareMember(node.id, disk, settings)
