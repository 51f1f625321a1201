"""How a service comes up: asked for every 200 ms until its tasks have been stable for its monitoring period.

`look_at` decides from one look at the swarm; `follow_service` looks again and again and draws what changed: bars that
are redrawn on a terminal, one line per change elsewhere.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Final

import attrs
import click
import trio

from raftswarm.api.services import ServiceJson
from raftswarm.api.tasks import TaskJson
from raftswarm.api.times import SECOND
from raftswarm.cli.session import CommandFailed
from raftswarm.client import EngineClient
from raftswarm.objects import defaults
from raftswarm.objects.specs import ServiceMode, is_job
from raftswarm.objects.states import TaskState

_STEP_SECONDS: Final = 0.2
_MOST_BARS: Final = 20
_BAR_WIDTH: Final = 50
_STEPS: Final = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running")
_TEXT_WIDTH: Final = 80


@attrs.frozen
class Look:
    """What one look at a service shows."""

    running: int
    """Of a job: how many have come to their end."""
    wanted: int
    bars: tuple[tuple[str, str], ...]
    """Label and text, one per slot or node."""
    is_job: bool = False

    @property
    def converged(self) -> bool:
        """Tell whether every task that is wanted runs, or is done."""
        return self.running == self.wanted

    def title(self, *, rolling_back: bool) -> str:
        """The line above the bars."""
        if self.is_job:
            return f"job progress: {self.running} out of {self.wanted} complete"
        kind = "rolling back update: " if rolling_back else ""
        return f"overall progress: {kind}{self.running} out of {self.wanted} tasks"


def look_at(service: ServiceJson, tasks: Sequence[TaskJson], live_nodes: frozenset[str]) -> Look:
    """Count what runs of the current spec. `tasks` are those made from it; on nodes that are down they do not count."""
    if is_job(service.spec.mode):
        return _look_at_job(service.spec.mode, tasks)
    placed = [task for task in tasks if not task.node_id or task.node_id in live_nodes]
    if service.spec.mode.global_ is not None:
        return _look_at_nodes(placed)
    replicated = service.spec.mode.replicated
    wanted = replicated.replicas or 0 if replicated is not None else 0
    slots: dict[int, TaskJson] = {}
    for task in placed:
        if task.slot not in slots or _precedence(task) < _precedence(slots[task.slot]):
            slots[task.slot] = task
    bars = []
    # A slot's number may be larger than the count of slots, after scaling: bars are numbered by position.
    for position, slot in enumerate(sorted(slots)[:wanted], 1):
        bars.append((f"{position}/{wanted}", _describe(slots[slot])))
    bars += [(f"{position}/{wanted}", "") for position in range(len(bars) + 1, wanted + 1)]
    return Look(sum(_runs(task) for task in slots.values()), wanted, tuple(bars))


def _look_at_nodes(tasks: Sequence[TaskJson]) -> Look:
    nodes: dict[str, TaskJson] = {}
    for task in tasks:
        if _state(task.desired_state).is_terminal:
            continue
        if task.node_id not in nodes or _precedence(task) < _precedence(nodes[task.node_id]):
            nodes[task.node_id] = task
    bars = tuple((node_id[:12], _describe(nodes[node_id])) for node_id in sorted(nodes))
    # Without a task nobody has planned yet: one is wanted, whatever it will be.
    return Look(sum(_runs(task) for task in nodes.values()), len(nodes) or 1, bars)


def _look_at_job(mode: ServiceMode, tasks: Sequence[TaskJson]) -> Look:
    places: dict[tuple[int, str], TaskJson] = {}
    for task in tasks:
        place = (task.slot, "") if mode.replicated_job is not None else (0, task.node_id)
        if place not in places or _progress(task) > _progress(places[place]):
            places[place] = task
    # Without a task nobody has planned yet: one is wanted, whatever it will be.
    wanted = len(places) or 1 if mode.replicated_job is None else mode.replicated_job.total_completions or 0
    labels = {place: place[1][:12] or f"{place[0] + 1}/{wanted}" for place in sorted(places)}
    bars = tuple((label, _describe(places[place])) for place, label in labels.items())
    return Look(sum(task.status.state == "complete" for task in places.values()), wanted, bars, is_job=True)


def _progress(task: TaskJson) -> tuple[bool, int]:
    """Of several tries the one that is done counts, or the one that is still wanted."""
    return task.status.state == "complete", -_state(task.desired_state)


def _state(word: str) -> TaskState:
    return TaskState.__members__.get(word.upper(), TaskState.NEW)


def _precedence(task: TaskJson) -> tuple[int, int]:
    """Of several tasks in a slot the one that should run counts, not the one on its way out."""
    return _state(task.desired_state), _state(task.status.state)


def _runs(task: TaskJson) -> bool:
    return task.status.state == "running" and not _state(task.desired_state).is_terminal


def _describe(task: TaskJson) -> str:
    if task.status.err and task.status.state != "running":
        text = task.status.err
        return text if len(text) < _TEXT_WIDTH else text[: _TEXT_WIDTH - 1] + "…"
    if task.status.state not in _STEPS:
        return task.status.state
    filled = _BAR_WIDTH * (_STEPS.index(task.status.state) + 1) // len(_STEPS)
    return f"{task.status.state:<9} [{'=' * filled + '>':<{_BAR_WIDTH + 1}}]"


async def follow_service(engine: EngineClient, service_id: str, label: str, *, quiet: bool = False) -> None:
    """Wait until a service has converged and stayed so; `CommandFailed` if its update was paused."""
    canvas = _quiet_canvas() if quiet else _Canvas(on_terminal=sys.stdout.isatty())
    stable_since: float | None = None
    rolling_back = False
    while True:
        service = await engine.service(service_id)
        status = service.update_status
        state = status.state if status is not None else ""
        message = status.message if status is not None else ""
        if state in ("paused", "rollback_paused"):
            what = "service update paused" if state == "paused" else "service rollback paused"
            raise CommandFailed(f"{what}: {message}")
        if state in ("completed", "rollback_completed") and stable_since is None and canvas.drew:
            canvas.draw("verify", f"verify: Service {label} converged")
            return
        if state == "rollback_started" and not rolling_back:
            rolling_back = True
            canvas.draw("rollback", f"rollback: {message}")

        look = await _look(engine, service)
        canvas.draw("title", look.title(rolling_back=rolling_back))
        if len(look.bars) <= _MOST_BARS:
            for name, text in look.bars:
                canvas.draw(name, f"{name}: {text}")
        now = trio.current_time()
        if look.is_job and look.converged:
            canvas.draw("verify", "job complete")
            return
        if not look.converged:
            if stable_since is not None:
                canvas.draw("verify", "verify: Detected task failure")
            stable_since = None
        else:
            stable_since = now if stable_since is None else stable_since
            left = stable_since + _monitor_seconds(service) - now
            if left <= 0:
                canvas.draw("verify", f"verify: Service {label} converged")
                return
            wait = f"verify: Waiting {math.ceil(left)} seconds to verify that tasks are stable..."
            canvas.draw("verify", wait)
        await trio.sleep(_STEP_SECONDS)


def _monitor_seconds(service: ServiceJson) -> float:
    config = service.spec.update_config
    return ((config.monitor if config else 0) or defaults.UPDATE_MONITOR) / SECOND


async def _look(engine: EngineClient, service: ServiceJson) -> Look:
    tasks = await engine.tasks({"service": [service.id], "_up-to-date": ["true"]})
    nodes = await engine.nodes()
    return look_at(service, tasks, frozenset(node.id for node in nodes if node.status.state != "down"))


class _Canvas:
    """Lines by name: redrawn in place on a terminal, printed when they change elsewhere."""

    def __init__(self, *, on_terminal: bool, silent: bool = False) -> None:
        self._on_terminal = on_terminal
        self._silent = silent
        self._lines: dict[str, str] = {}

    @property
    def drew(self) -> bool:
        return bool(self._lines)

    def draw(self, name: str, text: str) -> None:
        if self._lines.get(name) == text:
            return
        is_new = name not in self._lines
        self._lines[name] = text
        if self._silent:
            return
        if is_new or not self._on_terminal:
            click.echo(text)
            return
        up = len(self._lines) - list(self._lines).index(name)
        click.echo(f"\x1b[{up}A\x1b[2K\r{text}\r\x1b[{up}B", nl=False)


def _quiet_canvas() -> _Canvas:
    return _Canvas(on_terminal=False, silent=True)
