"""One machine of the swarm, in or out of it: what `docker swarm init`, `join`, `leave` and `unlock` do to a node.

Being in a swarm is a `Participation`, which runs in a scope of its own: leaving cancels it and clears the directory.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final

import trio
from msgspec.structs import replace

from raftswarm.engine.events import EventLog
from raftswarm.engine.node_protocol import InitOptions, JoinOptions, LocalInfo, LocalState
from raftswarm.engine.observability import Check, Metric
from raftswarm.errors import InvalidKey, RaftSwarmError, RequestRefused, StateLocked
from raftswarm.manager.control.requests import AnyControlAnswer, AnyControlRequest
from raftswarm.node.entering import Entered, enter_by_init, enter_by_join
from raftswarm.node.facts import NodeFacts, read_facts
from raftswarm.node.manager_role import ManagerRole
from raftswarm.node.observation import check_readiness, find_metrics
from raftswarm.node.participation import Participation
from raftswarm.node.peer_unlock import Peers
from raftswarm.node.recovery import begin_anew
from raftswarm.node.refusals import (
    ALREADY_IN,
    JOIN_TIMEOUT,
    LEAVE_LAST,
    LEAVE_MANAGER,
    LEAVE_QUORUM,
    LOCKED,
    LOCKED_LEAVE,
    NO_MANAGER_YET,
    NOT_A_MANAGER,
    NOT_IN,
    REJOIN_MANAGER,
)
from raftswarm.node.settings import NodeSettings, own_address
from raftswarm.node.state_directory import StateDirectory
from raftswarm.node.world import NodeWorld
from raftswarm.objects.records import NodeDescription
from raftswarm.storage.backup import BackupKey
from raftswarm.storage.keys import KeyRing
from raftswarm.transport.helpers import open_helpers
from raftswarm.world.jobs import run_job
from raftswarm.world.secret_sources import SecretSource

logger = logging.getLogger("raftswarm.node")

JOIN_SECONDS: Final = 20.0
HAND_OVER_SECONDS: Final = 2.0
"""A stop waits no longer for another manager to lead: a transfer gives up after an election timeout (3.10)."""


class Machine:
    """Implements `engine.SwarmNode`. `run` must be running; every operation waits for its turn."""

    def __init__(
        self, settings: NodeSettings, world: NodeWorld, unlock_sources: Sequence[tuple[str, SecretSource]] = ()
    ) -> None:
        """`unlock_sources`, by name, are asked in turn for the unlock key when this node starts locked."""
        self._unlock_sources = unlock_sources
        self._settings = settings
        self._world = world
        self._directory = StateDirectory(settings.state_directory, world.disk)
        self._turn = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._participation: Participation | None = None
        self._ending: trio.CancelScope | None = None
        self._ended = trio.Event()
        self._joining: trio.CancelScope | None = None
        self._state = LocalState.INACTIVE
        self._error = ""
        self.events = EventLog()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up what the state directory says, then serve until cancelled; a clean stop hands leadership over."""
        async with open_helpers() as nursery:
            self._nursery = nursery
            self._take_up()
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(HAND_OVER_SECONDS, shield=True):
                    if self._participation is not None:
                        await self._participation.hand_over()
                self._end_participation()

    def _take_up(self) -> None:
        facts = read_facts(self._world.disk, self._settings.state_directory)
        if facts is None:
            self._directory.require_facts_not_lost()
            self._directory.clear()
            return
        try:
            keys = KeyRing.open(self._world.disk, self._directory.certificates, self._world.entropy)
        except StateLocked:
            logger.warning("this manager is locked; `docker swarm unlock` unlocks it")
            self._state = LocalState.LOCKED
            self._error = LOCKED
            assert self._nursery is not None, "the machine runs"
            self._nursery.start_soon(self._unlock_by_itself)
            return
        self._participate(facts, keys)

    def _participate(self, facts: NodeFacts, keys: KeyRing) -> Participation:
        assert self._nursery is not None, "operations come while the machine runs"
        participation = Participation(self._settings, self._world, self._directory, facts, keys, self.events)
        self._participation = participation
        self._state, self._error = LocalState.ACTIVE, ""
        self._ended = trio.Event()
        self._nursery.start_soon(self._run_participation, participation, keys)
        return participation

    async def _run_participation(self, participation: Participation, keys: KeyRing) -> None:
        # Shielded: a daemon that is told to stop hands leadership over first, and for that its member has to run.
        facts: NodeFacts | None = None
        with trio.CancelScope(shield=True) as scope:
            self._ending = scope
            try:
                facts = await participation.run()
            except* RaftSwarmError as errors:
                reason = "; ".join(str(error) for error in _flatten(errors))
                logger.error("this node stopped taking part in the swarm: %s", reason)  # noqa: TRY400 - a sentence for the operator
                self._state, self._error = LocalState.ERROR, reason
            finally:
                self._participation = None
                self._ending = None
                self._ended.set()
        if facts is not None and not scope.cancel_called:
            logger.info("this node goes on as a %s", facts.role.removeprefix("swarm-"))
            self._participate(facts, keys)

    def _end_participation(self) -> None:
        if self._ending is not None:
            self._ending.cancel()

    async def _forget(self) -> None:
        """Be in no swarm, whatever there was of one."""
        self._end_participation()
        if self._participation is not None:
            await self._ended.wait()
        self._directory.clear()
        self._state, self._error = LocalState.INACTIVE, ""

    @property
    def manager(self) -> ManagerRole | None:
        """The manager's part of this node, while it runs."""
        participation = self._participation
        if participation is None or not (participation.is_manager and participation.is_running):
            return None
        return participation.manager

    # What the Engine API asks for.

    def info(self) -> LocalInfo:
        """Describe this node as it is now."""
        description = self._description()
        participation = self._participation
        if participation is None:
            return LocalInfo(
                state=self._state,
                description=description,
                error=self._error,
                state_directory=self._settings.state_directory,
            )
        return participation.info(self._state, description)

    def metrics(self) -> Iterator[Metric]:
        """All figures of this node."""
        return find_metrics(self._state, self._participation)

    def readiness(self) -> list[Check]:
        """What has to hold of a node that does its part."""
        return check_readiness(self._state, self._error, self._participation)

    def _description(self) -> NodeDescription:
        return replace(self._world.describe(), hostname=self._settings.hostname)

    async def init(self, options: InitOptions) -> str:
        """Begin a swarm; return this node's id once it leads and the swarm's objects are written.

        With `force_new_cluster`, a manager makes itself the only one of the swarm it is in, and goes on.
        """
        async with self._turn:
            if options.force_new_cluster and self._state is not LocalState.INACTIVE:
                return await self._begin_anew(options)
            self._require_outside()
            listen, advertise = self._addresses(options.listen_address, options.advertise_address)
            entered = enter_by_init(self._world, self._directory, options, listen, advertise, self._settings)
            return (await self._enter(entered)).node_id

    async def _begin_anew(self, options: InitOptions) -> str:
        facts, keys = self._own_manager()
        listen, advertise = self._addresses(options.listen_address, options.advertise_address)
        facts = replace(facts, listen_address=listen, advertise_address=advertise)
        self._end_participation()
        if self._participation is not None:
            await self._ended.wait()
        world = self._world
        job = partial(begin_anew, world.disk, world.entropy, world.wall_clock.now_ns(), self._directory, facts, keys)
        try:
            facts = await run_job(world.runner, job)
        except RaftSwarmError as error:
            self._state, self._error = LocalState.ERROR, str(error)
            raise
        logger.warning("this manager has made itself the only one of its swarm; others have to leave and join again")
        await self._unless_it_ends(self._participate(facts, keys).wait_ready)
        return facts.node_id

    def _own_manager(self) -> tuple[NodeFacts, KeyRing]:
        """Return what this node knows of itself, and its keys, if it is a manager that is not locked."""
        participation = self._participation
        if participation is not None and participation.facts.is_manager:
            return participation.facts, participation.keys  # Also one that was left behind: its log may be the better.
        facts = read_facts(self._world.disk, self._settings.state_directory)
        if facts is None or not facts.is_manager:
            raise RequestRefused(NOT_A_MANAGER, code="Unavailable", from_engine=True)
        try:
            return facts, KeyRing.open(self._world.disk, self._directory.certificates, self._world.entropy)
        except StateLocked:
            raise RequestRefused(LOCKED, code="Unavailable", from_engine=True) from None

    async def join(self, options: JoinOptions) -> None:
        """Join a swarm by token; at most 20 s, then it goes on in the background."""
        async with self._turn:
            self._require_outside()
            assert self._nursery is not None, "operations come while the machine runs"
            listen, advertise = self._addresses(options.listen_address, options.advertise_address)
            self._state = LocalState.PENDING
            finished = trio.Event()
            failure: list[RaftSwarmError] = []

            async def go() -> None:
                with trio.CancelScope() as self._joining:
                    try:
                        entered = await enter_by_join(
                            self._world, self._directory, options, listen, advertise, self._settings
                        )
                        await self._enter(entered)
                    except RaftSwarmError as error:
                        failure.append(error)
                        await self._forget()
                self._joining = None
                finished.set()

            self._nursery.start_soon(go)
            with trio.move_on_after(JOIN_SECONDS):
                await finished.wait()
                if failure:
                    raise failure[0]
                return
            raise RequestRefused(JOIN_TIMEOUT, code="Unavailable", from_engine=True)

    async def rejoin(self, addresses: Sequence[str]) -> None:
        """Let a worker find the managers of its swarm at these addresses, before all that it knows."""
        async with self._turn:
            if self._state is LocalState.LOCKED:
                raise RequestRefused(LOCKED, code="Unavailable", from_engine=True)
            participation = self._participation
            if participation is None:
                raise RequestRefused(NOT_IN, code="Unavailable", from_engine=True)
            if participation.facts.is_manager:
                raise RequestRefused(REJOIN_MANAGER, code="FailedPrecondition", from_engine=True)
            participation.turn_to(addresses)

    async def leave(self, *, force: bool) -> None:
        """Leave: end what runs, stop the tasks, clear the state directory."""
        async with self._turn:
            if self._state is LocalState.INACTIVE:
                raise RequestRefused(NOT_IN, code="Unavailable", from_engine=True)
            if self._state is LocalState.LOCKED and not force:
                raise RequestRefused(LOCKED_LEAVE, code="Unavailable", from_engine=True)
            participation = self._participation
            if participation is not None and participation.is_manager and not force:
                last = participation.manager_count < 2
                raise RequestRefused(
                    LEAVE_MANAGER + (LEAVE_LAST if last else LEAVE_QUORUM), code="Unavailable", from_engine=True
                )
            if self._joining is not None:
                self._joining.cancel()
            if participation is not None:
                await participation.stop_tasks()
            await self._forget()

    async def _unlock_by_itself(self) -> None:
        """Ask the sources that the daemon was given, then the peers, where the swarm allows that.

        If none helps, the node waits for somebody to unlock it.
        """
        facts = read_facts(self._world.disk, self._settings.state_directory)
        assert facts is not None, "what is locked has facts"
        peers = Peers(self._world, self._directory, facts, lambda: self._state is LocalState.LOCKED)
        for name, source in [*self._unlock_sources, *([("peers", peers)] if peers.may_be_asked else [])]:
            try:
                await self.unlock((await source.fetch("Enter unlock key: ")).strip())
            except RaftSwarmError as error:
                if self._state is not LocalState.LOCKED:
                    return  # Somebody else unlocked it, or it cannot take part, which `info` tells.
                logger.warning("the unlock key from %s does not help: %s", name, error)
            else:
                logger.info("unlocked with the key from %s", name)
                return

    async def unlock(self, key: str) -> None:
        """Open the key ring with the unlock key and take part again."""
        async with self._turn:
            if self._state is not LocalState.LOCKED:
                raise RequestRefused("swarm is not locked", code="AlreadyExists", from_engine=True)
            facts = read_facts(self._world.disk, self._settings.state_directory)
            assert facts is not None, "what is locked has facts"
            try:
                keys = KeyRing.open(self._world.disk, self._directory.certificates, self._world.entropy, unlock_key=key)
            except InvalidKey as error:
                if str(error) == "invalid key string":
                    raise RequestRefused(str(error), code="InvalidArgument", from_engine=True) from error
                logger.warning(
                    "a key did not fit; if it was rotated while this manager was down, it needs the one of that time"
                )
                raise RequestRefused(
                    "swarm could not be unlocked: invalid key provided", code="Unauthenticated", from_engine=True
                ) from error
            await self._unless_it_ends(self._participate(facts, keys).wait_running)

    async def control(self, request: AnyControlRequest) -> AnyControlAnswer:
        """Ask the swarm."""
        return await (await self._running_manager()).control(request)

    async def backup(self, key: BackupKey | None) -> Iterator[bytes]:
        """Picture the swarm."""
        return await (await self._running_manager()).backup(key)

    async def _running_manager(self) -> Participation:
        participation = self._participation
        if participation is None:
            text = LOCKED if self._state is LocalState.LOCKED else NO_MANAGER_YET
            raise RequestRefused(text, code="Unavailable", from_engine=True)
        if not participation.is_running:
            await self._unless_it_ends(participation.wait_running)
        if not participation.is_manager:
            raise RequestRefused(NOT_A_MANAGER, code="Unavailable", from_engine=True)
        return participation

    # Particulars.

    def _require_outside(self) -> None:
        if self._state is LocalState.LOCKED:
            raise RequestRefused(LOCKED, code="Unavailable", from_engine=True)
        if self._state is not LocalState.INACTIVE:
            raise RequestRefused(ALREADY_IN, code="Unavailable", from_engine=True)

    def _addresses(self, listen: str, advertise: str) -> tuple[str, str]:
        return (
            own_address(listen, self._settings.listen_address),
            own_address(advertise, self._settings.advertise_address),
        )

    async def _enter(self, entered: Entered) -> NodeFacts:
        """Take part in the swarm that was entered; when that fails, nothing of it stays."""
        participation = self._participate(entered.facts, entered.keys)
        try:
            await self._unless_it_ends(participation.wait_ready)
        except RequestRefused:
            await self._forget()
            raise
        return entered.facts

    async def _unless_it_ends(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for something of the participation; when that ends instead, its reason is the refusal."""
        ended = self._ended
        async with open_helpers() as helpers:

            async def give_up() -> None:
                await ended.wait()
                helpers.cancel_scope.cancel()

            helpers.start_soon(give_up)
            await wait()
        if ended.is_set():
            raise RequestRefused(self._error, code="Unknown", from_engine=True)


def _flatten(errors: BaseExceptionGroup[RaftSwarmError]) -> Iterator[RaftSwarmError]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flatten(error)
        else:
            yield error
