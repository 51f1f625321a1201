"""Endpoints about tasks."""

from __future__ import annotations

import attrs

from raftswarm.api.filters import TASK_FILTERS, Filters, parse_filters
from raftswarm.api.tasks import show_task
from raftswarm.engine.backend import Backend
from raftswarm.engine.lists import list_response
from raftswarm.engine.local_state import require_manager
from raftswarm.engine.router import Call, Route, route
from raftswarm.http.messages import Response, json_response
from raftswarm.manager.control.requests import (
    ExplainTask,
    GetNode,
    GetService,
    GetTask,
    ListTasks,
    NodeAnswer,
    ServiceAnswer,
    TaskAnswer,
    TaskExplained,
    TasksAnswer,
)
from raftswarm.objects.ids import ID_LENGTH


@attrs.frozen
class TaskEndpoints:
    """``/tasks`` and below."""

    _backend: Backend

    def routes(self) -> list[Route]:
        """Say which calls are served here."""
        return [
            route("GET", "/tasks", self.list_all),
            route("GET", "/tasks/{id}", self.inspect),
            route("GET", "/tasks/{id}/explain", self.explain),
        ]

    async def list_all(self, call: Call) -> Response:
        """``GET /tasks``."""
        require_manager(self._backend.node.info())
        filters = await self._resolve(parse_filters(call.query.get("filters", ""), TASK_FILTERS))
        answer = await self._backend.ask(ListTasks(filters=filters), TasksAnswer)
        return await list_response(answer.tasks, show_task)

    async def inspect(self, call: Call) -> Response:
        """``GET /tasks/{id}``."""
        answer = await self._backend.ask(GetTask(reference=call.parts["id"]), TaskAnswer)
        return json_response(show_task(answer.task))

    async def explain(self, call: Call) -> Response:
        """Why is it where it is? (Docker has no such call.)."""
        answer = await self._backend.ask(ExplainTask(reference=call.parts["id"]), TaskExplained)
        return json_response(answer.explanation)

    async def _resolve(self, filters: Filters) -> Filters:
        """Turn names of services and nodes into ids: tasks know only those."""
        resolved = dict(filters)
        if "service" in filters:
            resolved["service"] = [await self._service_id(reference) for reference in filters["service"]]
        if "node" in filters:
            resolved["node"] = [await self._node_id(reference) for reference in filters["node"]]
        return resolved

    async def _service_id(self, reference: str) -> str:
        if len(reference) == ID_LENGTH:
            return reference
        return (await self._backend.ask(GetService(reference=reference), ServiceAnswer)).view.service.id

    async def _node_id(self, reference: str) -> str:
        if len(reference) == ID_LENGTH:
            return reference
        return (await self._backend.ask(GetNode(reference=reference), NodeAnswer)).view.node.id
