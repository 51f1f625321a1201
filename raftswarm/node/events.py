"""A manager tells its engine what happens to nodes and services."""

from __future__ import annotations

import logging

from raftswarm.engine.events import EventLog, describe
from raftswarm.objects.records import Node, Service
from raftswarm.store.contracts import WatchOverflow
from raftswarm.store.store import Store
from raftswarm.world.clock import WallClock

logger = logging.getLogger("raftswarm.node")


async def tell_events(store: Store, clock: WallClock, log: EventLog) -> None:
    """Serve until cancelled."""
    with store.watch(Node, Service) as watch:
        while True:
            try:
                changes = await watch.next()
            except WatchOverflow:
                logger.warning("more has changed at once than can be told: events are missing")
                continue
            now = clock.now_ns()
            log.add(event for change in changes if (event := describe(change, now)) is not None)
