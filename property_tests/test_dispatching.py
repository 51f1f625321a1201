"""What goes between managers and agents (SWARM 7.4, 7.5), whatever is late, repeated, or cannot be written for a while.

Reports: an observed state never falls, and in the end the newest is stored. Assignments: an agent never hears of a task
that is not confirmed for it, and in the end has all that are.
"""

from __future__ import annotations

from random import Random

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from raftswarm.errors import NotLeader
from raftswarm.manager.dispatcher.assignments import NodeAssignments
from raftswarm.manager.dispatcher.reports import Reports
from raftswarm.objects.records import AnyObject, Task, TaskStatus
from raftswarm.objects.specs import TaskSpec
from raftswarm.objects.states import TaskState
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.store.writes import StoreWrites

IDS = ("a", "b", "c")
STATES = [
    TaskState.ASSIGNED,
    TaskState.ACCEPTED,
    TaskState.PREPARING,
    TaskState.READY,
    TaskState.STARTING,
    TaskState.RUNNING,
    TaskState.FAILED,
]


class TenOClock:
    def now_ns(self) -> int:
        return 10


class Log(LoneProposer):
    """Leads or not, and others report while it makes up its mind."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.leads = True
        self.meanwhile: list[tuple[Reports, str, TaskStatus]] = []

    async def propose(self, command: bytes) -> object:
        for reports, task_id, status in self.meanwhile:
            reports.add_status(task_id, status)
        self.meanwhile = []
        if not self.leads:
            raise NotLeader("not any more")
        return await super().propose(command)


def put(store: Store, log: Log, *objects: AnyObject) -> None:
    transaction = store.begin()
    for stored in objects:
        transaction.delete(type(stored), stored.id)
        transaction.create(stored)
    log.apply(encode(transaction.change_set()))


def make_task(task_id: str, state: TaskState = TaskState.ASSIGNED, node: str = "here") -> Task:
    return Task(id=task_id, spec=TaskSpec(), node_id=node, status=TaskStatus(state=state))


def state_of(store: Store, task_id: str) -> TaskState:
    task = store.get(Task, task_id)
    assert task is not None
    return task.status.state


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_observed_state_never_falls_and_the_newest_report_is_stored_in_the_end(seed: int) -> None:
    chance = Random(seed)
    store = Store()
    log = Log(store)
    put(store, log, *map(make_task, IDS))
    reports = Reports(StoreWrites(store, log), "m1", TenOClock())
    seen = dict.fromkeys(IDS, 0)
    """How far each task has come, at its agent."""

    async def live() -> None:
        for _ in range(40):
            task_id = chance.choice(IDS)
            before = state_of(store, task_id)
            match chance.choice(["step", "step", "repeat", "flush", "lose", "lead", "meanwhile"]):
                case "step" if seen[task_id] < len(STATES) - 1:
                    seen[task_id] += 1
                    reports.add_status(task_id, TaskStatus(state=STATES[seen[task_id]]))
                case "repeat":
                    # A late copy over an older session, of what was written long ago.
                    await reports.flush()
                    if log.leads:
                        reports.add_status(task_id, TaskStatus(state=STATES[chance.randint(0, seen[task_id])]))
                        await reports.flush()
                case "flush":
                    await reports.flush()
                case "lose":
                    log.leads = False
                case "lead":
                    log.leads = True
                case "meanwhile" if seen[task_id] < len(STATES) - 1:
                    log.leads = False
                    reports.add_status(task_id, TaskStatus(state=STATES[seen[task_id]]))
                    seen[task_id] += 1
                    log.meanwhile.append((reports, task_id, TaskStatus(state=STATES[seen[task_id]])))
                    await reports.flush()
                    for one, name, status in log.meanwhile:
                        one.add_status(name, status)  # Nothing was to be written, so nobody asked.
                    log.meanwhile = []
            assert state_of(store, task_id) >= before
        log.leads = True
        await reports.flush()
        await reports.flush()

    trio.run(live)

    assert {task_id: state_of(store, task_id) for task_id in IDS} == {
        task_id: STATES[place] for task_id, place in seen.items()
    }


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(IDS),
            st.sampled_from([TaskState.NEW, TaskState.PENDING, TaskState.ASSIGNED, TaskState.RUNNING, None]),
            st.sampled_from(["here", "here", "elsewhere", ""]),
            st.sampled_from(["", "send", "send", "start over"]),
        ),
        max_size=20,
    )
)
def test_an_agent_hears_of_confirmed_tasks_alone_and_in_the_end_of_all(
    steps: list[tuple[str, TaskState | None, str, str]],
) -> None:
    store = Store()
    log = Log(store)
    assignments = NodeAssignments("here")
    has: dict[str, Task] = {}

    def send() -> None:
        message = assignments.next_message(store, ())
        if message is None:
            return
        if message.complete:
            has.clear()
        for task in message.tasks:
            assert (task.node_id, task.status.state >= TaskState.ASSIGNED) == ("here", True)
            has[task.id] = task
        for task_id in message.removed:
            del has[task_id]

    for task_id, state, node, then in steps:
        transaction = store.begin()
        transaction.delete(Task, task_id)
        if state is not None:
            transaction.create(make_task(task_id, state, node))
        if transaction.changes:
            log.apply(encode(transaction.change_set()))
        assignments.note(task_id)
        if then == "start over":
            assignments.start_over()
        if then:
            send()
    send()
    send()

    confirmed = {
        task.id for task in store.find(Task) if task.node_id == "here" and task.status.state >= TaskState.ASSIGNED
    }
    assert {*has} == confirmed
