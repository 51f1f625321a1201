"""Creating, updating, rolling back and listing services (SWARM 1.5, 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from raftswarm.errors import RequestRefused
from raftswarm.manager.control.handler import ControlHandler
from raftswarm.manager.control.requests import (
    Accepted,
    CreatedAnswer,
    CreateService,
    GetService,
    ListServices,
    RemoveService,
    ServiceAnswer,
    ServicesAnswer,
    UpdateService,
)
from raftswarm.objects.records import Endpoint, Node, Service, Task, TaskStatus, UpdateStatus
from raftswarm.objects.specs import (
    ContainerSpec,
    EndpointSpec,
    Global,
    PortConfig,
    Replicated,
    ReplicatedJob,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from raftswarm.objects.states import NodeState, TaskState, UpdateState
from raftswarm.store.store import Store


def make_spec(
    name: str = "web", *, image: str = "nginx", port: int = 0, publish_mode: str = "ingress", **changes: Any
) -> ServiceSpec:
    endpoint = EndpointSpec(ports=[PortConfig(target_port=80, published_port=port, publish_mode=publish_mode)])
    return ServiceSpec(
        name=name,
        task_template=TaskSpec(container_spec=ContainerSpec(image=image)),
        endpoint_spec=endpoint if port else None,
        **changes,
    )


async def create(handler: ControlHandler, store: Store, spec: ServiceSpec) -> Service:
    answer = await handler.handle(CreateService(spec=spec))
    assert isinstance(answer, CreatedAnswer)
    service = store.get(Service, answer.id)
    assert service is not None
    return service


async def update(
    handler: ControlHandler, store: Store, service: Service, spec: ServiceSpec | None = None, *, rollback: bool = False
) -> Service:
    request = UpdateService(reference=service.id, version=service.version, spec=spec or service.spec, rollback=rollback)
    assert await handler.handle(request) == Accepted()
    updated = store.get(Service, service.id)
    assert updated is not None
    return updated


async def listed(handler: ControlHandler, **filters: list[str]) -> list[str]:
    answer = await handler.handle(ListServices(filters=filters))
    assert isinstance(answer, ServicesAnswer)
    return [view.service.spec.name for view in answer.services]


async def test_a_created_service_can_be_seen(handler: ControlHandler, store: Store) -> None:
    service = await create(handler, store, make_spec())

    answer = await handler.handle(GetService(reference="web"))

    assert isinstance(answer, ServiceAnswer)
    assert answer.view.service == service
    assert len(service.id) == 25
    assert service.spec.mode == ServiceMode(replicated=Replicated(replicas=1))
    assert (service.spec_version, service.previous_spec, service.endpoint) == (0, None, None)


async def test_a_taken_name_is_refused(handler: ControlHandler, store: Store) -> None:
    await create(handler, store, make_spec("web"))

    with pytest.raises(
        RequestRefused, match=r"^name conflicts with an existing object: service web already exists$"
    ) as refused:
        await handler.handle(CreateService(spec=make_spec("web")))
    assert refused.value.code == "AlreadyExists"


async def test_of_two_creations_of_one_name_at_once_one_wins(handler: ControlHandler, store: Store) -> None:
    refusals: list[str] = []

    async def try_create() -> None:
        try:
            await create(handler, store, make_spec("web"))
        except RequestRefused as refused:
            refusals.append(refused.code)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(try_create)

    assert refusals == ["AlreadyExists", "AlreadyExists"]


async def test_of_two_services_that_want_one_port_at_once_one_gets_it(handler: ControlHandler, store: Store) -> None:
    refusals: list[str] = []

    async def try_create(name: str) -> None:
        try:
            await create(handler, store, make_spec(name, port=80))
        except RequestRefused as refused:
            refusals.append(str(refused))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(try_create, "a")
        nursery.start_soon(try_create, "b")

    assert len(refusals) == 1
    assert refusals[0].startswith("port '80' is already in use by service '")


@pytest.mark.parametrize(
    ("existing", "wanted", "refusal"),
    [
        ("ingress", "ingress", "as an ingress port"),
        ("host", "ingress", "as a host-published port"),
        ("ingress", "host", "as an ingress port"),
        ("host", "host", ""),
    ],
)
async def test_a_published_port_belongs_to_one_service_unless_both_publish_on_hosts(
    handler: ControlHandler, store: Store, existing: str, wanted: str, refusal: str
) -> None:
    holder = await create(handler, store, make_spec("p1", port=7777, publish_mode=existing))

    if not refusal:
        await create(handler, store, make_spec("p2", port=7777, publish_mode=wanted))
        return
    with pytest.raises(RequestRefused) as refused:
        await create(handler, store, make_spec("p2", port=7777, publish_mode=wanted))

    assert str(refused.value) == f"port '7777' is already in use by service 'p1' ({holder.id}) {refusal}"
    assert refused.value.code == "InvalidArgument"


async def test_a_port_that_was_found_for_another_service_is_taken_too(
    handler: ControlHandler, store: Store, put: Callable[..., None]
) -> None:
    holder = await create(handler, store, make_spec("p1"))
    put(replace(holder, endpoint=Endpoint(ports=(PortConfig(target_port=80, published_port=30_000),))))

    with pytest.raises(RequestRefused, match="port '30000' is already in use by service 'p1'"):
        await create(handler, store, make_spec("p2", port=30_000))


async def test_a_service_keeps_its_own_ports_over_an_update(handler: ControlHandler, store: Store) -> None:
    service = await create(handler, store, make_spec(port=80))
    more = EndpointSpec(ports=[PortConfig(target_port=p, published_port=p) for p in (80, 81)])

    updated = await update(handler, store, service, replace(service.spec, endpoint_spec=more))

    assert updated.spec.endpoint_spec == more


async def test_an_update_keeps_the_spec_before_it(
    handler: ControlHandler, store: Store, put: Callable[..., None]
) -> None:
    created = await create(handler, store, make_spec(image="nginx:1"))
    put(replace(created, update_status=UpdateStatus(state=UpdateState.PAUSED)))
    paused = store.get(Service, created.id)
    assert paused is not None

    updated = await update(handler, store, paused, make_spec(image="nginx:2"))

    assert updated.previous_spec == created.spec
    assert (updated.spec_version, updated.previous_spec_version) == (paused.version, 0)
    assert updated.update_status is None


async def test_a_rollback_swaps_the_two_specs_and_a_second_one_swaps_them_again(
    handler: ControlHandler, store: Store
) -> None:
    first = await create(handler, store, make_spec(image="nginx:1"))
    second = await update(handler, store, first, make_spec(image="nginx:2"))

    back = await update(handler, store, second, rollback=True)
    forth = await update(handler, store, back, rollback=True)

    assert (back.spec, back.spec_version) == (first.spec, first.spec_version)
    assert (back.previous_spec, back.previous_spec_version) == (second.spec, second.spec_version)
    assert back.update_status is not None
    assert back.update_status.state is UpdateState.ROLLBACK_STARTED
    assert back.update_status.message == "manually requested rollback"
    assert back.update_status.started_at > 0
    assert (forth.spec, forth.spec_version) == (second.spec, second.spec_version)


async def test_without_a_previous_spec_there_is_no_rollback(handler: ControlHandler, store: Store) -> None:
    service = await create(handler, store, make_spec())

    with pytest.raises(RequestRefused, match=f"^service {service.id} does not have a previous spec$") as refused:
        await update(handler, store, service, rollback=True)
    assert refused.value.code == "FailedPrecondition"


async def test_an_update_of_an_older_version_is_out_of_sequence(handler: ControlHandler, store: Store) -> None:
    service = await create(handler, store, make_spec())
    await update(handler, store, service, make_spec(image="nginx:2"))

    with pytest.raises(RequestRefused, match=r"^update out of sequence$") as refused:
        await update(handler, store, service, make_spec(image="nginx:3"))
    assert (refused.value.code, refused.value.from_engine) == ("Unknown", False)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (make_spec("other"), "renaming services is not supported"),
        (make_spec(mode=ServiceMode(global_=Global())), "service mode change is not allowed"),
    ],
)
async def test_name_and_mode_of_a_service_stay(
    handler: ControlHandler, store: Store, spec: ServiceSpec, message: str
) -> None:
    service = await create(handler, store, make_spec())

    with pytest.raises(RequestRefused, match=f"^{message}$") as refused:
        await update(handler, store, service, spec)
    assert refused.value.code == "Unimplemented"


async def test_a_removed_service_is_gone(handler: ControlHandler, store: Store) -> None:
    await create(handler, store, make_spec())

    assert await handler.handle(RemoveService(reference="web")) == Accepted()

    assert list(store.find(Service)) == []
    with pytest.raises(RequestRefused, match=r"^service web not found$"):
        await handler.handle(RemoveService(reference="web"))


async def test_a_spec_that_is_too_large_to_replicate_is_the_callers_mistake(handler: ControlHandler) -> None:
    with pytest.raises(RequestRefused, match="too large") as refused:
        await handler.handle(CreateService(spec=make_spec(labels={"big": "x" * 2_000_000})))
    assert refused.value.code == "InvalidArgument"


async def test_services_are_filtered_by_name_label_and_mode(handler: ControlHandler, store: Store) -> None:
    await create(handler, store, make_spec("web", labels={"tier": "front"}))
    await create(handler, store, make_spec("webcam", mode=ServiceMode(global_=Global())))
    await create(handler, store, make_spec("db"))

    assert await listed(handler, name=["web"], mode=["replicated"]) == ["web"]
    assert sorted(await listed(handler, name=["web"])) == ["web", "webcam"]
    assert await listed(handler, label=["tier=front"]) == ["web"]
    assert await listed(handler, mode=["global"]) == ["webcam"]
    assert await listed(handler, runtime=["plugin"]) == []


async def test_counts_say_what_runs_and_what_should(
    handler: ControlHandler, store: Store, put: Callable[..., None]
) -> None:
    service = await create(handler, store, make_spec(mode=ServiceMode(replicated=Replicated(replicas=5))))
    running = TaskStatus(state=TaskState.RUNNING)
    put(
        Node(id="up", state=NodeState.READY),
        Node(id="down", state=NodeState.DOWN),
        Task(id="t1", spec=TaskSpec(), service_id=service.id, node_id="up", status=running),
        Task(id="t2", spec=TaskSpec(), service_id=service.id, node_id="down", status=running),
        Task(id="t3", spec=TaskSpec(), service_id=service.id, node_id="gone", status=running),
        Task(id="t4", spec=TaskSpec(), service_id=service.id, node_id="up"),
    )

    answer = await handler.handle(ListServices(with_counts=True))

    assert isinstance(answer, ServicesAnswer)
    counts = answer.services[0].counts
    assert counts is not None
    assert (counts.running, counts.desired) == (1, 5)


JOB = ServiceMode(replicated_job=ReplicatedJob(max_concurrent=2, total_completions=3))


async def test_every_update_of_a_job_begins_another_run(handler: ControlHandler, store: Store) -> None:
    service = await create(handler, store, make_spec(mode=JOB))
    assert service.job_status is not None
    assert service.job_status.iteration == 0
    assert service.job_status.last_execution > 0

    relabelled = await update(handler, store, service, replace(service.spec, labels={"a": "b"}))
    back = await update(handler, store, relabelled, rollback=True)

    runs = [changed.job_status and changed.job_status.iteration for changed in (relabelled, back)]
    assert runs == [1, 2]
    assert back.update_status is None, "a job has runs, not updates"


async def test_a_job_is_counted_by_what_its_current_run_has_completed(
    handler: ControlHandler, store: Store, put: Callable[..., None]
) -> None:
    service = await create(handler, store, make_spec(mode=JOB))
    for number, run, state in ((1, 0, TaskState.COMPLETE), (2, 1, TaskState.COMPLETE), (3, 0, TaskState.FAILED)):
        task = Task(id=f"t{number}", spec=service.spec.task_template, service_id=service.id, slot=number)
        put(replace(task, job_iteration=run, status=TaskStatus(state=state)))

    answer = await handler.handle(ListServices(with_counts=True))

    assert isinstance(answer, ServicesAnswer)
    counts = answer.services[0].counts
    assert counts is not None
    assert (counts.running, counts.desired, counts.completed) == (0, 2, 1)
