"""Transactions are serializable, snapshots and watches lose nothing: for any writers, in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from raftswarm.errors import Conflict
from raftswarm.objects.records import Node, Object, Service
from raftswarm.objects.specs import ServiceSpec
from raftswarm.raft.state_machine import Context
from raftswarm.store.change_set import encode
from raftswarm.store.contracts import Change, Transaction
from raftswarm.store.store import Store

NODE_IDS: Final = ("a", "b", "c")
NAMES: Final = ("x", "X", "y")


@attrs.frozen
class Add:
    """Reads two counters and writes their sum and more into one of them: any lost update shows."""

    read: str
    write: str
    amount: int


@attrs.frozen
class Remove:
    node: str


@attrs.frozen
class TakeName:
    service: str
    name: str


@attrs.frozen
class CountAll:
    """Writes down how many services there are: a phantom shows."""

    write: str


Step = Add | Remove | TakeName | CountAll
steps = st.one_of(
    st.builds(Add, st.sampled_from(NODE_IDS), st.sampled_from(NODE_IDS), st.integers(1, 9)),
    st.builds(Remove, st.sampled_from(NODE_IDS)),
    st.builds(TakeName, st.sampled_from(NODE_IDS), st.sampled_from(NAMES)),
    st.builds(CountAll, st.sampled_from(NODE_IDS)),
)
transactions = st.lists(steps, min_size=1, max_size=3)


def write_number(transaction: Transaction, node_id: str, number: int) -> None:
    node = transaction.get(Node, node_id)
    if node is None:
        transaction.create(Node(id=node_id, member_id=number))
    else:
        transaction.update(replace(node, member_id=number))


def carry_out(transaction: Transaction, todo: list[Step]) -> None:
    for step in todo:
        match step:
            case Add(read, write, amount):
                node = transaction.get(Node, read)
                write_number(transaction, write, (node.member_id if node is not None else 0) + amount)
            case Remove(node_id):
                transaction.delete(Node, node_id)
            case TakeName(service_id, name):
                if transaction.by_name(Service, name) is None and transaction.get(Service, service_id) is None:
                    transaction.create(Service(id=service_id, spec=ServiceSpec(name=name)))
            case CountAll(write):
                transaction.expect_unchanged(Service)
                write_number(transaction, write, len(list(transaction.find(Service))))


class Log:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.commands: list[bytes] = []

    def apply(self, command: bytes) -> bool:
        self.commands.append(command)
        number = len(self.commands)
        try:
            self.store.apply(command, Context(command_number=number, time_ns=number, index=number, term=1))
        except Conflict:
            return False
        return True


def build(store: Store, todo: list[Step]) -> bytes:
    transaction = store.begin()
    carry_out(transaction, todo)
    return encode(transaction.change_set())


def contents(store: Store) -> dict[str, Any]:
    return {
        **{node.id: node.member_id for node in store.find(Node)},
        **{service.spec.name: service.id for service in store.find(Service)},
    }


@given(st.lists(st.tuples(transactions, st.integers(0, 4)), max_size=12))
def test_whatever_is_in_flight_together_ends_like_one_after_the_other(work: list[tuple[list[Step], int]]) -> None:
    """Each transaction is built against the state of the moment and applied some commands later."""
    log = Log(Store())
    serial = Log(Store())
    flying: list[tuple[list[Step], bytes]] = []

    def land(todo: list[Step], command: bytes) -> None:
        while not log.apply(command):
            command = build(log.store, todo)
        assert serial.apply(build(serial.store, todo))

    for todo, in_flight in work:
        flying.append((todo, build(log.store, todo)))
        while len(flying) > in_flight:
            land(*flying.pop(0))
    for todo, command in flying:
        land(todo, command)

    assert contents(log.store) == contents(serial.store)


@given(st.lists(transactions, max_size=10), st.integers(0, 10))
def test_a_snapshot_in_the_middle_changes_nothing(work: list[list[Step]], middle: int) -> None:
    log = Log(Store())
    restored = Log(Store())
    for position, todo in enumerate(work):
        if position == middle:
            restored.store.restore(log.store.capture().chunks())
            restored.commands = list(log.commands)
        command = build(log.store, todo)
        log.apply(command)
        if position >= middle:
            restored.apply(command)
    if len(work) <= middle:
        restored.store.restore(log.store.capture().chunks())

    assert b"".join(restored.store.capture().chunks()) == b"".join(log.store.capture().chunks())


@given(st.lists(transactions, max_size=10), st.integers(0, 10))
def test_a_watch_replayed_gives_the_tables(work: list[list[Step]], leap_at: int) -> None:
    """Also when some of the changes come as a snapshot."""
    log, far = Log(Store()), Log(Store())
    tables: dict[tuple[type[Object], str], Object] = {}

    def replay(changes: list[Change]) -> None:
        for change in changes:
            key = (type(change.object), change.object.id)
            assert tables.get(key) == change.before
            if change.after is None:
                del tables[key]
            else:
                tables[key] = change.after

    async def main() -> None:
        with log.store.watch() as watch:
            for position, todo in enumerate(work):
                command = build(far.store, todo)
                far.apply(command)
                if position > leap_at:
                    log.apply(command)
                elif position == leap_at:
                    log.store.restore(far.store.capture().chunks())
                    log.commands = list(far.commands)
            with trio.move_on_after(1):
                replay(list(await watch.next()))

    run_quickly(main)
    assert tables == {
        (type(stored), stored.id): stored for table in (Node, Service) for stored in log.store.find(table)
    }


@given(st.lists(st.sampled_from(NAMES), min_size=2, max_size=6))
def test_no_two_services_ever_share_a_name(names: list[str]) -> None:
    log = Log(Store())
    flying = []
    for number, name in enumerate(names):
        transaction = log.store.begin()
        transaction.create(Service(id=str(number), spec=ServiceSpec(name=name)))
        flying.append(encode(transaction.change_set()))

    for command in flying:
        log.apply(command)

    taken = [service.spec.name.lower() for service in log.store.find(Service)]
    assert sorted(taken) == sorted({name.lower() for name in names})


def run_quickly(main: Callable[[], Any]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
