"""A store without consensus: every command is applied as it is proposed. For tests and simulations of loops."""

from __future__ import annotations

from collections.abc import Callable

import trio

from raftswarm.raft.state_machine import Context
from raftswarm.store.store import Store

SECOND_NS = 1_000_000_000


class LoneProposer:
    """The `Proposer` of a cluster of one, whose log is `commands`."""

    def __init__(self, store: Store, now_ns: Callable[[], int] | None = None) -> None:
        self._store = store
        self._now_ns = now_ns
        self.commands: list[bytes] = []

    async def propose(self, command: bytes) -> object:
        """Give others a turn, as replication does, then apply."""
        await trio.lowlevel.checkpoint()
        return self.apply(command)

    def apply(self, command: bytes) -> object:
        """Apply the next command of the log."""
        self.commands.append(command)
        number = len(self.commands)
        time_ns = self._now_ns() if self._now_ns is not None else number * SECOND_NS
        return self._store.apply(command, Context(command_number=number, time_ns=time_ns, index=number, term=1))
