"""A replicated dict. Values are kept as the bytes they came in, so nobody can change one behind the log's back."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from raftswarm.errors import Rejected
from raftswarm.raft.state_machine import Context
from raftswarm.recipes.handles import ReplicatedObject
from raftswarm.recipes.requests import (
    Key,
    Request,
    check_key,
    pack,
    pack_or_nothing,
    unpack,
    unpack_or_nothing,
)


class SetItem(Request, frozen=True, tag=1):
    """Set an entry."""

    key: Key
    value: bytes
    fence: int = 0


class DeleteItem(Request, frozen=True, tag=2):
    """Remove an entry."""

    key: Key
    fence: int = 0


class CompareAndSetItem(Request, frozen=True, tag=3):
    """Set or remove an entry that is as expected; no bytes stand for no entry."""

    key: Key
    expected: bytes
    value: bytes
    fence: int = 0


class GetItem(Request, frozen=True, tag=1):
    """Look at an entry."""

    key: Key


class ListItems(Request, frozen=True, tag=2):
    """Look at all entries."""


class DictState(msgspec.Struct, array_like=True, tag="dict"):
    """The dict as the machine has it."""

    commands: ClassVar = (SetItem, DeleteItem, CompareAndSetItem)
    questions: ClassVar = (GetItem, ListItems)

    entries: dict[Key, bytes] = {}
    fence: int = 0
    """The highest fencing token that came with a change; lower ones are refused."""

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to remember."""
        return not self.entries and not self.fence

    def copy(self) -> DictState:
        """Return one that stays as this one is now."""
        return DictState(dict(self.entries), self.fence)

    def apply(self, command: SetItem | DeleteItem | CompareAndSetItem, context: Context) -> object:
        """Change an entry."""
        del context
        if command.fence and command.fence < self.fence:
            raise Rejected(f"token {command.fence} was superseded by {self.fence}: its holder has lost the lock")
        answer: object = None
        match command:
            case SetItem():
                unpack(command.value)
                self.entries[command.key] = command.value
            case DeleteItem():
                answer = self.entries.pop(command.key, None) is not None
            case CompareAndSetItem():
                answer = self._compare_and_set(command)
        self.fence = max(self.fence, command.fence)
        return answer

    def _compare_and_set(self, command: CompareAndSetItem) -> bool:
        """Compare values, not bytes: the entries of a map may come in any order."""
        unpack_or_nothing(command.value)
        if unpack_or_nothing(self.entries.get(command.key, b"")) != unpack_or_nothing(command.expected):
            return False
        if command.value:
            self.entries[command.key] = command.value
        else:
            self.entries.pop(command.key, None)
        return True

    def query(self, question: GetItem | ListItems, time_ns: int) -> object:
        """Look at one entry or all."""
        del time_ns
        if isinstance(question, ListItems):
            return [(key, unpack(value)) for key, value in self.entries.items()]
        return unpack_or_nothing(self.entries.get(question.key, b""))


class ReplicatedDict(ReplicatedObject):
    """A dict that all members of a cluster agree on.

    Keys are str or int. Values are msgpack values (bool, int, float, str, bytes, lists and dicts of them), and come
    back as msgpack does: a tuple as a list. None stands for no entry. Entries are listed in the order in which they
    were first set.

    Every change takes `fence`, the token of a lock under which it is made: once the dict has seen a higher one, the
    change is refused with Rejected. So who has lost the lock without noticing cannot undo what the next holder did.
    """

    async def set(self, key: Key, value: object, *, fence: int = 0) -> None:
        """Set an entry."""
        await self._change(SetItem(self.name, check_key(key), pack(value), fence))

    async def get(self, key: Key) -> object:
        """Return an entry's value, None if there is none."""
        return await self._look(GetItem(self.name, check_key(key)))

    async def delete(self, key: Key, *, fence: int = 0) -> bool:
        """Remove an entry; tell whether there was one."""
        return bool(await self._change(DeleteItem(self.name, check_key(key), fence)))

    async def compare_and_set(self, key: Key, expected: object, value: object, *, fence: int = 0) -> bool:
        """Set an entry if its value is the expected one; tell whether it was. None stands for no entry, in both places.

        Values are equal as Python has it: 1 and 1.0 are.
        """
        command = CompareAndSetItem(self.name, check_key(key), pack_or_nothing(expected), pack_or_nothing(value), fence)
        return bool(await self._change(command))

    async def items(self) -> dict[Key, object]:
        """Return all of it, as it was at one moment."""
        return dict(await self._look(ListItems(self.name)))
