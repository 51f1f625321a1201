"""What counts as converged, and how it is told: as docker's own progress does (see the recordings' README)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec
import pytest
import trio

from raftswarm.api.nodes import NodeJson
from raftswarm.api.services import ServiceJson
from raftswarm.api.tasks import TaskJson
from raftswarm.cli.progress import Look, follow_service, look_at
from raftswarm.cli.session import CommandFailed
from raftswarm.client import EngineClient

NODES = frozenset({"n1", "n2"})
META = {"Version": {"Index": 1}, "CreatedAt": "", "UpdatedAt": ""}


def service(replicas: int = 2, *, mode: str = "Replicated", status: dict[str, str] | None = None) -> ServiceJson:
    how = {"Replicas": replicas} if mode == "Replicated" else {}
    body = META | {"ID": "s", "Spec": {"Name": "web", "Mode": {mode: how}}}
    return msgspec.convert(body | ({"UpdateStatus": status} if status else {}), ServiceJson)


def task(slot: int, state: str, *, desired: str = "running", node: str = "n1", error: str = "") -> TaskJson:
    status = {"State": state, "Err": error}
    body = {"ID": f"t{slot}", "Spec": {}, "Slot": slot, "NodeID": node, "Status": status, "DesiredState": desired}
    return msgspec.convert(META | body, TaskJson)


def bar_of(look: Look, position: int) -> str:
    return look.bars[position - 1][1]


def test_a_service_has_converged_when_as_many_tasks_run_as_are_wanted() -> None:
    assert not look_at(service(2), [task(1, "running"), task(2, "starting")], NODES).converged
    assert look_at(service(2), [task(1, "running"), task(2, "running")], NODES).converged
    assert look_at(service(0), [], NODES).converged


def test_a_task_that_should_stop_does_not_count() -> None:
    look = look_at(service(1), [task(1, "running", desired="shutdown")], NODES)

    assert (look.running, look.converged) == (0, False)


def test_of_two_tasks_in_a_slot_the_one_that_should_run_counts() -> None:
    tasks = [task(1, "failed", desired="shutdown"), task(1, "running")]

    assert look_at(service(1), tasks, NODES).converged
    assert look_at(service(1), tasks[::-1], NODES).converged


def test_a_task_on_a_node_that_is_down_does_not_count() -> None:
    assert not look_at(service(1), [task(1, "running", node="n9")], NODES).converged


def test_bars_show_how_far_each_task_has_come() -> None:
    look = look_at(
        service(4), [task(1, "pending"), task(2, "running"), task(9, "rejected", error="No such image")], NODES
    )

    assert look.title(rolling_back=False) == "overall progress: 1 out of 4 tasks"
    assert [name for name, _ in look.bars] == ["1/4", "2/4", "3/4", "4/4"]
    assert bar_of(look, 1) == "pending   [================>                                  ]"
    assert bar_of(look, 2) == "running   [==================================================>]"
    assert bar_of(look, 3) == "No such image"
    assert bar_of(look, 4) == ""


def test_a_global_service_wants_one_task_per_node_that_has_one() -> None:
    tasks = [task(0, "running", node="n1"), task(0, "starting", node="n2")]

    assert not look_at(service(mode="Global"), [], NODES).converged
    assert not look_at(service(mode="Global"), tasks, NODES).converged
    assert look_at(service(mode="Global"), tasks[:1], NODES).converged


class FakeEngine:
    """Shows one look after another, the last for ever."""

    def __init__(self, looks: Sequence[tuple[ServiceJson, list[TaskJson]]]) -> None:
        self._looks: Iterator[tuple[ServiceJson, list[TaskJson]]] = iter(looks)
        self._present = looks[0]
        self.filters: list[Any] = []

    async def service(self, _reference: str) -> ServiceJson:
        self._present = next(self._looks, self._present)
        return self._present[0]

    async def tasks(self, filters: Any) -> list[TaskJson]:
        self.filters.append(filters)
        return self._present[1]

    async def nodes(self) -> list[NodeJson]:
        body = META | {"ID": "n1", "Spec": {}, "Description": {}, "Status": {"State": "ready"}}
        return [msgspec.convert(body, NodeJson)]


async def follow(engine: FakeEngine) -> None:
    await follow_service(cast("EngineClient", engine), "s", "web")


async def test_following_waits_until_the_tasks_are_stable(
    autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine([(service(1), []), (service(1), [task(1, "starting")]), (service(1), [task(1, "running")])])
    began = trio.current_time()

    await follow(engine)

    assert trio.current_time() - began == pytest.approx(5.4, abs=0.21)
    assert engine.filters[0] == {"service": ["s"], "_up-to-date": ["true"]}
    assert capsys.readouterr().out.splitlines() == [
        "overall progress: 0 out of 1 tasks",
        "1/1: ",
        "1/1: starting  [============================================>      ]",
        "overall progress: 1 out of 1 tasks",
        "1/1: running   [==================================================>]",
        *(f"verify: Waiting {left} seconds to verify that tasks are stable..." for left in (5, 4, 3, 2, 1)),
        "verify: Service web converged",
    ]


async def test_a_task_that_fails_while_it_is_watched_starts_the_wait_again(
    autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    running = (service(1), [task(1, "running")])
    engine = FakeEngine([running, running, (service(1), [task(1, "failed", error="exit 1")]), running])

    await follow(engine)

    output = capsys.readouterr().out
    assert output.index("verify: Detected task failure") < output.index("verify: Service web converged")


@pytest.mark.parametrize(
    ("state", "words"),
    [("paused", "service update paused: why"), ("rollback_paused", "service rollback paused: why")],
)
async def test_an_update_that_stops_is_a_failure(state: str, words: str, autojump_clock: object) -> None:
    engine = FakeEngine([(service(1, status={"State": state, "Message": "why"}), [])])

    with pytest.raises(CommandFailed) as failure:
        await follow(engine)

    assert failure.value.message == words


async def test_a_rollback_is_announced_once(autojump_clock: object, capsys: pytest.CaptureFixture[str]) -> None:
    rolling = service(1, status={"State": "rollback_started", "Message": "task t1 failed"})

    await follow(FakeEngine([(service(1), []), (rolling, []), (rolling, [task(1, "running")])]))

    output = capsys.readouterr().out
    assert output.count("rollback: task t1 failed") == 1
    assert "overall progress: rolling back update: 1 out of 1 tasks" in output


async def test_more_than_twenty_tasks_are_only_counted(
    autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    await follow(FakeEngine([(service(21), [task(slot, "running") for slot in range(1, 22)])]))

    assert "1/21" not in capsys.readouterr().out


async def test_on_a_terminal_lines_are_redrawn_in_place(
    autojump_clock: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    await follow(FakeEngine([(service(1), [task(1, "pending")]), (service(1), [task(1, "running")])]))

    assert "\x1b[1A\x1b[2K\r1/1: running " in capsys.readouterr().out


def job(mode: dict[str, Any]) -> ServiceJson:
    return msgspec.convert(META | {"ID": "s", "Spec": {"Name": "web", "Mode": mode}}, ServiceJson)


def test_a_job_has_converged_when_as_many_tasks_are_complete_as_were_asked_for() -> None:
    service = job({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 2}})
    done, failed = task(0, "complete", desired="complete"), task(1, "failed", desired="shutdown")
    retried = task(1, "running", desired="complete")

    look = look_at(service, [done, failed, retried], NODES)
    assert (look.converged, look.title(rolling_back=False)) == (False, "job progress: 1 out of 2 complete")
    assert [label for label, _ in look.bars] == ["1/2", "2/2"]
    assert look.bars[1][1].startswith("running")
    assert look_at(service, [done, failed, task(1, "complete", desired="complete")], NODES).converged


def test_a_global_job_has_converged_when_it_is_complete_on_every_node() -> None:
    service = job({"GlobalJob": {}})
    one, other = (task(0, "complete", desired="complete", node=node) for node in ("n1", "n2"))

    assert not look_at(service, [], NODES).converged
    assert not look_at(service, [one, task(0, "running", desired="complete", node="n2")], NODES).converged
    assert look_at(service, [one, other], NODES).converged


async def test_following_a_job_ends_with_its_completion(
    autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    service = job({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}})

    await follow(FakeEngine([(service, []), (service, [task(0, "complete", desired="complete")])]))

    assert capsys.readouterr().out.splitlines() == [
        "job progress: 0 out of 1 complete",
        "job progress: 1 out of 1 complete",
        "1/1: complete",
        "job complete",
    ]
