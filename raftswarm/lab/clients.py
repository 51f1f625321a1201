"""Clients of random worlds: some just ask, some number their commands in a session and send them until answered.

Of these some do all by themselves, one command after another, and some have the queue of a real client for it. Each has
a source of chance of its own. They ask whoever believes to lead, deposed leaders too, and now and then anybody; what
they are told is for the history to judge, and what the sessions did for `effects`.
"""

from __future__ import annotations

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.plain_client import PlainClient
from raftswarm.lab.queue_client import QueueClient
from raftswarm.lab.session_client import SessionClient


class Clients:
    """All clients of a world's mix, until `stop`."""

    def __init__(self, world: CoreWorld) -> None:
        mix = world.faults
        self.calls = 0
        self.is_active = bool(mix.call_every)
        for number in range(1, mix.clients + 1) if self.is_active else ():
            chance = world.chance(f"client {number}")
            in_session = chance.random() < mix.session_share
            kind = chance.choice((SessionClient, QueueClient)) if in_session else PlainClient
            kind(world, self, number, chance).plan()

    def stop(self) -> None:
        """Ask nothing more."""
        self.is_active = False
