"""The whole engine under interleavings that hypothesis chooses: whatever happens, Figure 3's properties hold.

The rules drive a `CoreWorld`: its members, storage and replicas are those that ship, and after every event its
invariants are checked (docs/testing.md), from election safety to durability before claim. Here more is asked: each call
ends exactly once, a command of a session is applied once however often it is sent, and when all is healed the cluster
elects, serves and agrees. Time moves by drawn steps only, down to single events, so that a crash can come between any
two of them.

RAFTSWARM_EXAMPLES runs more than the gate does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from itertools import product

import attrs
import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.consensus.sessions import SessionMachine
from raftswarm.errors import Rejected
from raftswarm.lab.conditions import NetworkConditions
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.history import Call
from raftswarm.lab.invariants import Violation
from raftswarm.lab.journal import REFUSED
from raftswarm.lab.phases import check_liveness
from raftswarm.raft.events import Transition
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import Captured, Context
from raftswarm.wire.envelopes import EnvelopeKind, encode_command, encode_open, encode_plain

EXAMPLES = int(os.environ.get("RAFTSWARM_EXAMPLES", "150"))
MAX_VOTERS = 5
MAX_HOSTS = 9
SESSION_KINDS = (EnvelopeKind.OPEN, EnvelopeKind.COMMAND)

picks = st.integers(0, 7)
"""Which of those that are there; small, so that examples stay readable."""
leader_or_any = st.none() | picks
lasting = st.sampled_from((1.0, 0.05, 4.0, 500.0))
"""Seconds until a fault ends; the longest lasts till the end."""
pauses = st.sampled_from((0.05, 0.002, 0.5, 2.0))
"""Seconds until the next rule."""


class Counted:
    """What sessions protect: counts the commands of each session, and is told their numbers to compare."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def apply(self, command: bytes, context: Context) -> object:
        del context
        if command == REFUSED:
            raise Rejected("as it was asked to be")
        client, _, sequence = command.decode().partition(" ")
        if not sequence:
            return None
        self.counts[client] = self.counts.get(client, 0) + 1
        if self.counts[client] != int(sequence):
            raise Violation(f"command {sequence} of {client} was applied as its number {self.counts[client]}")
        return self.counts[client]

    def capture(self) -> Captured:
        return Captured(msgspec.msgpack.encode(self.counts))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.counts = msgspec.msgpack.decode(b"".join(chunks), type=dict[str, int])


class Sessions(SessionMachine):
    """Commands in envelopes, and those of the world's own clients, which have none."""

    def __init__(self) -> None:
        super().__init__(Counted())

    def apply(self, command: bytes, context: Context) -> object:
        in_envelope = command[:1] and command[0] in SESSION_KINDS
        return super().apply(command if in_envelope else encode_plain(command), context)


@attrs.define
class Client:
    """Sends numbered commands in a session, one after another, each as often as it likes."""

    name: str
    opening: Call | None = None
    sequence: int = 0
    calls: list[Call] = attrs.field(factory=list)
    """Of the newest command."""

    @property
    def session(self) -> int | None:
        return self.opening.result if self.opening is not None and isinstance(self.opening.result, int) else None

    @property
    def is_answered(self) -> bool:
        return any(call.acknowledged for call in self.calls)

    def check(self) -> None:
        for call in self.calls:
            assert not call.acknowledged or call.result == self.sequence, "an answer is another command's"


class Engine(RuleBasedStateMachine):
    """Some members and whatever may befall them. Most faults end by themselves, or little would happen in between."""

    world: CoreWorld

    @initialize(
        members=st.sampled_from((3, 1, 2, 4, 5)),
        seed=st.integers(0, 3),
        compact=st.booleans(),
        narrow=st.booleans(),
        lease=st.booleans(),
    )
    def begin(self, members: int, seed: int, compact: bool, narrow: bool, lease: bool) -> None:
        limits = RaftSettings(lease_reads=lease)
        if narrow:
            limits = attrs.evolve(limits, append_window_messages=2, append_message_bytes=1, uncommitted_bytes=512)
        policy = CompactionPolicy(snapshot_every_commands=3, keep_entries=1, keep_bytes_for_followers=0)
        self.world = CoreWorld(
            seed,
            members=members,
            settings=limits,
            compaction=policy if compact else None,
            faults=FaultMix(segment_bytes=4096, call_every=0.0),
            make_machine=Sessions,
        )
        self.removed: set[int] = set()
        self.clients = [Client("one"), Client("two")]
        self.is_over = False
        self.world.run_for(3.0)

    # Time.

    @rule(events=st.integers(1, 12))
    def run_events(self, events: int) -> None:
        for _ in range(events):
            self.world.heap.run_next()

    @rule(seconds=st.sampled_from((0.4, 2.0, 5.0)))
    def run_for(self, seconds: float) -> None:
        self.world.run_for(seconds)

    # Clients.

    @rule(pick=leader_or_any, count=st.sampled_from((1, 2, 8)), then=pauses)
    def write(self, pick: int | None, count: int, then: float) -> None:
        self.send(self.member(pick), count)
        self.world.run_for(then)

    def send(self, member: int | None, count: int) -> None:
        """Write what becomes entries of their own, mostly."""
        for _ in range(count):
            self.world.propose(b"x", member=member)
            self.world.run_for(0.001)

    @rule(pick=leader_or_any, then=pauses)
    def write_what_is_refused(self, pick: int | None, then: float) -> None:
        self.world.propose(REFUSED, member=self.member(pick))
        self.world.run_for(then)

    @rule(pick=leader_or_any, then=pauses)
    def read(self, pick: int | None, then: float) -> None:
        self.world.read(member=self.member(pick))
        self.world.run_for(then)

    @rule(which=st.integers(0, 1), pick=leader_or_any, then=pauses)
    def send_in_session(self, which: int, pick: int | None, then: float) -> None:
        """The next command, or the newest again as long as it has no answer, whomever it was sent to before."""
        client, member = self.clients[which], self.member(pick)
        client.check()
        if client.session is None:
            client.opening = self.world.propose(encode_open(client.name.encode().ljust(16)), member=member)
        else:
            if client.is_answered or not client.calls:
                client.sequence += 1
                client.calls = []
            payload = f"{client.name} {client.sequence}".encode()
            command = encode_command(client.session, client.sequence, client.sequence - 1, payload)
            client.calls.append(self.world.propose(command, member=member))
        self.world.run_for(then)

    # Machines.

    @rule(pick=leader_or_any, how=st.sampled_from(("killed", "without power", "stopped")), lasts=lasting, then=pauses)
    def crash(self, pick: int | None, how: str, lasts: float, then: float) -> None:
        member = self.runner(pick)
        if member is None:
            return
        if how == "stopped":
            self.world.stop(member)
        else:
            self.world.crash(member, power_lost=how == "without power")
        self.later(lasts, lambda: self.start(member))
        self.world.run_for(then)

    @rule(pick=picks, disk_calls=st.integers(0, 20), power_lost=st.booleans())
    def die_in_recovery(self, pick: int, disk_calls: int, power_lost: bool) -> None:
        down = [member for member, host in self.world.hosts.items() if host.process is None]
        if down:
            self.world.start_and_crash(down[pick % len(down)], disk_calls, power_lost=power_lost)

    @rule(pick=leader_or_any, lasts=lasting, then=pauses)
    def pause(self, pick: int | None, lasts: float, then: float) -> None:
        member = self.runner(pick)
        if member is not None:
            self.world.pause(member)
            self.later(lasts, lambda: self.resume(member))
            self.world.run_for(then)

    @rule(pick=leader_or_any, seconds=st.sampled_from((0.0, 0.05, 2.0)))
    def stall_disk(self, pick: int | None, seconds: float) -> None:
        self.world.hosts[self.member(pick) or 1].stall_seconds = seconds

    @rule()
    def mend(self) -> None:
        self.world.heal()
        for member, host in self.world.hosts.items():
            host.stall_seconds = 0.0
            self.start(member)
            self.resume(member)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """End a fault, unless all of them have been ended by then."""

        def end() -> None:
            if not self.is_over:
                action()

        self.world.heap.after(seconds, end)

    def start(self, member: int) -> None:
        if self.world.hosts[member].process is None:
            self.world.start(member)

    def resume(self, member: int) -> None:
        process = self.world.hosts[member].process
        if process is not None and process.paused:
            self.world.resume(member)

    # Links.

    @rule(pick=leader_or_any, lasts=lasting, then=pauses)
    def isolate(self, pick: int | None, lasts: float, then: float) -> None:
        self.world.isolate(self.member(pick) or 1)
        self.later(lasts, self.world.heal)
        self.world.run_for(then)

    @precondition(lambda self: self.world.leader is not None)
    @rule(count=st.integers(1, 9), meanwhile=st.integers(0, 9), then=pauses)
    def strand_leader(self, count: int, meanwhile: int, then: float) -> None:
        """What it is told while it is cut off has to be forgotten, however long it is beside what others commit."""
        leader = self.world.leader
        assert leader is not None
        self.world.isolate(leader)
        self.send(leader, count)
        self.world.run_for(4.0)
        self.send(None, meanwhile)
        self.world.run_for(then)
        self.world.heal()

    @rule(mask=st.integers(1, 30), one_way=st.booleans(), lasts=lasting, then=pauses)
    def partition(self, mask: int, one_way: bool, lasts: float, then: float) -> None:
        one, other = self.divide(sorted(self.world.hosts), mask)
        if one_way:
            for sender, receiver in product(one, other):
                self.world.network.cut(sender, receiver)
        else:
            self.world.partition(one, other)
        self.later(lasts, self.world.heal)
        self.world.run_for(then)

    @rule(loss=st.sampled_from((0.0, 0.3)), repeated=st.sampled_from((0.0, 0.5)), late=st.sampled_from((0.0, 0.5)))
    def change_weather(self, loss: float, repeated: float, late: float) -> None:
        self.world.network.conditions = NetworkConditions(
            loss=loss, duplication=repeated, reordering=late, reordering_seconds=1.5
        )

    # Leadership and members.

    @rule(pick=leader_or_any, then=pauses)
    def transfer(self, pick: int | None, then: float) -> None:
        """To that member, or to the best."""
        self.world.transfer_leadership(0 if pick is None else self.member(pick) or 0)
        self.world.run_for(then)

    @precondition(lambda self: self.world.leader is not None)
    @rule(how=st.sampled_from(("vote", "learn", "promise")), then=pauses)
    def add(self, how: str, then: float) -> None:
        listed = {*self.world.configuration.member_ids, *self.removed}
        waiting = [member for member in self.world.hosts if member not in listed]
        if not waiting and len(self.world.hosts) < MAX_HOSTS:
            waiting = [self.world.build_member()]
        if waiting and len(self.world.configuration.voters) < MAX_VOTERS:
            self.world.add_member(waiting[0], learner=how == "learn", promote=how == "promise")
            self.world.run_for(then)

    @precondition(lambda self: self.world.leader is not None)
    @rule(pick=leader_or_any, then=pauses)
    def remove(self, pick: int | None, then: float) -> None:
        """That member, or the leader; a removed one never comes back."""
        members = self.world.configuration.member_ids
        member = members[pick % len(members)] if pick is not None else self.world.leader
        assert member is not None
        self.removed.add(member)
        self.world.remove_member(member)
        self.world.run_for(then)

    @precondition(lambda self: self.world.leader is not None)
    @rule(mask=st.integers(1, 31), transition=st.sampled_from(Transition), then=pauses)
    def choose_voters(self, mask: int, transition: Transition, then: float) -> None:
        """Several at once, by joint consensus (D 4.3); whoever is not chosen learns."""
        voters, learners = self.divide(sorted(self.world.configuration.member_ids), mask)
        if voters:
            self.world.change_members(self.world.list_members(voters, learners), transition=transition)
            self.world.run_for(then)

    @precondition(lambda self: self.world.configuration.is_joint and not self.world.configuration.auto_leave)
    @rule(then=pauses)
    def leave_joint(self, then: float) -> None:
        self.world.leave_joint()
        self.world.run_for(then)

    # Whom a rule means.

    def member(self, pick: int | None) -> int | None:
        """Return that member; None is whoever leads."""
        members = sorted(self.world.hosts)
        return self.world.leader if pick is None else members[pick % len(members)]

    def runner(self, pick: int | None) -> int | None:
        """Return that one of those that run."""
        running = self.world.running
        return self.world.leader if pick is None or not running else running[pick % len(running)]

    def divide(self, members: list[int], mask: int) -> tuple[list[int], list[int]]:
        """Return those that the mask has a bit for, and the others."""
        one = [member for place, member in enumerate(members) if mask >> place & 1]
        return one, [member for member in members if member not in one]

    # The end.

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None or not hasattr(self, "world"):
            return  # What has failed already says more than what follows from it.
        self.is_over = True
        check_liveness(self.world)
        for client in self.clients:
            client.check()


Engine.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=50, deadline=None, derandomize=True)
TestEngine = Engine.TestCase
