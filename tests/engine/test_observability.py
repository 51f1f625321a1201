"""``/metrics``, ``/livez`` and ``/readyz``, on the Engine API and alone."""

from __future__ import annotations

import re

import pytest

from raftswarm.engine.observability import Check, Metric, ObservationEndpoints, gauge, write_metrics
from raftswarm.http.messages import Request, Response
from tests.fake_engine import Engine, FakeNode

# Prometheus' own grammar of a sample, from its documentation of the text form.
_VALUE = r'"(\\.|[^"\\\n])*"'
SAMPLE = re.compile(rf"[a-zA-Z_:][a-zA-Z0-9_:]*(\{{[a-zA-Z_]\w*={_VALUE}(,[a-zA-Z_]\w*={_VALUE})*\}})? \S+")


def text(response: Response) -> str:
    assert isinstance(response.body, bytes)
    return response.body.decode()


def test_metrics_are_written_as_prometheus_reads_them() -> None:
    states = Metric(
        name="swarm_manager_nodes",
        help="Nodes by state",
        samples=(({"state": "ready"}, 3), ({"state": "down"}, 0)),
    )

    assert write_metrics([states, gauge("ratio", "A share", 0.25)]) == (
        "# HELP swarm_manager_nodes Nodes by state\n"
        "# TYPE swarm_manager_nodes gauge\n"
        'swarm_manager_nodes{state="ready"} 3\n'
        'swarm_manager_nodes{state="down"} 0\n'
        "# HELP ratio A share\n"
        "# TYPE ratio gauge\n"
        "ratio 0.25\n"
    )


def test_a_label_may_hold_anything() -> None:
    written = write_metrics([gauge("info", "Of a node", 1, label='a "quoted"\nback\\slash')])

    [sample] = [line for line in written.splitlines() if not line.startswith("#")]
    assert SAMPLE.fullmatch(sample)
    assert sample == 'info{label="a \\"quoted\\"\\nback\\\\slash"} 1'


async def test_the_engine_api_has_them(engine: Engine) -> None:
    assert "swarm_node_manager 1\n" in text(await engine.call("GET", "/metrics"))
    assert text(await engine.call("GET", "/v1.41/livez")) == "ok\n"


async def test_a_node_is_ready_when_nothing_is_missing(engine: Engine) -> None:
    answer = await engine.call("GET", "/readyz")

    assert (answer.status, text(answer)) == (200, "ok\n")
    assert text(await engine.call("GET", "/readyz?verbose")) == "[+]swarm ok\n[+]agent ok\n"


async def test_a_node_that_is_not_ready_says_why(node: FakeNode, engine: Engine) -> None:
    node.checks = [Check("swarm"), Check("raft", "no leader is known: there may be no quorum")]

    for path in ("/readyz", "/healthz"):
        answer = await engine.call("GET", path)
        assert (answer.status, text(answer)) == (503, "raft: no leader is known: there may be no quorum\n")
    verbose = await engine.call("GET", "/readyz?verbose=1")
    assert text(verbose) == "[+]swarm ok\n[-]raft failed: no leader is known: there may be no quorum\n"


@pytest.mark.parametrize(("path", "status"), [("/metrics", 200), ("/livez", 200), ("/services", 404), ("/", 404)])
async def test_an_address_of_their_own_serves_nothing_else(node: FakeNode, path: str, status: int) -> None:
    answer = await ObservationEndpoints(node).handle(Request(method="GET", target=path))

    assert answer.status == status
