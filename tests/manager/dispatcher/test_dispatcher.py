"""Sessions, heartbeats and streams (SWARM 7.1 to 7.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.errors import NotLeader, RequestRefused
from raftswarm.manager.dispatcher.dispatcher import Dispatcher
from raftswarm.manager.dispatcher.sessions import RATE_LIMIT, RATE_PERIOD_SECONDS
from raftswarm.manager.dispatcher.term import LEADERSHIP_CHANGE, MAX_STATUS_BYTES, ORPHAN_SECONDS
from raftswarm.objects.records import Cluster, Endpoint, Node, NodeDescription, Service, Task, TaskStatus
from raftswarm.objects.specs import DispatcherConfig, PortConfig, ServiceSpec, SwarmSpec, TaskSpec
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.store.store import Store
from raftswarm.wire.requests import (
    Assignments,
    BeatHeart,
    GetAssignments,
    ManagerPeer,
    OpenSession,
    ReportStatus,
    SessionMessage,
)

Running = Callable[[], Any]
T = TypeVar("T")
HOST = NodeDescription(hostname="docker1")


class Agent:
    """A node's side of the streams; leave the stack to hang up."""

    def __init__(self, dispatcher: Dispatcher, stack: AsyncExitStack, node_id: str = "n1") -> None:
        self._dispatcher = dispatcher
        self._stack = stack
        self.node_id = node_id
        self.session_id = ""

    async def register(self, description: NodeDescription = HOST) -> AsyncIterator[SessionMessage]:
        request = OpenSession(description=description, session_id=self.session_id)
        messages = await self._stack.enter_async_context(
            self._dispatcher.open_session(self.node_id, "10.0.0.9:4000", request)
        )
        self.first = await anext(messages)
        self.session_id = self.first.session_id
        return messages

    async def assignments(self) -> AsyncIterator[Assignments]:
        request = GetAssignments(session_id=self.session_id)
        return await self._stack.enter_async_context(self._dispatcher.get_assignments(self.node_id, request))

    def beat(self) -> float:
        return self._dispatcher.beat_heart(self.node_id, BeatHeart(session_id=self.session_id)).period_seconds

    async def report(self, task_id: str, status: TaskStatus) -> None:
        await self._dispatcher.report_status(
            self.node_id, ReportStatus(session_id=self.session_id, statuses=((task_id, status),))
        )


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def agent(dispatcher: Dispatcher, stack: AsyncExitStack, put: Callable[..., None]) -> Agent:
    put(Node(id="n1"))
    return Agent(dispatcher, stack)


def node_of(store: Store, node_id: str = "n1") -> Node:
    node = store.get(Node, node_id)
    assert node is not None
    return node


def make_task(task_id: str, state: TaskState = TaskState.ASSIGNED, node: str = "n1") -> Task:
    return Task(id=task_id, spec=TaskSpec(), service_id="web", node_id=node, status=TaskStatus(state=state))


async def has_nothing(messages: AsyncIterator[Any]) -> bool:
    with trio.move_on_after(1):
        await anext(messages)
        return False
    return True


async def test_a_registered_node_is_ready_before_it_is_answered(
    agent: Agent, store: Store, leading: Running, peers: list[ManagerPeer], autojump_clock: MockClock
) -> None:
    async with leading():
        await agent.register()

        node = node_of(store)
        assert (node.state, node.description, node.address) == (NodeState.READY, HOST, "10.0.0.9")
        assert len(agent.first.session_id) == 25
        assert (agent.first.node, agent.first.managers) == (node, tuple(peers))
        assert 4.5 <= agent.first.heartbeat_seconds <= 5.5


async def test_an_unknown_node_is_not_registered(dispatcher: Dispatcher, leading: Running) -> None:
    async with leading():
        with pytest.raises(RequestRefused, match=r"^node not registered$") as refused:
            async with dispatcher.open_session("nosuch", "10.0.0.9:1", OpenSession(description=HOST)):
                pass
    assert refused.value.code == "NotFound"


async def test_without_leadership_everything_is_refused(agent: Agent, dispatcher: Dispatcher) -> None:
    with pytest.raises(NotLeader):
        await agent.register()
    with pytest.raises(NotLeader):
        agent.beat()
    with pytest.raises(NotLeader):
        await agent.report("a", TaskStatus())


async def test_a_new_registration_ends_the_session_before_it(
    agent: Agent, dispatcher: Dispatcher, stack: AsyncExitStack, leading: Running, autojump_clock: MockClock
) -> None:
    async with leading():
        old_messages = await agent.register()
        old_assignments = await agent.assignments()
        second = Agent(dispatcher, stack)
        await second.register()

        assert second.session_id != agent.session_id
        for call in (lambda: anext(old_messages), lambda: anext(old_assignments), agent.assignments):
            with pytest.raises(RequestRefused, match=r"^session invalid$") as refused:
                await call()
            assert refused.value.code == "InvalidArgument"
        with pytest.raises(RequestRefused, match=r"^session invalid$"):
            agent.beat()
        second.beat()


async def test_a_known_session_is_resumed_with_a_fresh_description(
    agent: Agent, store: Store, leading: Running, autojump_clock: MockClock
) -> None:
    async with leading():
        await agent.register()
        session_id = agent.session_id

        await agent.register(NodeDescription(hostname="renamed"))

        assert agent.session_id == session_id
        assert node_of(store).description.hostname == "renamed"
        agent.beat()


async def test_who_registers_too_often_has_to_wait(agent: Agent, leading: Running, autojump_clock: MockClock) -> None:
    async with leading():
        for _ in range(RATE_LIMIT):
            agent.session_id = ""
            await agent.register()

        agent.session_id = ""
        with pytest.raises(RequestRefused, match=r"^node n1 exceeded rate limit count of registrations$") as refused:
            await agent.register()
        assert refused.value.code == "Unavailable"
        await trio.sleep(RATE_PERIOD_SECONDS + 0.1)
        await agent.register()


async def test_news_of_node_managers_and_settings_are_sent_when_they_come(
    agent: Agent,
    store: Store,
    put: Callable[..., None],
    *,
    cluster: Cluster,
    peers: list[ManagerPeer],
    leading: Running,
    autojump_clock: MockClock,
) -> None:
    async with leading():
        messages = await agent.register()
        assert await has_nothing(messages)

        put(replace(node_of(store), spec=replace(node_of(store).spec, availability="drain")))
        assert (await anext(messages)).node.spec.availability == "drain"
        peers.append(ManagerPeer(node_id="m2", address="10.0.0.2:2377"))
        put(Node(id="m2", role="manager"))
        assert [peer.node_id for peer in (await anext(messages)).managers] == ["m1", "m2"]
        put(replace(cluster, spec=SwarmSpec(dispatcher=DispatcherConfig(heartbeat_period=60_000_000_000))))
        assert (await anext(messages)).heartbeat_seconds > 50
        put(Node(id="stranger"))
        assert await has_nothing(messages)


async def test_who_beats_in_time_stays_ready_and_who_stops_is_down_after_three_periods(
    agent: Agent, store: Store, leading: Running, autojump_clock: MockClock
) -> None:
    async with leading():
        messages = await agent.register()
        period = 0.0
        for _ in range(5):
            await trio.sleep(13)
            period = agent.beat()
            assert 4.5 <= period <= 5.5
        assert node_of(store).state is NodeState.READY

        await trio.sleep(3 * period - 0.1)
        assert node_of(store).state is NodeState.READY
        await trio.sleep(0.3)

        node = node_of(store)
        assert (node.state, node.message) == (NodeState.DOWN, "heartbeat failure")
        with pytest.raises(RequestRefused, match=r"^node not registered$"):
            await anext(messages)
        with pytest.raises(RequestRefused, match=r"^node not registered$"):
            agent.beat()


async def test_a_node_that_was_down_comes_back(
    agent: Agent, store: Store, leading: Running, autojump_clock: MockClock
) -> None:
    async with leading():
        await agent.register()
        await trio.sleep(20)
        assert node_of(store).state is NodeState.DOWN

        await agent.register()

        assert (node_of(store).state, node_of(store).message) == (NodeState.READY, "")
        agent.beat()


async def test_a_new_period_counts_from_the_next_beat(
    agent: Agent, put: Callable[..., None], cluster: Cluster, leading: Running, autojump_clock: MockClock
) -> None:
    async with leading():
        await agent.register()
        put(replace(cluster, spec=SwarmSpec(dispatcher=DispatcherConfig(heartbeat_period=1_000_000_000))))

        assert 0.9 <= agent.beat() <= 1.1


async def test_a_new_leader_doubts_all_nodes_and_gives_them_twice_the_time(
    dispatcher: Dispatcher, store: Store, put: Callable[..., None], leading: Running, autojump_clock: MockClock
) -> None:
    put(Node(id="ready", state=NodeState.READY), Node(id="down", state=NodeState.DOWN, message="heartbeat failure"))

    async with leading():
        assert (node_of(store, "ready").state, node_of(store, "ready").message) == (
            NodeState.UNKNOWN,
            LEADERSHIP_CHANGE,
        )
        assert node_of(store, "down").message == "heartbeat failure"
        await trio.sleep(29.9)
        assert node_of(store, "ready").state is NodeState.UNKNOWN
        await trio.sleep(0.2)

        assert (node_of(store, "ready").state, node_of(store, "ready").message) == (
            NodeState.DOWN,
            'heartbeat failure for node in "unknown" state',
        )


async def test_losing_leadership_ends_the_streams_and_says_so_in_the_store_if_it_still_can(
    agent: Agent, store: Store, leading: Running, autojump_clock: MockClock
) -> None:
    async with leading():
        messages = await agent.register()
        assignments = await agent.assignments()
        await anext(assignments)

    for stream in (messages, assignments):
        with pytest.raises(RequestRefused, match=r"^node must disconnect$") as refused:
            await anext(stream)
        assert refused.value.code == "Aborted"
    node = node_of(store)
    assert (node.state, node.message) == (
        NodeState.DISCONNECTED,
        "node is currently trying to find new manager",
    )


async def test_a_leader_that_can_write_no_more_ends_at_once(
    agent: Agent, store: Store, log: Any, leading: Running, autojump_clock: MockClock
) -> None:
    async with leading():
        await agent.register()
        log.leading = False
        start = trio.current_time()

    assert trio.current_time() - start < 0.5
    assert node_of(store).state is NodeState.READY


async def test_a_registration_that_leadership_does_not_outlast_is_answered(
    agent: Agent, log: Any, leading: Running, autojump_clock: MockClock
) -> None:
    refusals: list[str] = []

    async def register() -> None:
        with pytest.raises(RequestRefused) as refused:
            await agent.register()
        refusals.append(str(refused.value))

    async with trio.open_nursery() as nursery, leading():
        log.leading = False
        nursery.start_soon(register)
        await wait_all_tasks_blocked()

    assert refusals == ["node must disconnect"]


async def test_tasks_of_a_node_that_stays_down_are_given_up_after_a_day(
    agent: Agent, store: Store, put: Callable[..., None], leading: Running, autojump_clock: MockClock
) -> None:
    put(make_task("running", TaskState.RUNNING), make_task("failed", TaskState.FAILED), make_task("new", TaskState.NEW))
    async with leading():
        await agent.register()
        await trio.sleep(ORPHAN_SECONDS)
        states = [task.status.state for task in store.find(Task)]
        assert states == [TaskState.FAILED, TaskState.NEW, TaskState.RUNNING]
        await trio.sleep(60)

    assert [task.status.state for task in store.find(Task)] == [TaskState.FAILED, TaskState.NEW, TaskState.ORPHANED]


async def test_a_removed_nodes_session_ends(
    agent: Agent, store: Store, remove: Callable[..., None], leading: Running, autojump_clock: MockClock
) -> None:
    async with leading():
        messages = await agent.register()
        await agent.assignments()

        remove(node_of(store))
        await trio.sleep(0.1)

        with pytest.raises(RequestRefused, match=r"^node not registered$"):
            await anext(messages)
        with pytest.raises(RequestRefused, match=r"^node not registered$"):
            agent.beat()
        await trio.sleep(60)
        assert store.get(Node, "n1") is None


async def test_a_task_that_came_to_a_node_while_it_was_removed_is_given_up(
    agent: Agent,
    store: Store,
    put: Callable[..., None],
    remove: Callable[..., None],
    leading: Running,
    autojump_clock: MockClock,
) -> None:
    put(make_task("a", TaskState.RUNNING))
    async with leading():
        await agent.register()

        remove(node_of(store))
        await trio.sleep(0.1)

    assert [task.status.state for task in store.find(Task)] == [TaskState.ORPHANED]


async def test_a_new_leader_gives_up_what_is_on_nodes_that_are_gone(
    store: Store, put: Callable[..., None], leading: Running, autojump_clock: MockClock
) -> None:
    put(make_task("a", TaskState.RUNNING, node="gone"), make_task("b", TaskState.FAILED, node="gone"))

    async with leading():
        await trio.sleep(0.1)

    assert [task.status.state for task in store.find(Task)] == [TaskState.ORPHANED, TaskState.FAILED]


async def test_tasks_reach_their_own_node_at_once_and_then_in_batches(
    agent: Agent, put: Callable[..., None], leading: Running, autojump_clock: MockClock
) -> None:
    put(make_task("a"), make_task("x", node="n2"))
    async with leading():
        await agent.register()
        assignments = await agent.assignments()
        first = await anext(assignments)
        assert (first.complete, [task.id for task in first.tasks]) == (True, ["a"])
        await trio.sleep(1)
        start = trio.current_time()

        put(make_task("b"), make_task("y", node="n2"))
        second = await anext(assignments)
        assert (second.complete, [task.id for task in second.tasks]) == (False, ["b"])
        assert trio.current_time() == start
        for task_id in "cd":
            put(make_task(task_id))
        third = await anext(assignments)

        assert [task.id for task in third.tasks] == ["c", "d"]
        assert trio.current_time() - start == pytest.approx(0.1)
        assert await has_nothing(assignments)


async def test_a_second_stream_takes_the_place_of_the_first(
    agent: Agent, put: Callable[..., None], leading: Running, autojump_clock: MockClock
) -> None:
    async with leading():
        await agent.register()
        first = await agent.assignments()
        await anext(first)
        second = await agent.assignments()
        await anext(second)

        with pytest.raises(RequestRefused, match=r"^session invalid$"):
            await anext(first)
        put(make_task("a"))
        assert [task.id for task in (await anext(second)).tasks] == ["a"]


async def test_routes_follow_the_tasks_behind_them(
    agent: Agent, store: Store, put: Callable[..., None], leading: Running, autojump_clock: MockClock
) -> None:
    port = PortConfig(target_port=80, published_port=8080)
    put(
        Service(id="web", spec=ServiceSpec(name="web"), endpoint=Endpoint(ports=(port,))),
        make_task("a"),
        make_task("b", node="n2"),
        Node(id="n2", state=NodeState.READY),
    )
    running = TaskStatus(state=TaskState.RUNNING, address="127.64.0.1")
    async with leading():
        await agent.register()
        assignments = await agent.assignments()
        first = await anext(assignments)
        assert first.routes is not None
        assert [route.backends for route in first.routes] == [()]

        await agent.report("a", running)
        second = await anext(assignments)
        put(replace(make_task("b", node="n2"), status=running))
        third = await anext(assignments)
        put(replace(node_of(store, "n2"), state=NodeState.DOWN))
        fourth = await anext(assignments)

        served = [
            [backend.task_id for backend in message.routes[0].backends] if message.routes is not None else None
            for message in (second, third, fourth)
        ]
        assert served == [["a"], ["a", "b"], ["a"]]


async def test_after_too_many_changes_an_agent_gets_everything_again(
    agent: Agent, put: Callable[..., None], leading: Running, autojump_clock: MockClock, store: Store
) -> None:
    async with leading():
        await agent.register()
        assignments = await agent.assignments()
        await anext(assignments)
        await trio.sleep(1)

        for number in range(101):
            put(*(make_task(f"{number}-{other}", node="n2") for other in range(100)))
        put(make_task("a"))
        message = await anext(assignments)

        assert (message.complete, [task.id for task in message.tasks]) == (True, ["a"])


async def test_a_report_is_stored(
    agent: Agent, store: Store, put: Callable[..., None], leading: Running, autojump_clock: MockClock
) -> None:
    put(make_task("a"))
    async with leading():
        await agent.register()

        await agent.report("a", TaskStatus(state=TaskState.RUNNING, message="started"))
        await agent.report("gone", TaskStatus(state=TaskState.RUNNING))
        await trio.sleep(0.2)

        task = store.get(Task, "a")
        assert task is not None
        assert (task.status.state, task.status.applied_by) == (TaskState.RUNNING, "m1")


@pytest.mark.parametrize(
    ("task_id", "status", "code"),
    [
        ("x", TaskStatus(state=TaskState.FAILED), "PermissionDenied"),
        ("a", TaskStatus(state=TaskState.REMOVE), "InvalidArgument"),
        ("a", TaskStatus(state=TaskState.RUNNING, message="x" * MAX_STATUS_BYTES), "InvalidArgument"),
    ],
)
async def test_a_report_about_another_nodes_task_or_without_sense_is_refused(
    agent: Agent,
    store: Store,
    put: Callable[..., None],
    leading: Running,
    autojump_clock: MockClock,
    *,
    task_id: str,
    status: TaskStatus,
    code: str,
) -> None:
    put(make_task("a"), make_task("x", node="n2"), Node(id="n2"))
    async with leading():
        await agent.register()

        with pytest.raises(RequestRefused) as refused:
            await agent.report(task_id, status)
        await trio.sleep(0.2)

    assert refused.value.code == code
    assert {task.status.state for task in store.find(Task)} == {TaskState.ASSIGNED}
