"""The agent of a node: keeps its tasks as the managers want them, and a session with the leader (SWARM 8.1).

Managers come and go; the worker beside the sessions goes on alone. A manager that does not lead names the one that
does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Final, Protocol

import trio

from raftswarm.agent.published import PublishedPorts
from raftswarm.agent.session import Manager, Session
from raftswarm.agent.worker import Worker
from raftswarm.errors import LinkError, NotLeader, OutcomeUnknown, Overloaded, RaftSwarmError, RequestRefused
from raftswarm.objects.records import NodeDescription
from raftswarm.transport.helpers import open_helpers
from raftswarm.wire.requests import SessionMessage

logger = logging.getLogger("raftswarm.agent")

FIRST_DELAY_SECONDS: Final = 0.1
MAX_DELAY_SECONDS: Final = 8.0


class Managers(Protocol):
    """How managers are reached."""

    def addresses(self) -> Sequence[str]:
        """``host:port`` of the managers heard of last."""
        ...

    def connect(self, address: str) -> AbstractAsyncContextManager[Manager]:
        """Connect for as long as the block lasts; errors of the block come out as they are."""
        ...


class Agent:
    """Runs the worker, and one session after another."""

    def __init__(
        self,
        *,
        managers: Managers,
        worker: Worker,
        ports: PublishedPorts,
        describe: Callable[[], NodeDescription],
        chance: Random,
        heard: Callable[[SessionMessage], None],
    ) -> None:
        """`heard` is given the node and the managers whenever one of them changed; `addresses` has to follow it."""
        self._managers = managers
        self._worker = worker
        self._ports = ports
        self._describe = describe
        self._chance = chance
        self._heard = heard
        self._session_id = ""
        self._registered = trio.Event()
        self._delay_bound = 0.0

    async def run(self) -> None:
        """Serve until cancelled. StorageError when tasks cannot be recorded."""
        async with open_helpers() as helpers:
            await helpers.start(self._worker.run)
            await self._keep_session()

    @property
    def is_registered(self) -> bool:
        """Tell whether there has been a session."""
        return self._registered.is_set()

    async def wait_registered(self) -> None:
        """Return once the first session stands."""
        await self._registered.wait()

    async def stop_tasks(self) -> None:
        """Stop and remove every task: the node leaves. A session may give it new ones; cancel `run` soon."""
        await self._worker.stop_all()

    async def _keep_session(self) -> None:
        leader = ""
        while True:
            address = leader or self._choose()
            leader = await self._try_session(address, may_follow=not leader) if address else ""
            if not leader:
                await trio.sleep(self._chance.uniform(0, self._delay_bound))

    async def _try_session(self, address: str, *, may_follow: bool) -> str:
        """Hold a session for as long as it lasts; return the leader's address if that is whom to ask next."""
        try:
            async with self._managers.connect(address) as manager:
                session = Session(manager, self._worker, self._ports, self._describe, self._hear)
                await session.hold(self._session_id)
        except NotLeader as error:
            if may_follow and error.address not in ("", address):
                return error.address
            self._lost(address, error)
        except RequestRefused as error:
            self._session_id = ""  # It may be the session that is refused: register anew.
            self._lost(address, error)
        except (LinkError, OutcomeUnknown, Overloaded) as error:
            self._lost(address, error)
        else:
            self._delay_bound = 0.0
        return ""

    def _lost(self, address: str, error: RaftSwarmError) -> None:
        self._delay_bound = min(FIRST_DELAY_SECONDS + 2 * self._delay_bound, MAX_DELAY_SECONDS)
        logger.info("no session with the manager at %s: %s", address, error)

    def _choose(self) -> str:
        addresses = self._managers.addresses()
        if not addresses:
            self._delay_bound = MAX_DELAY_SECONDS
            return ""
        return self._chance.choice(addresses)

    def _hear(self, message: SessionMessage) -> None:
        self._session_id = message.session_id
        self._delay_bound = 0.0
        self._heard(message)
        self._registered.set()
