"""What the rest of the house knows of the store: readers, transactions, changes, watches and writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import attrs

from raftswarm.errors import RaftSwarmError
from raftswarm.objects.records import AnyObject, Cluster, Object, Task

T = TypeVar("T", bound=Object)
T_item = TypeVar("T_item")
T_result = TypeVar("T_result")


class Reader(Protocol):
    """What planners and handlers read from: the store itself, or a transaction over it.

    Every iterator goes over a picture taken when it was made: later changes are not seen in it.
    """

    def get(self, table: type[T], object_id: str) -> T | None:
        """The object with that id."""
        ...

    def find(self, table: type[T]) -> Iterator[T]:
        """All of them, sorted by id."""
        ...

    def by_name(self, table: type[T], name: str) -> T | None:
        """The object of that name, without regard to case; of several nodes, the first by id (SWARM 1.3)."""
        ...

    def tasks_of_service(self, service_id: str) -> Iterator[Task]:
        """Sorted by id."""
        ...

    def tasks_of_node(self, node_id: str) -> Iterator[Task]:
        """Sorted by id."""
        ...

    @property
    def cluster(self) -> Cluster | None:
        """The one cluster object; None before init has committed."""
        ...


class Transaction(Reader, Protocol):
    """Sees its own changes. What it read by id or name, and what it changes, must still be so when it is applied.

    What it found by going over many objects is not checked, as in SwarmKit; `expect_unchanged` asks for that.
    """

    def create(self, new: AnyObject) -> None:
        """Add; InvalidSpec("name conflicts with an existing object: …") if the name is taken."""
        ...

    def update(self, changed: AnyObject) -> None:
        """Replace the version it was made from; Conflict if that is no longer the current one."""
        ...

    def delete(self, table: type[Object], object_id: str) -> None:
        """Remove; nothing if it is gone."""
        ...

    def expect_unchanged(self, table: type[Object]) -> None:
        """Make this transaction a Conflict if anything in that table changes before it is applied."""
        ...


@attrs.frozen
class Change:
    """One object before and after one command; None for not there."""

    before: AnyObject | None
    after: AnyObject | None
    command_number: int

    @property
    def object(self) -> AnyObject:
        """The newer of the two."""
        changed = self.after or self.before
        assert changed is not None
        return changed


@attrs.frozen(slots=False)
class WatchOverflow(RaftSwarmError):
    """Changes were missed: read the tables anew; the watch goes on from now."""


class Watch(Protocol):
    """Changes since it was opened, in order. Bounded: who falls behind gets `WatchOverflow` and reads anew."""

    async def next(self) -> Sequence[Change]:
        """Wait for changes; return all that wait, at least one."""
        ...

    @property
    def cursor(self) -> int:
        """Number of the command up to which all changes were handed out; a later watch can begin after it."""
        ...


class Writes(Protocol):
    """The way to change the store; only the leader's succeed."""

    async def write(self, build: Callable[[Transaction], T_result], /) -> T_result:
        """Build a transaction, propose it, wait until it is applied; on Conflict build anew from the newer state."""
        ...

    async def write_each(self, items: Sequence[T_item], build: Callable[[Transaction, T_item], object], /) -> None:
        """Do the same for many items, in as few transactions as their limits allow; atomic per item only."""
        ...


class Proposer(Protocol):
    """Whoever replicates commands: `consensus.driver`, or a test."""

    def propose(self, command: bytes, /) -> Awaitable[object]:
        """Return what the state machine answered once the command is applied here, or raise what it refused with."""
        ...
