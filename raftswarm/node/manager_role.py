"""What a manager adds to a node: a Raft member, the replicated store on it, and, while it leads, the control plane."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Self

import trio
from msgspec.structs import replace

from raftswarm.ca import Identity
from raftswarm.consensus.driver import Driver, World
from raftswarm.consensus.opening import prepare_newest
from raftswarm.errors import Overloaded, RaftSwarmError, RequestRefused
from raftswarm.manager.allocator.loop import Allocator
from raftswarm.manager.control.certificates import CertificateIssuer
from raftswarm.manager.control.handler import ControlHandler
from raftswarm.manager.control.peer_unlock import PeerUnlocks
from raftswarm.manager.control.requests import AnyControlAnswer, AnyControlRequest, ManagerStatus
from raftswarm.manager.dispatcher.dispatcher import Dispatcher
from raftswarm.manager.leadership import ControlLoop, run_while_leading
from raftswarm.manager.orchestrator.enforcer import ConstraintEnforcer
from raftswarm.manager.orchestrator.loop import Orchestrator
from raftswarm.manager.orchestrator.reaper import Reaper
from raftswarm.manager.roles import RoleManager
from raftswarm.manager.scheduler.explaining import explain_placement
from raftswarm.manager.scheduler.loop import Scheduler
from raftswarm.node.facts import NodeFacts
from raftswarm.node.leader_requests import LeaderRequests
from raftswarm.node.peer_unlock import CredentialKeeper
from raftswarm.node.settings import NodeSettings
from raftswarm.node.state_directory import StateDirectory
from raftswarm.node.world import NodeWorld
from raftswarm.objects.records import Cluster, Node
from raftswarm.objects.swarm_status import MemberStatus
from raftswarm.raft.events import Transition
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.roles import Leader
from raftswarm.storage.backup import BackupDescription, BackupKey, key_from_unlock_key, seal_backup
from raftswarm.storage.epoch import show_epoch
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, Recovered
from raftswarm.store.store import Store, Transaction, WatchOverflow
from raftswarm.store.writes import StoreWrites
from raftswarm.transport.call_pool import CallPool
from raftswarm.transport.host_links import HostLinks
from raftswarm.version import __version__
from raftswarm.wire.requests import JoinedMembers, JoinMembers, ManagerPeer
from raftswarm.world.jobs import run_job
from raftswarm.world.network import SwarmNetwork

logger = logging.getLogger("raftswarm.node")

JOIN_PAUSE_SECONDS: Final = 0.2
JOIN_CALL_SECONDS: Final = 5.0
JOIN_TRIES: Final = 50


class ManagerRole:
    """Runs beside the agent of a manager."""

    @classmethod
    async def open(
        cls,
        settings: NodeSettings,
        world: NodeWorld,
        directory: StateDirectory,
        facts: NodeFacts,
        keys: KeyRing,
        network: SwarmNetwork,
        calls: CallPool,
        *,
        lock_changed: Callable[[], None],
    ) -> Self:
        """Recover the member from its disk, beside the loop; nothing runs yet.

        `lock_changed` is called whenever this node's keys have been sealed under a new unlock key.
        """
        store = Store(applied=world.applied)
        opening = partial(
            MemberStorage.open,
            world.disk,
            directory.raft,
            keys,
            world.entropy,
            segment_bytes=settings.segment_bytes,
        )
        opened: list[tuple[MemberStorage, Recovered]] = []
        with trio.CancelScope(shield=True):  # What was opened has to be closed.
            opened.append(await run_job(world.runner, opening))
        storage, recovered = opened.pop()
        try:
            restore = await run_job(world.runner, partial(prepare_newest, storage, store))
            restore()
            return cls(settings, world, directory, facts, keys, network, calls, lock_changed, store, storage, recovered)
        except BaseException:
            world.runner.submit(storage.close, lambda _: None)
            raise

    def __init__(
        self,
        settings: NodeSettings,
        world: NodeWorld,
        directory: StateDirectory,
        facts: NodeFacts,
        keys: KeyRing,
        network: SwarmNetwork,
        calls: CallPool,
        lock_changed: Callable[[], None],
        store: Store,
        storage: MemberStorage,
        recovered: Recovered,
    ) -> None:
        """Use `open`; the store is as the newest snapshot says."""
        self._facts = facts
        self._keys = keys
        self._calls = calls
        self._lock_changed = lock_changed
        self._world = world
        self._addresses: tuple[str, ...] = tuple(manager.address for manager in facts.managers)
        self._left_out = trio.Event()
        self.store = store
        self.links = HostLinks(network, world.chance)
        self._storage = storage
        self.driver = Driver(
            self._storage,
            recovered,
            self.store,
            World(runner=world.runner, links=self.links, wall_clock=world.wall_clock, chance=world.chance),
            settings=settings.raft,
            compaction=settings.compaction,
        )
        self.writes = StoreWrites(self.store, self.driver)
        self.dispatcher = Dispatcher(
            self.store,
            self.writes,
            node_id=facts.node_id,
            managers=self.manager_peers,
            entropy=world.entropy,
            chance=world.chance,
            wall_clock=world.wall_clock,
            epoch=recovered.epoch,
        )
        self.control_handler = ControlHandler(
            self.store,
            self.writes,
            membership=self,
            explain_placement=explain_placement,
            entropy=world.entropy,
            wall_clock=world.wall_clock,
        )
        self.certificates = CertificateIssuer(self.store, self.writes, world.entropy, world.wall_clock, recovered.epoch)
        self.peer_unlocks = PeerUnlocks(self.store, self.writes, world.wall_clock)
        self._credential = CredentialKeeper(
            world, directory, keys, self.store, calls, facts.node_id, self._manager_addresses
        )
        self.requests = LeaderRequests(
            self.driver, calls, self.control_handler, election_seconds=settings.raft.election_seconds
        )

    async def run(self) -> None:
        """Serve until cancelled; raises what stopped the member. The log is closed behind its last write."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.links.run)
                nursery.start_soon(self.driver.run)
                nursery.start_soon(run_while_leading, self.driver, self._loops())
                nursery.start_soon(self._follow_autolock)
                nursery.start_soon(self._credential.run)
                nursery.start_soon(self._ensure_membership)
        finally:
            self._world.runner.submit(self._storage.close, lambda _: None)

    async def control(self, request: AnyControlRequest) -> AnyControlAnswer:
        """Answer an Engine API call that came to this manager."""
        return await self.requests.control(request)

    async def backup(self, key: BackupKey | None) -> Iterator[bytes]:
        """Picture the swarm as it is now; return the pieces of a sealed backup, without a key under the unlock key."""
        snapshot, capture = await self.driver.capture()
        cluster = self.store.cluster
        if cluster is None:
            raise RequestRefused("the swarm is not initialized yet; try again", code="Unavailable")
        if key is None and not cluster.unlock_key:
            text = "there is no unlock key to seal the backup with: autolock is off; give a passphrase"
            raise RequestRefused(text, code="FailedPrecondition", from_engine=True)
        description = BackupDescription(
            cluster_id=cluster.id,
            epoch=self.driver.epoch,
            snapshot=snapshot,
            saved_at_ns=self._world.wall_clock.now_ns(),
            saved_by=self._facts.node_id,
            release=__version__,
        )
        chosen = key or key_from_unlock_key(cluster.unlock_key)
        return seal_backup(description, capture.chunks(), chosen, self._world.entropy)

    async def hand_over(self) -> None:
        """Before a clean stop of a leader: return when another manager leads; at once if there is none."""
        await self.driver.hand_over()

    # The members, as Raft and the swarm see them.

    def manager_peers(self) -> tuple[ManagerPeer, ...]:
        """The managers that agents and joining nodes may turn to."""
        configuration = self.driver.configuration.value
        return tuple(ManagerPeer(node_id=info.name, address=info.address) for info in configuration.voters)

    def _manager_addresses(self) -> Sequence[str]:
        return [peer.address for peer in self.manager_peers()]

    def manager_status(self, node_id: str) -> ManagerStatus | None:
        """How a manager stands; None for a node that is none."""
        for info in self.driver.configuration.value.voters:
            if info.name == node_id:
                leads = info.id == self.driver.leadership.value.leader
                return ManagerStatus(leader=leads, reachable=self.driver.is_reachable(info.id), address=info.address)
        return None

    def members(self) -> Sequence[MemberInfo]:
        """Everybody in the configuration in force."""
        return self.driver.configuration.value.voters

    def is_reachable(self, member_id: int) -> bool:
        """Tell whether a member answers."""
        return self.driver.is_reachable(member_id)

    def is_own(self, member_id: int) -> bool:
        """Tell whether it is this manager's."""
        return member_id == self._facts.member_id

    async def remove_member(self, member_id: int) -> None:
        """As the leader: take a member out of the group (4.1)."""
        configuration = self.driver.configuration.value
        voters = tuple(voter for voter in configuration.voters if voter.id != member_id)
        await self.driver.change_configuration(Configuration(voters=voters), Transition.SINGLE)

    @property
    def term(self) -> int:
        """Of the leader that this manager knows."""
        return self.driver.leadership.value.term

    def member_statuses(self) -> list[MemberStatus]:
        """All members, as the leader sees them."""
        member = self.driver.replica.member
        progress = member.role.progress if isinstance(member.role, Leader) else {}
        now = trio.current_time()
        return [
            MemberStatus(
                node_id=info.name,
                address=info.address,
                leader=info.id == self.driver.leadership.value.leader,
                reachable=self.driver.is_reachable(info.id),
                behind=member.last_index - progress[info.id].match_index if info.id in progress else 0,
                silent_seconds=now - progress[info.id].heard_at if info.id in progress else 0.0,
            )
            for info in self.driver.configuration.value.voters
        ]

    async def join_member(self, caller: Identity, request: JoinMembers) -> JoinedMembers:
        """As the leader: add the caller's member, one at a time (4.1); asking again is harmless."""
        if request.epoch != self.driver.epoch:
            text = f"the swarm goes on in epoch {show_epoch(self.driver.epoch)}: leave it and join again"
            raise RequestRefused(text, code="FailedPrecondition")
        for _ in range(JOIN_TRIES):
            self.requests.require_leading()
            known = self.store.get(Node, caller.node_id)
            if known is not None and known.spec.role != "manager":
                raise RequestRefused(f"node {caller.node_id} is to be a worker", code="FailedPrecondition")
            configuration = self.driver.configuration.value
            info = MemberInfo(id=request.member_id, address=request.address, name=caller.node_id)
            if configuration.member(info.id) == info:
                break
            others = [voter for voter in configuration.voters if voter.id != info.id]
            voters = tuple(sorted([*others, info], key=lambda voter: voter.id))
            try:
                await self.driver.change_configuration(Configuration(voters=voters), Transition.SINGLE)
            except Overloaded:
                await trio.sleep(JOIN_PAUSE_SECONDS)  # Another change is on its way.
            else:
                break
        else:
            raise RequestRefused("other managers are joining; try again", code="Unavailable")

        def note(transaction: Transaction) -> None:
            node = transaction.get(Node, caller.node_id)
            if node is None:
                raise RequestRefused(f"node {caller.node_id} not found", code="NotFound")
            transaction.update(
                replace(node, role="manager", member_id=request.member_id, manager_address=request.address)
            )

        await self.writes.write(note)
        return JoinedMembers(configuration=self.driver.configuration.value)

    def ask_membership(self, addresses: Sequence[str]) -> None:
        """The leader does not count this node among the managers: ask one of these to take it in."""
        self._addresses = tuple(addresses)
        self._left_out.set()

    async def _ensure_membership(self) -> None:
        """Ask to be added when we are not; a member that was added once learns of it from its log.

        A member that was removed may never learn of that: then the leader's list of managers says so. It comes back as
        who it was if its node is to manage again before it has become a worker.
        """
        if self.driver.configuration.value.member(self._facts.member_id) is None:
            await self._join()
        while True:
            await self._left_out.wait()
            self._left_out = trio.Event()
            await self._join()

    async def _join(self) -> None:
        request = JoinMembers(
            member_id=self._facts.member_id, address=self._facts.advertise_address, epoch=self.driver.epoch
        )
        while True:
            for address in self._addresses:
                if address in {"", self._facts.advertise_address}:
                    continue
                try:
                    with trio.fail_after(JOIN_CALL_SECONDS):
                        await self._calls.call(address, request)
                except (RaftSwarmError, trio.TooSlowError) as error:
                    logger.info("not a member yet: %s", error)
                    if isinstance(error, RequestRefused) and error.code == "FailedPrecondition":
                        return  # It will be told to become a worker.
                else:
                    return
            await trio.sleep(JOIN_PAUSE_SECONDS)

    # What runs.

    def _loops(self) -> list[ControlLoop]:
        clock, entropy = self._world.wall_clock, self._world.entropy
        return [
            self.dispatcher.run,
            Allocator(self.store, self.writes, clock).run,
            Orchestrator(self.store, self.writes, clock, entropy).run,
            Scheduler(self.store, self.writes, clock).run,
            ConstraintEnforcer(self.store, self.writes, clock).run,
            Reaper(self.store, self.writes).run,
            RoleManager(self.store, self.writes, self).run,
        ]

    async def _follow_autolock(self) -> None:
        """Seal this manager's keys as the cluster says, whenever that changes (SWARM 11)."""
        with self.store.watch(Cluster) as watch:
            while True:
                cluster = self.store.cluster
                if cluster is not None:
                    wanted = cluster.unlock_key or None
                    if await run_job(self._world.runner, partial(self._seal, wanted, cluster.version)):
                        logger.info("autolock is %s on this manager", "on, with a new key," if wanted else "off")
                        if wanted is not None:
                            self._lock_changed()
                with contextlib.suppress(WatchOverflow):
                    await watch.next()

    def _seal(self, unlock_key: str | None, version: int) -> bool:
        """Change the key ring and then the log: a start in between finds the new data key in the ring, and goes on."""
        if not self._keys.follow(unlock_key, version):
            return False
        self._storage.adopt_key()
        return True
