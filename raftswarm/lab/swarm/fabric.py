"""What the simulated machines are plugged into: who listens where, who is connected with whom, what ways are like."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from random import Random
from typing import Final

import attrs
import trio

from raftswarm.errors import ConnectionRefused, LinkClosed, LinkError
from raftswarm.lab.swarm.agenda import LoopAgenda
from raftswarm.lab.swarm.connections import SILENCE, Connection, Direction, SimulatedLink
from raftswarm.lab.swarm.ways import DEAD_PEER_SECONDS, Way
from raftswarm.transport.sockets import PORT_IN_USE, parse_address

_FIRST_FREE_PORT: Final = 32_768


@attrs.define(eq=False)
class Call:
    """Somebody dials, and shows a certificate; the answer shows another, or says why not."""

    machine: str
    address: str
    certificate: bytes | None
    answered: trio.Event = attrs.field(factory=trio.Event)
    failure: LinkError | None = None
    link: SimulatedLink | None = None
    answer: tuple[bytes, str, str] = (b"", "", "")
    """The other side's certificate, its roots, and why it refuses the caller."""
    is_given_up: bool = False
    life: int = 0
    """Of the caller's machine."""

    def fail(self, failure: LinkError) -> None:
        """Nobody takes the call."""
        self.failure = failure
        self.answered.set()

    def take(self, link: SimulatedLink, answer: tuple[bytes, str, str]) -> None:
        """Somebody has; a caller who has given up lets the connection go."""
        self.link, self.answer = link, answer
        if self.is_given_up:
            link.close()
        self.answered.set()

    def give_up(self) -> None:
        """Wait no longer."""
        self.is_given_up = True
        if self.link is not None:
            self.link.close()


@attrs.define(eq=False)
class Listener:
    """A port that a program listens on; who calls waits in the kernel until it looks."""

    machine: str
    calls: deque[Call] = attrs.field(factory=deque)
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def ring(self, call: Call) -> None:
        """Somebody calls."""
        self.calls.append(call)
        self._news.unpark_all()

    async def next_call(self) -> Call:
        """Wait for the next caller."""
        await trio.lowlevel.checkpoint()
        while not self.calls:
            await self._news.park()
        return self.calls.popleft()


class Fabric:
    """Ways, ports and connections of all machines."""

    def __init__(self, agenda: LoopAgenda, chance_of: Callable[[str], Random], note: Callable[[str], None]) -> None:
        """`chance_of` gives each way a source of chance of its own; `note` hears of every frame that arrives."""
        self._agenda = agenda
        self._chance_of = chance_of
        self._chance = chance_of("fabric")
        self._note = note
        self._ways: dict[tuple[str, str], Way] = {}
        self._listeners: dict[str, Listener] = {}
        self._connections: dict[Connection, None] = {}
        self._without_power: dict[str, None] = {}
        self._refusals: dict[tuple[str, str], None] = {}
        self._lives: Counter[str] = Counter()
        """How many processes of each machine have ended."""
        self._free_ports = count(_FIRST_FREE_PORT)

    # Ways.

    def way(self, sender: str, receiver: str) -> Way:
        """The way from one machine to another."""
        way = self._ways.get((sender, receiver))
        if way is None:
            chance = self._chance_of(f"way {sender} {receiver}")
            way = self._ways[sender, receiver] = Way(sender, receiver, self._agenda, chance, self._end_connections)
        return way

    @property
    def ways(self) -> Iterable[Way]:
        """All that were ever used."""
        return self._ways.values()

    def break_links(self, one: str, other: str) -> None:
        """End every connection between two machines, as a router that forgets them does."""
        for connection in [*self._connections]:
            if {one, other} == {*connection.machines}:
                connection.break_off("the connection was reset")

    def refuse(self, sender: str, receiver: str) -> None:
        """Refuse whoever dials from one machine to another, as a firewall does; what stands is not concerned."""
        self._refusals[sender, receiver] = None

    def refuse_nobody(self) -> None:
        """Let all calls ring again."""
        self._refusals.clear()

    def _end_connections(self, way: Way) -> None:
        for connection in [*self._connections]:
            if way in (connection.there.way, connection.back.way):
                connection.break_off(SILENCE)

    # Machines and their processes.

    def has_power(self, machine: str) -> bool:
        """Tell whether its kernel answers."""
        return machine not in self._without_power

    def restore_power(self, machine: str) -> None:
        """Answer again: what arrives for connections of before is answered by a reset."""
        self._without_power.pop(machine, None)

    def end_process(self, machine: str, *, loses_power: bool) -> None:
        """Its program has ended: ports are closed and connections end, at once or in silence."""
        self._lives[machine] += 1
        if loses_power:
            self._without_power[machine] = None
        for address in [address for address, listener in self._listeners.items() if listener.machine == machine]:
            listener = self._listeners.pop(address)
            for call in listener.calls if not loses_power else ():
                self._hang_up(call, machine)
        for connection in [connection for connection in self._connections if machine in connection.machines]:
            connection.leave(machine, silently=loses_power)
            if loses_power:
                self._agenda.after(self._chance.uniform(*DEAD_PEER_SECONDS), connection.break_off, SILENCE)

    def _hang_up(self, call: Call, machine: str) -> None:
        self.way(machine, call.machine).carry(partial(call.fail, LinkClosed(f"{call.address} hung up")))

    # Calls.

    def listen(self, machine: str, address: str) -> tuple[str, Listener]:
        """Give that address, or a free port of its host, to a listener."""
        wanted = parse_address(address)
        bound = str(wanted if wanted.port else attrs.evolve(wanted, port=next(self._free_ports)))
        if bound in self._listeners:
            raise LinkError(f"cannot listen on {bound}: {PORT_IN_USE}")
        listener = self._listeners[bound] = Listener(machine)
        return bound, listener

    def stop_listening(self, address: str, listener: Listener) -> None:
        """Take the address back, unless its process has ended."""
        if self._listeners.get(address) is listener:
            del self._listeners[address]
            for call in listener.calls:
                self._hang_up(call, listener.machine)

    def dial(self, call: Call) -> None:
        """Let a call ring where it goes; nobody hears of one that goes where there is no power."""
        call.life = self._lives[call.machine]
        target = parse_address(call.address)
        self.way(call.machine, target.host).carry(partial(self._ring, call, str(target), target.host))

    def _ring(self, call: Call, address: str, machine: str) -> None:
        if not self.has_power(machine):
            return
        listener = self._listeners.get(address)
        if listener is None or (call.machine, machine) in self._refusals:
            refusal = ConnectionRefused(f"nothing listens on {call.address}")
            self.way(machine, call.machine).carry(partial(call.fail, refusal))
        else:
            listener.ring(call)

    def connect(self, call: Call, machine: str) -> tuple[Connection, str]:
        """Connect a caller with the machine that takes the call; return the caller's address, too."""
        there, back = (
            Direction(way, self._note, self.has_power)
            for way in (self.way(call.machine, machine), self.way(machine, call.machine))
        )
        connection = Connection(there, back, self._forget)
        self._connections[connection] = None
        return connection, f"{call.machine}:{next(self._free_ports)}"

    def answer(self, call: Call, machine: str, link: SimulatedLink, answer: tuple[bytes, str, str]) -> None:
        """Let the caller have its end of the connection; one whose process has ended meanwhile resets it."""
        self.way(machine, call.machine).carry(partial(self._take, call, link, answer))

    def _take(self, call: Call, link: SimulatedLink, answer: tuple[bytes, str, str]) -> None:
        if call.life == self._lives[call.machine]:
            call.take(link, answer)
        else:
            link.close()

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
