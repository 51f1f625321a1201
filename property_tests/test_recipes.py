"""Clients use all recipes at once in random worlds, and what they saw of each object must be linearizable.

RAFTSWARM_SEEDS runs more worlds, RAFTSWARM_SECONDS longer ones; RAFTSWARM_FIRST_SEED starts elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any, Final

import attrs
import msgspec
import pytest

from raftswarm.consensus.sessions import SessionMachine
from raftswarm.errors import NotLeader, OutcomeUnknown, Overloaded, RaftSwarmError, SessionExpired
from raftswarm.lab import Caller, CoreWorld, Nemesis, Violation, draw_fault_mix
from raftswarm.lab.linearizability import MODELS, HistoryRecorder, Outcome, Verdict, check
from raftswarm.lab.phases import heal_all
from raftswarm.raft.state_machine import Context, StateMachine
from raftswarm.recipes import (
    RecipeMachine,
    ReplicatedCounter,
    ReplicatedDict,
    ReplicatedLock,
    ReplicatedQueue,
    ReplicatedSet,
)
from raftswarm.recipes.lock import LockState, RenewLock
from raftswarm.recipes.queue import QueueState
from raftswarm.recipes.requests import encode_request
from raftswarm.wire.envelopes import NONCE_BYTES, encode_command, encode_open

FIRST_SEED = int(os.environ.get("RAFTSWARM_FIRST_SEED", "1"))
SEEDS = int(os.environ.get("RAFTSWARM_SEEDS", "50"))
SECONDS = float(os.environ.get("RAFTSWARM_SECONDS", "8"))
CLIENTS: Final = 4
THINK_SECONDS: Final = 0.15
TTL_SECONDS: Final = 0.5
KINDS: Final = {"dict": "cas-register", "counter": "counter", "set": "set", "queue": "queue", "lock": "lock"}
"""Which model each kind of object is held against; a dict is a register for each key."""


@attrs.define(eq=False)
class Client:
    """One program that uses every recipe."""

    name: str
    caller: Caller
    chance: Random
    recorders: dict[str, HistoryRecorder]
    token: int = 0
    """Of the lock that it believes to hold."""
    puts: int = 0

    async def run(self, until: Callable[[], bool]) -> None:
        uses = (self.use_dict, self.use_counter, self.use_set, self.use_queue, self.use_lock)
        while not until():
            await self.caller.sleep(self.chance.expovariate(1 / THINK_SECONDS))
            with suppress(RaftSwarmError):
                await self.chance.choice(uses)()

    async def look_at_all(self, done: Callable[[], object]) -> None:
        votes, tags = ReplicatedDict(self.caller, "dict"), ReplicatedSet(self.caller, "set")
        for key in "ab":
            await self._call("dict", "read", None, votes.get(key), key=key)
        await self._call("counter", "value", None, ReplicatedCounter(self.caller, "counter").value())
        await self._call("set", "members", None, tags.members())
        while await self._call("queue", "take", None, ReplicatedQueue(self.caller, "queue").take()) is not None:
            pass
        done()

    async def _call(self, kind: str, does: str, argument: Any, call: Awaitable[Any], *, key: Any = None) -> Any:
        return await self.recorders[kind].call(call, self.name, does, argument, key=key)

    async def use_dict(self) -> None:
        votes, key = ReplicatedDict(self.caller, "dict"), self.chance.choice("ab")
        value, expected = self.chance.randrange(4), self.chance.choice((None, 0, 1, 2, 3))
        match self.chance.choice(("read", "read", "write", "cas", "delete")):
            case "read":
                await self._call("dict", "read", None, votes.get(key), key=key)
            case "write":
                await self._call("dict", "write", value, votes.set(key, value), key=key)
            case "cas":
                call = votes.compare_and_set(key, expected, value)
                await self._call("dict", "cas", (expected, value), call, key=key)
            case _:
                await self._call("dict", "write", None, votes.delete(key), key=key)

    async def use_counter(self) -> None:
        counter = ReplicatedCounter(self.caller, "counter")
        if self.chance.random() < 0.5:
            await self._call("counter", "value", None, counter.value())
        else:
            amount = self.chance.choice((1, 2, 5))
            await self._call("counter", "increase", amount, counter.add(amount))

    async def use_set(self) -> None:
        tags, element = ReplicatedSet(self.caller, "set"), self.chance.choice("xyz")
        does = self.chance.choice(("add", "discard", "contains", "members"))
        match does:
            case "add":
                await self._call("set", does, element, tags.add(element))
            case "discard":
                await self._call("set", does, element, tags.discard(element))
            case "contains":
                await self._call("set", does, element, tags.contains(element))
            case _:
                await self._call("set", does, None, tags.members())

    async def use_queue(self) -> None:
        queue = ReplicatedQueue(self.caller, "queue")
        if self.chance.random() < 0.5:
            await self._call("queue", "take", None, queue.take())
        else:
            self.puts += 1
            value = f"{self.name}-{self.puts}"
            await self._call("queue", "put", value, queue.put(value))

    async def use_lock(self) -> None:
        lock = ReplicatedLock(self.caller, "lock")
        if not self.token:
            owner = self.chance.randbytes(16)
            call = lock.acquire(ttl_seconds=TTL_SECONDS, owner=owner)
            self.token = await self._call("lock", "acquire", None, call) or 0
        elif self.chance.random() < 0.5:
            if not await self._call("lock", "renew", self.token, lock.renew(self.token, ttl_seconds=TTL_SECONDS)):
                self.token = 0
        else:
            await self._call("lock", "release", self.token, lock.release(self.token))
            self.token = 0


def run_world(
    seed: int,
    seconds: float,
    *,
    make_machine: Callable[[], StateMachine] = RecipeMachine,
    make_caller: Callable[[CoreWorld, Random], Caller] = Caller,
) -> dict[str, Verdict]:
    """Run clients under faults, then let them look at what is left, and judge what they saw of each kind."""
    chance = CoreWorld.chance_of(seed, "recipes")
    # A cluster that is set back to a backup gives up what it acknowledged.
    faults = attrs.evolve(draw_fault_mix(chance), call_every=0.0, backup_every=0.0)
    world = CoreWorld(seed, members=chance.choice((1, 3, 3, 5)), faults=faults, make_machine=make_machine)
    nemesis = Nemesis(world)
    recorders = {kind: HistoryRecorder() for kind in KINDS}
    for number in range(CLIENTS):
        caller = make_caller(world, chance)
        caller.start(Client(f"c{number}", caller, chance, recorders).run(lambda: world.now > seconds))
    world.run_for(seconds)
    nemesis.stop()
    heal_all(world)
    finished: list[bool] = []

    async def finish() -> None:
        caller = make_caller(world, chance)
        while not finished:
            await caller.sleep(0.1)
            with suppress(RaftSwarmError):
                await Client("last", caller, chance, recorders).look_at_all(lambda: finished.append(True))

    Caller(world, chance).start(finish())
    world.run_until(lambda: bool(finished), within_seconds=60.0, what="a look at everything")
    return {kind: check(recorders[kind].operations, MODELS[model]) for kind, model in KINDS.items()}


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_every_recipe_is_linearizable_under_faults(seed: int) -> None:
    for verdict in run_world(seed, SECONDS).values():
        assert verdict.outcome is Outcome.LINEARIZABLE, f"seed {seed}: {verdict}"


def test_clients_get_work_done() -> None:
    """Worlds in which nothing succeeds would prove nothing."""
    operations = [sum(verdict.operations for verdict in run_world(seed, 8.0).values()) for seed in range(1, 31)]

    assert sum(operations) > 1800


class SessionCaller(Caller):
    """Tries again until there is an answer, in a session."""

    session = 0
    sequence = 0

    async def propose(self, command: bytes) -> object:
        if not self.session:
            nonce = self._chance.randbytes(NONCE_BYTES)
            self.session, self.sequence = int(str(await self._insist(encode_open(nonce)))), 0
        self.sequence += 1
        try:
            return await self._insist(encode_command(self.session, self.sequence, self.sequence - 1, command))
        except SessionExpired:
            self.session = 0
            raise OutcomeUnknown("the session ended") from None

    async def _insist(self, command: bytes) -> object:
        while True:
            try:
                return await super().propose(command)
            except (OutcomeUnknown, NotLeader, Overloaded):
                await self.sleep(0.05)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS // 3))
def test_a_retry_in_a_session_takes_effect_once(seed: int) -> None:
    """Exactly once, across failover, snapshots and restarts: then nothing is unknown to anybody in the end (6.3)."""
    verdicts = run_world(seed, SECONDS, make_machine=lambda: SessionMachine(RecipeMachine()), make_caller=SessionCaller)

    for verdict in verdicts.values():
        assert verdict.outcome is Outcome.LINEARIZABLE, f"seed {seed}: {verdict}"


# Bugs, planted to see that such histories are refuted.


class HastyCaller(Caller):
    """Reads whatever the member has, as if a barrier cost too much."""

    async def query(self, question: bytes) -> object:
        process = self._world.hosts[self._pick()].process
        if process is None:
            raise NotLeader
        await self.sleep(0.0)
        answer: object = process.machine.machine.query(question)  # type: ignore[attr-defined]
        return answer


class StubbornCaller(Caller):
    """Tries again when it does not know what happened, without a session."""

    async def propose(self, command: bytes) -> object:
        while True:
            try:
                return await super().propose(command)
            except OutcomeUnknown:
                await self.sleep(0.05)


class ForgetfulMachine(RecipeMachine):
    """Now and then an element that was taken is back."""

    def apply(self, command: bytes, context: Context) -> object:
        result = super().apply(command, context)
        queue = self._objects.get("queue")
        if isinstance(queue, QueueState) and queue.taken and context.command_number % 5 == 0:
            queue.taken -= 1
        return result


class UnfencedMachine(RecipeMachine):
    """Renews the lock for whoever asks."""

    def apply(self, command: bytes, context: Context) -> object:
        lock = self._objects.get("lock")
        request: list[Any] = msgspec.msgpack.decode(command[2:]) if command else [None]
        if request[0] == RenewLock.__struct_config__.tag and isinstance(lock, LockState):
            command = encode_request(RenewLock("lock", lock.token, request[3]))
        return super().apply(command, context)


@pytest.mark.parametrize(
    ("bug", "kinds"),
    [
        ({"make_caller": HastyCaller}, {"dict", "counter", "set"}),
        ({"make_caller": StubbornCaller}, {"dict", "counter", "set", "queue"}),
        ({"make_machine": ForgetfulMachine}, {"queue"}),
        ({"make_machine": UnfencedMachine}, {"lock"}),
    ],
    ids=["reads without a barrier", "retries without a session", "elements come back", "old tokens renew"],
)
def test_a_planted_bug_is_refuted(bug: dict[str, Any], kinds: set[str]) -> None:
    refuted: set[str] = set()
    for seed in range(1, 40):
        try:
            verdicts = run_world(seed, 8.0, **bug)
        except Violation:
            continue  # Some let replicas drift apart as well, which the world sees; here histories have to show it.
        refuted |= {kind for kind, verdict in verdicts.items() if not verdict.is_linearizable}
        if refuted:
            break

    assert refuted
    assert refuted <= kinds
