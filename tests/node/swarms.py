"""Swarms of machines in one process: forming one, asking it, and looking at it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

import pytest
import trio

from raftswarm.engine.node_protocol import InitOptions, JoinOptions
from raftswarm.errors import RaftSwarmError
from raftswarm.manager.control.requests import (
    ClusterAnswer,
    GetCluster,
    GetUnlockKey,
    ListServices,
    ServicesAnswer,
    UnlockKeyAnswer,
    UpdateCluster,
)
from raftswarm.objects.specs import (
    ContainerSpec,
    EncryptionConfig,
    Replicated,
    ServiceMode,
    ServiceSpec,
    SwarmSpec,
    TaskSpec,
)

if TYPE_CHECKING:
    from tests.node.conftest import Hall, Room

LOCKED = InitOptions(spec=SwarmSpec(encryption_config=EncryptionConfig(auto_lock_managers=True)))


def service(name: str, replicas: int = 0) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        task_template=TaskSpec(container_spec=ContainerSpec(image="sleep", command=["sleep", "9"])),
        mode=ServiceMode(replicated=Replicated(replicas=replicas)),
    )


async def cluster_of(room: Room) -> ClusterAnswer:
    answer = await room.machine.control(GetCluster())
    assert isinstance(answer, ClusterAnswer)
    return answer


async def tokens_of(room: Room) -> tuple[str, str]:
    tokens = (await cluster_of(room)).cluster.join_tokens
    return tokens.manager, tokens.worker


async def form(hall: Hall, *, managers: int = 1, workers: int = 0, options: InitOptions | None = None) -> list[Room]:
    first = await hall.start("alice")
    await first.machine.init(options or InitOptions())
    manager_token, worker_token = await tokens_of(first)
    rooms = [first]
    for name in ("bob", "carol")[: managers - 1]:
        rooms.append(await hall.start(name))
        await rooms[-1].machine.join(JoinOptions(remote_addresses=(first.address,), join_token=manager_token))
    for name in ("dave", "erin")[:workers]:
        rooms.append(await hall.start(name))
        await rooms[-1].machine.join(JoinOptions(remote_addresses=(first.address,), join_token=worker_token))
    return rooms


async def service_names(room: Room) -> list[str]:
    answer = await room.machine.control(ListServices())
    assert isinstance(answer, ServicesAnswer)
    return sorted(view.service.spec.name for view in answer.services)


async def unlock_key_of(room: Room) -> str:
    answer = await room.machine.control(GetUnlockKey())
    assert isinstance(answer, UnlockKeyAnswer)
    return answer.unlock_key


async def update_autolock(room: Room, *, on: bool, rotate: bool = False) -> str:
    """Turn autolock on or off, or change the key; return the key in force."""
    cluster = (await cluster_of(room)).cluster
    spec = SwarmSpec(encryption_config=EncryptionConfig(auto_lock_managers=on))
    await room.machine.control(UpdateCluster(version=cluster.version, spec=spec, rotate_unlock_key=rotate))
    return await unlock_key_of(room)


async def until_started(count: int, *rooms: Room) -> None:
    with trio.fail_after(10):
        while sum(len(room.processes.running) for room in rooms) < count:  # noqa: ASYNC110 - on a mocked clock
            await trio.sleep(0.1)


def leads(room: Room) -> bool:
    participation = room.machine._participation
    return participation is not None and participation.manager.driver.leadership.value.is_leader


async def refusal_of(call: Awaitable[object]) -> str:
    with pytest.raises(RaftSwarmError) as refusal:
        await call
    return str(refusal.value)
