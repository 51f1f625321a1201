"""Watches: in order, bounded, resumable (SWARM 3.4)."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from raftswarm.objects.records import Node, Service
from raftswarm.objects.specs import ServiceSpec
from raftswarm.raft.state_machine import Context
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.contracts import Change, Transaction, Watch, WatchOverflow
from raftswarm.store.store import MAX_DIFFERENCES, Store
from raftswarm.store.writes import StoreWrites


def told(changes: list[Change]) -> list[tuple[str, str]]:
    return [
        ("created" if change.before is None else "deleted" if change.after is None else "updated", change.object.id)
        for change in changes
    ]


async def create_nodes(writes: StoreWrites, *node_ids: str) -> None:
    for node_id in node_ids:
        node = Node(id=node_id)

        def build(transaction: Transaction, node: Node = node) -> None:
            transaction.create(node)

        await writes.write(build)


async def rename(writes: StoreWrites, node_id: str, message: str) -> None:
    def build(transaction: Transaction) -> None:
        node = transaction.get(Node, node_id)
        assert node is not None
        transaction.update(replace(node, message=message))

    await writes.write(build)


async def test_a_watch_tells_what_was_created_updated_and_deleted_in_order(store: Store, writes: StoreWrites) -> None:
    with store.watch() as watch:
        await create_nodes(writes, "n1", "n2")
        await rename(writes, "n1", "hello")
        await writes.write(lambda transaction: transaction.delete(Node, "n2"))

        changes = list(await watch.next())

    assert told(changes) == [("created", "n1"), ("created", "n2"), ("updated", "n1"), ("deleted", "n2")]
    assert [change.command_number for change in changes] == [1, 2, 3, 4]
    assert watch.cursor == 4


async def test_a_watch_waits_for_its_own_tables_only(store: Store, writes: StoreWrites) -> None:
    seen: list[tuple[str, str]] = []

    async def collect(task_status: trio.TaskStatus[None]) -> None:
        with store.watch(Service) as watch:
            task_status.started()
            seen.extend(told(list(await watch.next())))

    async with trio.open_nursery() as nursery:
        await nursery.start(collect)
        await create_nodes(writes, "n1")
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        await writes.write(lambda transaction: transaction.create(Service(id="s", spec=ServiceSpec(name="s"))))

    assert seen == [("created", "s")]


async def test_a_watch_begins_behind_an_earlier_ones_cursor(store: Store, writes: StoreWrites) -> None:
    await create_nodes(writes, "n1", "n2", "n3")

    with store.watch(after=1) as watch:
        changes = list(await watch.next())

    assert told(changes) == [("created", "n2"), ("created", "n3")]


async def test_who_falls_behind_is_told_and_goes_on_from_there() -> None:
    store = Store(ring_size=2)
    writes = StoreWrites(store, LoneProposer(store))
    with store.watch() as watch:
        await create_nodes(writes, "n1", "n2", "n3")

        with pytest.raises(WatchOverflow):
            await watch.next()
        await create_nodes(writes, "n4")

        assert told(list(await watch.next())) == [("created", "n4")]


async def test_a_cursor_that_is_forgotten_overflows() -> None:
    store = Store(ring_size=2)
    await create_nodes(StoreWrites(store, LoneProposer(store)), "n1", "n2", "n3", "n4")

    with store.watch(after=2) as watch:
        assert told(list(await watch.next())) == [("created", "n3"), ("created", "n4")]
    with store.watch(after=1) as watch, pytest.raises(WatchOverflow):
        await watch.next()


async def test_a_snapshot_shows_watchers_what_it_changed(store: Store, writes: StoreWrites, log: LoneProposer) -> None:
    await create_nodes(writes, "gone", "kept", "changed")
    ahead = Store()
    far = LoneProposer(ahead)
    for command in log.commands:
        far.apply(command)
    far_writes = StoreWrites(ahead, far)
    await far_writes.write(lambda transaction: transaction.delete(Node, "gone"))
    await rename(far_writes, "changed", "hello")
    await create_nodes(far_writes, "new")

    with store.watch() as watch:
        store.restore(ahead.capture().chunks())
        changes = list(await watch.next())

    assert told(changes) == [("updated", "changed"), ("deleted", "gone"), ("created", "new")]
    assert {change.command_number for change in changes} == {6}
    with store.watch(after=4) as between, pytest.raises(WatchOverflow):
        await between.next()


async def test_after_a_snapshot_that_changes_very_much_watchers_read_anew(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    ahead = Store()
    far = LoneProposer(ahead)
    for start in range(0, MAX_DIFFERENCES + 1, 100):
        transaction = ahead.begin()
        for number in range(start, start + 100):
            transaction.create(Node(id=f"n{number:05}"))
        far.apply(encode(transaction.change_set()))

    with store.watch(Node) as watch, store.watch() as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(overflow, watch)
            await trio.testing.wait_all_tasks_blocked()
            store.restore(ahead.capture().chunks())
        await overflow(other)

        transaction = store.begin()
        transaction.create(Node(id="later"))
        command = encode(transaction.change_set())
        store.apply(command, Context(command_number=len(far.commands) + 1, time_ns=1, index=1, term=1))
        assert told(list(await watch.next())) == [("created", "later")]


async def overflow(watch: Watch) -> None:
    with pytest.raises(WatchOverflow), trio.fail_after(1):
        await watch.next()
