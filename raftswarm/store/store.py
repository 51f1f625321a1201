"""The tables of the swarm as a replicated state machine, with transactions and watches.

A transaction is a change set with the versions it read. `apply` compares them and answers `Conflict`, so many are in
flight and nothing is locked across a commit. Reads are synchronous: between two awaits a reader sees one consistent
state, and the objects are immutable, so what it holds never changes under it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from raftswarm.errors import Conflict, Rejected
from raftswarm.objects.records import AnyObject, Cluster, Object, Task
from raftswarm.raft.state_machine import Context
from raftswarm.store.change_set import ChangeSet, Delete, decode, decode_object
from raftswarm.store.changes import RING_SIZE, ChangeRing
from raftswarm.store.contracts import Change, Proposer, Reader, Transaction, Watch, WatchOverflow, Writes
from raftswarm.store.snapshot import TablesCapture, read_tables
from raftswarm.store.tables import NAME, NODE, SERVICE, SLOT, Table, folded, new_tables
from raftswarm.store.transaction import StoreTransaction
from raftswarm.world.garbage import PLAN

__all__ = ["Applied", "Change", "Proposer", "Reader", "Store", "Transaction", "Watch", "WatchOverflow", "Writes"]

T = TypeVar("T", bound=Object)

Applied = Callable[["Store", Context, bytes, Sequence[Change]], None]
"""Is given the tables, where and when a transaction stands in the log, its bytes, and what it changed."""

MAX_DIFFERENCES: Final = 1_000
"""Where a restore changes more objects than that, watchers read the tables anew."""


class Store:
    """The `Reader` of committed state, and the `StateMachine` that makes it."""

    def __init__(self, *, ring_size: int = RING_SIZE, applied: Applied | None = None) -> None:
        """`applied` hears of every transaction that is carried out, right behind it."""
        self._tables: dict[type[Object], Table[Any]] = new_tables()
        self._by_kind = {table.kind.name: table for table in self._tables.values()}
        self._ring = ChangeRing(ring_size)
        self._applied = applied

    # Reading.

    def get(self, table: type[T], object_id: str) -> T | None:
        """The object with that id."""
        return self._table(table).get(object_id)

    def find(self, table: type[T]) -> Iterator[T]:
        """All of them, sorted by id."""
        return self._table(table).sorted()

    def by_name(self, table: type[T], name: str) -> T | None:
        """The object of that name; of several nodes, the first by id."""
        return next(self.all_by_name(table, name), None)

    def all_by_name(self, table: type[T], name: str) -> Iterator[T]:
        """All of that name, sorted by id: host names are not unique."""
        return self._table(table).by(NAME, folded(name))

    def by_id_prefix(self, table: type[T], prefix: str) -> Iterator[T]:
        """Those whose id begins so, sorted by id."""
        return self._table(table).with_prefix(prefix)

    def tasks_of_service(self, service_id: str) -> Iterator[Task]:
        """Sorted by id."""
        return self._table(Task).by(SERVICE, service_id)

    def tasks_of_node(self, node_id: str) -> Iterator[Task]:
        """Sorted by id."""
        return self._table(Task).by(NODE, node_id)

    def tasks_of_slot(self, service_id: str, slot: int) -> Iterator[Task]:
        """Sorted by id."""
        return self._table(Task).by(SLOT, (service_id, slot))

    @property
    def cluster(self) -> Cluster | None:
        """The one cluster object; None before init has committed."""
        return next(self.find(Cluster), None)

    def watch(self, *tables: type[Object], after: int | None = None) -> AbstractContextManager[Watch]:
        """Watch some tables, or all, from now, or from behind an earlier watch's cursor."""
        return self._ring.watch(tables, after)

    def begin(self) -> StoreTransaction:
        """Start a transaction over the state as it is now; good until the next await."""
        return StoreTransaction(self._tables)

    def _table(self, table: type[T]) -> Table[T]:
        return self._tables[table]

    # Applying.

    def apply(self, command: bytes, context: Context) -> int:
        """Carry out a transaction, all or nothing; return the version it gave to what it changed."""
        change_set = decode(command)
        self._check_reads(change_set)
        after = self._check_changes(change_set)
        changes = [self._change(table, object_id, new, context) for (table, object_id), new in after.items()]
        self._ring.add(changes)
        if self._applied is not None:
            self._applied(self, context, command, changes)
        return context.command_number

    def _change(self, table: Table[Any], object_id: str, new: AnyObject | None, context: Context) -> Change:
        table.changed_at = context.command_number
        if new is None:
            return Change(table.remove(object_id), None, context.command_number)
        old = table.get(object_id)
        stamped = replace(
            new,
            version=context.command_number,
            created_at=context.time_ns if old is None else old.created_at,
            updated_at=context.time_ns,
        )
        return Change(table.put(stamped), stamped, context.command_number)

    def _check_reads(self, change_set: ChangeSet) -> None:
        for read in change_set.reads:
            self._check_version(self._named(read.kind), read.id, read.version)
        for name in change_set.names:
            table = self._named(name.kind)
            if NAME not in table.kind.keys:
                raise Rejected(f"{name.kind} objects have no names")
            found = next(table.by(NAME, name.name), None)
            if (found.id if found is not None else "") != name.id:
                raise Conflict(f"the name {name.name} is not what it was")
        for read_table in change_set.tables:
            if self._named(read_table.kind).changed_at != read_table.changed_at:
                raise Conflict(f"the {read_table.kind} table has changed")

    def _check_changes(self, change_set: ChangeSet) -> dict[tuple[Table[Any], str], AnyObject | None]:
        """What will stand in the place of each changed object."""
        after: dict[tuple[Table[Any], str], AnyObject | None] = {}
        for change in change_set.changes:
            table = self._named(change.kind)
            if isinstance(change, Delete):
                key, version, new = (table, change.id), change.version, None
            else:
                new = decode_object(change.kind, change.body)
                key, version = (table, new.id), new.version
            if key in after:
                raise Rejected(f"a transaction changes {change.kind} {key[1]} twice")
            self._check_version(table, key[1], version)
            after[key] = new
        self._check_names(after)
        return after

    def _check_version(self, table: Table[Any], object_id: str, version: int) -> None:
        current = table.get(object_id)
        if (current.version if current is not None else 0) != version:
            raise Conflict(f"{table.kind.name} {object_id} has changed since it was read")

    def _check_names(self, after: dict[tuple[Table[Any], str], AnyObject | None]) -> None:
        """Two builders may each have found a name free."""
        taken: dict[tuple[Table[Any], object], None] = {}
        for (table, object_id), new in after.items():
            if new is None or not table.kind.unique_names:
                continue
            name = table.kind.keys[NAME](new)
            holders = [
                held.id for held in table.by(NAME, name) if held.id != object_id and (table, held.id) not in after
            ]
            if holders or (table, name) in taken:
                raise Conflict(f"the {table.kind.name} name {name} is taken")
            taken[table, name] = None

    def _named(self, kind: str) -> Table[Any]:
        table = self._by_kind.get(kind)
        if table is None:
            raise Rejected(f"no such table: {kind}")
        return table

    # Snapshots.

    def capture(self) -> TablesCapture:
        """Take a picture; quick, because objects never change."""
        return TablesCapture(self._tables)

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the tables by a picture's; watchers see what is different (SWARM 3.2)."""
        self.prepare_restore(chunks)()

    def prepare_restore(self, chunks: Iterable[bytes]) -> Callable[[], None]:
        """Build a picture's tables beside the present ones, in any thread; the returned call does the rest."""
        return partial(self._replace_tables, read_tables(chunks))

    def _replace_tables(self, new: dict[type[Object], Table[Any]]) -> None:
        old = self._tables
        newest = max(table.changed_at for table in new.values())
        self._tables = new
        self._by_kind = {table.kind.name: table for table in new.values()}
        self._ring.leap(_differences(old, new, newest), newest)
        PLAN.settle()


def _differences(
    old: dict[type[Object], Table[Any]], new: dict[type[Object], Table[Any]], command_number: int
) -> list[Change] | None:
    """What a restore changes; None if that is more than watchers should look at one by one."""
    changed: list[tuple[type[Object], str]] = []
    for kind, table in new.items():
        before, after = old[kind].objects, table.objects
        ids = [object_id for object_id in before if object_id not in after]
        ids += [
            object_id
            for object_id, stored in after.items()
            if (known := before.get(object_id)) is None or known.version != stored.version
        ]
        changed += ((kind, object_id) for object_id in sorted(ids))
        if len(changed) > MAX_DIFFERENCES:
            return None
    return [Change(old[kind].get(object_id), new[kind].get(object_id), command_number) for kind, object_id in changed]
