"""The process on a machine that runs one member: the `Surroundings` of its replica, from recovery to crash.

Everything that reaches it passes `reached_by`, so that a paused one gets it all at once later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from random import Random
from typing import TYPE_CHECKING

import attrs

from raftswarm.consensus.replica import Replica
from raftswarm.errors import Regressed
from raftswarm.lab.disk_runner import VirtualDiskRunner
from raftswarm.lab.network import BulkEnd
from raftswarm.lab.snapshot_streams import ReceivingStream, SendingStream
from raftswarm.lab.witnesses import WitnessedMachine, WitnessedMember, WitnessedStorage
from raftswarm.raft.events import PeerConnected, PeerStopped, PeerUnreachable, Receive
from raftswarm.raft.log_entry import Configuration, SnapshotMeta
from raftswarm.raft.member import StartingState
from raftswarm.raft.messages import AnyMessage
from raftswarm.raft.ready import Leadership
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.transport.snapshot_transfer import OutgoingSnapshot
from raftswarm.world.simulated_disk import PowerLost

if TYPE_CHECKING:
    from raftswarm.lab.host import Host


@attrs.frozen
class DeathInTurn:
    """How a process is to die in the middle of a turn."""

    messages: int
    """After it has sent so many in that turn."""
    tearing: Random | None
    """What becomes of unsynced writes, if the power fails with it."""


class DiedInTurn(PowerLost):
    """The process that was in this turn no longer exists."""


class MemberProcess:
    """One run of one member."""

    def __init__(self, host: Host, start: StartingState, storage: MemberStorage, machine: WitnessedMachine) -> None:
        parts = host.parts
        self.member_id = host.member_id
        self.boot = start.boot
        self.protocol = host.software.protocol
        self.storage = storage
        self.machine = machine
        self.leadership = Leadership(term=0, leader=0, is_leader=False)
        self.paused = False
        self.death: DeathInTurn | None = None
        """It is to die in the next turn that gets so far."""
        self.died_in_turn: DeathInTurn | None = None
        self._posted = 0
        """Messages of this turn."""
        self._alive = True
        self._host = host
        self._heap = parts.heap
        self._receiving: ReceivingStream | None = None
        self._held: list[Callable[[], object]] = []
        """What arrived while it was paused."""
        self._turn_due = False
        self._deadline = inf
        self._alarm = inf
        """When the heap will look at the deadline."""
        self.runner = VirtualDiskRunner(parts.heap, self._draw_latency, self.reached_by, member=host.member_id)
        self.member = WitnessedMember(
            start,
            settings=host.software.settings,
            chance=host.chance,
            now=host.clock.now(),
            invariants=parts.invariants,
            onlooker=parts.onlooker,
            promises=host.promises,
            trace=parts.events,
        )
        self.member.is_set_back = host.is_set_back
        host.configuration = self.member.configuration
        self.witnessed = WitnessedStorage(storage, host.member_id, parts.invariants)
        self.replica = Replica(
            member=self.member,
            storage=self.witnessed,
            runner=self.runner,
            machine=machine,
            surroundings=self,
            wall_clock=host.clock,
            compaction=host.software.compaction,
            snapshot=start.snapshot,
        )

    # Life.

    def run(self) -> None:
        """Take the first turn soon."""
        self._host.parts.network.attach(self.member_id, self, self.protocol)
        self.wake()

    def pause(self) -> None:
        """Stop it as SIGSTOP would: its sockets and its disk keep what they are given."""
        self.paused = True

    def resume(self) -> None:
        """Let it run, and find at once all that waited."""
        self.paused = False
        held, self._held = self._held, []
        for action in held:
            self.reached_by(action)
        if self._alive:
            self._turn_due = False
            self.wake()

    def end(self) -> None:
        """It is gone; nothing reaches it any more."""
        self._alive = False
        self._held.clear()

    @property
    def is_at_rest(self) -> bool:
        """Tell whether nothing waits to be taken in, or to be found when it runs on."""
        return not (self._turn_due or self.paused or self._held)

    def reached_by(self, action: Callable[..., object], *arguments: object) -> None:
        """Do what the network, the disk or a client does to it: now, or when it runs on."""
        if not self._alive:
            return
        if self.paused:
            self._held.append(partial(action, *arguments))
        else:
            action(*arguments)

    def _draw_latency(self) -> float:
        host = self._host
        return host.latency.draw_seconds(host.chance) + host.chance.random() * host.stall_seconds

    # Turns.

    def wake(self) -> None:
        """Take a turn soon."""
        if not self._turn_due:
            self._turn_due = True
            self._heap.after(self._host.turn_seconds, self._take_turn)

    def _take_turn(self) -> None:
        if not self._turn_due or self.paused or not self._alive:
            return
        self._turn_due = False
        clock = self._host.clock
        self._posted = 0
        try:
            deadline = self.replica.turn(clock.now())
        except DiedInTurn as death:
            self.died_in_turn = self.death
            self.end()
            self.failed(death)
            return
        if not self._alive:
            return
        self._deadline = clock.to_world(deadline)
        if self.member.is_regressed:
            self.failed(Regressed("its disk was set back"))
            return
        self._host.parts.invariants.turn_ended(self.member_id, self.replica.applied.index)
        if self._deadline < self._alarm:
            self._alarm = self._deadline
            self._heap.at(self._alarm, self._look_at_deadline, self._alarm)

    def _look_at_deadline(self, alarm: float) -> None:
        """A deadline that moved on since needs no turn: most do, at every heartbeat."""
        if alarm != self._alarm:
            return
        self._alarm = inf
        if not self._alive or self.paused:
            return
        if self._heap.now >= self._deadline:
            self.wake()
        else:
            self._alarm = self._deadline
            self._heap.at(self._alarm, self._look_at_deadline, self._alarm)

    # What the replica asks for.

    def post(self, message: AnyMessage) -> None:
        """Send, or lose, a message."""
        trace = self._host.parts.trace
        if trace.enabled:
            trace.message(self._heap.now, message)
        self._host.parts.network.post(message)
        self._posted += 1
        if self.death is not None and self._posted >= self.death.messages:
            raise DiedInTurn

    def flush(self) -> None:
        """Nothing is held back."""

    def wake_last(self) -> None:
        """Take a turn soon: callers that are answered have their say at once."""
        self.wake()

    def send_snapshot(self, to: int, outgoing: OutgoingSnapshot) -> None:
        """Stream a snapshot."""
        ended = partial(self.replica.snapshot_sent, to, outgoing)
        stream = SendingStream(outgoing, self.runner, ended, self.replica.fail)
        link = self._host.parts.network.open_bulk(
            self.member_id, to, partial(self.reached_by, stream.hear), partial(self.reached_by, stream.end)
        )
        stream.begin(link)

    def leadership_changed(self, leadership: Leadership) -> None:
        """Remember who leads."""
        self.leadership = leadership
        self._host.parts.onlooker.look()
        if leadership.is_leader:
            self.member.announced(leadership.term, self.replica.applied.index)
        leader = leadership.leader or "nobody"
        self._tell(f"sees {leader} lead term {leadership.term}{' (itself)' * leadership.is_leader}")

    def configuration_changed(self, configuration: Configuration, committed: Configuration) -> None:
        """Dial the members in force. Hang up on others only when that is committed: they are to hear of it."""
        self._host.configuration = configuration
        peers = sorted({*configuration.member_ids, *committed.member_ids} - {self.member_id})
        self._host.parts.network.set_peers(self.member_id, peers)

    def note(self, sentence: str) -> None:
        """Log what the core has to say."""
        self._tell(sentence)

    def failed(self, error: BaseException) -> None:
        """Stop; the world looks at why."""
        self._tell(f"failed: {error!r}")
        self._host.on_failure(self._host, error)

    def _tell(self, sentence: str) -> None:
        trace = self._host.parts.trace
        if trace.enabled:
            trace.record(self._heap.now, f"{self.member_id}: {sentence}")

    # What the links tell.

    def received(self, message: AnyMessage) -> None:
        """A peer's message."""
        self.reached_by(self.replica.offer, Receive(message))

    def connected(self, peer: int) -> None:
        """Links to the peer are open."""
        self.reached_by(self.replica.offer, PeerConnected(peer))

    def stopped(self, peer: int) -> None:
        """The peer's process refuses connections."""
        self.reached_by(self.replica.offer, PeerStopped(peer))

    def unreachable(self, peer: int) -> None:
        """Messages to the peer were lost."""
        self.reached_by(self.replica.offer, PeerUnreachable(peer))

    def bulk_opened(self, peer: int, end: BulkEnd) -> None:
        """A snapshot comes, in the place of one that was coming."""
        if self._receiving is not None:
            self._receiving.close()

        def arrived(snapshot: SnapshotMeta) -> None:
            self._tell(f"received a snapshot of {snapshot.index} from {peer}")
            self.replica.snapshot_received(snapshot)

        stream = self._receiving = ReceivingStream(self.replica.receive_snapshot(), end, self.runner, arrived)
        end.listen(partial(self.reached_by, stream.hear), partial(self.reached_by, stream.close))
