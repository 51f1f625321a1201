"""Whatever Raft lets a member do, as a replica sees it: the log, who leads and what is committed are set by hand.

It takes part in nothing. What it has agreed on is the truth that states and answers are compared with.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from math import inf
from typing import Final

import msgspec

from raftswarm.raft.events import Event, Propose, ProposeConfiguration, ReadBarrier
from raftswarm.raft.log_entry import Batch, Configuration, Entry, EntryKind, SnapshotMeta
from raftswarm.raft.ready import Leadership, ProposalOutcome, ReadOutcome, Ready, Write
from raftswarm.raft.rules import NamedRule
from raftswarm.raft.state_machine import Context
from raftswarm.wire.batch import decode_batch

ME, OTHER = 1, 2
REFUSAL: Final = b"no"
"""What a command begins with that the machine refuses."""
NO_COMMANDS: Final = Batch(0, b"")


class AnyMember:
    """A member as far as a replica looks at it. Its log is changed by hand; what is agreed on stays."""

    id = ME
    has_news = False
    next_deadline = inf
    proposal_room = inf
    first_index = 1

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.agreed = 0
        """Up to here no leader ever has another log …"""
        self.commands: list[tuple[bytes, Context]] = []
        """… these are its commands, the first of them number 1 …"""
        self.numbers: dict[bytes, int] = {}
        self.accepted = [0]
        """… and so many of the first ones the machine accepts."""
        self.commit_index = 0
        self.handed_out = 0
        self.term = 1
        self.leader = 0
        self.appended: dict[bytes, Entry] = {}
        """What this replica has proposed, and where it went."""
        self.questions: list[int] = []
        self.installing: SnapshotMeta | None = None
        self._proposals: list[ProposalOutcome] = []
        self._reads: list[ReadOutcome] = []
        self._announced = Leadership(term=1, leader=0, is_leader=False)
        self._has_unwritten = False
        self._write_numbers = count(1)

    # What a replica asks of it.

    @property
    def configuration(self) -> Configuration:
        return self.list_members(len(self.log))

    @property
    def committed_configuration(self) -> Configuration:
        return self.list_members(self.commit_index)

    def because(self, rule: NamedRule, **facts: object) -> None:
        """Nobody asks."""

    def step(self, event: Event, _now: float) -> None:
        match event:
            case Propose(token, batch, time_ns):
                self._take(token, EntryKind.COMMANDS, batch, time_ns)
            case ProposeConfiguration(token, configuration, time_ns):
                changes = any(entry.kind is EntryKind.CONFIGURATION for entry in self.log[self.commit_index :])
                if changes:
                    self._proposals.append(ProposalOutcome(token, refused="not yet", leader=self.leader))
                else:
                    self._take(token, EntryKind.CONFIGURATION, Batch(0, msgspec.msgpack.encode(configuration)), time_ns)
            case ReadBarrier(token):
                self.questions.append(token)
            case _:
                pass  # Nothing here depends on how far the disk is.

    def _take(self, token: int, kind: EntryKind, batch: Batch, time_ns: int) -> None:
        if self.leader != ME:
            self._proposals.append(ProposalOutcome(token, refused="this member does not lead", leader=self.leader))
            return
        entry = self.append(kind, batch, time_ns)
        self._proposals.append(ProposalOutcome(token, entry.index, entry.term))
        if kind is EntryKind.COMMANDS:
            self.appended.update(dict.fromkeys(decode_batch(batch.command_count, batch.data), entry))

    def take_ready(self) -> Ready:
        has_write = self._has_unwritten or self.installing is not None
        first, self.handed_out = self.handed_out, self.commit_index
        leadership = Leadership(term=self.term, leader=self.leader, is_leader=self.leader == ME)
        ready = Ready(
            install=self.installing,
            write=Write(number=next(self._write_numbers), last_index=len(self.log)) if has_write else None,
            committed=tuple(self.log[first : self.commit_index]),
            proposals=self._proposals,
            reads=self._reads,
            leadership=leadership if leadership != self._announced else None,
        )
        self._announced, self._has_unwritten, self.installing = leadership, False, None
        self._proposals, self._reads = [], []
        return ready

    # What becomes of it.

    def append(self, kind: EntryKind, batch: Batch = NO_COMMANDS, time_ns: int = 0) -> Entry:
        before = self.describe(len(self.log))
        entry = Entry(
            index=before.index + 1,
            term=self.term,
            kind=kind,
            first_command=before.commands + 1,
            command_count=batch.command_count,
            time_ns=max(time_ns, before.time_ns + 1),
            data=batch.data,
        )
        self.log.append(entry)
        self._has_unwritten = True
        return entry

    def begin_term(self, leader: int) -> None:
        self.term += 1
        self.leader = leader
        if leader == ME:
            self.append(EntryKind.BLANK)

    def replace_tail(self, kept: int) -> None:
        """Of what is not agreed on, so many entries stay."""
        del self.log[self.agreed + kept :]

    def extend(self, batches: Iterable[Batch]) -> None:
        """The leader's entries follow."""
        for batch in batches:
            self.append(EntryKind.COMMANDS if batch.command_count else EntryKind.BLANK, batch)

    def commit(self, index: int) -> None:
        self._agree(index)
        self.commit_index = max(self.commit_index, index)

    def _agree(self, index: int) -> None:
        for entry in self.log[self.agreed : index]:
            if entry.kind is EntryKind.COMMANDS:
                for number, command in enumerate(decode_batch(entry.command_count, entry.data), entry.first_command):
                    self.commands.append((command, Context(number, entry.time_ns, entry.index, entry.term)))
                    self.numbers[command] = number
                    self.accepted.append(self.accepted[-1] + (not command.startswith(REFUSAL)))
        self.agreed = max(self.agreed, index)

    def install(self, index: int) -> SnapshotMeta:
        self.commit(index)
        self.handed_out = index
        self.installing = self.describe(index)
        return self.installing

    def start_from(self, snapshot: SnapshotMeta) -> None:
        """The process is another one: it knows of no commit beyond its snapshot, and of no leader."""
        self.commit_index = self.handed_out = snapshot.index
        self.leader = 0
        self.installing = None
        self._announced = Leadership(term=self.term, leader=0, is_leader=False)
        self.questions.clear()
        self._proposals.clear()
        self._reads.clear()

    def answer_reads(self, refused: str = "") -> None:
        self._reads += [ReadOutcome(token, self.commit_index, refused, self.leader) for token in self.questions]
        self.questions.clear()

    # The truth.

    def list_members(self, index: int) -> Configuration:
        for entry in reversed(self.log[:index]):
            if entry.kind is EntryKind.CONFIGURATION:
                return msgspec.msgpack.decode(entry.data, type=Configuration)
        return Configuration()

    def describe(self, index: int) -> SnapshotMeta:
        """Say what a snapshot of the log up to there is to say."""
        if not index:
            return SnapshotMeta()
        entry = self.log[index - 1]
        return SnapshotMeta(
            index=index,
            term=entry.term,
            commands=entry.first_command + entry.command_count - 1,
            time_ns=entry.time_ns,
            configuration=self.list_members(index),
        )

    def fold(self, index: int) -> bytes:
        """Return the state that the committed commands up to there make, as a snapshot has it."""
        return b"%d" % self.accepted[self.describe(index).commands]
