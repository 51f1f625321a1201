"""Endpoints about the nodes of the swarm."""

from __future__ import annotations

import attrs

from raftswarm.api.filters import NODE_FILTERS, parse_filters
from raftswarm.api.nodes import ManagerStatusJson, NodeJson, parse_node_spec, show_node
from raftswarm.engine.backend import Backend
from raftswarm.engine.lists import list_response
from raftswarm.engine.local_state import require_manager
from raftswarm.engine.router import Call, Route, route
from raftswarm.http.messages import Response, json_response
from raftswarm.manager.control.requests import (
    Accepted,
    GetNode,
    ListNodes,
    NodeAnswer,
    NodesAnswer,
    NodeView,
    RemoveNode,
    UpdateNode,
)


@attrs.frozen
class NodeEndpoints:
    """``/nodes`` and below."""

    _backend: Backend

    def routes(self) -> list[Route]:
        """Say which calls are served here."""
        return [
            route("GET", "/nodes", self.list_all),
            route("GET", "/nodes/{id}", self.inspect),
            route("POST", "/nodes/{id}/update", self.update),
            route("DELETE", "/nodes/{id}", self.remove),
        ]

    async def list_all(self, call: Call) -> Response:
        """``GET /nodes``."""
        require_manager(self._backend.node.info())
        filters = parse_filters(call.query.get("filters", ""), NODE_FILTERS)
        answer = await self._backend.ask(ListNodes(filters=filters), NodesAnswer)
        return await list_response(answer.nodes, show_view)

    async def inspect(self, call: Call) -> Response:
        """``GET /nodes/{id}``."""
        answer = await self._backend.ask(GetNode(reference=call.parts["id"]), NodeAnswer)
        return json_response(show_view(answer.view))

    async def update(self, call: Call) -> Response:
        """Replace a node's spec."""
        version = call.version("node")
        spec = parse_node_spec(call.json())
        await self._backend.ask(UpdateNode(reference=call.parts["id"], version=version, spec=spec), Accepted)
        return Response()

    async def remove(self, call: Call) -> Response:
        """Forget a node."""
        await self._backend.ask(RemoveNode(reference=call.parts["id"], force=call.flag("force")), Accepted)
        return Response()


def show_view(view: NodeView) -> NodeJson:
    """Render a node with what Raft says about it."""
    status = view.manager_status
    if status is None:
        return show_node(view.node, None)
    reachability = "reachable" if status.reachable else "unreachable"
    return show_node(view.node, ManagerStatusJson(leader=status.leader, reachability=reachability, addr=status.address))
