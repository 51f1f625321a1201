"""A key-value store on the lab's servers, its clients, and whether what they saw is linearizable."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Final

import attrs
import msgspec

from raftswarm.consensus.compaction import CompactionPolicy
from raftswarm.errors import NotLeader
from raftswarm.lab import Call, NetworkConditions
from raftswarm.lab.linearizability import MODELS, Operation, check
from raftswarm.raft.state_machine import Captured, Context
from tests.course_lab.lab import RELIABLE, Lab, T

SNAPSHOT_EVERY: Final = 10
COMPACT: Final = CompactionPolicy(
    snapshot_every_commands=SNAPSHOT_EVERY, snapshot_every_bytes=1000, keep_entries=0, keep_bytes_for_followers=0
)
"""About what the course calls a limit of 1,000 bytes."""
STEP_SECONDS: Final = 0.005
PATIENCE_SECONDS: Final = 1.0


class KeyValue:
    """Strings by key: `put` sets one, `append` adds to it."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def apply(self, command: bytes, context: Context) -> None:
        del context
        kind, key, value = msgspec.msgpack.decode(command, type=tuple[str, str, str])
        self.values[key] = value if kind == "put" else self.values.get(key, "") + value

    def capture(self) -> Captured:
        return Captured(msgspec.msgpack.encode(sorted(self.values.items())))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.values = dict(msgspec.msgpack.decode(b"".join(chunks), type=list[tuple[str, str]]))


def make_store(seed: int, servers: int, *, network: NetworkConditions = RELIABLE, compact: bool = False) -> Lab:
    """Servers with the store on them; without compaction nothing is ever cut."""
    never = CompactionPolicy(snapshot_every_commands=2**31, snapshot_every_bytes=2**31)
    return Lab(seed, servers, network=network, compaction=COMPACT if compact else never, make_machine=KeyValue)


def values(lab: Lab, server: int) -> dict[str, str]:
    """What a server has applied."""
    machine = lab.world.process(server).machine.machine
    assert isinstance(machine, KeyValue)
    return machine.values


def encode(kind: str, key: str, value: str) -> bytes:
    return msgspec.msgpack.encode((kind, key, value))


@attrs.define(eq=False)
class Client:
    """Calls servers, one operation after another, and remembers what it saw; it never repeats an operation.

    What it is told did not happen is no part of the history; what it does not hear of may have happened.
    """

    lab: Lab
    history: list[Operation]
    name: int = attrs.field(factory=count(1).__next__)
    call: Call | None = None
    operation: Operation | None = None
    gives_up_at: float = 0.0
    done: int = 0

    def ask(self, kind: str, key: str, value: str = "", *, server: int = 0) -> None:
        """Begin an operation, with that server or with one that believes to lead."""
        lab = self.lab
        leaders = [member for member in lab.servers if lab.leads(member)] or lab.servers
        member = server or lab.chance.choice(leaders)
        argument = None if kind == "get" else value
        self.operation = Operation(client=self.name, kind=kind, argument=argument, key=key, invoked=lab.world.now)
        self.gives_up_at = lab.world.now + PATIENCE_SECONDS
        if kind == "get":
            self.call = lab.world.read(member=member)
        else:
            self.call = lab.world.propose(encode(kind, key, value), member=member)

    def go_on(self) -> bool:
        """Look whether there is an answer; True when the next operation may begin."""
        call, operation = self.call, self.operation
        if call is None or operation is None:
            return True
        if call.ended_at is None and self.lab.world.now < self.gives_up_at:
            return False
        self.call = None
        if call.ended_at is not None and call.error is None:
            self._succeed(call, operation)
        elif operation.kind != "get" and not isinstance(call.error, NotLeader):
            self.history.append(operation)
        return True

    def _succeed(self, call: Call, operation: Operation) -> None:
        result = None
        if operation.kind == "get":
            if not self.lab.is_up(call.member):
                return  # It crashed before the value was looked up.
            assert isinstance(operation.key, str)
            result = values(self.lab, call.member).get(operation.key, "")
        self.done += 1
        self.history.append(attrs.evolve(operation, result=result, returned=self.lab.world.now))

    def finish(self, *, within_seconds: float = 10 * T) -> bool:
        """Wait for the answer; tell whether there was one."""
        before, until = self.done, self.lab.world.now + within_seconds
        while not self.go_on():
            assert self.lab.world.now < until
            self.lab.sleep(STEP_SECONDS / 10)
        return self.done > before

    def insist(self, kind: str, key: str, value: str = "", *, within_seconds: float = 10 * T) -> None:
        """Do an operation, again and again if it is refused."""
        until = self.lab.world.now + within_seconds
        while True:
            assert self.lab.world.now < until, f"no {kind} within {within_seconds} s"
            self.ask(kind, key, value, server=self._pick())
            if self.finish():
                return
            self.lab.sleep(STEP_SECONDS)

    def _pick(self) -> int:
        leaders = [server for server in self.lab.connected if self.lab.leads(server)]
        return self.lab.chance.choice(leaders or self.lab.connected)


@attrs.frozen(kw_only=True)
class Load:
    """What clients do: each to a key of its own, or all to a few keys."""

    clients: int
    shared_keys: bool = False

    def begin(self, client: Client, number: int) -> None:
        chance = client.lab.chance
        key = str(chance.randrange(5) if self.shared_keys else client.name)
        kind = chance.choices(("append", "put", "get"), (4, 1, 5))[0]
        client.ask(kind, key, f"{client.name}.{number} ")


def run_load(lab: Lab, load: Load, history: list[Operation], *, seconds: float, partitions: bool = False) -> int:
    """Let clients work, and servers be divided anew about every second; return how many operations succeeded."""
    clients = [Client(lab, history) for _ in range(load.clients)]
    numbers = count()
    until = lab.world.now + seconds
    divided_at = lab.world.now
    while lab.world.now < until:
        if partitions and lab.world.now >= divided_at:
            divide(lab)
            divided_at = lab.world.now + T + lab.chance.random() * 0.2
        for client in clients:
            if client.go_on() and lab.chance.random() < 0.04:
                load.begin(client, next(numbers))
        lab.sleep(STEP_SECONDS)
    if partitions:
        lab.world.heal()
    for client in clients:
        client.finish()
    return sum(client.done for client in clients)


def divide(lab: Lab) -> None:
    """Put every server on one of two sides."""
    one = [server for server in lab.servers if lab.chance.random() < 0.5]
    lab.world.heal()
    lab.world.partition(one, [server for server in lab.servers if server not in one])


def assert_linearizable(history: list[Operation]) -> None:
    verdict = check(history, MODELS["kv-append"])
    assert verdict.is_linearizable, str(verdict)
