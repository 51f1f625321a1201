"""The whole engine under interleavings that hypothesis chooses: whatever happens, Figure 3's properties hold.

The rules drive a `CoreWorld`: its members, storage and replicas are those that ship, and after every event its eleven
invariants are checked (docs/testing.md), from election safety to durability before claim. Here more is asked: each call
ends exactly once, a command of a session is applied once however often it is sent, and when all is healed the cluster
elects, serves and agrees. Time moves by drawn steps only, down to single events, so that a crash can come between any
two of them.

RAFTSWARM_EXAMPLES runs more than the gate does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import attrs
import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.consensus.sessions import SessionMachine
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.history import Call
from raftswarm.lab.invariants import Violation
from raftswarm.lab.journal import REFUSED
from raftswarm.lab.nemesis import Nemesis
from raftswarm.lab.network import NetworkConditions
from raftswarm.lab.seeds import check_liveness
from raftswarm.raft.events import Transition
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import Captured, Context
from raftswarm.wire.envelopes import EnvelopeKind, encode_command, encode_open, encode_plain

EXAMPLES = int(os.environ.get("RAFTSWARM_EXAMPLES", "40"))
MAX_VOTERS = 5
MAX_HOSTS = 9
SESSION_KINDS = (EnvelopeKind.OPEN, EnvelopeKind.COMMAND)

picks = st.integers(0, 7)
"""Which of those that are there; small, so that examples stay readable."""


class Counted:
    """What sessions protect: counts the commands of each session, and is told their numbers to compare."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def apply(self, command: bytes, context: Context) -> object:
        del context
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
    """Some members and whatever may befall them."""

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

    # Time.

    @rule(events=st.integers(1, 12))
    def run_events(self, events: int) -> None:
        for _ in range(events):
            self.world.heap.run_next()

    @rule(milliseconds=st.sampled_from((1, 5, 20, 100, 400)))
    def run_for(self, milliseconds: int) -> None:
        self.world.run_for(milliseconds / 1000)

    @rule(seconds=st.sampled_from((1, 3)))
    def run_elections(self, seconds: int) -> None:
        self.world.run_for(seconds)

    # Clients.

    @rule(pick=st.none() | picks, count=st.sampled_from((1, 2, 8)))
    def write(self, pick: int | None, count: int) -> None:
        for _ in range(count):
            self.world.propose(b"x", member=self.member(pick))

    @rule(pick=picks)
    def write_what_is_refused(self, pick: int) -> None:
        self.world.propose(REFUSED, member=self.member(pick))

    @rule(pick=st.none() | picks)
    def read(self, pick: int | None) -> None:
        self.world.read(member=self.member(pick))

    @rule(which=st.integers(0, 1), pick=st.none() | picks)
    def send_in_session(self, which: int, pick: int | None) -> None:
        """The next command, or the newest again as long as it has no answer, whomever it was sent to before."""
        client, member = self.clients[which], self.member(pick)
        client.check()
        if client.session is None:
            client.opening = self.world.propose(encode_open(client.name.encode().ljust(16)), member=member)
            return
        if client.is_answered or not client.calls:
            client.sequence += 1
            client.calls = []
        payload = f"{client.name} {client.sequence}".encode()
        command = encode_command(client.session, client.sequence, client.sequence - 1, payload)
        client.calls.append(self.world.propose(command, member=member))

    # Machines.

    @rule(pick=st.none() | picks, power_lost=st.booleans())
    def crash(self, pick: int | None, power_lost: bool) -> None:
        if (member := self.runner(pick)) is not None:
            self.world.crash(member, power_lost=power_lost)

    @rule(pick=picks)
    def stop(self, pick: int) -> None:
        if (member := self.runner(pick)) is not None:
            self.world.stop(member)

    @rule(pick=picks)
    def start(self, pick: int) -> None:
        if (member := self.sleeper(pick)) is not None:
            self.world.start(member)

    @rule(pick=picks, disk_calls=st.integers(0, 20), power_lost=st.booleans())
    def die_in_recovery(self, pick: int, disk_calls: int, power_lost: bool) -> None:
        if (member := self.sleeper(pick)) is not None:
            self.world.start_and_crash(member, disk_calls, power_lost=power_lost)

    @rule(pick=st.none() | picks)
    def pause(self, pick: int | None) -> None:
        if (member := self.runner(pick)) is not None:
            self.world.pause(member)

    @rule()
    def resume(self) -> None:
        for host in self.world.hosts.values():
            if host.process is not None and host.process.paused:
                self.world.resume(host.member_id)

    @rule(pick=picks, seconds=st.sampled_from((0.0, 0.05, 2.0)))
    def stall_disk(self, pick: int, seconds: float) -> None:
        self.world.hosts[self.member(pick) or 1].stall_seconds = seconds

    # Links.

    @rule(pick=st.none() | picks)
    def isolate(self, pick: int | None) -> None:
        self.world.isolate(self.member(pick) or 1)

    @rule(mask=st.integers(1, 30))
    def partition(self, mask: int) -> None:
        members = sorted(self.world.hosts)
        one = [member for place, member in enumerate(members) if mask >> place & 1]
        self.world.partition(one, [member for member in members if member not in one])

    @rule(sender=picks, receiver=picks)
    def cut_one_way(self, sender: int, receiver: int) -> None:
        self.world.network.cut(self.member(sender) or 1, self.member(receiver) or 1)

    @rule()
    def heal(self) -> None:
        self.world.heal()

    @rule(loss=st.sampled_from((0.0, 0.3)), repeated=st.sampled_from((0.0, 0.5)), late=st.sampled_from((0.0, 0.5)))
    def change_weather(self, loss: float, repeated: float, late: float) -> None:
        self.world.network.conditions = NetworkConditions(
            loss=loss, duplication=repeated, reordering=late, reordering_seconds=1.5
        )

    # Leadership and members.

    @rule(pick=st.none() | picks)
    def transfer(self, pick: int | None) -> None:
        self.world.transfer_leadership(self.member(pick) or 0 if pick is not None else 0)

    @precondition(lambda self: self.world.leader is not None)
    @rule(how=st.sampled_from(("vote", "learn", "promise")))
    def add(self, how: str) -> None:
        listed = {*self.world.configuration.member_ids, *self.removed}
        waiting = [member for member in self.world.hosts if member not in listed]
        if not waiting and len(self.world.hosts) < MAX_HOSTS:
            waiting = [self.world.build_member()]
        if waiting and len(self.world.configuration.voters) < MAX_VOTERS:
            self.world.add_member(waiting[0], learner=how == "learn", promote=how == "promise")

    @precondition(lambda self: self.world.leader is not None)
    @rule(pick=picks)
    def remove(self, pick: int) -> None:
        members = self.world.configuration.member_ids
        member = members[pick % len(members)]
        self.removed.add(member)
        self.world.remove_member(member)

    @precondition(lambda self: self.world.leader is not None)
    @rule(mask=st.integers(1, 31), transition=st.sampled_from(Transition))
    def choose_voters(self, mask: int, transition: Transition) -> None:
        """Several at once, by joint consensus (D 4.3); whoever is not chosen learns."""
        members = sorted(self.world.configuration.member_ids)
        voters = [member for place, member in enumerate(members) if mask >> place & 1]
        if voters:
            learners = [member for member in members if member not in voters]
            self.world.change_members(self.world.list_members(voters, learners), transition=transition)

    @precondition(lambda self: self.world.configuration.is_joint and not self.world.configuration.auto_leave)
    @rule()
    def leave_joint(self) -> None:
        self.world.leave_joint()

    # Whom a rule means.

    def member(self, pick: int | None) -> int | None:
        """Return that member; None is whoever leads."""
        members = sorted(self.world.hosts)
        return self.world.leader if pick is None else members[pick % len(members)]

    def runner(self, pick: int | None) -> int | None:
        running = self.world.running
        return self.world.leader if pick is None or not running else running[pick % len(running)]

    def sleeper(self, pick: int) -> int | None:
        down = [member for member, host in self.world.hosts.items() if host.process is None]
        return down[pick % len(down)] if down else None

    # The end.

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        nemesis = Nemesis(self.world)
        nemesis.stop()
        check_liveness(self.world, nemesis)
        for client in self.clients:
            client.check()


Engine.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=50, deadline=None, derandomize=True)
TestEngine = Engine.TestCase
