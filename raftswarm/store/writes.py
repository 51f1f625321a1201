"""Transactions through consensus: build against the newest state here, replicate, and build anew on a conflict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import attrs
import trio

from raftswarm.errors import Conflict
from raftswarm.store.change_set import MAX_BYTES, MAX_CHANGES, encode
from raftswarm.store.contracts import Proposer, Transaction
from raftswarm.store.store import Store
from raftswarm.store.transaction import StoreTransaction

T_item = TypeVar("T_item")
T_result = TypeVar("T_result")

MAX_TRIES: Final = 20
"""Each conflict means that somebody else's write went through, so this many in a row point at a fault."""
FULL_BYTES: Final = MAX_BYTES * 3 // 4


@attrs.frozen
class StoreWrites:
    """The `Writes` of a manager."""

    _store: Store
    _proposer: Proposer

    async def write(self, build: Callable[[Transaction], T_result]) -> T_result:
        """Build a transaction, propose it, wait until it is applied; on Conflict build anew from the newer state.

        `build` may run several times, so it must do nothing but read and write the transaction. A Conflict that it
        raises itself goes to the caller: it brought along an object that is no longer current.

        Raises:
            Conflict: after many tries.
            PayloadTooLarge: more than 200 changes or 1.5 MiB; see `write_each`.
            NotLeader, Overloaded: nothing happened.
            OutcomeUnknown: it may have happened.
        """
        tries = 0
        while True:
            transaction = self._store.begin()
            result = build(transaction)
            if not transaction.changes:
                await trio.lowlevel.checkpoint()
                return result
            try:
                await self._proposer.propose(encode(transaction.change_set()))
            except Conflict:
                tries += 1
                if tries == MAX_TRIES:
                    raise
            else:
                return result

    async def write_each(self, items: Sequence[T_item], build: Callable[[Transaction, T_item], object]) -> None:
        """Do the same for many items, in as few transactions as their limits allow; atomic per item only."""
        done = 0

        def build_some(transaction: Transaction) -> int:
            assert isinstance(transaction, StoreTransaction), "it comes from write"
            mark = transaction.mark()
            for count, item in enumerate(items[done:]):
                build(transaction, item)
                if count and (transaction.changes > MAX_CHANGES or transaction.size > FULL_BYTES):
                    transaction.go_back_to(mark)
                    return count
                mark = transaction.mark()
            return len(items) - done

        while done < len(items):
            done += await self.write(build_some)
