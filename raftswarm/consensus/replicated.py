"""What recipes and programs need of a cluster: a member of it, or a client, gives it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Replicated(Protocol):
    """A replicated state machine, as seen by whoever uses it."""

    async def propose(self, command: bytes) -> object:
        """Replicate a command and return what the state machine answered; errors as of `RaftMember.propose`."""
        ...

    async def query(self, question: bytes) -> object:
        """Return what the state machine answers, linearizably: no older than what was answered before the call."""
        ...
