"""One table: objects by id, by name and by whatever else they are asked for. A new kind is one line in `KINDS`.

Ids are kept sorted, so reads go in order without sorting, and an id's prefix is found by bisection.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

import attrs

from raftswarm.objects.records import AnyObject, Cluster, Node, Object, Service, Task

T = TypeVar("T", bound=Object)

NAME: Final = "name"
SERVICE: Final = "service"
NODE: Final = "node"
SLOT: Final = "slot"


def _keys(kind: Kind[T]) -> Mapping[str, Callable[[T], Hashable]]:
    name_of = kind.name_of
    return kind.indexes if name_of is None else {**kind.indexes, NAME: lambda stored: folded(name_of(stored))}


@attrs.frozen
class Kind(Generic[T]):
    """How one kind of object is stored."""

    type: type[T]
    name_of: Callable[[T], str] | None = None
    """What users call it."""
    unique_names: bool = False
    indexes: Mapping[str, Callable[[T], Hashable]] = {}
    """What else objects can be asked for by."""
    keys: Mapping[str, Callable[[T], Hashable]] = attrs.field(init=False, default=attrs.Factory(_keys, takes_self=True))
    """All indexes; the one called `NAME` holds names as they are compared."""

    @property
    def name(self) -> str:
        """How commands and snapshots call the kind."""
        return self.type.kind


KINDS: Final[tuple[Kind[Any], ...]] = (
    Kind(Node, name_of=lambda node: node.description.hostname),
    Kind(Service, name_of=lambda service: service.spec.name, unique_names=True),
    Kind(
        Task,
        indexes={
            SERVICE: lambda task: task.service_id,
            NODE: lambda task: task.node_id,
            SLOT: lambda task: (task.service_id, task.slot),
        },
    ),
    Kind(Cluster, name_of=lambda cluster: cluster.spec.name, unique_names=True),
)


def folded(name: str) -> str:
    """The form in which names are compared (SWARM 1.3)."""
    return name.lower()


class Table(Generic[T]):
    """The objects of one kind. Objects are frozen, so `copy` is quick and what was read never changes."""

    def __init__(self, kind: Kind[T]) -> None:
        self.kind = kind
        self.changed_at = 0
        """Number of the command that last changed anything here."""
        self.objects: dict[str, T] = {}
        self._ids: list[str] = []
        self._indexes: dict[str, dict[Hashable, list[str]]] = {name: {} for name in kind.keys}

    def __len__(self) -> int:
        return len(self._ids)

    def get(self, object_id: str) -> T | None:
        """The object with that id."""
        return self.objects.get(object_id)

    def sorted(self) -> Iterator[T]:
        """All objects, sorted by id."""
        return self._pick(self._ids)

    def by(self, index: str, key: Hashable) -> Iterator[T]:
        """Those that have `key` in that index, sorted by id."""
        return self._pick(self._indexes[index].get(key, ()))

    def with_prefix(self, prefix: str) -> Iterator[T]:
        """Those whose id begins so, sorted by id."""
        start = end = bisect_left(self._ids, prefix)
        while end < len(self._ids) and self._ids[end].startswith(prefix):
            end += 1
        return self._pick(self._ids[start:end])

    def _pick(self, ids: list[str] | tuple[str, ...]) -> Iterator[T]:
        return iter([self.objects[object_id] for object_id in ids])

    def put(self, new: T) -> T | None:
        """Add or replace; return what was there."""
        old = self.objects.get(new.id)
        self.objects[new.id] = new
        if old is None:
            insort(self._ids, new.id)
        for name, key_of in self.kind.keys.items():
            key = key_of(new)
            if old is not None:
                old_key = key_of(old)
                if old_key == key:
                    continue
                self._unlist(name, old_key, new.id)
            insort(self._indexes[name].setdefault(key, []), new.id)
        return old

    def remove(self, object_id: str) -> T | None:
        """Take out; return what was there."""
        old = self.objects.pop(object_id, None)
        if old is not None:
            del self._ids[bisect_left(self._ids, object_id)]
            for name, key_of in self.kind.keys.items():
                self._unlist(name, key_of(old), object_id)
        return old

    def _unlist(self, index: str, key: Hashable, object_id: str) -> None:
        ids = self._indexes[index][key]
        del ids[bisect_left(ids, object_id)]
        if not ids:
            del self._indexes[index][key]


def new_tables() -> dict[type[Object], Table[Any]]:
    """Empty tables, in the order of `KINDS`."""
    return {kind.type: Table(kind) for kind in KINDS}


def kind_of(stored: AnyObject) -> type[Object]:
    """The table an object belongs to."""
    return type(stored)
