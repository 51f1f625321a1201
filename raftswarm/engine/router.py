"""From a path to an endpoint: version prefixes, patterns, and the headers that every answer carries."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs

from raftswarm.api import go_json
from raftswarm.api.errors import ApiError
from raftswarm.http.messages import Request, Response

API_VERSION: Final = "1.47"
MIN_API_VERSION: Final = "1.24"
_VERSIONED: Final = re.compile(r"/v(\d{1,4})\.(\d{1,4})(/.*)")


@attrs.frozen(kw_only=True)
class Call:
    """A request as an endpoint sees it."""

    request: Request
    path: str
    """Without the version."""
    parts: Mapping[str, str]
    """What the pattern's names stand for."""
    query: Mapping[str, str]

    def json(self) -> Any:
        """The body."""
        return go_json.decode(self.request.body)

    def flag(self, name: str) -> bool:
        """A parameter that is on unless it is absent or one of Go's ways to say no."""
        return self.query.get(name, "").strip().lower() not in ("", "0", "no", "false", "none")

    def version(self, kind: str) -> int:
        """The version of the object that an update was made from."""
        given = self.query.get("version", "")
        if not (given.isascii() and given.isdigit() and int(given) < 1 << 64):
            reason = "value out of range" if given.isascii() and given.isdigit() else "invalid syntax"
            raise ApiError(f"invalid {kind} version '{given}': strconv.ParseUint: parsing \"{given}\": {reason}")
        return int(given)


Endpoint = Callable[[Call], Awaitable[Response]]


@attrs.frozen
class Route:
    """A method, a pattern such as ``/nodes/{id}/update``, and who serves it."""

    method: str
    pattern: re.Pattern[str]
    endpoint: Endpoint


def route(method: str, pattern: str, endpoint: Endpoint) -> Route:
    """Make a route; ``{name}`` stands for one part of the path, ``{name*}`` for any number of them."""
    expression = re.sub(r"\{(\w+)(\*?)\}", lambda found: f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})", pattern)
    return Route(method, re.compile(expression), endpoint)


def find_endpoint(routes: list[Route], request: Request) -> tuple[Endpoint, Call]:
    """Find who serves a request; `ApiError` when nobody does."""
    path = strip_version(request.path)
    for candidate in routes:
        if candidate.method == request.method and (found := candidate.pattern.fullmatch(path)):
            return candidate.endpoint, Call(request=request, path=path, parts=found.groupdict(), query=request.query)
    raise ApiError("page not found", status=404)


def strip_version(path: str) -> str:
    """Take off ``/v1.NN``; `ApiError` for a version that is not spoken here."""
    found = _VERSIONED.fullmatch(path)
    if found is None:
        return path
    version = (int(found[1]), int(found[2]))
    if version > _as_numbers(API_VERSION):
        raise ApiError(
            f"client version {found[1]}.{found[2]} is too new. Maximum supported API version is {API_VERSION}"
        )
    if version < _as_numbers(MIN_API_VERSION):
        raise ApiError(
            f"client version {found[1]}.{found[2]} is too old. Minimum supported API version is {MIN_API_VERSION},"
            " please upgrade your client to a newer version"
        )
    return found[3]


def _as_numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)
