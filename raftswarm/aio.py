"""For asyncio programs: members and clients whose calls are awaited in asyncio.

async with raftswarm.aio.connect(["127.0.0.1:7001"]) as client:
    await client.propose(b"command")

Arguments, results and errors are those of the trio calls of the same names. Everything runs in a thread that lasts as
long as the block, the state machine of a member too: ask that with `query`. Calls that are under way at the same time
have no order; `propose_many` keeps one. A call whose asyncio task is cancelled is cancelled there, too; what it asked
for may happen all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from raftswarm.consensus import client as trio_client
from raftswarm.consensus import host as trio_host
from raftswarm.consensus.client import Client
from raftswarm.consensus.member import RaftMember
from raftswarm.consensus.watched import Watched
from raftswarm.portal import Portal
from raftswarm.raft.log_entry import Configuration
from raftswarm.raft.ready import Leadership

__all__ = ["AioClient", "AioMember", "AioWatched", "connect", "open_member"]

F = TypeVar("F")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Aio(Generic[T]):
    """Stands for an object of the trio loop."""

    def __init__(self, portal: Portal[Any], inner: T) -> None:
        self._portal = portal
        self._inner = inner


def _awaited(
    method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Aio[T], P], Coroutine[Any, Any, R]]:
    @wraps(method)
    async def call(self: Aio[T], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.wrap_future(self._portal.call(method, self._inner, *args, **kwargs))

    return call


class AioWatched(Aio[Watched[T]]):
    """A value that changes by itself."""

    @property
    def value(self) -> T:
        """The newest value."""
        return self._inner.value

    async def wait_until(self, holds: Callable[[T], bool]) -> T:
        """Return the first newest value for which that holds; it is called in the trio loop's thread.

        Raises:
            NotLeader: it does not, and the member has stopped.
        """
        return await asyncio.wrap_future(self._portal.call(self._inner.wait_until, holds))


class AioClient(Aio[Client]):
    """A `raftswarm.Client`; made by `connect`."""

    propose = _awaited(Client.propose)
    propose_many = _awaited(Client.propose_many)
    query = _awaited(Client.query)

    @property
    def leader(self) -> str:
        """Address of the member that is spoken to; empty while none that leads is found."""
        return self._inner.leader


class AioMember(Aio[RaftMember]):
    """A `raftswarm.RaftMember`; made by `open_member`."""

    propose = _awaited(RaftMember.propose)
    propose_many = _awaited(RaftMember.propose_many)
    read_barrier = _awaited(RaftMember.read_barrier)
    query = _awaited(RaftMember.query)
    wait_gained = _awaited(RaftMember.wait_gained)
    wait_lost = _awaited(RaftMember.wait_lost)
    add_member = _awaited(RaftMember.add_member)
    remove_member = _awaited(RaftMember.remove_member)
    promote = _awaited(RaftMember.promote)
    demote = _awaited(RaftMember.demote)
    change_members = _awaited(RaftMember.change_members)
    transfer_leadership = _awaited(RaftMember.transfer_leadership)

    @property
    def name(self) -> str:
        """What the member is called."""
        return self._inner.name

    @property
    def member_id(self) -> int:
        """What the log calls it."""
        return self._inner.member_id

    @property
    def leadership(self) -> AioWatched[Leadership]:
        """Who leads, as far as this member knows."""
        return AioWatched(self._portal, self._inner.leadership)

    @property
    def configuration(self) -> AioWatched[Configuration]:
        """Who takes part."""
        return AioWatched(self._portal, self._inner.configuration)

    @property
    def applied(self) -> AioWatched[int]:
        """How many commands of the log the state machine has had here."""
        return AioWatched(self._portal, self._inner.applied)


def _opened(
    open_inner: Callable[P, AbstractAsyncContextManager[T]], front: Callable[[Portal[T], T], F]
) -> Callable[P, AbstractAsyncContextManager[F]]:
    @wraps(open_inner)
    @asynccontextmanager
    async def open_front(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[F]:
        portal = Portal(open_inner(*args, **kwargs))
        try:
            opened = front(portal, await asyncio.shield(asyncio.wrap_future(portal.opened)))
            try:
                yield opened
            except Exception as error:  # noqa: BLE001 - what is open hears of it, and may have a better reason
                portal.release(error)
            else:
                portal.release()
            await asyncio.shield(asyncio.wrap_future(portal.ended))
        finally:
            portal.abandon()

    return open_front


connect = _opened(trio_client.connect, AioClient)
open_member = _opened(trio_host.open_member, AioMember)
