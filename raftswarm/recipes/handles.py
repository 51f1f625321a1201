"""What all replicated objects are to their users: a name in a cluster."""

from __future__ import annotations

from typing import Any

from raftswarm.consensus.replicated import Replicated
from raftswarm.recipes.requests import Request, check_name, encode_request


class ReplicatedObject:
    """An object of that name in a cluster that runs a `RecipeMachine`. It comes into being when it is first changed."""

    def __init__(self, cluster: Replicated, name: str) -> None:
        """`cluster` is a member or a client; InvalidSpec if the name cannot be one."""
        self._cluster = cluster
        self.name = check_name(name)

    async def _change(self, command: Request) -> Any:
        return await self._cluster.propose(encode_request(command))

    async def _look(self, question: Request) -> Any:
        return await self._cluster.query(encode_request(question))
