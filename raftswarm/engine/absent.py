"""What this engine has none of: networks, secrets and configs of the swarm.

Asked for them it answers as an engine where nobody has made any, so that clients say in their own words what is
missing; asked to make one it says that it cannot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from raftswarm.api.errors import ApiError
from raftswarm.engine.backend import Backend
from raftswarm.engine.local_state import require_manager
from raftswarm.engine.router import Call, Route, route
from raftswarm.http.messages import Response, json_response


@attrs.frozen
class AbsentEndpoints:
    """``/networks``, ``/secrets``, ``/configs``: always empty."""

    _backend: Backend

    def routes(self) -> list[Route]:
        """Say which calls are served here."""
        return [
            each
            for kind in ("network", "secret", "config")
            for each in (
                route("GET", f"/{kind}s", self._nothing(kind)),
                route("POST", f"/{kind}s/create", self._cannot(kind)),
                route("GET", f"/{kind}s/{{id}}", self._unknown(kind)),
                route("DELETE", f"/{kind}s/{{id}}", self._unknown(kind)),
            )
        ]

    def _nothing(self, kind: str) -> Callable[[Call], Awaitable[Response]]:
        async def answer(_call: Call) -> Response:
            self._require_manager(kind)
            return json_response([])

        return answer

    def _unknown(self, kind: str) -> Callable[[Call], Awaitable[Response]]:
        async def answer(call: Call) -> Response:
            self._require_manager(kind)
            raise ApiError(f"{kind} {call.parts['id']} not found", status=404)

        return answer

    def _cannot(self, kind: str) -> Callable[[Call], Awaitable[Response]]:
        async def answer(_call: Call) -> Response:
            self._require_manager(kind)
            raise ApiError(f"this engine cannot make a {kind}", status=501)

        return answer

    def _require_manager(self, kind: str) -> None:
        if kind != "network":  # Docker's workers have networks of their own.
            require_manager(self._backend.node.info())
