"""``/metrics``, ``/livez``, ``/readyz``: how a node is, for machines that ask every few seconds.

Metrics are in Prometheus' text form, under SwarmKit's names where SwarmKit has the figure, and under ``raftswarm_``
otherwise (SWARM 9). They are made when they are asked for, from what the node knows anyway: nothing is counted twice,
and nobody else is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from raftswarm.engine.node_protocol import SwarmNode
from raftswarm.engine.router import Call, Route, find_endpoint, route
from raftswarm.errors import RaftSwarmError
from raftswarm.http.messages import Request, Response

TEXT: Final = (("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),)


@attrs.frozen(kw_only=True)
class Metric:
    """A figure with a name, or several that differ by labels."""

    name: str
    help: str
    type: str = "gauge"
    """``gauge``, or ``counter`` for what only grows."""
    samples: tuple[tuple[Mapping[str, str], float], ...]


def gauge(name: str, help_: str, value: float, **labels: str) -> Metric:
    """A figure that goes up and down."""
    return Metric(name=name, help=help_, samples=((labels, value),))


def write_metrics(metrics: Iterable[Metric]) -> str:
    """Write metrics in Prometheus' text form."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {_escape(metric.help)}", f"# TYPE {metric.name} {metric.type}"]
        lines += [f"{metric.name}{_labels(labels)} {_number(value)}" for labels, value in metric.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    quote = '\\"'
    pairs = (f'{name}="{_escape(value).replace(chr(34), quote)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


@attrs.frozen
class Check:
    """One condition of being ready."""

    name: str
    failure: str = ""
    """Why it is not met; empty when it is."""


@attrs.frozen
class ObservationEndpoints:
    """Served beside the Engine API, and alone where ``--metrics-addr`` says."""

    _node: SwarmNode

    def routes(self) -> list[Route]:
        """Say which calls are served here."""
        return [
            route("GET", "/metrics", self.metrics),
            route("GET", "/livez", self.alive),
            route("GET", "/readyz", self.ready),
            route("GET", "/healthz", self.ready),
        ]

    async def handle(self, request: Request) -> Response:
        """Answer one request on an address of its own."""
        try:
            endpoint, call = find_endpoint(self.routes(), request)
        except RaftSwarmError:
            return Response(status=404, headers=TEXT, body=b"ask for /metrics, /livez or /readyz\n")
        return await endpoint(call)

    async def metrics(self, _call: Call) -> Response:
        """All figures."""
        return Response(headers=TEXT, body=write_metrics(self._node.metrics()).encode())

    async def alive(self, _call: Call) -> Response:
        """Whoever answers is alive."""
        return Response(headers=TEXT, body=b"ok\n")

    async def ready(self, call: Call) -> Response:
        """200 when this node does its part in a swarm, 503 with the reason when it does not."""
        checks = self._node.readiness()
        failed = [check for check in checks if check.failure]
        if call.flag("verbose") or "verbose" in call.query:
            lines = [
                f"[-]{check.name} failed: {check.failure}" if check.failure else f"[+]{check.name} ok"
                for check in checks
            ]
        else:
            lines = [f"{check.name}: {check.failure}" for check in failed] or ["ok"]
        return Response(status=503 if failed else 200, headers=TEXT, body=("\n".join(lines) + "\n").encode())
