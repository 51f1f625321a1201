"""Endpoints about services."""

from __future__ import annotations

import attrs
from msgspec.structs import replace

from raftswarm.api.filters import SERVICE_FILTERS, parse_filters
from raftswarm.api.services import ServiceJson, ServiceStatusJson, parse_service_spec, show_service
from raftswarm.engine.backend import Backend
from raftswarm.engine.lists import list_response
from raftswarm.engine.local_state import require_manager
from raftswarm.engine.random_names import make_name
from raftswarm.engine.router import Call, Route, route
from raftswarm.http.messages import Response, json_response
from raftswarm.manager.control.requests import (
    Accepted,
    CreatedAnswer,
    CreateService,
    ExplainService,
    GetService,
    ListServices,
    RemoveService,
    ServiceAnswer,
    ServiceExplained,
    ServicesAnswer,
    ServiceView,
    UpdateService,
)


@attrs.frozen
class ServiceEndpoints:
    """``/services`` and below."""

    _backend: Backend

    def routes(self) -> list[Route]:
        """Say which calls are served here."""
        return [
            route("GET", "/services", self.list_all),
            route("POST", "/services/create", self.create),
            route("GET", "/services/{id}", self.inspect),
            route("GET", "/services/{id}/explain", self.explain),
            route("POST", "/services/{id}/update", self.update),
            route("DELETE", "/services/{id}", self.remove),
        ]

    async def list_all(self, call: Call) -> Response:
        """``GET /services``."""
        require_manager(self._backend.node.info())
        filters = parse_filters(call.query.get("filters", ""), SERVICE_FILTERS)
        answer = await self._backend.ask(ListServices(filters=filters, with_counts=call.flag("status")), ServicesAnswer)
        return await list_response(answer.services, show_view)

    async def create(self, call: Call) -> Response:
        """Create a service; one without a name gets one."""
        spec = parse_service_spec(call.json())
        if not spec.name:
            spec = replace(spec, name=make_name(self._backend.chance))
        answer = await self._backend.ask(CreateService(spec=spec), CreatedAnswer)
        return json_response({"ID": answer.id}, 201)

    async def inspect(self, call: Call) -> Response:
        """``GET /services/{id}``."""
        answer = await self._backend.ask(GetService(reference=call.parts["id"]), ServiceAnswer)
        return json_response(show_view(answer.view, insert_defaults=call.flag("insertDefaults")))

    async def explain(self, call: Call) -> Response:
        """Why is it not as it should be? (Docker has no such call.)."""
        answer = await self._backend.ask(ExplainService(reference=call.parts["id"]), ServiceExplained)
        return json_response(answer.explanation)

    async def update(self, call: Call) -> Response:
        """Replace a service's spec, or go back to the one before."""
        version = call.version("service")
        spec = parse_service_spec(call.json())
        rollback = call.query.get("rollback") == "previous"
        request = UpdateService(reference=call.parts["id"], version=version, spec=spec, rollback=rollback)
        await self._backend.ask(request, Accepted)
        return json_response({"Warnings": None})

    async def remove(self, call: Call) -> Response:
        """Remove a service and its tasks."""
        await self._backend.ask(RemoveService(reference=call.parts["id"]), Accepted)
        return Response()


def show_view(view: ServiceView, *, insert_defaults: bool = False) -> ServiceJson:
    """Render a service with the counts of its tasks, if they were asked for."""
    status = None
    if view.counts is not None:
        status = ServiceStatusJson(
            running_tasks=view.counts.running,
            desired_tasks=view.counts.desired,
            completed_tasks=view.counts.completed,
        )
    return show_service(view.service, status, insert_defaults=insert_defaults)
