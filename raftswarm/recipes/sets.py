"""A replicated set."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from raftswarm.raft.state_machine import Context
from raftswarm.recipes.handles import ReplicatedObject
from raftswarm.recipes.requests import Key, Request, check_key


class AddElement(Request, frozen=True, tag=20):
    """Put in an element."""

    element: Key


class DiscardElement(Request, frozen=True, tag=21):
    """Take out an element."""

    element: Key


class HasElement(Request, frozen=True, tag=20):
    """Look for an element."""

    element: Key


class ListElements(Request, frozen=True, tag=21):
    """Look at all elements."""


class SetState(msgspec.Struct, array_like=True, tag="set"):
    """The set as the machine has it, in the order in which elements came: the same on every member."""

    commands: ClassVar = (AddElement, DiscardElement)
    questions: ClassVar = (HasElement, ListElements)

    elements: dict[Key, None] = {}

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to remember."""
        return not self.elements

    def copy(self) -> SetState:
        """Return one that stays as this one is now."""
        return SetState(dict(self.elements))

    def apply(self, command: AddElement | DiscardElement, context: Context) -> bool:
        """Put in or take out; tell whether that changed anything."""
        del context
        was_in = command.element in self.elements
        if isinstance(command, AddElement):
            self.elements[command.element] = None
            return not was_in
        self.elements.pop(command.element, None)
        return was_in

    def query(self, question: HasElement | ListElements, time_ns: int) -> object:
        """Look for one, or at all."""
        del time_ns
        return question.element in self.elements if isinstance(question, HasElement) else list(self.elements)


class ReplicatedSet(ReplicatedObject):
    """A set that all members of a cluster agree on. Elements are str or int."""

    async def add(self, element: Key) -> bool:
        """Put in an element; tell whether it is new."""
        return bool(await self._change(AddElement(self.name, check_key(element))))

    async def discard(self, element: Key) -> bool:
        """Take out an element; tell whether it was there."""
        return bool(await self._change(DiscardElement(self.name, check_key(element))))

    async def contains(self, element: Key) -> bool:
        """Tell whether the element is in."""
        return bool(await self._look(HasElement(self.name, check_key(element))))

    async def members(self) -> frozenset[Key]:
        """Return all of them, as they were at one moment."""
        return frozenset(await self._look(ListElements(self.name)))
