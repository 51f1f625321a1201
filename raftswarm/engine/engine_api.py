"""The Docker Engine API as one handler: find the endpoint, let it work, put any refusal into Docker's words."""

from __future__ import annotations

import random
from typing import Final

import msgspec
from attrs import evolve

from raftswarm.engine.absent import AbsentEndpoints
from raftswarm.engine.backend import Backend
from raftswarm.engine.events import EventEndpoints
from raftswarm.engine.host import HostFacts
from raftswarm.engine.node_protocol import SwarmNode
from raftswarm.engine.nodes import NodeEndpoints
from raftswarm.engine.observability import ObservationEndpoints
from raftswarm.engine.refusals import explain, explain_invalid
from raftswarm.engine.router import API_VERSION, find_endpoint
from raftswarm.engine.services import ServiceEndpoints
from raftswarm.engine.swarm import SwarmEndpoints
from raftswarm.engine.system import SystemEndpoints
from raftswarm.engine.tasks import TaskEndpoints
from raftswarm.errors import RaftSwarmError
from raftswarm.http.messages import Request, Response, error_response
from raftswarm.world.clock import WallClock

_HEADERS: Final = (("Api-Version", API_VERSION), ("Docker-Experimental", "false"), ("Ostype", "linux"))


class EngineApi:
    """Serves one node's API; give `handle` to `raftswarm.http.server.serve_http`."""

    def __init__(self, node: SwarmNode, *, host: HostFacts, clock: WallClock, chance: random.Random) -> None:
        """Serve `node`, on a machine as `host` describes it."""
        backend = Backend(node=node, host=host, clock=clock, chance=chance)
        self._node = node
        self._routes = [
            *SystemEndpoints(backend).routes(),
            *SwarmEndpoints(backend).routes(),
            *NodeEndpoints(backend).routes(),
            *ServiceEndpoints(backend).routes(),
            *TaskEndpoints(backend).routes(),
            *EventEndpoints(node.events, clock).routes(),
            *ObservationEndpoints(node).routes(),
            *AbsentEndpoints(backend).routes(),
        ]

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        try:
            endpoint, call = find_endpoint(self._routes, request)
            response = await endpoint(call)
        except msgspec.ValidationError as error:
            response = _refuse(explain_invalid(error))
        except RaftSwarmError as error:
            response = _refuse(error)
        server = f"raftswarm/{self._node.info().description.engine_version or 'unknown'} (linux)"
        return evolve(response, headers=(*_HEADERS, ("Server", server), *response.headers))


def _refuse(error: RaftSwarmError) -> Response:
    explained = explain(error)
    return error_response(explained.status, explained.message)
