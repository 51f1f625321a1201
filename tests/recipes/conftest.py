"""A cluster of one, in memory: a machine, a log that is only counted, and faults on demand."""

from __future__ import annotations

import attrs
import pytest
import trio

from raftswarm.errors import OutcomeUnknown, RaftSwarmError
from raftswarm.raft.state_machine import Context
from raftswarm.recipes import RecipeMachine

EPOCH_NS = 1_700_000_000 * 10**9


@attrs.define(eq=False)
class LoneCluster:
    """What a member and a client have in common, with the time of trio's clock."""

    machine: RecipeMachine = attrs.field(factory=RecipeMachine)
    commands: int = 0
    refusals: list[RaftSwarmError] = attrs.field(factory=list)
    """Raised by the next proposals, which then have not happened."""
    answers_to_lose: int = 0
    """So many of the next proposals happen, and nobody is told."""
    is_stalled: bool = False
    """Proposals are never answered."""

    async def propose(self, command: bytes) -> object:
        await trio.lowlevel.checkpoint()
        if self.is_stalled:
            await trio.sleep_forever()
        if self.refusals:
            raise self.refusals.pop(0)
        result = self.apply(command)
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise OutcomeUnknown("lost")
        return result

    async def query(self, question: bytes) -> object:
        await trio.lowlevel.checkpoint()
        return self.machine.query(question)

    def apply(self, command: bytes) -> object:
        self.commands += 1
        now_ns = EPOCH_NS + int(trio.current_time() * 1e9)
        return self.machine.apply(command, Context(self.commands, now_ns, self.commands, 1))

    def restart(self) -> None:
        """The machine goes on from a snapshot."""
        machine = RecipeMachine()
        machine.restore(list(self.machine.capture().chunks()))
        self.machine = machine


class CountingEntropy:
    """Other bytes each time, and the same in each run."""

    def __init__(self) -> None:
        self._count = 0

    def token_bytes(self, count: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(count, "big")


@pytest.fixture
def cluster() -> LoneCluster:
    """A cluster in which nothing has been done yet."""
    return LoneCluster()


@pytest.fixture
def entropy() -> CountingEntropy:
    """Where owners of locks come from."""
    return CountingEntropy()
