"""For programs that are not async: members and clients whose calls block until they are answered.

with raftswarm.blocking.connect(["127.0.0.1:7001"]) as client:
    client.propose(b"command")

Arguments, results and errors are those of the async calls of the same names. Everything runs in a thread that lasts as
long as the block, the state machine of a member too: ask that with `query`. Calls may come from any thread; one that is
interrupted (Ctrl-C) is cancelled, and what it asked for may happen all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from raftswarm.consensus import client as async_client
from raftswarm.consensus import host as async_host
from raftswarm.consensus.client import Client
from raftswarm.consensus.member import RaftMember
from raftswarm.consensus.watched import Watched
from raftswarm.portal import Portal
from raftswarm.raft.log_entry import Configuration
from raftswarm.raft.ready import Leadership

__all__ = ["BlockingClient", "BlockingMember", "BlockingWatched", "connect", "open_member"]

F = TypeVar("F")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Blocking(Generic[T]):
    """Stands for an object of the loop."""

    def __init__(self, portal: Portal[Any], inner: T) -> None:
        self._portal = portal
        self._inner = inner


def _blocking(
    method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Blocking[T], P], R]:
    @wraps(method)
    def call(self: Blocking[T], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return _wait(self._portal.call(method, self._inner, *args, **kwargs))

    return call


def _wait(future: Future[R]) -> R:
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


class BlockingWatched(Blocking[Watched[T]]):
    """A value that changes by itself."""

    @property
    def value(self) -> T:
        """The newest value."""
        return self._inner.value

    def wait_until(self, holds: Callable[[T], bool]) -> T:
        """Return the first newest value for which that holds; it is called in the loop's thread.

        Raises:
            NotLeader: it does not, and the member has stopped.
        """
        return _wait(self._portal.call(self._inner.wait_until, holds))


class BlockingClient(Blocking[Client]):
    """A `raftswarm.Client`; made by `connect`."""

    propose = _blocking(Client.propose)
    propose_many = _blocking(Client.propose_many)
    query = _blocking(Client.query)

    @property
    def leader(self) -> str:
        """Address of the member that is spoken to; empty while none that leads is found."""
        return self._inner.leader


class BlockingMember(Blocking[RaftMember]):
    """A `raftswarm.RaftMember`; made by `open_member`."""

    propose = _blocking(RaftMember.propose)
    propose_many = _blocking(RaftMember.propose_many)
    read_barrier = _blocking(RaftMember.read_barrier)
    query = _blocking(RaftMember.query)
    wait_gained = _blocking(RaftMember.wait_gained)
    wait_lost = _blocking(RaftMember.wait_lost)
    add_member = _blocking(RaftMember.add_member)
    remove_member = _blocking(RaftMember.remove_member)
    promote = _blocking(RaftMember.promote)
    demote = _blocking(RaftMember.demote)
    change_members = _blocking(RaftMember.change_members)
    transfer_leadership = _blocking(RaftMember.transfer_leadership)

    @property
    def name(self) -> str:
        """What the member is called."""
        return self._inner.name

    @property
    def member_id(self) -> int:
        """What the log calls it."""
        return self._inner.member_id

    @property
    def leadership(self) -> BlockingWatched[Leadership]:
        """Who leads, as far as this member knows."""
        return BlockingWatched(self._portal, self._inner.leadership)

    @property
    def configuration(self) -> BlockingWatched[Configuration]:
        """Who takes part."""
        return BlockingWatched(self._portal, self._inner.configuration)

    @property
    def applied(self) -> BlockingWatched[int]:
        """How many commands of the log the state machine has had here."""
        return BlockingWatched(self._portal, self._inner.applied)


def _opened(
    open_inner: Callable[P, AbstractAsyncContextManager[T]], front: Callable[[Portal[T], T], F]
) -> Callable[P, AbstractContextManager[F]]:
    @wraps(open_inner)
    @contextmanager
    def open_front(*args: P.args, **kwargs: P.kwargs) -> Iterator[F]:
        portal = Portal(open_inner(*args, **kwargs))
        try:
            opened = front(portal, portal.opened.result())
            try:
                yield opened
            except Exception as error:  # noqa: BLE001 - what is open hears of it, and may have a better reason
                portal.release(error)
            else:
                portal.release()
            portal.ended.result()
        finally:
            portal.abandon()

    return open_front


connect = _opened(async_client.connect, BlockingClient)
open_member = _opened(async_host.open_member, BlockingMember)
