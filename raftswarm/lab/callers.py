"""Programs of clients in a core world: coroutines that await the cluster's answers, on the world's time.

What a program gets is a `Replicated`, as from a member or a network client, so code that is written against that runs
here as it ships. There is no trio in this world: a program awaits its caller, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from random import Random

import attrs

from raftswarm.errors import NotLeader
from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.history import Call

WRONG_MEMBER_SHARE = 0.1


@attrs.frozen
class _Until:
    """Something to wait for: it calls who waits when it has come."""

    subscribe: Callable[[Callable[[], object]], None]

    def __await__(self) -> Generator[_Until, None, None]:
        yield self


class Caller:
    """A client who asks whoever believes to lead, deposed leaders too, and now and then somebody else."""

    def __init__(self, world: CoreWorld, chance: Random) -> None:
        self._world = world
        self._chance = chance

    async def propose(self, command: bytes) -> object:
        """Replicate a command; raises what a member would."""
        return await self._answer(self._world.propose(command, member=self._pick()))

    async def query(self, question: bytes) -> object:
        """Ask a member's state machine, once a read of it is linearizable."""
        member = self._pick()
        process = self._world.hosts[member].process
        await self._answer(self._world.read(member=member))
        if process is None or process is not self._world.hosts[member].process:
            raise NotLeader("the member that was asked has crashed")
        answer: object = process.machine.machine.query(question)  # type: ignore[attr-defined] # Whose machine has one.
        return answer

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await _Until(lambda resume: self._world.heap.after(seconds, resume))

    def start(self, program: Coroutine[_Until, None, None]) -> None:
        """Run a program from now on; an exception of it ends the world's run."""
        self._world.heap.after(0.0, self._advance, program)

    def _advance(self, program: Coroutine[_Until, None, None]) -> None:
        try:
            until = program.send(None)
        except StopIteration:
            return
        until.subscribe(lambda: self._world.heap.after(0.0, self._advance, program))

    async def _answer(self, call: Call) -> object:
        if call.ended_at is None:
            await _Until(lambda resume: setattr(call, "then", resume))
        if call.error is not None:
            raise call.error
        return call.result

    def _pick(self) -> int:
        world = self._world
        members = [member for member in world.running if world.process(member).leadership.is_leader]
        if not members or self._chance.random() < WRONG_MEMBER_SHARE:
            members = list(world.hosts)
        return self._chance.choice(members)
