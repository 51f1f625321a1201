"""The orchestrator's loop: whatever changed about a service leads to a new plan for it, and so does time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import trio

from raftswarm.manager.loops import SteadyClock, Tables, id_source, keep_serving, write_actions
from raftswarm.manager.orchestrator.actions import AnyAction
from raftswarm.manager.orchestrator.planner import Memory, plan_removal, plan_service
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import can_host
from raftswarm.store.contracts import Change, Watch, Writes
from raftswarm.world.chance import Entropy
from raftswarm.world.clock import WallClock
from raftswarm.world.slices import Slices, run_sliced


@attrs.define(eq=False)
class Orchestrator:
    """Keeps every service's tasks as its spec wants them. Runs on the leader."""

    _store: Tables
    _writes: Writes
    _wall: WallClock
    _entropy: Entropy

    async def run(self) -> None:
        """Serve until cancelled."""
        await keep_serving(self._serve)

    async def _serve(self) -> None:
        clock = SteadyClock.start(self._wall)
        with self._store.watch(Service, Task, Node) as watch:
            agenda = _Agenda(self._store, clock)
            agenda.note_all()
            while True:
                await write_actions(self._writes, await run_sliced(self._plan(agenda, clock.now_ns())))
                await agenda.wait(watch)

    def _plan(self, agenda: _Agenda, now: int) -> Slices[list[AnyAction]]:
        nodes = {node.id: node for node in self._store.find(Node)}
        due = [
            (service_id, self._store.get(Service, service_id), self._store.tasks_of_service(service_id))
            for service_id in agenda.take(now)
        ]
        new_id = id_source(self._entropy)
        actions: list[AnyAction] = []
        for service_id, service, tasks in due:
            yield
            if service is None:
                agenda.forget(service_id)
                actions += plan_removal(tasks)
                continue
            memory = agenda.memories.get(service_id)
            plan = yield from plan_service(service, tasks, nodes, now=now, memory=memory, new_id=new_id)
            agenda.memories[service_id] = plan.memory
            if plan.wake_at is not None:
                agenda.wake_at[service_id] = plan.wake_at
            actions += plan.actions
        return actions


@attrs.define(eq=False)
class _Agenda:
    """Which services need a plan, now or later, and what was seen of them."""

    _store: Tables
    _clock: SteadyClock
    _dirty: dict[str, None] = attrs.field(factory=dict)
    wake_at: dict[str, int] = attrs.field(factory=dict)
    memories: dict[str, Memory] = attrs.field(factory=dict)

    def note_all(self) -> None:
        """Everything there is: a new leader knows nothing."""
        self._dirty = dict.fromkeys(service.id for service in self._store.find(Service))
        self._dirty |= dict.fromkeys(task.service_id for task in self._store.find(Task) if task.service_id)

    def take(self, now: int) -> Iterable[str]:
        """The services to plan now."""
        due = [service_id for service_id, moment in self.wake_at.items() if moment <= now]
        dirty = self._dirty | dict.fromkeys(due)
        self._dirty = {}
        for service_id in dirty:
            self.wake_at.pop(service_id, None)
        return dirty

    def forget(self, service_id: str) -> None:
        """It is gone."""
        self.memories.pop(service_id, None)
        self.wake_at.pop(service_id, None)

    async def wait(self, watch: Watch) -> None:
        """Wait until something is to be planned."""
        while not self._dirty:
            seconds = self._clock.seconds_until(min(self.wake_at.values())) if self.wake_at else float("inf")
            changes: Sequence[Change] = ()
            with trio.move_on_after(seconds):
                changes = await watch.next()
            if not changes:
                return
            await run_sliced(self._note_all(changes))

    def _note_all(self, changes: Iterable[Change]) -> Slices[None]:
        for change in changes:
            yield
            self._note(change)

    def _note(self, change: Change) -> None:
        match change.before, change.after:
            case (Service(id=service_id), _) | (None, Service(id=service_id)):
                self._dirty[service_id] = None
            case None, Task(service_id=service_id) if service_id:
                self._dirty[service_id] = None
            case Task() as before, (Task() | None) as after if before.service_id and _matters(before, after):
                self._dirty[before.service_id] = None
            case (Node() | None) as before, (Node() | None) as after:
                self._note_node(before, after)
            case _:
                pass

    def _note_node(self, before: Node | None, after: Node | None) -> None:
        node = after or before
        assert node is not None
        if before is not None and after is not None and _hosting(before) == _hosting(after):
            return
        for task in self._store.tasks_of_node(node.id):
            if task.service_id:
                self._dirty[task.service_id] = None
        for service in self._store.find(Service):
            if service.spec.mode.global_ is not None or service.spec.mode.global_job is not None:
                self._dirty[service.id] = None


def _matters(before: Task, after: Task | None) -> bool:
    """Tell whether a change of a task can change a plan: most are progress reports on the way up."""
    if after is None or before.desired_state != after.desired_state:
        return True
    return after.status.state >= TaskState.RUNNING and after.status.state != before.status.state


def _hosting(node: Node) -> object:
    """What of a node decides where tasks may be."""
    return can_host(node), node.spec, node.description, node.role, node.address
