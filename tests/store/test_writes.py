"""Writing through a log: retried on conflict, split at the limits (SWARM 3.1)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from raftswarm.errors import Conflict, NotLeader, PayloadTooLarge
from raftswarm.objects.records import Node, Task
from raftswarm.objects.specs import TaskSpec
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import decode
from raftswarm.store.contracts import Transaction
from raftswarm.store.store import Store
from raftswarm.store.writes import MAX_TRIES, StoreWrites


class Interrupted:
    """A log into which somebody else writes first, so many times."""

    def __init__(self, store: Store, log: LoneProposer, times: int) -> None:
        self._others = StoreWrites(store, log)
        self._log = log
        self._times = times

    async def propose(self, command: bytes) -> object:
        if self._times:
            self._times -= 1
            await self._others.write(count_up)
        return await self._log.propose(command)


def count_up(transaction: Transaction) -> int:
    node = transaction.get(Node, "counter")
    if node is None:
        transaction.create(Node(id="counter", member_id=1))
        return 1
    transaction.update(replace(node, member_id=node.member_id + 1))
    return node.member_id + 1


async def test_a_conflict_is_built_anew_from_the_newer_state(store: Store, log: LoneProposer) -> None:
    writes = StoreWrites(store, Interrupted(store, log, times=3))

    assert await writes.write(count_up) == 4

    counter = store.get(Node, "counter")
    assert counter is not None
    assert counter.member_id == 4


async def test_conflicts_without_end_are_given_up(store: Store, log: LoneProposer) -> None:
    writes = StoreWrites(store, Interrupted(store, log, times=MAX_TRIES))

    with pytest.raises(Conflict):
        await writes.write(count_up)


async def test_a_builder_that_brings_an_old_object_is_told_at_once(writes: StoreWrites, store: Store) -> None:
    await writes.write(count_up)
    old = store.get(Node, "counter")
    assert old is not None
    await writes.write(count_up)

    with pytest.raises(Conflict):
        await writes.write(lambda transaction: transaction.update(old))


async def test_what_changes_nothing_is_not_replicated(writes: StoreWrites, log: LoneProposer) -> None:
    assert await writes.write(lambda transaction: transaction.get(Node, "n")) is None

    assert log.commands == []


async def test_a_refusal_of_the_log_reaches_the_caller(store: Store) -> None:
    class Follower:
        async def propose(self, _: bytes) -> object:
            raise NotLeader("not here", leader=7)

    with pytest.raises(NotLeader):
        await StoreWrites(store, Follower()).write(count_up)


async def test_many_items_travel_in_as_few_transactions_as_the_limits_allow(
    writes: StoreWrites, store: Store, log: LoneProposer
) -> None:
    def build(transaction: Transaction, number: int) -> None:
        transaction.create(Task(id=f"{number:04}a", spec=TaskSpec()))
        transaction.create(Task(id=f"{number:04}b", spec=TaskSpec()))
        transaction.create(Task(id=f"{number:04}c", spec=TaskSpec()))

    await writes.write_each(range(150), build)

    assert [len(decode(command).changes) for command in log.commands] == [198, 198, 54]
    assert len(list(store.find(Task))) == 450


async def test_transactions_are_also_split_by_size(writes: StoreWrites, log: LoneProposer) -> None:
    def build(transaction: Transaction, number: int) -> None:
        transaction.create(Node(id=f"{number}", message="x" * 500_000))

    await writes.write_each(range(5), build)

    assert [len(decode(command).changes) for command in log.commands] == [2, 2, 1]


async def test_an_item_that_is_too_large_alone_is_refused(writes: StoreWrites) -> None:
    def build(transaction: Transaction, number: int) -> None:
        for part in range(201):
            transaction.create(Task(id=f"{number}-{part}", spec=TaskSpec()))

    with pytest.raises(PayloadTooLarge):
        await writes.write_each([1], build)


async def test_items_in_a_conflicting_transaction_are_done_once(store: Store, log: LoneProposer) -> None:
    writes = StoreWrites(store, Interrupted(store, log, times=2))

    await writes.write_each([1, 2, 3], lambda transaction, _: count_up(transaction))

    counter = store.get(Node, "counter")
    assert counter is not None
    assert counter.member_id == 5
