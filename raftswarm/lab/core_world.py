"""A cluster in one thread under virtual time: real replicas, members and storage; simulated disks, links and clocks.

There is no second driver here: a process of this world calls `Replica.turn` as the trio driver does, so what is
tested is what ships. All of a run depends on its seed alone, and on the faults that it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.consensus.sessions import SessionLimits
from raftswarm.errors import NotLeader
from raftswarm.lab import strikes
from raftswarm.lab.effects import Effects
from raftswarm.lab.fault_events import Fault, FaultEvent
from raftswarm.lab.faults import CALM, FaultMix
from raftswarm.lab.history import Call, CallKind
from raftswarm.lab.journal import Journal
from raftswarm.lab.machines import Machines
from raftswarm.lab.member_process import MemberProcess
from raftswarm.lab.operator_strikes import Backup
from raftswarm.lab.trace import Trace
from raftswarm.lab.witnesses import WitnessedMachine
from raftswarm.raft.events import Transition
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.membership import plan_leave, promote
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import StateMachine
from raftswarm.raft.tracing import TraceSink


class CoreWorld(Machines):
    """Some machines, each with one member, and whoever calls them."""

    def __init__(
        self,
        seed: int,
        *,
        members: int = 3,
        faults: FaultMix = CALM,
        settings: RaftSettings | None = None,
        compaction: CompactionPolicy | None = None,
        make_machine: Callable[[], StateMachine] | None = None,
        trace: Trace | None = None,
        events: TraceSink | None = None,
    ) -> None:
        self.effects = Effects()
        self.has_sessions = make_machine is None and faults.session_share > 0
        """Commands need an envelope (`wire.envelopes`)."""
        if self.has_sessions:
            make_machine = self.effects.make_machine(SessionLimits(idle_seconds=faults.session_idle_seconds))
        super().__init__(
            seed,
            faults=faults,
            settings=settings,
            compaction=compaction,
            make_machine=make_machine or Journal,
            trace=trace,
            events=events,
        )
        self.effects.named = self.onlooker.named
        self.struck: list[FaultEvent] = []
        """Every fault that made a difference, in order: with the seed, all that this run was."""
        self.struck_by_kind: Counter[str] = Counter()
        self.backup: Backup | None = None
        """The newest one that somebody took of all members."""
        self.restored = 0
        """How often the cluster was set back to one: what clients knew of it before means nothing after."""
        founders = range(1, members + 1)
        for member in founders:
            self.build_host(member, self.list_members(founders))
        for member in founders:
            self.start(member)

    def apply(self, fault: Fault) -> bool:
        """Let a fault strike now; False if it changed nothing, because it does not fit the moment."""
        phases = self.onlooker.phases()
        self.struck.append(FaultEvent(self.now, fault))  # Before it strikes: what it violates ends the run.
        if not strikes.strike(self, fault):
            self.struck.pop()
            return False
        self.tell(f"fault: {fault}")
        self.struck_by_kind[fault.kind] += 1
        self.onlooker.struck(fault.kind, phases)
        return True

    # Clients.

    def propose(self, command: bytes = b"", *, member: int | None = None) -> Call:
        """Ask a member, or the leader, to replicate a command."""
        call = self._begin("write", member)
        payload = WitnessedMachine.CALL.pack(call.number) + command
        self._ask(call, lambda process: process.replica.propose(payload, call))
        return call

    def read(self, *, member: int | None = None) -> Call:
        """Ask for an index from which a read is linearizable."""
        call = self._begin("read", member)

        def ask(process: MemberProcess) -> None:
            call.applied = lambda: process.replica.applied.index
            process.replica.read_barrier(call)

        self._ask(call, ask)
        return call

    def change_members(
        self, configuration: Configuration, *, member: int | None = None, transition: Transition = Transition.AUTO
    ) -> Call:
        """Ask for other members."""
        call = self._begin("change", member)
        self.tell(f"{call.member} is asked for {_outline(configuration)} by a change {transition.value}")
        self._ask(call, lambda process: process.replica.change_configuration(configuration, call, transition))
        return call

    def list_members(self, voters: Iterable[int], learners: Iterable[int] = ()) -> Configuration:
        """Name members by their numbers, in rising order."""
        return Configuration(voters=tuple(map(self._info, voters)), learners=tuple(map(self._info, learners)))

    def _info(self, member: int) -> MemberInfo:
        name = f"member-{member}"
        return MemberInfo(id=member, address=f"{name}:2377", name=name, priority=self.faults.priority_of(member))

    def build_member(self) -> int:
        """Start a new member with an empty log, which waits to be told a configuration."""
        member = max(self.hosts) + 1
        self.build_host(member, Configuration())
        self.start(member)
        return member

    def add_member(self, member: int, *, learner: bool = False, promote: bool = False) -> Call:
        """Ask the leader to add it: as a voter, or as a learner, maybe one that gets a vote when it has caught up."""
        now = self.configuration
        kind = "learners" if learner or promote else "voters"
        info = msgspec.structs.replace(self._info(member), promote=promote)
        listed = tuple(sorted((*getattr(now, kind), info), key=_id))
        return self.change_members(msgspec.structs.replace(now, **{kind: listed}))

    def remove_member(self, member: int) -> Call:
        """Ask the leader to remove a member; its process runs on."""
        now = self.configuration
        return self.change_members(
            msgspec.structs.replace(
                now,
                voters=tuple(info for info in now.voters if info.id != member),
                learners=tuple(info for info in now.learners if info.id != member),
            )
        )

    def promote_member(self, member: int) -> Call:
        """Ask the leader to give a learner a vote."""
        return self.change_members(promote(self.configuration, member))

    def leave_joint(self) -> Call:
        """Ask the leader to end a joint change."""
        left = plan_leave(self.configuration)
        assert isinstance(left, Configuration), left
        return self.change_members(left)

    def transfer_leadership(self, to: int = 0, *, member: int | None = None) -> Call:
        """Ask a member, or the leader, to hand over."""
        call = self._begin("transfer", member)
        self.tell(f"transfer from {call.member} to {to or 'the best'}")
        self._ask(call, lambda process: process.replica.transfer_leadership(to, call))
        return call

    @property
    def configuration(self) -> Configuration:
        """What the leader believes, or else somebody."""
        member = self.leader or (self.running or [0])[0]
        return self.hosts[member].configuration if member else Configuration()

    def _begin(self, kind: CallKind, member: int | None) -> Call:
        return self.history.begin(kind, member or self.leader or (self.running or [1])[0])

    def _ask(self, call: Call, ask: Callable[[MemberProcess], None]) -> None:
        process = self.hosts[call.member].process
        if process is None:
            call.fail(NotLeader(f"member {call.member} does not run"))
        else:
            process.reached_by(partial(ask, process))


def _outline(configuration: Configuration) -> str:
    voters = [info.id for info in configuration.voters]
    learners = [info.id for info in configuration.learners]
    return f"voters {voters} learners {learners}"


def _id(info: MemberInfo) -> int:
    return info.id
