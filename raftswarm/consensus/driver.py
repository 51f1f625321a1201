"""Runs a replica on trio: one task owns it, everybody else puts events in and waits for answers.

Each turn takes in all that waits, so one write and one message per peer serve every proposal that came meanwhile. A
timer that fires late lets the sockets be read before it counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from math import inf
from random import Random
from typing import Any, TypeVar

import attrs
import trio

from raftswarm.consensus.replica import CompactionPolicy, Replica
from raftswarm.consensus.waiting import Bell, ManyWaiter, TaskWaiter
from raftswarm.consensus.watched import Watched
from raftswarm.errors import DiskFailed, RaftSwarmError, StorageError, Superseded
from raftswarm.raft.events import (
    PeerConnected,
    PeerStopped,
    PeerUnreachable,
    Receive,
    Transition,
)
from raftswarm.raft.log_entry import Configuration, SnapshotMeta
from raftswarm.raft.member import Member, StartingState
from raftswarm.raft.messages import AnyMessage
from raftswarm.raft.ready import Leadership
from raftswarm.raft.roles import Leader
from raftswarm.raft.settings import RaftSettings
from raftswarm.raft.state_machine import Capture, StateMachine
from raftswarm.raft.tracing import TraceSink
from raftswarm.storage.epoch import show_epoch
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.transport.helpers import open_helpers
from raftswarm.transport.host_links import HostLinks
from raftswarm.transport.member_links import MemberLinks
from raftswarm.transport.snapshot_transfer import OutgoingSnapshot, Pace, receive_snapshot, send_snapshot
from raftswarm.world.clock import WallClock
from raftswarm.world.disk import DiskRunner
from raftswarm.world.jobs import run_job
from raftswarm.world.network import Link

T = TypeVar("T")

logger = logging.getLogger("raftswarm.raft")

BETWEEN_ENTRIES_SECONDS = 0.002
"""A large entry takes some turns, and whoever wants a picture of the state looks again after this long."""


@attrs.frozen(kw_only=True)
class World:
    """What a driver takes from outside."""

    runner: DiskRunner
    links: HostLinks
    wall_clock: WallClock
    chance: Random
    trace: TraceSink | None = None
    """Hears of every state change of the member."""


class Driver:
    """One running member: the `Surroundings` of its replica and the `MemberEvents` of its links."""

    def __init__(
        self,
        storage: MemberStorage,
        recovered: Recovered,
        machine: StateMachine,
        world: World,
        *,
        settings: RaftSettings | None = None,
        compaction: CompactionPolicy | None = None,
    ) -> None:
        """`machine` has been restored from the newest snapshot; the log follows as it is committed anew."""
        start = StartingState(
            member_id=recovered.member_id,
            cluster=recovered.cluster,
            incarnation=recovered.incarnation,
            boot=recovered.boot,
            hard_state=recovered.hard_state,
            snapshot=recovered.snapshot,
            entries=recovered.entries,
        )
        self.links = MemberLinks(world.links, recovered.cluster, recovered.member_id, self, epoch=recovered.epoch)
        self.leadership: Watched[Leadership] = Watched(Leadership(term=0, leader=0, is_leader=False))
        self.configuration: Watched[Configuration] = Watched(Configuration())
        self.applied: Watched[int] = Watched(recovered.snapshot.commands)
        """How many commands of the log the state machine has had."""
        self.regressed: Watched[bool] = Watched(value=False)
        """A peer knows that this member has lost what it had durably."""
        self.leaderless_since: float | None = trio.current_time()
        """Since when no leader is known, on trio's clock; None while one is."""
        self.member_id = recovered.member_id
        self.cluster = recovered.cluster
        self.epoch = recovered.epoch
        self.settings = settings or RaftSettings()
        self._compaction = compaction or CompactionPolicy()
        self._runner = world.runner
        self._bell = Bell()
        self._comes_last = False
        """Everybody who was just woken is to have a say before the next turn."""
        self._deadline = inf
        self._alarm = trio.CancelScope()
        """Ends the sleep of whoever rings at the deadline …"""
        self._alarm_at = inf
        """… at this time."""
        self.failure: BaseException | None = None
        """What stopped it."""
        self._nursery: trio.Nursery | None = None
        self.replica = Replica(
            member=Member(
                start, settings=self.settings, chance=world.chance, now=trio.current_time(), trace=world.trace
            ),
            storage=storage,
            runner=world.runner,
            machine=machine,
            surroundings=self,
            wall_clock=world.wall_clock,
            compaction=self._compaction,
            snapshot=recovered.snapshot,
        )

    # For users.

    def propose(self, command: bytes) -> Coroutine[Any, Any, object]:
        """Replicate a command and return, when awaited, what the state machine answered.

        Raises:
            NotLeader: nothing happened; ask the member it names.
            OutcomeUnknown: it may happen yet.
            Rejected: the state machine refused it.
            PayloadTooLarge, Overloaded: nothing happened.
        """
        waiter = TaskWaiter()
        self.replica.propose(command, waiter)
        return waiter.wait()  # Not awaited here: every frame between a caller and its wake-up costs.

    async def propose_many(self, commands: Sequence[bytes]) -> list[object]:
        """Replicate commands in order; return results, with the exception in the place of each that failed."""
        waiter = ManyWaiter(len(commands))
        self.replica.propose_many(commands, waiter)
        return await waiter.wait()

    async def read_barrier(self) -> None:
        """Return when reads of the local state machine are linearizable, on any member (6.4).

        Raises:
            NotLeader: no leader has answered for three election timeouts, or this member has stopped.
            Overloaded: too many reads wait already.
        """
        waiter = TaskWaiter()
        self.replica.read_barrier(waiter)
        await waiter.wait()

    async def capture(self) -> tuple[SnapshotMeta, Capture]:
        """Return a linearizable picture of the state machine, and where in the log it stands; NotLeader as above."""
        await self.read_barrier()
        while (picture := self.replica.capture()) is None:  # noqa: ASYNC110 - nobody tells of the end of an entry
            await trio.sleep(BETWEEN_ENTRIES_SECONDS)
        return picture

    async def change_configuration(
        self, configuration: Configuration, transition: Transition = Transition.AUTO
    ) -> None:
        """Change the members to these voters and learners (dissertation 4).

        Returns when it is decided: with `Transition.AUTO`, one voter more or less is in force and committed then, and
        of more the joint configuration is, which whoever leads goes on to leave. Old voters may be switched off once
        `configuration` is not joint any more.

        Raises:
            InvalidSpec: these members make no sense; retrying cannot help.
            NotLeader: nothing happened; ask the member it names.
            Overloaded: nothing happened; another change is under way, or it is too early in a term. Retry in a moment.
            OutcomeUnknown: it may happen yet.
        """
        waiter = TaskWaiter()
        self.replica.change_configuration(configuration, waiter, transition)
        await waiter.wait()

    async def transfer_leadership(self, to: int = 0) -> None:
        """Hand leadership to that voter, or to the best if it is 0 (3.10); return when it is seen to lead.

        New commands wait meanwhile, for an election timeout or two at most. This member may be needed to elect the
        other one, so do not stop it earlier.

        Raises:
            TransferFailed: this member does not lead, there is no such voter, or it did not take over in time.
        """
        waiter = TaskWaiter()
        self.replica.transfer_leadership(to, waiter)
        await waiter.wait()

    async def hand_over(self) -> None:
        """Before a clean stop: let somebody else lead, if we do and somebody can."""
        if self.leadership.value.is_leader and len(self.configuration.value.voters) > 1:
            try:
                await self.transfer_leadership()
            except RaftSwarmError as error:
                logger.info("member %d stops without handing over: %s", self.member_id, error)

    async def wait_gained(self) -> None:
        """Return when this member leads and has applied all that came before; NotLeader if it has stopped."""
        await self.leadership.wait_until(lambda now: now.is_leader)

    async def wait_lost(self) -> None:
        """Return when it does not lead."""
        await self.leadership.wait_until(lambda now: not now.is_leader)

    def is_reachable(self, member_id: int) -> bool:
        """Tell whether that member answers, as far as a leader knows: it answered within an election timeout."""
        role = self.replica.member.role
        if member_id == self.member_id or not isinstance(role, Leader):
            return True
        progress = role.progress.get(member_id)
        silence = self.settings.election_seconds
        return progress is not None and trio.current_time() - progress.heard_at < silence

    # Running.

    async def run(self) -> None:
        """Serve until cancelled. Raises the disk's or the state machine's failure: then nothing more is written."""
        try:
            async with open_helpers() as nursery:
                self._nursery = nursery
                nursery.start_soon(self.links.run)
                nursery.start_soon(self._ring_at_deadlines)
                try:
                    await self._turns()
                finally:
                    self.replica.shut_down()
                    self.leadership.set(Leadership(term=self.leadership.value.term, leader=0, is_leader=False))
        finally:
            for watched in (self.leadership, self.configuration, self.applied):
                watched.end("this member has stopped")

    async def _turns(self) -> None:
        while True:
            self._deadline = self.replica.turn(trio.current_time())
            if self._deadline < self._alarm_at:
                self._alarm.deadline = self._alarm_at = self._deadline
            if self.failure is not None:
                raise self.failure
            if self.replica.applied.commands != self.applied.value:
                self.applied.set(self.replica.applied.commands)
            if self.replica.member.is_regressed and not self.regressed.value:
                self.regressed.set(value=True)
            await self._bell.wait()
            if self._comes_last:
                self._comes_last = False
                await trio.lowlevel.checkpoint()

    async def _ring_at_deadlines(self) -> None:
        """Nearly every turn puts the deadline off, so it is looked at when the time has come, not when it changes."""
        while True:
            self._alarm_at = self._deadline
            with trio.CancelScope(deadline=self._alarm_at) as self._alarm:
                await trio.sleep_forever()
            if trio.current_time() >= self._deadline:
                # What waited in the sockets while we were held up counts as heard before the timer.
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                self._deadline = inf
                self._bell.ring()

    # What the replica asks for.

    def post(self, message: AnyMessage) -> None:
        """Send, or lose, a message."""
        self.links.post(message)

    def send_snapshot(self, to: int, outgoing: OutgoingSnapshot) -> None:
        """Stream a snapshot beside everything else."""
        assert self._nursery is not None, "a member hands out work only while it runs"
        self._nursery.start_soon(self._stream_snapshot, to, outgoing)

    async def _stream_snapshot(self, to: int, outgoing: OutgoingSnapshot) -> None:
        pace = Pace(self._compaction.send_bytes_per_second)

        async def may_send(size: int) -> None:
            await pace.wait(size)
            await self.links.wait_room()

        async def stream(link: Link) -> None:
            await send_snapshot(link, outgoing, self._run_job, may_send)

        try:
            await self.links.send_snapshot(to, stream)
        except StorageError as error:
            self.replica.fail(error)
            return
        self.replica.snapshot_sent(to, outgoing)

    async def _run_job(self, job: Callable[[], T]) -> T:
        return await run_job(self._runner, job)

    def leadership_changed(self, leadership: Leadership) -> None:
        """Tell whoever watches."""
        if leadership.leader:
            self.leaderless_since = None
        elif self.leaderless_since is None:
            self.leaderless_since = trio.current_time()
        self.leadership.set(leadership)

    def configuration_changed(self, configuration: Configuration, committed: Configuration) -> None:
        """Dial the members in force. Hang up on others only when that is committed: they are to hear of it."""
        if configuration is not self.configuration.value:
            self.configuration.set(configuration)
        self.links.set_configuration(configuration, committed)

    def note(self, sentence: str) -> None:
        """Log what the core has to say."""
        logger.info("member %d: %s", self.member_id, sentence)

    def flush(self) -> None:
        """Let what was posted leave."""
        self.links.flush()

    def wake(self) -> None:
        """Take the next turn."""
        self._bell.ring()

    def wake_last(self) -> None:
        """Take the next turn when everybody who was just answered has had a say."""
        self._comes_last = True
        self._bell.ring()

    def failed(self, error: BaseException) -> None:
        """End `run` with this error."""
        self.failure = error
        self._bell.ring()

    # What the links tell.

    def received(self, message: AnyMessage) -> None:
        """A peer's message."""
        self.replica.offer(Receive(message))

    def connected(self, peer: int) -> None:
        """Links to the peer are open."""
        self.replica.offer(PeerConnected(peer))

    def stopped(self, peer: int) -> None:
        """The peer's process refuses connections."""
        self.replica.offer(PeerStopped(peer))

    def unreachable(self, peer: int) -> None:
        """Messages to the peer were lost."""
        self.replica.offer(PeerUnreachable(peer))

    def superseded(self, epoch: int) -> None:
        """The cluster was recovered or restored without this member, which stops before it does harm."""
        self.failed(
            Superseded(
                f"the cluster goes on in epoch {show_epoch(epoch)} without this member, whose epoch is "
                f"{show_epoch(self.epoch)}: let it leave and join again"
            )
        )

    async def receive_snapshot(self, peer: int, link: Link) -> None:
        """A snapshot comes; the `InstallSnapshot` that refers to it follows when all of it is here."""
        try:
            await receive_snapshot(link, self.replica.receive_snapshot(), self._run_job, self.replica.snapshot_received)
        except DiskFailed as error:
            logger.warning("member %d: the snapshot from member %d is put off: %s", self.member_id, peer, error)
        else:
            logger.info("member %d: received a snapshot from %d", self.member_id, peer)
