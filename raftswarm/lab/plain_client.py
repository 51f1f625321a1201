"""A client of a random world that asks for whatever comes to its mind, and keeps nothing in mind."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.journal import REFUSED
from raftswarm.wire.batch import MAX_COMMAND_BYTES
from raftswarm.wire.envelopes import MAX_PAYLOAD_BYTES, encode_plain

if TYPE_CHECKING:
    from raftswarm.lab.clients import Clients

READ_SHARE = 0.2
REFUSED_SHARE = 0.05
SIZES = (0, 10, 100, 1000)
BURSTS = (600, 3000)
"""Commands at once: more than one turn applies."""
ANYWAY_SHARE = 0.3
"""Of asking while nobody is known to lead; all else waits until somebody does …"""
CATCH_UP = 3
"""… and then comes so many times faster: a load is so many calls in all, however long nobody could serve them."""


class PlainClient:
    """Asks for whatever comes to its mind."""

    def __init__(self, world: CoreWorld, clients: Clients, number: int, chance: Random) -> None:
        self._world = world
        self._clients = clients
        self._number = number
        self._chance = chance
        self._put_off = 0
        """Calls that nobody could have served yet."""

    def plan(self) -> None:
        """Ask again some time."""
        mix = self._world.faults
        rate = 1.0 / (mix.call_every * mix.clients)
        if self._put_off and self._world.leader is not None:
            self._put_off -= 1
            rate *= CATCH_UP
        self._world.heap.after(self._chance.expovariate(rate), self._act)

    def _act(self) -> None:
        if not self._clients.is_active:
            return
        if self._world.leader is None and self._chance.random() >= ANYWAY_SHARE:
            self._put_off += 1
        else:
            self._clients.calls += 1
            self._ask()
        self.plan()

    def _ask(self) -> None:
        world, chance = self._world, self._chance
        kind = chance.random()
        if kind < READ_SHARE:
            # Anybody may be read at; a leader that slept, or was cut off, is the one to fall for it.
            world.read(member=chance.choice([self._pick(), chance.choice(list(world.hosts))]))
        elif kind < READ_SHARE + REFUSED_SHARE:
            world.propose(self._wrap(REFUSED), member=self._pick())
        else:
            for _ in range(chance.choice((1, 1, 1, 5))):
                world.propose(self._wrap(self._draw_body()), member=self._pick())
            if chance.random() < world.faults.burst_share:
                member = self._pick()
                for _ in range(chance.choice(BURSTS)):
                    world.propose(self._wrap(b""), member=member)

    def _draw_body(self) -> bytes:
        if self._chance.random() < self._world.faults.huge_share:
            # With what goes around it, it is too large by a few bytes, or not.
            return bytes(MAX_COMMAND_BYTES - self._chance.randrange(80))
        return bytes(self._chance.choice(SIZES))

    def _wrap(self, body: bytes) -> bytes:
        return encode_plain(body[:MAX_PAYLOAD_BYTES]) if self._world.has_sessions else body

    def _pick(self) -> int:
        world = self._world
        if self._chance.random() >= world.faults.wrong_member_share:
            members = [member for member in world.running if world.process(member).leadership.is_leader]
            if members:
                return self._chance.choice(members)
        return self._chance.choice(list(world.hosts))
