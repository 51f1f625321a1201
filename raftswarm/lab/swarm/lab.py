"""A swarm in a world of its own, as a scenario sees it: whoever operates it, and whoever waits for it to come to rest.

An operator asks any manager that answers, and another one when that one fails. What may have happened is looked up
before it is asked for again: so every operation here is done once it returns, whatever befell the managers meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio
from msgspec.structs import replace

from raftswarm.errors import RaftSwarmError, RequestRefused
from raftswarm.lab.invariants import Violation
from raftswarm.lab.swarm.machines import Machines
from raftswarm.lab.swarm.nodes import LabNode
from raftswarm.lab.swarm.world import SwarmWorld
from raftswarm.lab.swarm_rules import Facts, find_unrest
from raftswarm.manager.control.requests import (
    AnyControlAnswer,
    AnyControlRequest,
    ClusterAnswer,
    CreatedAnswer,
    CreateService,
    GetCluster,
    GetNode,
    GetService,
    GetUnlockKey,
    NodeAnswer,
    RemoveService,
    ServiceAnswer,
    UnlockKeyAnswer,
    UpdateCluster,
    UpdateNode,
    UpdateService,
)
from raftswarm.objects.records import Node, Service, Task
from raftswarm.objects.specs import (
    ContainerSpec,
    EncryptionConfig,
    Replicated,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from raftswarm.objects.states import TaskState
from raftswarm.objects.tasks import is_job_done, is_wanted
from raftswarm.raft.settings import RaftSettings
from raftswarm.store.store import Reader

T = TypeVar("T")

ASK_SECONDS: Final = 5.0
"""An operator waits no longer for one manager."""
PATIENCE_SECONDS: Final = 180.0
"""Nor for all of them together."""
PAUSE_SECONDS: Final = 0.25
LOOK_SECONDS: Final = 0.25
REST_SECONDS: Final = 3.0
"""What has come to rest stays so for this long."""
_FINAL_CODES: Final = ("InvalidArgument", "NotFound", "AlreadyExists", "FailedPrecondition", "Unimplemented")


def plain_service(name: str, *, replicas: int = 1, image: str = "serve", restart_seconds: float = 0.5) -> ServiceSpec:
    """A service of so many tasks that run a program (`processes.PROGRAMS`) and are restarted when they end."""
    return ServiceSpec(
        name=name,
        task_template=TaskSpec(
            container_spec=ContainerSpec(image=image, stop_grace_period=2_000_000_000),
            restart_policy=RestartPolicy(delay=int(restart_seconds * 1e9)),
        ),
        mode=ServiceMode(replicated=Replicated(replicas=replicas)),
    )


class Lab(Machines):
    """What a scenario is given."""

    def __init__(self, world: SwarmWorld, raft: RaftSettings) -> None:
        super().__init__(world, raft)
        self._operator = world.chance("operator")
        self.services: dict[str, str] = {}
        """Ids by name, of those that were created and not removed, as far as the operator was told."""

    # Asking the swarm.

    async def ask(self, request: AnyControlRequest) -> AnyControlAnswer:
        """Ask whichever manager answers; one that is refused for good raises RequestRefused.

        For reads, and for what does no harm when it happens twice.
        """
        return await self._insist(lambda manager: manager.ask(lambda machine: machine.control(request)))

    async def _insist(self, attempt: Callable[[LabNode], Awaitable[T]]) -> T:
        """Try one manager after another, drawn at random, until one answers."""
        last: Exception | None = None
        give_up = trio.current_time() + PATIENCE_SECONDS
        while trio.current_time() < give_up:
            running = [node for node in self.managers if node.is_running]
            if running:
                try:
                    with trio.fail_after(ASK_SECONDS):
                        return await attempt(self._operator.choice(running))
                except RequestRefused as refusal:
                    if refusal.code in _FINAL_CODES:
                        raise
                    last = refusal
                except (RaftSwarmError, trio.TooSlowError) as error:
                    last = error
            await trio.sleep(PAUSE_SECONDS * self._operator.uniform(0.5, 1.5))
        raise Violation(f"no manager has answered for {PATIENCE_SECONDS:g} s: {last!r}")

    async def _control(self, manager: LabNode, request: AnyControlRequest) -> AnyControlAnswer:
        return await manager.ask(lambda machine: machine.control(request))

    # Services.

    async def create_service(self, spec: ServiceSpec | str, *, replicas: int = 1, image: str = "serve") -> str:
        """Create a service, plain if only its name is given; return its id."""
        wanted = plain_service(spec, replicas=replicas, image=image) if isinstance(spec, str) else spec

        async def attempt(manager: LabNode) -> str:
            try:
                answer = await self._control(manager, CreateService(spec=wanted))
            except RequestRefused as refusal:
                if refusal.code != "AlreadyExists":
                    raise
                return (await self._service(manager, wanted.name)).id  # An earlier attempt that we were not told of.
            assert isinstance(answer, CreatedAnswer), "that is what answers"
            return answer.id

        service_id = self.services[wanted.name] = await self._insist(attempt)
        self.note(f"service {wanted.name} is created as {service_id}")
        return service_id

    async def update_service(self, service: str, change: Callable[[ServiceSpec], ServiceSpec]) -> None:
        """Give a service, by id or name, the spec that `change` makes of its present one.

        Tried again, it is made of what is present then: `change` has to say what is wanted, and not what is to be more.
        """

        async def attempt(manager: LabNode) -> None:
            present = await self._service(manager, service)
            wanted = change(present.spec)
            if wanted != present.spec:
                request = UpdateService(reference=service, version=present.version, spec=wanted)
                await self._control(manager, request)

        await self._insist(attempt)
        self.note(f"service {service} is updated")

    async def scale(self, service: str, replicas: int) -> None:
        """Have so many tasks of it."""
        mode = ServiceMode(replicated=Replicated(replicas=replicas))
        await self.update_service(service, lambda spec: replace(spec, mode=mode))

    async def roll_out(self, service: str, version: str) -> None:
        """Replace all its tasks by such of another version, as its update settings say."""

        def change(spec: ServiceSpec) -> ServiceSpec:
            container = spec.task_template.container_spec or ContainerSpec()
            changed = replace(container, env=[f"VERSION={version}"])
            return replace(spec, task_template=replace(spec.task_template, container_spec=changed))

        await self.update_service(service, change)

    async def remove_service(self, service: str) -> None:
        """Remove a service, by id or name, unless it is gone."""
        try:
            await self.ask(RemoveService(reference=service))
        except RequestRefused as refusal:
            if refusal.code != "NotFound":
                raise
        self.services = {name: known for name, known in self.services.items() if service not in (name, known)}
        self.note(f"service {service} is removed")

    async def _service(self, manager: LabNode, reference: str) -> Service:
        answer = await self._control(manager, GetService(reference=reference))
        assert isinstance(answer, ServiceAnswer), "that is what answers"
        return answer.view.service

    # Nodes and the swarm.

    async def set_availability(self, node: LabNode, availability: str) -> None:
        """Make a node ``active``, ``pause`` or ``drain``."""

        async def attempt(manager: LabNode) -> None:
            answer = await self._control(manager, GetNode(reference=node.name))
            assert isinstance(answer, NodeAnswer), "that is what answers"
            present = answer.view.node
            if present.spec.availability != availability:
                spec = replace(present.spec, availability=availability)
                await self._control(manager, UpdateNode(reference=present.id, version=present.version, spec=spec))

        await self._insist(attempt)
        self.note(f"{node.name} is set to {availability}")

    async def lock(self) -> str:
        """Switch autolock on; return the unlock key once the swarm knows it."""

        async def attempt(manager: LabNode) -> str:
            answer = await self._control(manager, GetCluster())
            assert isinstance(answer, ClusterAnswer), "that is what answers"
            cluster = answer.cluster
            if not cluster.spec.encryption_config.auto_lock_managers:
                spec = replace(cluster.spec, encryption_config=EncryptionConfig(auto_lock_managers=True))
                await self._control(manager, UpdateCluster(version=cluster.version, spec=spec))
            key = await self._control(manager, GetUnlockKey())
            assert isinstance(key, UnlockKeyAnswer), "that is what answers"
            return key.unlock_key

        self.unlock_key = await self._insist(attempt)
        return self.unlock_key

    # Waiting.

    async def wait_leader(self, within: float = PATIENCE_SECONDS) -> LabNode:
        """Return who leads, once somebody does; Violation if nobody comes to."""
        with trio.move_on_after(within):
            while (leader := self.leader) is None:  # noqa: ASYNC110 - virtual time
                await trio.sleep(LOOK_SECONDS)
            return leader
        raise Violation(f"nobody leads within {within:g} s")

    async def wait_until(
        self, is_so: Callable[[Reader], bool], what: str = "what was awaited", within: float = PATIENCE_SECONDS
    ) -> None:
        """Return when it is so in the tables, as the newest manager has them; Violation if it does not become so."""
        with trio.move_on_after(within):
            while not (self._is_in_reach and is_so(self.tables)):  # noqa: ASYNC110 - virtual time
                await trio.sleep(LOOK_SECONDS)
            return
        raise Violation(f"{what}: not within {within:g} s")

    async def converged(self, service: str, within: float = PATIENCE_SECONDS) -> None:
        """Return when a service really runs as its user wants it; Violation, saying what it lacks, if it does not."""
        await self._until_none(lambda: self._service_unrest(service), within)

    async def at_rest(self, within: float = PATIENCE_SECONDS) -> None:
        """Return when everything is as users want it, really, and has been for a moment; Violation otherwise.

        All rules of a swarm at rest hold (`swarm_rules`): every service has exactly its tasks, running, unless no node
        can take them. All managers have the same tables, and no task was started twice.
        """
        with trio.move_on_after(within):
            while True:
                await self._until_none(self._unrest, within)
                await trio.sleep(REST_SECONDS)
                if not self._unrest():
                    return
        raise Violation(f"no rest within {within:g} s: {'; '.join(self._unrest()) or 'it never stays so'}")

    async def _until_none(self, find: Callable[[], list[str]], within: float) -> None:
        give_up = trio.current_time() + within
        while unrest := find():
            if trio.current_time() >= give_up:
                raise Violation(f"not within {within:g} s: {'; '.join(unrest)}")
            await trio.sleep(LOOK_SECONDS)

    @property
    def _is_in_reach(self) -> bool:
        return any(node.manager is not None for node in self.nodes)

    def _service_unrest(self, reference: str) -> list[str]:
        if not self._is_in_reach:
            return ["no manager runs"]
        service = self.tables.get(Service, reference) or self.tables.by_name(Service, reference)
        if service is None:
            return [f"there is no service {reference}"]
        missing = [lack for task in self.tasks_of(service.id) if (lack := self._lack(task))]
        return [*missing, *find_unrest(self.tables, service_id=service.id)]

    def _lack(self, task: Task) -> str:
        """Say what keeps a task from running, really; empty if nothing does, or if it is a job's and done."""
        node = self.node_of(task)
        if is_job_done(task):
            return ""
        if task.status.state is not TaskState.RUNNING:
            return f"task {task.name} is {task.status.state.docker_word}: {task.status.error or task.status.message}"
        runs = node is not None and task.id in node.running_tasks
        return "" if runs else f"task {task.name} is told to run, and does not"

    def _unrest(self) -> list[str]:
        found = [f"{node.name} is down" for node in self.nodes if not node.is_running or node.has_given_up]
        found += [f"{node.name} is locked" for node in self.nodes if node.is_locked]
        if self.leader is None:
            return [*found, "nobody leads"]
        roles = [node.manager for node in self.nodes if node.manager is not None]
        if len({role.driver.applied.value for role in roles}) > 1:
            found.append("managers have not applied the same")
        if (there := {service.spec.name: service.id for service in self.tables.find(Service)}) != self.services:
            found.append(f"services {self.services} were acknowledged, and there are {there}")
        processes = {node.id: node.running_tasks for node in self.nodes if node.id}
        found += find_unrest(self.tables, Facts(reachable=[*processes], processes=processes))
        for node in self.nodes:
            found += [
                f"{place} was started {times} times" for place, times in node.processes.starts.items() if times > 1
            ]
        if not found and len({b"".join(role.store.capture().chunks()) for role in roles}) > 1:
            found.append("managers have applied the same, and their tables differ")
        return found

    # Looking.

    def tasks_of(self, service: str) -> list[Task]:
        """The tasks that are wanted of a service, by id or name, in the order of their slots."""
        found = self.tables.get(Service, service) or self.tables.by_name(Service, service)
        tasks = self.tables.tasks_of_service(found.id) if found is not None else ()
        wanted = filter(is_wanted, tasks)
        return sorted(wanted, key=lambda task: (task.slot, task.id))

    def node_of(self, task: Task) -> LabNode | None:
        """The machine that a task is on."""
        stored = self.tables.get(Node, task.node_id)
        return self[stored.description.hostname] if stored is not None else None

    def nodes_of(self, service: str) -> list[LabNode]:
        """The machines that a service's wanted tasks are on, each as often as it has one."""
        return [node for task in self.tasks_of(service) if (node := self.node_of(task)) is not None]
