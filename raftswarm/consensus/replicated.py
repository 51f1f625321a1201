"""What a member of a cluster and a client of one have in common: a replicated state machine to talk to."""

from __future__ import annotations

from typing import Protocol


class Replicated(Protocol):
    """A state machine that runs on several members, as one of them or a client of theirs sees it."""

    async def propose(self, command: bytes) -> object:
        """Replicate a command and return what the state machine answered.

        Raises:
            NotLeader: nothing happened; ask the member it names.
            OutcomeUnknown: it may happen yet.
            Rejected: the state machine refused it.
            PayloadTooLarge, Overloaded: nothing happened.
        """
        ...

    async def query(self, question: bytes) -> object:
        """Return what the state machine answers to a question, no older than this call (dissertation 6.4).

        Raises:
            NotLeader: there was nobody to ask.
            Rejected: the state machine refused it.
        """
        ...
