"""A replicated queue, first in, first out; elements are taken for good, or claimed until the work on them is done."""

from __future__ import annotations

from typing import ClassVar

import attrs
import msgspec

from raftswarm.raft.state_machine import Context
from raftswarm.recipes.handles import ReplicatedObject
from raftswarm.recipes.requests import Request, pack, unpack
from raftswarm.recipes.times import TimeToLive, to_nanoseconds


class PutElement(Request, frozen=True, tag=30):
    """Put in an element, at the end."""

    value: bytes


class TakeElement(Request, frozen=True, tag=31):
    """Take the first element for good."""


class ClaimElement(Request, frozen=True, tag=32):
    """Take the first element for a while."""

    ttl_ns: TimeToLive


class FinishClaim(Request, frozen=True, tag=33):
    """Take a claimed element for good."""

    receipt: int


class GetSize(Request, frozen=True, tag=30):
    """Look at how many elements there are."""


class Claimed(msgspec.Struct, frozen=True, array_like=True):
    """An element that somebody works on."""

    value: bytes
    place: int
    """Number of the command that put it in: where it goes if it comes back."""
    expires_ns: int


class Element(msgspec.Struct, frozen=True, array_like=True):
    """An element that waits."""

    value: bytes
    place: int


class QueueState(msgspec.Struct, array_like=True, tag="queue"):
    """The queue as the machine has it."""

    commands: ClassVar = (PutElement, TakeElement, ClaimElement, FinishClaim)
    questions: ClassVar = (GetSize,)

    elements: list[Element] = []
    claims: dict[int, Claimed] = {}
    """By receipt: the number of the command that claimed it."""
    taken: int = 0
    """How many at the front of the list are gone; dropping them moves the rest, so it is done now and then."""

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to remember."""
        return len(self.elements) == self.taken and not self.claims

    def copy(self) -> QueueState:
        """Return one that stays as this one is now."""
        return QueueState(self.elements[self.taken :], dict(self.claims))

    def apply(self, command: PutElement | TakeElement | ClaimElement | FinishClaim, context: Context) -> object:
        """Put in or take out, after claims whose time is over have come back."""
        match command:
            case PutElement():
                unpack(command.value)
                self._return_expired(context.time_ns)
                self.elements.append(Element(command.value, context.command_number))
                return None
            case TakeElement():
                self._return_expired(context.time_ns)
                element = self._pop()
                return None if element is None else unpack(element.value)
            case ClaimElement():
                self._return_expired(context.time_ns)
                return self._claim(command, context)
            case FinishClaim():
                self._return_expired(context.time_ns)
                return self.claims.pop(command.receipt, None) is not None

    def query(self, question: GetSize, time_ns: int) -> tuple[int, int]:
        """Return how many wait, and how many are claimed."""
        del question
        expired = sum(claim.expires_ns <= time_ns for claim in self.claims.values())
        return len(self.elements) - self.taken + expired, len(self.claims) - expired

    def _claim(self, command: ClaimElement, context: Context) -> tuple[int, object] | None:
        element = self._pop()
        if element is None:
            return None
        receipt = context.command_number
        self.claims[receipt] = Claimed(element.value, element.place, context.time_ns + command.ttl_ns)
        return receipt, unpack(element.value)

    def _pop(self) -> Element | None:
        if self.taken == len(self.elements):
            return None
        element = self.elements[self.taken]
        self.taken += 1
        if 2 * self.taken > len(self.elements):
            del self.elements[: self.taken]
            self.taken = 0
        return element

    def _return_expired(self, time_ns: int) -> None:
        expired = [receipt for receipt, claim in self.claims.items() if claim.expires_ns <= time_ns]
        if expired:
            back = [self.claims.pop(receipt) for receipt in expired]
            waiting = [*(Element(claim.value, claim.place) for claim in back), *self.elements[self.taken :]]
            self.elements = sorted(waiting, key=_place)
            self.taken = 0


def _place(element: Element) -> int:
    return element.place


@attrs.frozen
class Claim:
    """An element to work on."""

    receipt: int
    """A fencing token too: it is higher than that of any earlier claim."""
    value: object


class ReplicatedQueue(ReplicatedObject):
    """A queue that all members of a cluster agree on.

    `take` gives an element to one taker, once. If its answer is lost (OutcomeUnknown), so may be the element. `claim`
    loses none: an element that is not finished in time goes back to its place, and then somebody else may get it, while
    the first perhaps still works on it. Values are as in a `ReplicatedDict`.
    """

    async def put(self, value: object) -> None:
        """Put in an element, at the end."""
        await self._change(PutElement(self.name, pack(value)))

    async def take(self) -> object:
        """Take out the first element and return it; None if there is none."""
        return await self._change(TakeElement(self.name))

    async def claim(self, *, ttl_seconds: float) -> Claim | None:
        """Get the first element for so long; None if there is none."""
        answer = await self._change(ClaimElement(self.name, to_nanoseconds(ttl_seconds)))
        return None if answer is None else Claim(*answer)

    async def finish(self, claim: Claim) -> bool:
        """Take out a claimed element for good; False if its time was over, and others may have it now."""
        return bool(await self._change(FinishClaim(self.name, claim.receipt)))

    async def size(self) -> int:
        """Return how many elements wait. A claim counts as given back once a later command shows its time is over."""
        waiting, _ = await self._look(GetSize(self.name))
        return int(waiting)
