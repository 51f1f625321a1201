"""A node while it takes part in a swarm: links and calls, the agent, the proxy, and on a manager the member.

Everything runs in one nursery; what ends it (leaving, a failed disk, the daemon's stop) ends all of it in order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from raftswarm.agent import Agent, PublishedPorts, TaskRecords, Worker
from raftswarm.agent.addresses import AddressPool
from raftswarm.agent.executors.process import ProcessExecutor
from raftswarm.agent.executors.templates import Host
from raftswarm.agent.session import Manager
from raftswarm.ca import Credentials, read_certificates, verify
from raftswarm.ca.identity import CERTIFIED_ROLES
from raftswarm.engine.events import EventLog
from raftswarm.engine.node_protocol import LocalInfo, LocalState
from raftswarm.errors import LinkClosed, NotAuthentic, RequestRefused, Superseded
from raftswarm.manager.control.requests import AnyControlAnswer, AnyControlRequest
from raftswarm.network.proxy import Proxy
from raftswarm.node.call_service import CallService
from raftswarm.node.entering import change_role
from raftswarm.node.events import tell_events
from raftswarm.node.facts import ManagerAddress, NodeFacts, write_facts
from raftswarm.node.identity_files import TASKS_KEY, read_credentials
from raftswarm.node.manager_role import ManagerRole
from raftswarm.node.renewal import Renewal
from raftswarm.node.settings import NodeSettings, split_address
from raftswarm.node.state_directory import StateDirectory
from raftswarm.node.world import NodeWorld
from raftswarm.objects.records import Node, NodeDescription
from raftswarm.objects.states import TaskState
from raftswarm.storage.backup import BackupKey
from raftswarm.storage.epoch import show_epoch
from raftswarm.storage.keys import KeyRing
from raftswarm.transport.call_pool import CallPool
from raftswarm.transport.calls import open_caller, serve_calls
from raftswarm.transport.member_links import route_link
from raftswarm.wire.requests import IssuedCertificate, ManagerPeer, SessionMessage
from raftswarm.world.jobs import run_job
from raftswarm.world.network import Link, SwarmNetwork

logger = logging.getLogger("raftswarm.node")

READY_SECONDS: Final = 15.0


class Participation:
    """One stay in a swarm."""

    def __init__(
        self,
        settings: NodeSettings,
        world: NodeWorld,
        directory: StateDirectory,
        facts: NodeFacts,
        keys: KeyRing,
        events: EventLog,
    ) -> None:
        self.facts = facts
        self._events = events
        self._settings = settings
        self._world = world
        self._directory = directory
        self._keys = keys
        self._manager: ManagerRole | None = None
        self._agent: Agent | None = None
        self._worker: Worker | None = None
        self._credentials = read_credentials(directory, keys)
        self._renewal: Renewal | None = None
        self._running = trio.Event()
        self._left_behind = ""
        """Why this node is no manager any more, although it was one: the swarm goes on without its member."""

    @property
    def keys(self) -> KeyRing:
        """This node's private keys, opened."""
        return self._keys

    @property
    def is_manager(self) -> bool:
        """Tell whether this node runs a member."""
        return self.facts.is_manager and not self._left_behind

    @property
    def running_manager(self) -> ManagerRole | None:
        """The manager's part, if there is one and it has been started."""
        return self._manager

    @property
    def is_registered(self) -> bool:
        """Tell whether this node's agent has had a session."""
        return self._agent is not None and self._agent.is_registered

    @property
    def certificate_expiry(self) -> int:
        """When this node's certificate expires, seconds since the epoch."""
        return int(read_certificates(self._credentials.certificate)[0].not_valid_after_utc.timestamp())

    @property
    def manager(self) -> ManagerRole:
        """The manager's part, once it runs."""
        assert self._manager is not None, "who asks has waited until it runs, on a manager"
        return self._manager

    async def run(self) -> NodeFacts:
        """Take part until the node's role changes; return the facts to go on with. Raises what made it impossible."""
        issued = await self._take_part()
        # Behind the member's last write, which closes its log.
        return await run_job(
            self._world.runner,
            lambda: change_role(self._world, self._directory, self._keys, self.facts, issued, self._settings),
        )

    async def _take_part(self) -> IssuedCertificate:
        """Take part as what this node is; return the certificate that makes it something else."""
        host = split_address(self.facts.advertise_address)[0]
        issued: IssuedCertificate | None = None
        async with self._world.open_network(self._credentials, host) as network, trio.open_nursery() as nursery:
            calls = CallPool(network)
            nursery.start_soon(calls.run)
            if self.is_manager:
                self._manager = await ManagerRole.open(
                    self._settings,
                    self._world,
                    self._directory,
                    self.facts,
                    self._keys,
                    network,
                    calls,
                    lock_changed=self._lock_changed,
                )
                await nursery.start(self._run_manager, network, self._manager)
            proxy = Proxy(host, self._world.ports)
            nursery.start_soon(proxy.run)
            self._agent = self._make_agent(network, proxy)
            nursery.start_soon(self._agent.run)
            self._renewal = Renewal(
                self._world, self._directory, self._keys, calls, self._manager_addresses, self._use(network)
            )
            self._running.set()
            issued = await self._renewal.run(self._credentials, self.facts.role)
            nursery.cancel_scope.cancel()
        assert issued is not None, "nothing else ends it without an error"
        return issued

    def _use(self, network: SwarmNetwork) -> Callable[[Credentials], None]:
        def use(credentials: Credentials) -> None:
            self._credentials = credentials
            network.renew(credentials)

        return use

    def _lock_changed(self) -> None:
        if self._renewal is not None:
            self._renewal.ask()

    def _manager_addresses(self) -> Sequence[str]:
        return [manager.address for manager in self._managers()]

    async def _run_manager(
        self,
        network: SwarmNetwork,
        manager: ManagerRole,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen and run the member. If the swarm goes on without it, this node is a worker; its log stays as it is."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._listen, network, manager)
                nursery.start_soon(manager.run)
                nursery.start_soon(tell_events, manager.store, self._world.wall_clock, self._events)
                task_status.started()
        except* Superseded as errors:
            self._left_behind = str(_first_of(errors))
            self._manager = None
            logger.error("this node is no manager any more: %s", self._left_behind)  # noqa: TRY400 - a sentence

    def _make_agent(self, network: SwarmNetwork, proxy: Proxy) -> Agent:
        world, directory = self._world, self._directory.tasks
        key = self._keys.get(TASKS_KEY)
        assert key is not None, "a node in a swarm has one"
        executor = ProcessExecutor(
            processes=world.processes,
            disk=world.disk,
            runner=world.runner,
            directory=directory,
            addresses=AddressPool(
                world.disk, world.runner, f"{self._settings.shared_directory}/addresses", owner=directory
            ),
            host=Host(node_id=self.facts.node_id, hostname=self._settings.hostname),
            description=self._describe,
            base_environment=self._settings.task_environment,
            images=self._settings.image_commands,
        )
        ports = PublishedPorts(proxy.set_routes)
        records = TaskRecords(world.disk, world.runner, directory, key, world.entropy)
        self._worker = Worker(executor, records, world.wall_clock, ports.set_tasks)
        return Agent(
            managers=_KnownManagers(self, network),
            worker=self._worker,
            ports=ports,
            describe=self._describe,
            chance=world.chance,
            heard=self._heard,
        )

    def _heard(self, message: SessionMessage) -> None:
        """Remember the managers, so that the next life of this node finds one; refuse those that were left behind."""
        if message.epoch < self.facts.epoch:
            raise LinkClosed(
                f"the manager is of epoch {show_epoch(message.epoch)}, and the swarm goes on in "
                f"{show_epoch(self.facts.epoch)}"
            )
        if self._renewal is not None and CERTIFIED_ROLES[message.node.role] != self.facts.role:
            self._renewal.ask()
        elif self._manager is not None and not any(peer.node_id == self.facts.node_id for peer in message.managers):
            self._manager.ask_membership([peer.address for peer in message.managers])
        managers = tuple(ManagerAddress(peer.node_id, peer.address) for peer in message.managers)
        if (managers and managers != self.facts.managers) or message.epoch != self.facts.epoch:
            self.facts = replace(self.facts, managers=managers or self.facts.managers, epoch=message.epoch)
            write_facts(self._world.disk, self._directory.root, self.facts)

    def turn_to(self, addresses: Sequence[str]) -> None:
        """Look for managers at these addresses first; RequestRefused if one is none."""
        try:
            checked = [":".join(map(str, split_address(address))) for address in addresses]
        except ValueError as error:
            raise RequestRefused(f"not an address of a manager: {error}", code="InvalidArgument") from None
        known = [manager for manager in self.facts.managers if manager.address not in checked]
        self.facts = replace(self.facts, managers=(*(ManagerAddress("", address) for address in checked), *known))
        write_facts(self._world.disk, self._directory.root, self.facts)

    def _describe(self) -> NodeDescription:
        """This machine and its certificate, as managers are told."""
        credentials = self._credentials
        root = read_certificates(credentials.roots)[0]
        return replace(
            self._world.describe(),
            hostname=self._settings.hostname,
            trust_root=credentials.roots,
            issuer_subject=root.subject.public_bytes(),
            issuer_public_key=root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        )

    def _running_tasks(self) -> int:
        tasks = self._worker.tasks if self._worker is not None else ()
        return sum(task.status.state is TaskState.RUNNING for task in tasks)

    async def _listen(
        self,
        network: SwarmNetwork,
        manager: ManagerRole,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        service = CallService(manager)

        async def serve(link: Link) -> None:
            await route_link(
                link,
                calls=lambda calling: serve_calls(calling, service),
                members=manager.links.accept,
            )

        await network.serve(self.facts.listen_address, serve, started=lambda _: task_status.started())

    # For the machine.

    @property
    def manager_count(self) -> int:
        """How many managers the swarm has, as far as this node knows."""
        return len(self._managers())

    def _managers(self) -> tuple[ManagerPeer, ...]:
        if self._manager is not None:
            return self._manager.manager_peers()
        return tuple(ManagerPeer(node_id=known.node_id, address=known.address) for known in self.facts.managers)

    def info(self, state: LocalState, description: NodeDescription) -> LocalInfo:
        """What `docker info` says of this node in the swarm, from what is known here."""
        manager = self._manager
        store = manager.store if manager is not None else None
        return LocalInfo(
            state=state,
            description=description,
            node_id=self.facts.node_id,
            node_address=split_address(self.facts.advertise_address)[0],
            is_manager=self.is_manager,
            error=self._trouble(),
            remote_managers=tuple((peer.node_id, peer.address) for peer in self._managers()),
            node_count=sum(1 for _ in store.find(Node)) if store is not None else 0,
            manager_count=self.manager_count if store is not None else 0,
            cluster=store.cluster if store is not None else None,
            running_tasks=self._running_tasks(),
            state_directory=self._settings.state_directory,
        )

    def _trouble(self) -> str:
        """Why this node cannot do its part, as far as it knows itself; empty if it can."""
        if self._left_behind:
            return self._left_behind
        if self._manager is not None and (leaderless := self._manager.requests.why_no_leader()):
            return leaderless
        try:
            roots = read_certificates(self._credentials.roots)
            verify(read_certificates(self._credentials.certificate)[0], roots, self._world.wall_clock.now_ns())
        except NotAuthentic as error:  # Its date is wrong, or it was off for too long.
            return str(error)
        return ""

    @property
    def is_running(self) -> bool:
        """Tell whether everything of this node has been started."""
        return self._running.is_set()

    async def wait_running(self) -> None:
        """Return when it has."""
        await self._running.wait()

    async def wait_ready(self) -> None:
        """Return when this node counts: its agent has a session, and on a manager its member is in the swarm."""
        await self._running.wait()
        assert self._agent is not None, "it runs"
        await self._agent.wait_registered()

    async def control(self, request: AnyControlRequest) -> AnyControlAnswer:
        """Ask the swarm, as a manager."""
        return await self.manager.control(request)

    async def backup(self, key: BackupKey | None) -> Iterator[bytes]:
        """Picture the swarm, as a manager."""
        return await self.manager.backup(key)

    async def hand_over(self) -> None:
        """Before a clean stop: let another manager lead."""
        if self._manager is not None:
            await self._manager.hand_over()

    async def stop_tasks(self) -> None:
        """Stop and remove every task of this node: it leaves."""
        if self._agent is not None:
            await self._agent.stop_tasks()


def _first_of(errors: BaseException) -> BaseException:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


class _KnownManagers:
    """The agent's way to the managers that this node knows; its own comes in handy while they elect."""

    def __init__(self, participation: Participation, network: SwarmNetwork) -> None:
        self._participation = participation
        self._network = network

    def addresses(self) -> Sequence[str]:
        return [manager.address for manager in self._participation.facts.managers]

    def connect(self, address: str) -> AbstractAsyncContextManager[Manager]:
        return open_caller(self._network, address)
