"""What the endpoints stand on: the node, its machine, and one way to ask the swarm."""

from __future__ import annotations

import random
from typing import Final, TypeVar

import attrs
import trio

from raftswarm.api.errors import ApiError
from raftswarm.engine.host import HostFacts
from raftswarm.engine.local_state import require_manager
from raftswarm.engine.node_protocol import SwarmNode
from raftswarm.engine.refusals import with_code
from raftswarm.manager.control.requests import AnyControlRequest, ControlAnswer
from raftswarm.world.clock import WallClock

CONTROL_SECONDS: Final = 20.0
"""How long a call may wait for the swarm to have a leader again."""

T = TypeVar("T", bound=ControlAnswer)


@attrs.frozen(kw_only=True)
class Backend:
    """Shared by all endpoints of one engine."""

    node: SwarmNode
    host: HostFacts
    clock: WallClock
    chance: random.Random

    async def ask(self, request: AnyControlRequest, answer: type[T]) -> T:
        """Ask the swarm, for at most `CONTROL_SECONDS`; refuse at once where no manager is."""
        require_manager(self.node.info())
        with trio.move_on_after(CONTROL_SECONDS):
            given = await self.node.control(request)
            if not isinstance(given, answer):
                message = f"the leader answered {type(given).__name__} where {answer.__name__} was expected"
                raise ApiError(message, status=500)
            return given
        raise ApiError(with_code("DeadlineExceeded", "context deadline exceeded"), status=500)
