"""A transaction while it is built: the store's tables with its own changes laid over them, and what it has read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar, cast

import attrs
from msgspec import Raw
from msgspec.structs import replace

from raftswarm.errors import Conflict, InvalidSpec
from raftswarm.objects.records import AnyObject, Cluster, Object, Task
from raftswarm.store.change_set import ChangeSet, Delete, NameRead, Put, Read, TableRead, encode_object
from raftswarm.store.tables import NAME, NODE, SERVICE, SLOT, Table, folded, kind_of

T = TypeVar("T", bound=Object)

Key = tuple[type[Object], str]
"""Table and id."""


@attrs.frozen
class Mark:
    """How far a transaction was, to come back to."""

    written: Mapping[Key, AnyObject | None]
    bodies: Mapping[Key, bytes]
    reads: Mapping[Key, int]
    names: Mapping[tuple[type[Object], str], str]
    tables: Mapping[type[Object], int]


class StoreTransaction:
    """The `Transaction` that `StoreWrites` hands to its builders; valid until the next await."""

    def __init__(self, tables: Mapping[type[Object], Table[Any]]) -> None:
        self._tables = tables
        self._written: dict[Key, AnyObject | None] = {}
        """What it leaves in the place of an object; None for deleted."""
        self._bodies: dict[Key, bytes] = {}
        self._reads: dict[Key, int] = {}
        """The stored version of everything read or changed by id; 0 for not there."""
        self._names: dict[tuple[type[Object], str], str] = {}
        self._unchanged: dict[type[Object], int] = {}

    # Reading.

    def get(self, table: type[T], object_id: str) -> T | None:
        """The object with that id; the transaction fails if it changes meanwhile."""
        self._base_version((table, object_id))
        return self._peek(table, object_id)

    def find(self, table: type[T]) -> Iterator[T]:
        """All of them, sorted by id."""
        return self._overlaid(table, self._tables[table].sorted(), lambda _: True)

    def by_name(self, table: type[T], name: str) -> T | None:
        """The object of that name; the transaction fails if another one has it meanwhile."""
        base = next(self._tables[table].by(NAME, folded(name)), None)
        self._names.setdefault((table, folded(name)), base.id if base is not None else "")
        found = self._first_of_name(table, name)
        return self.get(table, found.id) if found is not None else None

    def tasks_of_service(self, service_id: str) -> Iterator[Task]:
        """Sorted by id."""
        return self._indexed(Task, SERVICE, service_id)

    def tasks_of_node(self, node_id: str) -> Iterator[Task]:
        """Sorted by id."""
        return self._indexed(Task, NODE, node_id)

    def tasks_of_slot(self, service_id: str, slot: int) -> Iterator[Task]:
        """Sorted by id."""
        return self._indexed(Task, SLOT, (service_id, slot))

    @property
    def cluster(self) -> Cluster | None:
        """The one cluster object."""
        first = next(self.find(Cluster), None)
        return self.get(Cluster, first.id) if first is not None else None

    def expect_unchanged(self, table: type[Object]) -> None:
        """Fail if anything in that table changes meanwhile."""
        self._unchanged.setdefault(table, self._tables[table].changed_at)

    # Changing.

    def create(self, new: AnyObject) -> None:
        """Add; InvalidSpec if its name or id is taken."""
        table = kind_of(new)
        if self._peek(table, new.id) is not None:
            raise InvalidSpec(f"{new.kind} {new.id} already exists")
        self._check_name(new)
        self._write(new)

    def update(self, changed: AnyObject) -> None:
        """Replace the version it was made from."""
        current = self._peek(kind_of(changed), changed.id)
        if current is None:
            raise Conflict(f"{changed.kind} {changed.id} does not exist any more")
        if current.version != changed.version:
            raise Conflict(f"{changed.kind} {changed.id} has changed: version {current.version}, not {changed.version}")
        self._check_name(changed)
        self._write(changed)

    def delete(self, table: type[Object], object_id: str) -> None:
        """Remove; nothing if it is gone."""
        key = (table, object_id)
        base_version = self._base_version(key)
        if self._peek(table, object_id) is None:
            return
        self._bodies.pop(key, None)
        if base_version:
            self._written[key] = None
        else:
            del self._written[key]  # It was this transaction that made it.

    # What it comes to.

    def change_set(self) -> ChangeSet:
        """What has to be replicated."""
        return ChangeSet(
            changes=tuple(
                Delete(table.kind, object_id, self._reads[table, object_id])
                if changed is None
                else Put(table.kind, Raw(self._bodies[table, object_id]))
                for (table, object_id), changed in self._written.items()
            ),
            reads=tuple(
                Read(table.kind, object_id, version)
                for (table, object_id), version in self._reads.items()
                if (table, object_id) not in self._written
            ),
            names=tuple(NameRead(table.kind, name, found) for (table, name), found in self._names.items()),
            tables=tuple(TableRead(table.kind, changed_at) for table, changed_at in self._unchanged.items()),
        )

    @property
    def changes(self) -> int:
        """How many objects it changes."""
        return len(self._written)

    @property
    def size(self) -> int:
        """About how many bytes it will have."""
        return sum(map(len, self._bodies.values())) + 64 * (len(self._written) + len(self._reads) + len(self._names))

    def mark(self) -> Mark:
        """Remember this point."""
        return Mark(
            dict(self._written), dict(self._bodies), dict(self._reads), dict(self._names), dict(self._unchanged)
        )

    def go_back_to(self, mark: Mark) -> None:
        """Forget what was read and changed since."""
        self._written, self._bodies = dict(mark.written), dict(mark.bodies)
        self._reads, self._names = dict(mark.reads), dict(mark.names)
        self._unchanged = dict(mark.tables)

    # How.

    def _base_version(self, key: Key) -> int:
        base = self._tables[key[0]].get(key[1])
        return self._reads.setdefault(key, base.version if base is not None else 0)

    def _peek(self, table: type[T], object_id: str) -> T | None:
        if (table, object_id) in self._written:
            return cast("T | None", self._written[table, object_id])
        return cast("T | None", self._tables[table].get(object_id))

    def _write(self, new: AnyObject) -> None:
        key = (kind_of(new), new.id)
        base = self._base_version(key)
        written = new if new.version == base else replace(new, version=base)
        self._written[key] = written
        self._bodies[key] = encode_object(written)

    def _check_name(self, new: AnyObject) -> None:
        kind = self._tables[kind_of(new)].kind
        if kind.name_of is None or not kind.unique_names:
            return
        name = kind.name_of(new)
        holder = self._first_of_name(kind.type, name)
        if holder is not None and holder.id != new.id:
            raise InvalidSpec(f"name conflicts with an existing object: {kind.name} {name} already exists")

    def _first_of_name(self, table: type[T], name: str) -> T | None:
        return next(self._indexed(table, NAME, folded(name)), None)

    def _indexed(self, table: type[T], index: str, key: Hashable) -> Iterator[T]:
        key_of = self._tables[table].kind.keys[index]
        return self._overlaid(table, self._tables[table].by(index, key), lambda found: key_of(found) == key)

    def _overlaid(self, table: type[T], base: Iterator[T], matches: Callable[[T], bool]) -> Iterator[T]:
        own = {object_id: changed for (changed_in, object_id), changed in self._written.items() if changed_in is table}
        if not own:
            return base
        found = {stored.id: stored for stored in base if stored.id not in own}
        for changed in own.values():
            if isinstance(changed, table) and matches(changed):
                found[changed.id] = changed
        return iter([found[object_id] for object_id in sorted(found)])
