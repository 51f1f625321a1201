"""A dispatcher over a store whose log is a list, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio

from raftswarm.errors import NotLeader
from raftswarm.manager.dispatcher.dispatcher import Dispatcher
from raftswarm.objects.records import AnyObject, Cluster, JoinTokens
from raftswarm.objects.specs import SwarmSpec
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.store.writes import StoreWrites
from raftswarm.wire.requests import ManagerPeer

Running = Callable[[], Any]


class SeededEntropy:
    def __init__(self) -> None:
        self._random = Random(7)

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


class TrioWallClock:
    def now_ns(self) -> int:
        return round(trio.current_time() * 1e9)


class Log(LoneProposer):
    """Can lose its leadership."""

    leading = True

    async def propose(self, command: bytes) -> object:
        if not self.leading:
            raise NotLeader("not any more")
        return await super().propose(command)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def log(store: Store) -> Log:
    return Log(store)


@pytest.fixture
def writes(store: Store, log: Log) -> StoreWrites:
    return StoreWrites(store, log)


@pytest.fixture
def put(store: Store, log: Log) -> Callable[..., None]:
    """Store objects as they are, in one transaction, whatever their version was."""

    def put(*objects: AnyObject) -> None:
        transaction = store.begin()
        for stored in objects:
            transaction.delete(type(stored), stored.id)
            transaction.create(stored)
        log.apply(encode(transaction.change_set()))

    return put


@pytest.fixture
def remove(store: Store, log: Log) -> Callable[..., None]:
    def remove(stored: AnyObject) -> None:
        transaction = store.begin()
        transaction.delete(type(stored), stored.id)
        log.apply(encode(transaction.change_set()))

    return remove


@pytest.fixture
def cluster(put: Callable[..., None]) -> Cluster:
    tokens = JoinTokens(worker="w", manager="m")
    cluster = Cluster(id="cluster", spec=SwarmSpec(), root_certificate="", root_key="", join_tokens=tokens)
    put(cluster)
    return cluster


@pytest.fixture
def peers() -> list[ManagerPeer]:
    return [ManagerPeer(node_id="m1", address="10.0.0.1:2377")]


@pytest.fixture
def dispatcher(store: Store, writes: StoreWrites, cluster: Cluster, peers: list[ManagerPeer]) -> Dispatcher:
    return Dispatcher(
        store,
        writes,
        node_id="m1",
        managers=lambda: peers,
        entropy=SeededEntropy(),
        chance=Random(7),
        wall_clock=TrioWallClock(),
    )


@pytest.fixture
def leading(dispatcher: Dispatcher) -> Running:
    """A term of leadership, as a context."""

    @asynccontextmanager
    async def lead() -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dispatcher.run)
            await trio.testing.wait_all_tasks_blocked()
            yield
            nursery.cancel_scope.cancel()

    return lead
