"""The machines of a world under virtual time, and what can befall them; who calls them is `core_world`'s business.

Permanent damage is dealt out as a cluster has to survive it: in every configuration in force a majority of the voters
stays whole (`may_lose`). A machine that lost something and says so, or that an operator would not trust any more, is
lost: it never runs again, and has to be replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from random import Random

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.errors import DiskFailed, OutcomeUnknown, Regressed, StorageError
from raftswarm.lab.event_heap import EventHeap
from raftswarm.lab.faults import CALM, FaultMix
from raftswarm.lab.history import History
from raftswarm.lab.host import Host, Parts, Software
from raftswarm.lab.invariants import Invariants, Violation
from raftswarm.lab.journal import Journal
from raftswarm.lab.member_process import MemberProcess
from raftswarm.lab.network import SimulatedNetwork
from raftswarm.lab.onlooker import Onlooker
from raftswarm.lab.trace import Trace
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import StateMachine
from raftswarm.raft.tracing import TraceSink
from raftswarm.world.simulated_disk import PowerLost

MAX_CALLS_OF_A_CUT_JOB = 12


class Machines:
    """Some machines, each with one member; their links; and time."""

    def __init__(
        self,
        seed: int,
        *,
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
        self._chances: dict[str, Random] = {}
        """By their purposes."""
        self.trace = trace or Trace(enabled=False)
        self.network = SimulatedNetwork(self.heap, self.chance, faults.network, *faults.other_networks)
        self.invariants = Invariants()
        self.history = History(self.heap)
        self.hosts: dict[int, Host] = {}
        self._disk = faults.disk
        """Of new machines."""
        self.onlooker = Onlooker(self.hosts)
        self.outcomes: Counter[str] = Counter()
        """What came of damage, by kind."""
        self.suspect: int | None = None
        """Runs on an old copy of its disk, and nobody has noticed yet."""
        self._parts = Parts(
            heap=self.heap,
            network=self.network,
            invariants=self.invariants,
            history=self.history,
            onlooker=self.onlooker,
            trace=self.trace,
            events=events,
            settings=self.settings,
            compaction=compaction or faults.compaction,
            segment_bytes=faults.segment_bytes,
            make_machine=make_machine,
        )

    def chance(self, purpose: str) -> Random:
        """Return a source of chance of its own, so that one part's draws do not move another's."""
        source = self._chances[purpose] = self.chance_of(self.seed, purpose)
        return source

    def reseed(self, seed: int) -> None:
        """Let all chance come from another seed from now on."""
        self.seed = seed
        for purpose, source in self._chances.items():
            source.setstate(self.chance_of(seed, purpose).getstate())

    @staticmethod
    def chance_of(seed: int, purpose: str) -> Random:
        """Return that source before there is a world."""
        return Random(f"{seed}/{purpose}")  # noqa: S311 - a simulation has to be repeatable

    def build_host(self, member: int, configuration: Configuration) -> Host:
        """Set up a machine; without a configuration its member waits to be told one."""
        chance = self.chance(f"host {member}")
        host = Host(member, self._parts, chance, self._disk, self._failed)
        if self.hosts:
            host.software = max((other.software for other in self.hosts.values()), key=_protocol)
        host.clock.run_at(self.faults.draw_clock_rate(chance))
        host.clock.wall_offset_seconds = self.faults.draw_wall_offset(chance)
        host.turn_seconds = self.faults.turn_seconds
        host.create(configuration)
        self.hosts[member] = host
        return host

    @property
    def has_leases(self) -> bool:
        """Tell whether anybody reads by lease, and so counts on everybody's clock."""
        return any(host.software.settings.lease_reads for host in self.hosts.values())

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
        best: MemberProcess | None = None
        for host in self.hosts.values():
            process = host.process
            if (
                process is not None
                and process.leadership.is_leader
                and not process.paused
                and (best is None or process.leadership.term > best.leadership.term)
            ):
                best = process
        return None if best is None else best.member_id

    def start(self, member: int) -> None:
        """Start the member's process, from its disk."""
        self.tell(f"start {member}")
        self.hosts[member].start().run()

    def try_to_start(self, member: int) -> bool:
        """Start it as an operator does who does not know what its disk has been through; False if it stays down."""
        host = self.hosts[member]
        if host.is_damaged and (found := host.find_damage(host.disk.copy())):
            self.tell(f"{member} cannot go on: {found}")
            self.outcomes[found.partition(":")[0]] += 1
            self.lose(member)
            return False
        host.is_damaged = host.is_damaged and not host.is_damaged_at_rest
        try:
            self.start(member)
        except DiskFailed as failure:
            self.tell(f"{member} cannot start: {failure}")
            host.process = None
            host.disk.lose_process()
            return False
        return True

    def start_and_crash(self, member: int, disk_calls: int, *, power_lost: bool, tearing: Random | None = None) -> None:
        """Start it, but let it die in its recovery at the disk call after so many, if there are that many."""
        host = self.hosts[member]
        host.disk.cut_after(disk_calls)
        try:
            host.start()
        except PowerLost:
            self.tell(f"{member} died at disk call {disk_calls} of its recovery")
        except DiskFailed as failure:
            self.tell(f"{member} could not recover: {failure}")
        host.process = None
        self._forget_unsynced(host, power_lost=power_lost, tearing=tearing)

    def crash(
        self,
        member: int,
        *,
        power_lost: bool = False,
        disk_calls: int | None = None,
        tearing: Random | None = None,
    ) -> None:
        """Kill the process where it stands; with the power goes what its disk had not synced."""
        self.tell(f"crash {member}{' with its machine' * power_lost}")
        host = self.hosts[member]
        calls = host.crash_chance.randrange(MAX_CALLS_OF_A_CUT_JOB) if disk_calls is None else disk_calls
        self.process(member).runner.cut(host.disk, calls)
        self._bury(member, power_lost=power_lost, tearing=tearing)

    def stop(self, member: int) -> None:
        """End the process cleanly, as a signal does: waiters are told, the log is closed."""
        self.tell(f"stop {member}")
        process = self.process(member)
        process.replica.shut_down()
        try:
            process.runner.finish()
            process.storage.close()
        except StorageError as failure:
            self.tell(f"{member} could not close its log: {failure}")
        self._bury(member, power_lost=False)

    def lose(self, member: int) -> None:
        """Take the machine away for good, with its disk."""
        self.tell(f"lose {member}")
        host = self.hosts[member]
        if host.process is not None:
            self.crash(member, power_lost=True, disk_calls=0)
        host.is_lost = True
        self.invariants.lost(member)
        if self.suspect == member:
            self.suspect = None
            self.outcomes["regressed" if host.is_noticed else "set back, and not noticed yet"] += 1

    def may_lose(self, member: int) -> bool:
        """Tell whether, without it, every configuration in force or on its way keeps a whole majority of its voters."""
        gone = {member, *(host.member_id for host in self.hosts.values() if host.is_lost or host.is_damaged)}
        return not self.history.has_pending("change") and all(
            2 * sum(info.id not in gone for info in voters) > len(voters)
            for host in self.hosts.values()
            if not host.is_lost
            for voters in _electorates(host.configuration, gone)
            if voters
        )

    def _bury(self, member: int, *, power_lost: bool, tearing: Random | None = None) -> None:
        host = self.hosts[member]
        self.process(member).end()
        self.hosts[member].clock.go_on()  # It stood for the sake of the process that slept.
        host.process = None
        self.network.detach(member, power_lost=power_lost)
        self._forget_unsynced(host, power_lost=power_lost, tearing=tearing)
        for call in self.history.pending_at(member):
            call.fail(OutcomeUnknown("its member crashed"))

    def pause(self, member: int) -> None:
        """Stop it for a while, without a trace for the others."""
        self.tell(f"pause {member}")
        self.process(member).pause()

    def resume(self, member: int) -> None:
        """Let it go on."""
        self.tell(f"resume {member}")
        self.hosts[member].clock.go_on()
        self.process(member).resume()

    def fail_disk(self, member: int, failure: OSError, below: str = "") -> None:
        """Fail all writes and syncs of the process; it has to stop, and may be started again.

        With `below`, only those of files with such a path: without its snapshots a member lives on.
        """
        self.tell(f"disk of {member} fails: {failure}")
        self.hosts[member].disk.fail_from_now(failure, below)

    def _failed(self, host: Host, error: BaseException) -> None:
        """A process gave up, or died in its turn: right if its disk failed or was damaged, a bug otherwise."""
        member = host.member_id
        match error:
            case DiskFailed() | PowerLost():
                bury = self._crash_failed
            case Regressed() if host.is_set_back:
                host.is_noticed = True
                bury = self._lose_failed
            case StorageError() if host.is_damaged:
                self.outcomes["refused while running"] += 1
                bury = self._lose_failed
            case Regressed():
                raise Violation(f"member {member} is told that its disk was set back, which it was not") from error
            case _:
                raise error.__cause__ if isinstance(error.__cause__, Violation) else error
        self.heap.after(0.0, bury, host, host.process)

    def _crash_failed(self, host: Host, process: MemberProcess | None) -> None:
        if host.process is process and process is not None:
            tearing = None if process.died_in_turn is None else process.died_in_turn.tearing
            self.crash(host.member_id, power_lost=tearing is not None, tearing=tearing)

    def _lose_failed(self, host: Host, process: MemberProcess | None) -> None:
        if host.process is process and process is not None:
            self.lose(host.member_id)

    @staticmethod
    def _forget_unsynced(host: Host, *, power_lost: bool, tearing: Random | None) -> None:
        if power_lost:
            host.disk.lose_power(tearing or host.crash_chance)
        else:
            host.disk.lose_process()

    # The network.

    def partition(self, *groups: Sequence[int]) -> None:
        """Let only members of the same group hear each other; whoever is in none hears all."""
        self.tell(f"partition {groups}")
        self.network.partition(*groups)

    def isolate(self, member: int) -> None:
        """Cut it off from all others."""
        self.partition([member], [other for other in self.hosts if other != member])

    def heal(self) -> None:
        """Mend all cuts."""
        self.tell("heal")
        self.network.heal()

    def calm(self) -> None:
        """Let links be fast and true from now on, and disks of new machines; what is under way may be long."""
        self.network.conditions = CALM.network
        self._disk = CALM.disk

    def tell(self, text: str) -> None:
        """Put a line into the trace."""
        if self.trace.enabled:
            self.trace.record(self.now, f"-- {text}")


def _protocol(software: Software) -> int:
    return software.protocol


def _electorates(configuration: Configuration, gone: Collection[int]) -> Iterator[Sequence[MemberInfo]]:
    """Whose majorities decide, or may soon without anybody asking again: who is gone may still get its vote first."""
    yield configuration.voters
    yield configuration.outgoing
    promised = (info for info in (*configuration.learners, *configuration.learners_next) if info.promote)
    yield [*configuration.voters, *(info for info in promised if info.id in gone)]
