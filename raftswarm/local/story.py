"""The demo: five daemons, told as a story. Each step says what is expected, does it, and looks.

Nothing here prints: whoever runs the story is told of each step as it begins and ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

import attrs
import trio
from msgspec.structs import replace

from raftswarm.api.nodes import NodeJson
from raftswarm.api.swarm import InitJson
from raftswarm.api.tasks import TaskJson
from raftswarm.client import ApiError, EngineClient
from raftswarm.errors import LinkError, RaftSwarmError
from raftswarm.http.addresses import TcpAddress
from raftswarm.http.client import HttpClient
from raftswarm.local.swarm import LocalNode, LocalSwarm
from raftswarm.objects.defaults import SECOND
from raftswarm.objects.specs import (
    ContainerSpec,
    DispatcherConfig,
    EncryptionConfig,
    EndpointSpec,
    PortConfig,
    Replicated,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    SwarmSpec,
    TaskSpec,
    UpdateConfig,
)

T = TypeVar("T")

STEP_SECONDS: Final = 25.0
POLL_SECONDS: Final = 0.05
PUBLISHED_PORT: Final = 8080
GREETING: Final = ["GREETING=hello"]

SWARM: Final = SwarmSpec(
    dispatcher=DispatcherConfig(heartbeat_period=SECOND),  # A dead machine is noticed after 3 s instead of 15.
    encryption_config=EncryptionConfig(auto_lock_managers=True),
)
WEB: Final = ServiceSpec(
    name="web",
    task_template=TaskSpec(
        container_spec=ContainerSpec(
            image="python-http-server",
            command=["python3", "-m", "http.server", "--bind", "{{.Task.Address}}", "{{.Task.Port}}"],
            stop_grace_period=SECOND,
        ),
        restart_policy=RestartPolicy(delay=SECOND // 2),
    ),
    mode=ServiceMode(replicated=Replicated(replicas=3)),
    update_config=UpdateConfig(parallelism=1, monitor=SECOND // 2, failure_action="pause", order="stop-first"),
    endpoint_spec=EndpointSpec(ports=[PortConfig(target_port=8000, published_port=PUBLISHED_PORT)]),
)


@attrs.frozen(kw_only=True)
class Step:
    """One line of the closing table."""

    title: str
    expected: str
    seen: str
    seconds: float
    held: bool


class Listener(Protocol):
    """Who is told the story as it happens."""

    def began(self, title: str) -> None:
        """A step begins."""
        ...

    def progress(self, text: str) -> None:
        """Something to see meanwhile."""
        ...

    def ended(self, step: Step) -> None:
        """A step is over."""
        ...


class Unexpected(Exception):
    """Something else than what was expected was seen."""


class Story:
    """Runs the steps on a local swarm that is laid out but not started."""

    def __init__(self, swarm: LocalSwarm, listener: Listener) -> None:
        self._swarm = swarm
        self._listener = listener
        self._steps: list[Step] = []
        self._unlock_key = ""
        self._killed_manager = swarm.nodes[0]
        self._killed_machine = swarm.nodes[-1]

    async def tell(self) -> Sequence[Step]:
        """Run every step; after one that did not hold, the rest would say nothing, so the story ends there."""
        for title, expected, act in (
            ("start five daemons", "5 answer", self._start),
            ("init with autolock", "one manager leads, with an unlock key", self._init),
            ("join by token", "3 managers, 2 workers, all ready", self._join),
            ("create a web service", "3 of 3 running", self._create),
            ("fetch it through any node", "200 from 5 nodes", self._fetch),
            ("kill the leader (SIGKILL)", "another leads and takes a write", self._kill_leader),
            ("kill a worker's machine", "3 of 3 running elsewhere", self._kill_machine),
            ("the machine returns", "3 running, none twice", self._return_machine),
            ("restart the old manager", "locked, unlocked, Reachable, not Leader", self._restart_manager),
            ("scale to 6", "6 of 6 running", self._scale),
            ("update one at a time", "6 of 6 updated, never below 5", self._update),
            ("remove the service", "no task left", self._remove),
        ):
            if not await self._step(title, expected, act):
                break
        return self._steps

    async def _step(self, title: str, expected: str, act: Callable[[], Awaitable[str]]) -> bool:
        self._listener.began(title)
        begin = trio.current_time()
        held = False
        try:
            with trio.fail_after(STEP_SECONDS):
                seen = await act()
            held = True
        except trio.TooSlowError:
            seen = f"not within {STEP_SECONDS:.0f} s"
        except (Unexpected, ApiError, RaftSwarmError) as unexpected:
            seen = str(unexpected)
        step = Step(title=title, expected=expected, seen=seen, seconds=trio.current_time() - begin, held=held)
        self._steps.append(step)
        self._listener.ended(step)
        return held

    # The steps.

    async def _start(self) -> str:
        await self._swarm.start(*self._swarm.nodes)
        return f"{len(self._swarm.nodes)} answer"

    async def _init(self) -> str:
        await self._swarm.begin(InitJson(spec=SWARM))
        async with EngineClient(self._swarm.nodes[0].docker_host) as client:
            self._unlock_key = await client.swarm_unlock_key()
        _expect(self._unlock_key.startswith("SWMKEY-1-"), "there is no unlock key")
        return f"{await self._leader()} leads, {self._unlock_key[:12]}…"

    async def _join(self) -> str:
        await self._swarm.join_others(self._listener.progress)

        def all_ready(nodes: list[NodeJson]) -> str | None:
            ready = sum(node.status.state == "ready" for node in nodes)
            managers = sum(_is_reachable(node) for node in nodes)
            self._listener.progress(f"{ready} of {len(self._swarm.nodes)} ready")
            if ready == len(self._swarm.nodes) and managers == 3:
                return f"{managers} managers, {ready - managers} workers, all ready"
            return None

        return await self._until(EngineClient.nodes, all_ready)

    async def _create(self) -> str:
        async with self._client() as client:
            await client.create_service(WEB)
        return await self._until_running(3)

    async def _fetch(self) -> str:
        for node in self._swarm.nodes:
            while (answer := await self._fetch_from(node)) != "200":
                self._listener.progress(f"{node.name}: {answer}")
                await trio.sleep(POLL_SECONDS)
            self._listener.progress(f"{node.name} answered {answer}")
        return f"200 from {len(self._swarm.nodes)} nodes"

    async def _kill_leader(self) -> str:
        leader = self._swarm.node(await self._leader())
        self._killed_manager = leader
        begin = trio.current_time()
        await self._swarm.kill(leader)
        await self._update_service(lambda spec: replace(spec, labels={"survived": leader.name}))
        took = trio.current_time() - begin
        new = await self._leader()
        _expect(new != leader.name, f"{leader.name} is dead and still leads")
        return f"{new} leads, wrote after {took * 1000:.0f} ms"

    async def _kill_machine(self) -> str:
        async with self._client() as client:
            tasks, names = await client.tasks(), _names(await client.nodes())
        hosts = [names[task.node_id] for task in _running(tasks)]
        workers = [node for node in self._swarm.nodes if node.role == "worker"]
        worker = max(workers, key=lambda node: hosts.count(node.name))
        lost = hosts.count(worker.name)
        self._killed_machine = worker
        await self._swarm.kill(worker, machine=True)

        def elsewhere(tasks: list[TaskJson]) -> str | None:
            running = sum(names[task.node_id] != worker.name for task in _running(tasks))
            self._listener.progress(f"{running} of 3 running outside {worker.name}")
            return f"{worker.name} lost {lost}; 3 of 3 running elsewhere" if running == 3 else None

        return await self._until(EngineClient.tasks, elsewhere)

    async def _return_machine(self) -> str:
        worker = self._killed_machine
        await self._swarm.start(worker)

        def is_back(nodes: list[NodeJson]) -> str | None:
            states = {_host(node): node.status.state for node in nodes}
            return "back" if states[worker.name] == "ready" else None

        await self._until(EngineClient.nodes, is_back)
        async with self._client() as client:
            slots = [task.slot for task in _running(await client.tasks())]
        _expect(sorted(slots) == [1, 2, 3], f"slots {sorted(slots)} are running")
        # The killed manager's daemon is dead, but its tasks live: they are its business when it returns.
        processes = self._processes(node for node in self._swarm.nodes if node.pid is not None)
        _expect(processes <= 3, f"{processes} processes run for 3 tasks")
        return f"{worker.name} is back; 3 running, none twice"

    async def _restart_manager(self) -> str:
        manager = self._killed_manager
        await self._swarm.start(manager)
        async with EngineClient(manager.docker_host) as client:
            state = (await client.info()).swarm.local_node_state
            _expect(state == "locked", f"{manager.name} is {state}, not locked")
            self._listener.progress(f"{manager.name} is locked")
            await _expect_refusal(client.swarm_unlock("SWMKEY-1-" + "A" * 43), "a wrong key unlocked it")
            self._listener.progress("a wrong key does not unlock it")
            await client.swarm_unlock(self._unlock_key)

        def is_reachable(nodes: list[NodeJson]) -> str | None:
            node = next(node for node in nodes if _host(node) == manager.name)
            if not _is_reachable(node) or node.status.state != "ready":
                return None
            leads = node.manager_status is not None and node.manager_status.leader
            _expect(not leads, f"{manager.name} leads again")
            return "locked, unlocked, Reachable, not Leader"

        seen = await self._until(EngineClient.nodes, is_reachable)
        while (processes := self._processes(self._swarm.nodes)) != 3:
            self._listener.progress(f"{processes} processes for 3 tasks")
            await trio.sleep(POLL_SECONDS)
        return seen

    async def _scale(self) -> str:
        await self._update_service(lambda spec: replace(spec, mode=ServiceMode(replicated=Replicated(replicas=6))))
        return await self._until_running(6)

    async def _update(self) -> str:
        await self._update_service(_with_greeting)
        lowest = 6

        def all_updated(tasks: list[TaskJson]) -> str | None:
            nonlocal lowest
            running = _running(tasks)
            updated = sum(_environment(task) == GREETING for task in running)
            lowest = min(lowest, len(running))
            _expect(lowest >= 5, f"only {lowest} of 6 were running")
            self._listener.progress(f"{updated} of 6 updated, {len(running)} running")
            return f"6 of 6 updated, never below {lowest}" if updated == len(running) == 6 else None

        return await self._until(EngineClient.tasks, all_updated)

    async def _remove(self) -> str:
        async with self._client() as client:
            await client.remove_service("web")

        def none_left(tasks: list[TaskJson]) -> str | None:
            self._listener.progress(f"{len(tasks)} tasks left")
            return "no task left" if not tasks else None

        await self._until(EngineClient.tasks, none_left)
        processes = self._processes(self._swarm.nodes)
        _expect(processes == 0, f"{processes} processes still run")
        return "no task left, no process left"

    # Looking and changing.

    def _client(self) -> EngineClient:
        """A client of a manager that runs."""
        for node in self._swarm.nodes:
            if node.role == "manager" and node.pid is not None:
                return EngineClient(node.docker_host)
        raise Unexpected("no manager runs")

    def _processes(self, nodes: Iterable[LocalNode]) -> int:
        return sum(self._swarm.task_processes(node) for node in nodes)

    async def _leader(self) -> str:
        def leader(nodes: list[NodeJson]) -> str | None:
            leading = [node for node in nodes if node.manager_status is not None and node.manager_status.leader]
            return _host(leading[0]) if len(leading) == 1 else None

        return await self._until(EngineClient.nodes, leader)

    async def _until_running(self, count: int) -> str:
        def running(tasks: list[TaskJson]) -> str | None:
            now = len(_running(tasks))
            self._listener.progress(f"{now} of {count} running")
            return f"{now} of {count} running" if now == count else None

        return await self._until(EngineClient.tasks, running)

    async def _until(
        self, ask: Callable[[EngineClient], Awaitable[list[T]]], holds: Callable[[list[T]], str | None]
    ) -> str:
        """Ask again and again until the answer shows what is waited for."""
        async with self._client() as client:
            while True:
                seen = holds(await ask(client))
                if seen is not None:
                    return seen
                await trio.sleep(POLL_SECONDS)

    async def _update_service(self, change: Callable[[ServiceSpec], ServiceSpec]) -> None:
        """Change the spec of the service; anew if somebody was faster or the leader was lost meanwhile."""
        while True:
            try:
                async with self._client() as client:
                    service = await client.service("web")
                    await client.update_service(service.id, service.version.index, change(service.spec))
            except (ApiError, LinkError):
                await trio.sleep(POLL_SECONDS)
            else:
                return

    async def _fetch_from(self, node: LocalNode) -> str:
        """The status that the service answers with through that node, or why there is none."""
        http = HttpClient(TcpAddress(node.address, PUBLISHED_PORT))
        try:
            async with http.call("GET", "/") as reply:
                await reply.read()
                return str(reply.status)
        except LinkError as error:
            return str(error)
        finally:
            await http.aclose()


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Unexpected(otherwise)


async def _expect_refusal(call: Awaitable[object], otherwise: str) -> None:
    try:
        await call
    except ApiError:
        return
    raise Unexpected(otherwise)


def _running(tasks: Iterable[TaskJson]) -> list[TaskJson]:
    return [task for task in tasks if task.status.state == "running" and task.desired_state == "running"]


def _environment(task: TaskJson) -> list[str] | None:
    return task.spec.container_spec.env if task.spec.container_spec is not None else None


def _is_reachable(node: NodeJson) -> bool:
    return node.manager_status is not None and node.manager_status.reachability == "reachable"


def _host(node: NodeJson) -> str:
    return str(node.description.hostname)


def _names(nodes: Iterable[NodeJson]) -> dict[str, str]:
    return {node.id: _host(node) for node in nodes}


def _with_greeting(spec: ServiceSpec) -> ServiceSpec:
    container = spec.task_template.container_spec
    assert container is not None, "we made it so"
    template = replace(spec.task_template, container_spec=replace(container, env=GREETING))
    return replace(spec, task_template=template)
