"""Clients and their history: what is refused leaves no trace, what has no answer may have happened."""

from __future__ import annotations

import contextlib

import pytest
import trio
from trio.testing import MockClock

from raftswarm.api.errors import ApiError
from raftswarm.api.nodes import VersionJson
from raftswarm.api.services import ServiceJson
from raftswarm.errors import ConnectionRefused, LinkClosed, Rejected
from raftswarm.lab.chaos.workload import LABEL, History, value_of
from raftswarm.objects.specs import ServiceSpec


class FakeEngine:
    """One register; every update ends with `failure`, if there is one."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.spec = ServiceSpec(name="register", labels={LABEL: "first"})

    async def service(self, reference: str) -> ServiceJson:
        assert reference
        await trio.lowlevel.checkpoint()
        return ServiceJson(id="1", version=VersionJson(index=3), created_at="", updated_at="", spec=self.spec)

    async def update_service(self, service_id: str, version: int, spec: ServiceSpec) -> None:
        assert (service_id, version) == ("1", 3)
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        self.spec = spec


async def swap(engine: FakeEngine) -> History:
    history = History(trio.current_time)
    seen = await history.read(engine, "c1", "docker1", "register")  # type: ignore[arg-type]
    with contextlib.suppress(ApiError, LinkClosed, Rejected):
        await history.swap(engine, "c1", "docker1", seen, "mine")  # type: ignore[arg-type]
    return history


async def test_a_swap_is_a_compare_and_swap_of_what_was_read() -> None:
    engine = FakeEngine()

    history = await swap(engine)

    read, cas = history.operations
    assert (read.kind, read.result, read.key) == ("read", "first", "register")
    assert (cas.kind, cas.argument, cas.result, cas.key) == ("cas", ("first", "mine"), True, "register")
    assert value_of(await engine.service("1")) == "mine"
    assert [sample.outcome for sample in history.samples] == ["done", "done"]


@pytest.mark.parametrize(
    "refusal",
    [
        ApiError("rpc error: code = Unknown desc = The swarm does not have a leader. …", status=500),
        ConnectionRefused("nothing listens"),
    ],
)
async def test_what_was_refused_leaves_no_trace_in_the_history(refusal: Exception) -> None:
    history = await swap(FakeEngine(refusal))

    assert [one.kind for one in history.operations] == ["read"]
    assert [sample.outcome for sample in history.samples] == ["done", "refused"]


async def test_who_was_outrun_is_told_so_and_nothing_happened() -> None:
    history = await swap(FakeEngine(ApiError("rpc error: code = Unknown desc = update out of sequence", status=500)))

    assert [one.kind for one in history.operations] == ["read"]
    assert [sample.outcome for sample in history.samples] == ["done", "outrun"]


@pytest.mark.parametrize(
    "failure",
    [
        ApiError("raft: failed to process the request: node lost leader status", status=500),
        ApiError("context deadline exceeded", status=500),
        LinkClosed("the server closed the connection without an answer"),
    ],
)
async def test_what_has_no_answer_may_have_happened(failure: Exception) -> None:
    history = await swap(FakeEngine(failure))

    [_, cas] = history.operations
    assert cas.returned is None
    assert [sample.outcome for sample in history.samples] == ["done", "unknown"]


async def test_a_read_without_an_answer_says_nothing(autojump_clock: MockClock) -> None:
    class Silent(FakeEngine):
        async def service(self, reference: str) -> ServiceJson:
            assert reference
            await trio.sleep_forever()
            raise AssertionError

    history = History(trio.current_time)
    with trio.move_on_after(4):
        await history.read(Silent(), "c1", "docker1", "register")  # type: ignore[arg-type]

    assert history.operations == []
    [sample] = history.samples
    assert sample.outcome == "unknown"
    assert sample.ended - sample.began == pytest.approx(4)
