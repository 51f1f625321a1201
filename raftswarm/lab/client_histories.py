"""Histories to try a checker on: what clients of a simulated cluster saw under faults, and, if wished, one lie in it.

Clients put, append to and get texts under a few keys, all at once. Every appended text is another one, so that a `get`
tells all that happened before it; and so one answer can be changed such that no order explains it, for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from random import Random
from types import MappingProxyType
from typing import Final

import attrs
import msgspec

from raftswarm.errors import InvalidSpec, RaftSwarmError, Rejected
from raftswarm.lab.callers import Caller
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.faults import draw_fault_mix
from raftswarm.lab.linearizability import HistoryRecorder, Operation
from raftswarm.lab.nemesis import Nemesis
from raftswarm.raft.state_machine import Captured, Context

KEYS: Final = 10
THINK_SECONDS: Final = 0.5
"""Mean time between an answer and the next question of a client."""
PATIENCE_SECONDS: Final = 600.0
"""Simulated; faults leave some time for everything to be asked."""


class _Change(msgspec.Struct, frozen=True, array_like=True):
    """A command: put or append."""

    kind: str
    key: str
    text: str


class Texts:
    """The state machine: texts by their keys."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def apply(self, command: bytes, context: Context) -> None:
        """Carry out one change."""
        del context
        try:
            change = msgspec.msgpack.decode(command, type=_Change)
        except msgspec.MsgspecError:
            raise Rejected("it changes no text") from None  # Of a fault's own clients.
        before = self._texts.get(change.key, "") if change.kind == "append" else ""
        self._texts[change.key] = before + change.text

    def query(self, question: bytes) -> str:
        """Get the text under a key."""
        return self._texts.get(question.decode(), "")

    def capture(self) -> Captured:
        """Take a picture."""
        return Captured(msgspec.msgpack.encode(self._texts, order="sorted"))

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the texts by a picture's."""
        self._texts = msgspec.msgpack.decode(b"".join(chunks), type=dict[str, str])


@attrs.define(eq=False)
class _Client:
    """Asks, waits for the answer, thinks, and asks again."""

    number: int
    caller: Caller
    chance: Random
    recorder: HistoryRecorder
    texts: int = 0

    async def run(self, may_ask: Callable[[], bool]) -> None:
        while may_ask():
            with suppress(RaftSwarmError):
                await self._ask()
            await self.caller.sleep(self.chance.expovariate(1 / THINK_SECONDS))

    async def _ask(self) -> None:
        key = str(self.chance.randrange(KEYS))
        kind = self.chance.choices(("append", "get", "put"), (49, 46, 5))[0]
        if kind == "get":
            await self.recorder.call(self._get(key), self.number, kind, key=key)
            return
        self.texts += 1
        text = f"<{self.number}.{self.texts}>"
        command = msgspec.msgpack.encode(_Change(kind, key, text))
        await self.recorder.call(self.caller.propose(command), self.number, kind, text, key=key)

    async def _get(self, key: str) -> str:
        return str(await self.caller.query(key.encode()))


def record_history(seed: int, *, clients: int, operations: int, members: int = 5) -> list[Operation]:
    """Let so many clients ask until there are so many operations, or a little more, whose effect was not ruled out."""
    chance = CoreWorld.chance_of(seed, "history")
    # A cluster that is set back to a backup gives up what it acknowledged.
    faults = attrs.evolve(draw_fault_mix(chance), call_every=0.0, backup_every=0.0, session_share=0.0)
    world = CoreWorld(seed, members=members, faults=faults, make_machine=Texts)
    Nemesis(world)
    recorder = HistoryRecorder()
    for number in range(clients):
        own = world.chance(f"client {number}")
        caller = Caller(world, own)
        client = _Client(number, caller, own, recorder)
        caller.start(client.run(lambda: recorder.count < operations))
    while recorder.count < operations and world.now < PATIENCE_SECONDS:
        world.run_for(1.0)
    if recorder.count < operations:
        raise InvalidSpec(
            f"only {recorder.count} operations came about in {PATIENCE_SECONDS:g} simulated seconds; try another seed"
        )
    return recorder.operations


# Lies.


def plant(operations: Sequence[Operation], kind: str, seed: int) -> tuple[list[Operation], Operation]:
    """Change the answer of one get such that nothing explains it; return the history, and the answer that is wrong.

    Args:
        operations: as `record_history` returns them.
        kind: one of `LIES`.
        seed: of which get it is.

    Raises:
        InvalidSpec: the history is too short for that.
    """
    chance = CoreWorld.chance_of(seed, "lie")
    gets = [
        place
        for place, operation in enumerate(operations)
        if operation.kind == "get" and operation.result not in {None, ""}
    ]
    chance.shuffle(gets)
    for place in gets:
        get = operations[place]
        for answer in LIES[kind](get, _appended_before(operations, get)):
            lie = attrs.evolve(get, result=answer)
            return [*operations[:place], lie, *operations[place + 1 :]], lie
    raise InvalidSpec(f"no get in this history can be made to lie ({kind}); record a longer one")


def _appended_before(operations: Sequence[Operation], get: Operation) -> list[Operation]:
    """What the get saw that had been acknowledged before it began and that no put can have taken away.

    By the time of acknowledgement; the text is also there no earlier than all puts that might come between.
    """
    puts = [one for one in operations if one.kind == "put" and one.key == get.key]
    certain = []
    for one in operations:
        is_seen = one.kind == "append" and one.key == get.key and str(one.argument) in str(get.result)
        if not is_seen or one.returned is None or one.returned >= get.invoked:
            continue
        if all(_is_before(put, one) or _is_before(get, put) for put in puts):
            certain.append(one)
    return sorted(certain, key=_returned)


def _is_before(one: Operation, other: Operation) -> bool:
    return one.returned is not None and one.returned < other.invoked


def _returned(operation: Operation) -> float:
    assert operation.returned is not None, "it was acknowledged"
    return operation.returned


def _lose(get: Operation, before: Sequence[Operation]) -> Iterator[str]:
    """The newest of what was acknowledged is missing."""
    if before:
        yield str(get.result).replace(str(before[-1].argument), "")


def _repeat(get: Operation, before: Sequence[Operation]) -> Iterator[str]:
    """Something is there twice that was appended once."""
    if before:
        yield str(get.result) + str(before[-1].argument)


def _swap(get: Operation, before: Sequence[Operation]) -> Iterator[str]:
    """Two texts are in the wrong order, of which one was acknowledged before the other was sent."""
    for one in before:
        for other in before:
            if _is_before(one, other):
                first, second = str(one.argument), str(other.argument)
                yield str(get.result).replace(first, "\0").replace(second, first).replace("\0", second)


LIES: Final[Mapping[str, Callable[[Operation, Sequence[Operation]], Iterator[str]]]] = MappingProxyType(
    {"lost": _lose, "repeated": _repeat, "swapped": _swap}
)
