"""Log matching, leader completeness and state machine safety (5.3, 5.4), and nothing claimed before it is durable.

Three members, with everything a network and a disk may do: messages are lost, repeated and overtaken; a crash loses the
writes that were not done. Time passes so that elections do happen, and so often that leaders are deposed half-way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import permutations
from random import Random

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raftswarm.raft.events import Propose, Receive, SnapshotSaved, SnapshotSent, TimePassed, Written
from raftswarm.raft.log_entry import Batch, Configuration, Entry, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.member import Member, StartingState
from raftswarm.raft.messages import AnyMessage, AppendReply, RequestVote, SnapshotReply, VoteReply
from raftswarm.raft.ready import Ready, Write
from raftswarm.raft.settings import RaftSettings

MEMBERS = (1, 2, 3)
GENESIS = SnapshotMeta(configuration=Configuration(voters=tuple(MemberInfo(id=member) for member in MEMBERS)))
MAX_IN_FLIGHT = 60
Place = tuple[int, bytes]
"""Term and data of an entry: what must be the same wherever its index is committed."""


@attrs.define(eq=False)
class Participant:
    id: int
    member: Member
    boot: int = 1
    now: float = 0.0
    hard_state: HardState = HardState()
    snapshot: SnapshotMeta = GENESIS
    entries: list[Entry] = attrs.field(factory=list)
    waiting: deque[tuple[SnapshotMeta | None, Write]] = attrs.field(factory=deque)

    def term_on_disk(self, index: int) -> int | None:
        if index == self.snapshot.index:
            return self.snapshot.term
        return next((entry.term for entry in self.entries if entry.index == index), None)


def start(member_id: int, boot: int, disk: Participant | None, now: float) -> Member:
    state = StartingState(
        member_id=member_id,
        cluster="test",
        boot=boot,
        hard_state=disk.hard_state if disk else HardState(),
        snapshot=disk.snapshot if disk else GENESIS,
        entries=tuple(disk.entries) if disk else (),
    )
    limits = RaftSettings(append_window_messages=3, append_message_bytes=1)  # Entries travel alone: more to go wrong.
    return Member(state, settings=limits, chance=Random(100 * member_id + boot), now=now)


PAIRS = list(permutations(MEMBERS, 2))
WRITERS = (MEMBERS, (1, 2), (1, 3), (2, 3), ())
members = st.sampled_from(MEMBERS)
pairs = st.sampled_from(PAIRS)


class Logs(RuleBasedStateMachine):
    """Three members; the list is the network, and rules say what moves."""

    @initialize()
    def begin(self) -> None:
        self.members = {member: Participant(member, start(member, 1, None, 0.0)) for member in MEMBERS}
        self.in_flight: list[AnyMessage] = []
        self.leader_of: dict[int, int] = {}
        self.committed: dict[int, Place] = {}
        self.commands = 0
        self.elect((1, 2))

    # What happens.

    @rule(pair=pairs)
    def elect(self, pair: tuple[int, int]) -> None:
        """Two members find out that one of them leads; the third may go on believing in somebody else."""
        candidate = self.members[pair[0]]
        self.time_out(candidate.id)
        for _ in range(30):
            if candidate.member.is_leader:
                break
            self.talk(pair, 1, pair)

    @rule(pair=pairs, steps=st.integers(1, 12), writers=st.sampled_from(WRITERS))
    def talk(self, pair: tuple[int, int], steps: int, writers: tuple[int, ...]) -> None:
        """Messages between two members arrive in order; the disks of some do their work."""
        for _ in range(steps):
            for member in writers:
                self.write(member, 3)
            message = next((m for m in self.in_flight if m.sender in pair and m.to in pair), None)
            if message is not None:
                self.in_flight.remove(message)
                self.step(self.members[message.to], Receive(message))

    def time_out(self, member: int) -> None:
        for participant in self.members.values():
            participant.now += 1.0
        participant = self.members[member]
        participant.now = max(participant.now, participant.member.next_deadline)
        self.step(participant, TimePassed())

    @rule(member=members)
    def beat(self, member: int) -> None:
        participant = self.members[member]
        participant.now += 0.1
        self.step(participant, TimePassed())

    @rule(counts=st.lists(st.integers(1, 3), min_size=1, max_size=4), unheard=st.booleans())
    def propose(self, counts: list[int], *, unheard: bool) -> None:
        """To all who believe that they lead; maybe nobody hears of it."""
        in_flight = list(self.in_flight)
        for participant in self.members.values():
            for count in counts if participant.member.is_leader else ():
                self.commands += 1
                batch = Batch(count, b"%d" % self.commands)
                self.step(participant, Propose(self.commands, batch, self.commands))
        if unheard:
            self.in_flight = in_flight

    @rule(position=st.integers(0, MAX_IN_FLIGHT - 1), repeated=st.booleans())
    def overtake(self, position: int, *, repeated: bool) -> None:
        """Some message arrives before its turn, and maybe again behind all others."""
        if self.in_flight:
            position %= len(self.in_flight)
            message = self.in_flight.pop(position)
            if repeated:
                self.in_flight.append(message)
            self.step(self.members[message.to], Receive(message))

    @rule(position=st.integers(0, MAX_IN_FLIGHT - 1))
    def lose(self, position: int) -> None:
        del self.in_flight[position : position + 2]

    @rule(member=members, count=st.integers(1, 3))
    def write(self, member: int, count: int) -> None:
        """Some writes are done; only the last of them is told of, and an old one again."""
        participant = self.members[member]
        done = [self.put_on_disk(participant) for _ in range(min(count, len(participant.waiting)))]
        for write in (*done[-1:], *done[:1]):
            self.step(participant, Written(write.number, write.last_term, write.last_index))

    @rule(member=members, keep=st.integers(0, 2))
    def save_snapshot(self, member: int, keep: int) -> None:
        participant = self.members[member]
        self.write(member, 3)
        place = participant.member.applied_index
        if participant.term_on_disk(place) is not None and not participant.waiting:
            participant.snapshot = participant.member.describe_snapshot(place)
            self.step(participant, SnapshotSaved(participant.snapshot, keep))

    @rule(member=members)
    def crash_and_start(self, member: int) -> None:
        participant = self.members[member]
        participant.waiting.clear()
        participant.boot += 1
        participant.member = start(member, participant.boot, participant, participant.now)
        participant.now += 0.2
        self.step(participant, TimePassed())

    # How it is carried out.

    def step(self, participant: Participant, event: Propose | Receive | SnapshotSaved | TimePassed | Written) -> None:
        member = participant.member
        term, was_leader, last_index = member.term, member.is_leader, member.last_index
        member.step(event, participant.now)
        ready = member.take_ready()
        if was_leader and member.is_leader and member.term == term:
            assert member.last_index >= last_index, "leaders append only"
        self.carry_out(participant, ready)

    def carry_out(self, participant: Participant, ready: Ready) -> None:
        member = participant.member
        if ready.write is not None:
            participant.waiting.append((ready.install, ready.write))
        for message in ready.messages:
            self.check_claim(participant, message)
            self.in_flight.append(message)
            del self.in_flight[:-MAX_IN_FLIGHT]
        for entry in ready.committed:
            self.check_committed(entry)
        if member.is_leader and self.leader_of.setdefault(member.term, member.id) != member.id:
            raise AssertionError(f"two leaders in term {member.term}")
        if ready.leadership is not None and ready.leadership.is_leader:
            self.check_complete(member)
        for transfer in ready.snapshots_to_send:
            member.step(SnapshotSent(transfer.to, transfer.snapshot.index, delivered=True), participant.now)
            self.carry_out(participant, member.take_ready())

    def put_on_disk(self, participant: Participant) -> Write:
        install, write = participant.waiting.popleft()
        if install is not None:
            participant.snapshot = install
            participant.entries.clear()
        participant.hard_state = write.hard_state or participant.hard_state
        if write.truncate_after is not None:
            participant.entries = [entry for entry in participant.entries if entry.index <= write.truncate_after]
        if write.entries and participant.entries:
            assert write.entries[0].index == participant.entries[-1].index + 1
        participant.entries += write.entries
        return write

    # What must hold.

    def check_claim(self, participant: Participant, message: AnyMessage) -> None:
        """Durable before claim (Figure 2)."""
        disk = participant.hard_state
        match message:
            case RequestVote(term=term):
                assert disk == HardState(term=term, voted_for=participant.id)
            case VoteReply(granted=True, term=term, to=candidate):
                assert disk == HardState(term=term, voted_for=candidate)
            case AppendReply(success=True, match_index=index, term=term) | SnapshotReply(match_index=index, term=term):
                assert disk.term >= term
                last = participant.entries[-1].index if participant.entries else 0
                assert index <= max(last, participant.snapshot.index), "acknowledged what is not on disk"
            case _:
                pass

    def check_committed(self, entry: Entry) -> None:
        """State machine safety: an index is applied with one content only (5.4.3)."""
        place = (entry.term, entry.data)
        assert self.committed.setdefault(entry.index, place) == place

    def check_complete(self, leader: Member) -> None:
        """Leader completeness: it has whatever was committed in earlier terms."""
        for index, (term, _) in self.committed.items():
            if index >= leader.first_index:
                assert leader.term_at(index) == term
            else:
                assert leader.snapshot.index >= index

    @invariant()
    def what_is_committed_is_durable_at_a_majority(self) -> None:
        for index, (term, _) in getattr(self, "committed", {}).items():
            holders = [
                participant.id
                for participant in self.members.values()
                if participant.snapshot.index >= index or participant.term_on_disk(index) == term
            ]
            assert len(holders) >= 2, f"entry {index} is committed and durable at {holders} only"

    @invariant()
    def logs_match(self) -> None:
        """Two logs that agree in a place agree in all before it; numbers of commands included."""
        if not hasattr(self, "members"):
            return
        for one, other in ((1, 2), (1, 3), (2, 3)):
            a, b = self.members[one].member, self.members[other].member
            first = max(a.first_index, b.first_index)
            agreed = False
            for index in range(min(a.last_index, b.last_index), first - 1, -1):
                same = a.entries(index, index) == b.entries(index, index)
                agreed = agreed or a.term_at(index) == b.term_at(index)
                assert same or not agreed, f"logs of {one} and {other} differ at {index}, before where they agree"

    @invariant()
    def windows_add_up(self) -> None:
        """Progress is consistent with itself."""
        for participant in getattr(self, "members", {}).values():
            for progress in participant.member.progress.values():
                assert progress.match_index < progress.next_index
                assert progress.in_flight_messages <= 3


Logs.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestLogs = Logs.TestCase


WALKS = 80
STEPS = 120


@pytest.mark.parametrize("first", range(0, WALKS, 20))
def test_long_walks_keep_every_invariant(first: int) -> None:
    """Hypothesis finds short stories and shrinks them; bugs of many writes in flight need long, talkative ones."""
    for seed in range(first, first + 20):
        walk(Random(seed))


def walk(chance: Random) -> None:
    logs = Logs()
    logs.begin()
    actions: list[tuple[int, Callable[[], None]]] = [
        (10, lambda: logs.talk(chance.choice(PAIRS), chance.randint(1, 8), chance.choice(WRITERS))),
        (2, lambda: logs.elect(chance.choice(PAIRS))),
        (2, lambda: logs.beat(chance.choice(MEMBERS))),
        (4, lambda: logs.propose([1] * chance.randint(1, 3), unheard=chance.random() < 0.3)),
        (4, lambda: logs.overtake(chance.randrange(MAX_IN_FLIGHT), repeated=chance.random() < 0.5)),
        (1, lambda: logs.lose(chance.randrange(MAX_IN_FLIGHT))),
        (4, lambda: logs.write(chance.choice(MEMBERS), chance.randint(1, 3))),
        (1, lambda: logs.save_snapshot(chance.choice(MEMBERS), chance.randint(0, 2))),
        (1, lambda: logs.crash_and_start(chance.choice(MEMBERS))),
    ]
    weights = [weight for weight, _ in actions]
    for _ in range(STEPS):
        chance.choices(actions, weights)[0][1]()
        logs.what_is_committed_is_durable_at_a_majority()
        logs.logs_match()
        logs.windows_add_up()
    assert logs.leader_of, "measured something else"
