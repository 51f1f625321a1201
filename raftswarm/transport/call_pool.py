"""One link per manager for all calls to it: dialled when first needed, dropped when it breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from raftswarm.errors import LinkClosed
from raftswarm.transport.calls import Caller
from raftswarm.wire.requests import AnyAnswer, AnyRequest
from raftswarm.world.network import Network


class CallPool:
    """Calls to managers by address. `run` must be running."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._callers: dict[str, Caller] = {}
        self._dialling: dict[str, trio.Lock] = {}
        self._nursery: trio.Nursery | None = None
        self._running = trio.Event()

    async def run(self) -> None:
        """Carry calls until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._running.set()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None
                self._running = trio.Event()

    async def call(self, address: str, request: AnyRequest) -> AnyAnswer:
        """Ask the manager there.

        Raises:
            ConnectionRefused: nothing was sent.
            LinkClosed: the answer was lost; it may have happened.
            RaftSwarmError: whatever the other side raised.
        """
        return await (await self._caller(address)).call(request)

    @asynccontextmanager
    async def stream(self, address: str, request: AnyRequest) -> AsyncIterator[AsyncIterator[AnyAnswer]]:
        """Ask for a stream of answers."""
        caller = await self._caller(address)
        async with caller.stream(request) as answers:
            yield answers

    async def _caller(self, address: str) -> Caller:
        await self._running.wait()
        async with self._dialling.setdefault(address, trio.Lock()):
            caller = self._callers.get(address)
            if caller is None:
                link = await self._network.connect(address)
                caller = Caller(link)
                self._callers[address] = caller
                if self._nursery is None:
                    await link.aclose()
                    raise LinkClosed("this node is stopping")
                self._nursery.start_soon(self._carry, address, caller)
            return caller

    async def _carry(self, address: str, caller: Caller) -> None:
        try:
            await caller.run()
        except LinkClosed:
            pass
        finally:
            if self._callers.get(address) is caller:
                del self._callers[address]
