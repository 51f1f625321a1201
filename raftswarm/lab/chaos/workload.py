"""Clients with known histories: each reads registers, and swaps what it read for a value that nobody else writes.

A register is a label of a service that wants no tasks. The Engine API promises that reads are linearizable on every
manager, and that an update is refused if the service has changed since the version it names: so an update of what was
read is a compare-and-swap. Each client asks one manager, whatever befalls it. Every other one only reads, since who
writes to a manager that is cut off is kept waiting there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

import attrs
import trio
from msgspec.structs import replace

from raftswarm.api.errors import ApiError
from raftswarm.api.services import ServiceJson
from raftswarm.client import EngineClient
from raftswarm.errors import ConnectionRefused, LinkError, Rejected
from raftswarm.lab.linearizability import HistoryRecorder, Operation
from raftswarm.local import LocalNode
from raftswarm.objects.specs import ContainerSpec, Replicated, ServiceMode, ServiceSpec, TaskSpec

REGISTERS: Final = ("chaos-register-1", "chaos-register-2", "chaos-register-3")
LABEL: Final = "value"
FIRST_VALUE: Final = "nobody"
THINKING_SECONDS: Final = 0.04
"""Mean between two turns of a client: enough to see an outage, and processors left for the daemons."""
PATIENCE_SECONDS: Final = 4.0
"""A client that has waited so long no longer cares; what it asked for may still happen."""
REFUSED_SECONDS: Final = 0.05

OUTRUN: Final = "update out of sequence"
NOTHING_HAPPENED: Final = (OUTRUN, "The swarm does not have a leader", "is not a swarm manager")
"""Refusals that promise it."""


@attrs.frozen
class Sample:
    """One call of one client, for the figures. Times are seconds since the workload began."""

    kind: str
    """``read`` or ``write``."""
    outcome: str
    """``done``, ``outrun`` (another client was faster), ``refused`` (nothing happened either) or ``unknown``."""
    manager: str
    began: float
    ended: float


class History:
    """What all clients saw: operations to be judged, and samples to be counted."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.samples: list[Sample] = []
        self._recording = HistoryRecorder()

    @property
    def operations(self) -> list[Operation]:
        """All but the reads without an answer: they say nothing."""
        return [one for one in self._recording.operations if one.kind != "read" or one.returned is not None]

    async def begin(self, client: EngineClient, register: str) -> None:
        """Make a register, and write its first value."""
        await self._recording.call(
            client.create_service(_register(register)), "setup", "write", FIRST_VALUE, key=register
        )

    async def read(self, client: EngineClient, who: str, manager: str, register: str) -> ServiceJson:
        """Read a register; Rejected if that was refused."""
        found: list[ServiceJson] = []

        async def ask() -> str:
            with _refusals():
                found.append(await client.service(register))
            return value_of(found[0])

        with self._sampled("read", manager):
            await self._recording.call(ask(), who, "read", key=register)
        return found[0]

    async def swap(self, client: EngineClient, who: str, manager: str, seen: ServiceJson, value: str) -> None:
        """Write a value in place of what was seen; Rejected if that was refused."""

        async def ask() -> bool:
            spec = replace(seen.spec, labels={LABEL: value})
            with _refusals():
                await client.update_service(seen.id, seen.version.index, spec)
            return True

        with self._sampled("write", manager):
            await self._recording.call(ask(), who, "cas", (value_of(seen), value), key=seen.spec.name)

    @contextlib.contextmanager
    def _sampled(self, kind: str, manager: str) -> Iterator[None]:
        began, outcome = self.now(), "unknown"
        try:
            yield
            outcome = "done"
        except Rejected as refusal:
            outcome = "outrun" if OUTRUN in str(refusal) else "refused"
            raise
        finally:
            self.samples.append(Sample(kind, outcome, manager, began, self.now()))


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Let what changed nothing come out as Rejected."""
    try:
        yield
    except ConnectionRefused as error:
        raise Rejected(str(error)) from None
    except ApiError as error:
        if any(words in str(error) for words in NOTHING_HAPPENED):
            raise Rejected(str(error)) from None
        raise


def value_of(service: ServiceJson) -> str:
    """What a register holds."""
    return service.spec.labels.get(LABEL, "")


async def create_registers(history: History, node: LocalNode) -> None:
    """Make the services that stand for registers; that they begin with a value is part of the history."""
    async with EngineClient(node.docker_host) as client:
        for name in REGISTERS:
            await history.begin(client, name)


def _register(name: str) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        labels={LABEL: FIRST_VALUE},
        task_template=TaskSpec(container_spec=ContainerSpec(image="nothing")),
        mode=ServiceMode(replicated=Replicated(replicas=0)),
    )


async def run_clients(history: History, managers: Sequence[LocalNode], seed: int) -> None:
    """Ask every manager until cancelled: a client that writes what it has read, and one that reads."""
    async with trio.open_nursery() as nursery:
        for number in range(2 * len(managers)):
            node = managers[number // 2]
            chance = Random(f"client {seed} {number}")  # noqa: S311 - a workload, no secret
            nursery.start_soon(_run_client, history, node, f"c{number + 1}", chance, number % 2 == 0)


async def _run_client(history: History, node: LocalNode, who: str, chance: Random, writes: bool) -> None:
    turn = 0
    while True:
        await trio.sleep(chance.expovariate(1 / THINKING_SECONDS))
        register = chance.choice(REGISTERS)
        turn += 1
        try:
            # A connection for each turn: one that was given up is of no use to the next.
            async with EngineClient(node.docker_host) as client:
                with trio.fail_after(PATIENCE_SECONDS):
                    seen = await history.read(client, who, node.name, register)
                if writes:
                    with trio.fail_after(PATIENCE_SECONDS):
                        await history.swap(client, who, node.name, seen, f"{who}-{turn}")
        except (ApiError, LinkError, Rejected, trio.TooSlowError):
            await trio.sleep(REFUSED_SECONDS)


async def read_finally(history: History, nodes: Sequence[LocalNode]) -> dict[str, str]:
    """Read every register through every manager, as part of the history; return what the last one said."""
    values: dict[str, str] = {}
    for node in nodes:
        async with EngineClient(node.docker_host) as client:
            for register in REGISTERS:
                values[register] = value_of(await history.read(client, "end", node.name, register))
    return values
