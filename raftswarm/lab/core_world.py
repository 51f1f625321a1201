"""A cluster in one thread under virtual time: real replicas, members and storage; simulated disks, links and clocks.

There is no second driver here: a process of this world calls `Replica.turn` as the trio driver does, so what is
tested is what ships. All of a run depends on its seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random

import msgspec

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.errors import DiskFailed, NotLeader, OutcomeUnknown
from raftswarm.lab.event_heap import EventHeap
from raftswarm.lab.faults import FaultMix
from raftswarm.lab.history import Call, CallKind, History
from raftswarm.lab.host import Host, MemberProcess, Parts
from raftswarm.lab.invariants import Invariants, Violation
from raftswarm.lab.journal import Journal
from raftswarm.lab.network import SimulatedNetwork
from raftswarm.lab.trace import Trace
from raftswarm.lab.witnesses import WitnessedMachine
from raftswarm.raft.events import Transition
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.membership import plan_leave, promote
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import StateMachine
from raftswarm.raft.tracing import TraceSink
from raftswarm.world.simulated_disk import PowerLost

CALM = FaultMix()


class CoreWorld:
    """Some machines, each with one member, and whoever calls them."""

    def __init__(
        self,
        seed: int,
        *,
        members: int = 3,
        faults: FaultMix = CALM,
        settings: RaftSettings | None = None,
        compaction: CompactionPolicy | None = None,
        make_machine: Callable[[], StateMachine] = Journal,
        trace: Trace | None = None,
        events: TraceSink | None = None,
    ) -> None:
        self.seed = seed
        self.faults = faults
        self.settings = settings or faults.settings
        self.heap = EventHeap()
        self.trace = trace or Trace(enabled=False)
        self.network = SimulatedNetwork(self.heap, self.chance("network"), faults.network)
        self.invariants = Invariants()
        self.history = History(self.heap)
        self.hosts: dict[int, Host] = {}
        self._crash_chance = self.chance("crash")
        self._parts = Parts(
            heap=self.heap,
            network=self.network,
            invariants=self.invariants,
            history=self.history,
            trace=self.trace,
            events=events,
            settings=self.settings,
            compaction=compaction or faults.compaction,
            segment_bytes=faults.segment_bytes,
            make_machine=make_machine,
        )
        founders = range(1, members + 1)
        for member in founders:
            self._build(member, self.list_members(founders))
        for member in founders:
            self.start(member)

    def chance(self, purpose: str) -> Random:
        """Return a source of chance of its own, so that one part's draws do not move another's."""
        return self.chance_of(self.seed, purpose)

    @staticmethod
    def chance_of(seed: int, purpose: str) -> Random:
        """Return that source before there is a world."""
        return Random(f"{seed}/{purpose}")  # noqa: S311 - a simulation has to be repeatable

    def _build(self, member: int, configuration: Configuration) -> Host:
        chance = self.chance(f"host {member}")
        host = Host(member, self._parts, chance, self.faults.disk, self._failed)
        host.clock.rate = self.faults.draw_clock_rate(chance)
        host.clock.wall_offset_seconds = self.faults.draw_wall_offset(chance)
        host.turn_seconds = self.faults.turn_seconds
        host.create(configuration)
        self.hosts[member] = host
        return host

    # Time.

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.heap.now

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.heap.run_until(self.now + seconds)

    def run_until(self, condition: Callable[[], bool], *, within_seconds: float, what: str = "it") -> float:
        """Let time pass until the condition holds, and return how long that took; Violation if it never does."""
        start = self.now
        until = start + within_seconds
        while not condition():
            if self.heap.next_time() > until:
                raise Violation(f"{what} did not happen within {within_seconds:g} s, by {until:.3f} s")
            self.heap.run_next()
        return self.now - start

    # Processes.

    def process(self, member: int) -> MemberProcess:
        """The running process of that member."""
        process = self.hosts[member].process
        assert process is not None, f"member {member} does not run"
        return process

    @property
    def running(self) -> list[int]:
        """Members whose process runs and is not paused."""
        return [member for member, host in self.hosts.items() if host.process and not host.process.paused]

    @property
    def leader(self) -> int | None:
        """The running member that leads the highest term and has applied all before it."""
        leading = [self.process(member) for member in self.running]
        leading = [process for process in leading if process.leadership.is_leader]
        return max(leading, key=_term).member_id if leading else None

    def start(self, member: int) -> None:
        """Start the member's process, from its disk."""
        self._tell(f"start {member}")
        self.hosts[member].start().run()

    def start_and_crash(self, member: int, disk_calls: int, *, power_lost: bool) -> None:
        """Start it, but let it die in its recovery at the disk call after so many, if there are that many."""
        host = self.hosts[member]
        host.disk.cut_after(disk_calls)
        try:
            host.start()
        except PowerLost:
            self._tell(f"{member} died at disk call {disk_calls} of its recovery")
        host.process = None
        self._forget_unsynced(host, power_lost=power_lost)

    def crash(self, member: int, *, power_lost: bool = False) -> None:
        """Kill the process where it stands; with the power goes what its disk had not synced."""
        self._tell(f"crash {member}{' with its machine' * power_lost}")
        self.process(member).runner.cut(self.hosts[member].disk, self._crash_chance)
        self._bury(member, power_lost=power_lost)

    def stop(self, member: int) -> None:
        """End the process cleanly, as a signal does: waiters are told, the log is closed."""
        self._tell(f"stop {member}")
        process = self.process(member)
        process.replica.shut_down()
        try:
            process.runner.finish()
            process.storage.close()
        except DiskFailed as failure:
            self._tell(f"{member} could not close its log: {failure}")
        self._bury(member, power_lost=False)

    def _bury(self, member: int, *, power_lost: bool) -> None:
        host = self.hosts[member]
        self.process(member).end()
        host.process = None
        self.network.detach(member, power_lost=power_lost)
        self._forget_unsynced(host, power_lost=power_lost)
        for call in self.history.pending_at(member):
            call.fail(OutcomeUnknown("its member crashed"))

    def pause(self, member: int) -> None:
        """Stop it for a while, without a trace for the others."""
        self._tell(f"pause {member}")
        self.process(member).pause()

    def resume(self, member: int) -> None:
        """Let it go on."""
        self._tell(f"resume {member}")
        self.process(member).resume()

    def fail_disk(self, member: int, failure: OSError, below: str = "") -> None:
        """Fail all writes and syncs of the process; it has to stop, and may be started again.

        With `below`, only those of files with such a path: without its snapshots a member lives on.
        """
        self._tell(f"disk of {member} fails: {failure}")
        self.hosts[member].disk.fail_from_now(failure, below)

    def _failed(self, host: Host, error: BaseException) -> None:
        """A replica gave up: right if its disk failed, a bug otherwise."""
        if not isinstance(error, DiskFailed):
            raise error
        self.heap.after(0.0, self._crash_failed, host, host.process)

    def _crash_failed(self, host: Host, process: MemberProcess | None) -> None:
        if host.process is process and process is not None:
            self.crash(host.member_id)

    def _forget_unsynced(self, host: Host, *, power_lost: bool) -> None:
        if power_lost:
            host.disk.lose_power(self._crash_chance)
        else:
            host.disk.lose_process()

    # The network.

    def partition(self, *groups: Sequence[int]) -> None:
        """Let only members of the same group hear each other; whoever is in none hears all."""
        self._tell(f"partition {groups}")
        self.network.partition(*groups)

    def isolate(self, member: int) -> None:
        """Cut it off from all others."""
        self.partition([member], [other for other in self.hosts if other != member])

    def heal(self) -> None:
        """Mend all cuts."""
        self._tell("heal")
        self.network.heal()

    def calm(self) -> None:
        """Let links, disks and loops be fast and true from now on; what is waiting for them may be long."""
        self.network.conditions = CALM.network
        for host in self.hosts.values():
            host.latency = CALM.disk
            host.turn_seconds = CALM.turn_seconds

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
        self._tell(f"{call.member} is asked for {_outline(configuration)} by a change {transition.value}")
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
        self._build(member, Configuration())
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
        self._tell(f"transfer from {call.member} to {to or 'the best'}")
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

    def _tell(self, text: str) -> None:
        if self.trace.enabled:
            self.trace.record(self.now, f"-- {text}")


def _outline(configuration: Configuration) -> str:
    voters = [info.id for info in configuration.voters]
    learners = [info.id for info in configuration.learners]
    return f"voters {voters} learners {learners}"


def _id(info: MemberInfo) -> int:
    return info.id


def _term(process: MemberProcess) -> int:
    return process.leadership.term
