"""What agents report, written down in batches: the first at once, then at most one every 100 ms (SWARM 7.4)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import attrs
import trio
from msgspec.structs import replace

from raftswarm.errors import PayloadTooLarge, RaftSwarmError
from raftswarm.manager.dispatcher.signals import Bell
from raftswarm.objects.records import Node, NodeDescription, Task, TaskStatus
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.store.store import Transaction, Writes
from raftswarm.world.clock import WallClock

logger = logging.getLogger("raftswarm.dispatcher")

T = TypeVar("T")

BATCH_SECONDS: Final = 0.1
MAX_WAITING: Final = 10_000


@attrs.frozen(kw_only=True)
class NodeNews:
    """What is known anew about a node; None for what is not."""

    state: NodeState
    message: str = ""
    description: NodeDescription | None = None
    address: str | None = None

    def after(self, older: NodeNews | None) -> NodeNews:
        """This news, and what the older one said beyond it."""
        if older is None:
            return self
        description = self.description if self.description is not None else older.description
        address = self.address if self.address is not None else older.address
        return attrs.evolve(self, description=description, address=address)


@attrs.define
class _Batch:
    statuses: dict[str, TaskStatus] = attrs.field(factory=dict)
    nodes: dict[str, NodeNews] = attrs.field(factory=dict)
    written: list[trio.Event] = attrs.field(factory=list)

    def __len__(self) -> int:
        return len(self.statuses) + len(self.nodes)

    def put_before(self, later: _Batch) -> None:
        """It could not be written: it waits again, ahead of what came meanwhile."""
        self.statuses |= later.statuses
        self.nodes |= {node_id: news.after(self.nodes.get(node_id)) for node_id, news in later.nodes.items()}
        self.written += later.written


class Reports:
    """The queue before the store. The latest of each task and node wins."""

    def __init__(self, writes: Writes, manager_id: str, wall_clock: WallClock) -> None:
        self._writes = writes
        self._manager_id = manager_id
        self._wall_clock = wall_clock
        self._waiting = _Batch()
        self._something = Bell()
        self._room = trio.Event()
        self._closed = False

    async def wait_room(self) -> None:
        """Wait while too much is queued."""
        await trio.lowlevel.checkpoint()
        while len(self._waiting) >= MAX_WAITING and not self._closed:
            await self._room.wait()

    def add_status(self, task_id: str, status: TaskStatus) -> None:
        """Queue what a task's agent observed."""
        self._waiting.statuses[task_id] = status
        self._something.ring()

    def add_node(self, node_id: str, news: NodeNews) -> trio.Event:
        """Queue what became of a node; the event is set when it is written."""
        self._waiting.nodes[node_id] = news.after(self._waiting.nodes.get(node_id))
        written = trio.Event()
        self._waiting.written.append(written)
        self._something.ring()
        return written

    def close(self) -> None:
        """Let go whoever waits for a write: there will be none."""
        self._closed = True
        for written in self._waiting.written:
            written.set()
        self._room.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._something.wait()
            await self.flush()
            await trio.sleep(BATCH_SECONDS)

    async def flush(self) -> None:
        """Write what waits; what cannot be written now waits on."""
        batch, self._waiting = self._waiting, _Batch()
        done = False
        try:
            await self._write_each(list(batch.nodes.items()), _apply_news)
            await self._write_each(list(batch.statuses.items()), self._apply_status)
            done = True
        except RaftSwarmError as error:
            logger.info("reports of agents wait on: %s", error)
            self._something.ring()
        finally:  # Also when cancelled.
            if not done:
                batch.put_before(self._waiting)
                self._waiting = batch
        if done:
            for written in batch.written:
                written.set()
            self._room.set()
            self._room = trio.Event()

    async def _write_each(
        self, items: Sequence[tuple[str, T]], build: Callable[[Transaction, tuple[str, T]], None]
    ) -> None:
        try:
            await self._writes.write_each(items, build)
        except PayloadTooLarge:
            if len(items) == 1:
                logger.exception("a report about %s does not fit into a transaction and is dropped", items[0][0])
                return
            for item in items:
                await self._write_each([item], build)

    def _apply_status(self, transaction: Transaction, item: tuple[str, TaskStatus]) -> None:
        task_id, status = item
        task = transaction.get(Task, task_id)
        if task is None or not is_news(status, task.status):
            return
        stamped = replace(status, applied_by=self._manager_id, applied_at=self._wall_clock.now_ns())
        transaction.update(replace(task, status=stamped))


def is_news(status: TaskStatus, stored: TaskStatus) -> bool:
    """Tell whether a report goes beyond what is stored: a task's state only grows (SWARM 2.1)."""
    if status.state < stored.state:
        return False
    return replace(stored, applied_by=status.applied_by, applied_at=status.applied_at) != status


def orphan(transaction: Transaction, task_id: str) -> None:
    """Give up a task whose node is down for too long (SWARM 7.3)."""
    task = transaction.get(Task, task_id)
    if task is not None and TaskState.ASSIGNED <= task.status.state <= TaskState.RUNNING:
        transaction.update(replace(task, status=replace(task.status, state=TaskState.ORPHANED)))


def _apply_news(transaction: Transaction, item: tuple[str, NodeNews]) -> None:
    node_id, news = item
    node = transaction.get(Node, node_id)
    if node is None:
        return
    changed = replace(
        node,
        state=news.state,
        message=news.message,
        description=news.description if news.description is not None else node.description,
        address=news.address if news.address is not None else node.address,
    )
    if changed != node:
        transaction.update(changed)
