"""Machines enter, leave and lose swarms as Docker's nodes do, and say so in its words (SWARM 10, 11, 13, 15)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from raftswarm.engine.node_protocol import InitOptions, JoinOptions, LocalState
from raftswarm.errors import LinkError, RaftSwarmError
from raftswarm.manager.control.requests import (
    CreatedAnswer,
    CreateService,
    GetCluster,
    GetUnlockKey,
    ListNodes,
    ListServices,
    ListTasks,
    NodesAnswer,
    NodeView,
    TasksAnswer,
    UnlockKeyAnswer,
    UpdateNode,
)
from raftswarm.node.call_service import CallService
from raftswarm.node.refusals import NOT_A_MANAGER
from raftswarm.objects.states import TaskState
from raftswarm.transport.calls import serve_calls
from raftswarm.transport.helpers import open_helpers
from raftswarm.transport.member_links import route_link
from raftswarm.transport.memory import MemoryNetwork
from raftswarm.world.network import Link
from tests.node.swarms import LOCKED, form, leads, refusal_of, service, service_names, tokens_of, until_started

if TYPE_CHECKING:
    from tests.node.conftest import Hall, Room

# Together.


async def test_machines_that_join_by_token_are_a_swarm_that_runs_what_any_manager_is_asked(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, bob, carol, dave = await form(hall, managers=3, workers=1)

    created = await bob.machine.control(CreateService(spec=service("web", replicas=4)))

    assert isinstance(created, CreatedAnswer)
    await until_started(4, alice, bob, carol, dave)
    await trio.sleep(1)
    tasks = await carol.machine.control(ListTasks())
    assert isinstance(tasks, TasksAnswer)
    assert [task.status.state for task in tasks.tasks] == [TaskState.RUNNING] * 4
    nodes = await carol.machine.control(ListNodes())
    assert isinstance(nodes, NodesAnswer)
    assert sorted(view.node.description.hostname for view in nodes.nodes) == ["alice", "bob", "carol", "dave"]


async def test_when_the_leader_is_killed_another_leads_and_knows_what_was_acknowledged(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, bob, carol = await form(hall, managers=3)
    await alice.machine.control(CreateService(spec=service("before")))
    assert leads(alice)

    await hall.kill(alice)
    await bob.machine.control(CreateService(spec=service("after")))

    assert await service_names(carol) == ["after", "before"]
    assert leads(bob) != leads(carol)


async def test_a_leader_that_is_stopped_hands_over_before_it_is_gone(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob, carol = await form(hall, managers=3)
    begin = trio.current_time()

    await hall.stop(alice)

    assert leads(bob) != leads(carol)
    assert trio.current_time() - begin < 0.5


async def test_the_last_manager_stops_without_waiting_for_a_successor(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall)
    begin = trio.current_time()

    await hall.stop(alice)

    assert trio.current_time() - begin < 0.5


def figures(room: Room) -> dict[str, float]:
    return {
        metric.name + "".join(f" {value}" for value in labels.values()): value_
        for metric in room.machine.metrics()
        for labels, value_ in metric.samples
    }


def unmet(room: Room) -> dict[str, str]:
    return {check.name: check.failure for check in room.machine.readiness() if check.failure}


async def test_a_node_tells_how_it_is_in_figures(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob, _, dave = await form(hall, managers=3, workers=1)
    await alice.machine.control(CreateService(spec=service("web", replicas=2)))
    await trio.sleep(5)

    leader, follower, worker = figures(alice), figures(bob), figures(dave)

    assert (leader["swarm_manager_leader"], follower["swarm_manager_leader"]) == (1, 0)
    assert leader["swarm_manager_nodes ready"] == follower["swarm_manager_nodes ready"] == 4
    assert leader["swarm_manager_tasks_total running"] == 2
    assert leader["swarm_manager_services_total"] == 1
    assert leader["raftswarm_raft_voters"] == 3
    assert sum(name.startswith("raftswarm_peer_match_index") for name in leader) == 2
    assert (worker["swarm_node_manager"], leader["swarm_node_manager"]) == (0, 1)
    assert not any(name.startswith("swarm_manager") for name in worker)


async def test_a_node_is_ready_when_it_does_its_part(autojump_clock: MockClock, hall: Hall) -> None:
    outside = await hall.start("zoe")
    assert unmet(outside) == {"swarm": "this node is in no swarm"}
    alice, bob, carol, dave = await form(hall, managers=3, workers=1)
    assert [unmet(room) for room in (alice, bob, carol, dave)] == [{}, {}, {}, {}]

    await hall.kill(alice)
    await hall.kill(bob)
    await trio.sleep(10)

    assert unmet(carol) == {"raft": "no leader is known: there may be no quorum"}


async def test_a_locked_manager_is_not_ready_and_says_so(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await hall.start("alice")
    await alice.machine.init(LOCKED)
    await hall.stop(alice)
    await hall.restart(alice)

    assert unmet(alice) == {"swarm": "locked: it waits for its unlock key"}
    assert figures(alice)["raftswarm_locked"] == 1


async def change_role(at: Room, name: str, role: str) -> None:
    view = await node_of(at, name)
    await at.machine.control(
        UpdateNode(reference=view.node.id, version=view.node.version, spec=replace(view.node.spec, role=role))
    )


async def node_of(at: Room, name: str) -> NodeView:
    answer = await at.machine.control(ListNodes())
    assert isinstance(answer, NodesAnswer)
    [view] = [view for view in answer.nodes if view.node.description.hostname == name]
    return view


async def until_manager(at: Room, name: str, *, is_manager: bool) -> None:
    """Wait until a node is, or is not, a manager that takes part."""
    with trio.fail_after(30):
        while True:
            view = await node_of(at, name)
            if (view.manager_status is not None, view.node.role == "manager") == (is_manager, is_manager):
                return
            await trio.sleep(0.1)


async def test_a_worker_that_is_promoted_manages_and_is_there_when_others_are_lost(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, bob, dave, erin = await form(hall, managers=2, workers=2)
    await alice.machine.control(CreateService(spec=service("web", replicas=4)))
    await until_started(4, alice, bob, dave, erin)
    ran = dict(dave.processes.running)

    await change_role(alice, "dave", "manager")
    await until_manager(alice, "dave", is_manager=True)
    await hall.kill(alice)

    with trio.fail_after(30):
        while not await answers(dave):  # noqa: ASYNC110 - on a mocked clock
            await trio.sleep(0.1)
    assert await service_names(dave) == ["web"]
    assert all(dave.processes.running[place] is process for place, process in ran.items()), "tasks went on meanwhile"
    assert dave.machine.info().is_manager


async def test_a_manager_that_is_demoted_works_on_without_its_log(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob, carol = await form(hall, managers=3)
    await alice.machine.control(CreateService(spec=service("web", replicas=3)))
    await until_started(3, alice, bob, carol)

    await change_role(alice, "carol", "worker")
    await until_manager(alice, "carol", is_manager=False)
    with trio.fail_after(10):
        while carol.machine.info().is_manager:  # noqa: ASYNC110 - on a mocked clock
            await trio.sleep(0.1)

    assert await refusal_of(carol.machine.control(ListNodes())) == NOT_A_MANAGER
    assert carol.disk.list("state/raft/log") == []
    await alice.machine.control(CreateService(spec=service("more", replicas=3)))
    await until_started(6, alice, bob, carol)
    assert len(carol.processes.running) == 2


async def test_a_leader_that_is_demoted_lets_another_lead_first(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob, carol = await form(hall, managers=3)
    assert leads(alice)

    await change_role(alice, "alice", "worker")
    await until_manager(bob, "alice", is_manager=False)

    assert leads(bob) != leads(carol)
    assert await service_names(carol) == []


async def test_a_node_may_be_promoted_and_demoted_again_and_again(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob, carol, _dave = await form(hall, managers=3, workers=1)
    for _ in range(3):
        await change_role(alice, "dave", "manager")
        await until_manager(alice, "dave", is_manager=True)
        await change_role(alice, "dave", "worker")
        await until_manager(alice, "dave", is_manager=False)

    assert bob.machine.info().manager_count == carol.machine.info().manager_count == 3
    await hall.kill(bob)
    await alice.machine.control(CreateService(spec=service("web")))


async def test_a_role_that_changed_while_a_node_was_off_is_taken_up_when_it_is_back(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice, _, _, dave = await form(hall, managers=3, workers=1)
    await hall.stop(dave)

    await change_role(alice, "dave", "manager")
    await trio.sleep(60)
    await hall.restart(dave)

    await until_manager(alice, "dave", is_manager=True)


async def answers(room: Room) -> bool:
    try:
        await room.machine.control(ListServices())
    except RaftSwarmError:
        return False
    return True


async def test_a_restarted_manager_takes_part_as_the_same_node_and_adopts_its_tasks(
    autojump_clock: MockClock, hall: Hall
) -> None:
    [alice] = await form(hall)
    await alice.machine.control(CreateService(spec=service("web", replicas=2)))
    await until_started(2, alice)
    before = alice.machine.info().node_id, [*alice.processes.running.values()]

    await hall.kill(alice)
    await hall.restart(alice)

    assert await service_names(alice) == ["web"]
    await trio.sleep(5)
    assert (alice.machine.info().node_id, [*alice.processes.running.values()]) == before


async def test_without_a_majority_it_is_said_in_dockers_words(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob = await form(hall, managers=2)
    await hall.kill(bob)

    refusal = await refusal_of(alice.machine.control(CreateService(spec=service("web"))))

    assert refusal.startswith(("The swarm does not have a leader.", "raft: failed to process the request"))
    await trio.sleep(10)
    assert (await refusal_of(alice.machine.control(GetCluster()))).startswith("The swarm does not have a leader.")


# In and out.


async def test_a_machine_outside_refuses_what_is_for_managers(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await hall.start("alice")

    assert alice.machine.info().state is LocalState.INACTIVE
    assert 'Use "docker swarm init" or "docker swarm join"' in await refusal_of(alice.machine.control(GetCluster()))
    assert await refusal_of(alice.machine.leave(force=True)) == "This node is not part of a swarm"
    assert await refusal_of(alice.machine.unlock("SWMKEY-1-x")) == "swarm is not locked"


async def test_a_machine_is_in_one_swarm_at_a_time(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall)

    join = JoinOptions(remote_addresses=(alice.address,), join_token="any")
    for refused in (alice.machine.init(InitOptions()), alice.machine.join(join)):
        assert "This node is already part of a swarm." in await refusal_of(refused)


async def test_a_worker_refuses_what_is_for_managers(autojump_clock: MockClock, hall: Hall) -> None:
    _, dave = await form(hall, workers=1)

    assert "Worker nodes can't be used to view or modify" in await refusal_of(dave.machine.control(GetCluster()))


async def test_the_last_manager_leaves_by_force_only_and_then_knows_nothing(
    autojump_clock: MockClock, hall: Hall
) -> None:
    [alice] = await form(hall)
    await alice.machine.control(CreateService(spec=service("web", replicas=1)))
    await until_started(1, alice)

    assert "Removing the last manager erases all current state" in await refusal_of(alice.machine.leave(force=False))
    await alice.machine.leave(force=True)

    assert alice.machine.info().state is LocalState.INACTIVE
    assert alice.processes.running == {}
    assert not alice.disk.exists("state/node.json")
    assert alice.disk.list("state/certificates") + alice.disk.list("state/raft/log") == []
    await alice.machine.init(InitOptions())
    assert await service_names(alice) == []


async def test_a_worker_leaves_as_it_likes(autojump_clock: MockClock, hall: Hall) -> None:
    _, dave = await form(hall, workers=1)

    await dave.machine.leave(force=False)

    assert dave.machine.info().state is LocalState.INACTIVE
    await hall.stop(dave)
    await hall.restart(dave)
    assert dave.machine.info().state is LocalState.INACTIVE


# What fails leaves nothing behind.


def assert_outside(room: Room) -> None:
    assert room.machine.info().state is LocalState.INACTIVE
    assert room.machine.info().error == ""
    assert not room.disk.exists("state/node.json")
    assert room.disk.list("state/certificates") == []


@asynccontextmanager
async def listening(
    network: MemoryNetwork, address: str, handler: Callable[[Link], Awaitable[None]]
) -> AsyncIterator[None]:
    async with open_helpers() as helpers:
        started = trio.Event()

        async def serve() -> None:
            await network.serve(address, handler, started=lambda _: started.set())

        helpers.start_soon(serve)
        await started.wait()
        yield


def address_taken(hall: Hall, room: Room) -> AbstractAsyncContextManager[None]:
    """Let another program listen where the machine wants to."""
    return listening(hall.cable.plug("stranger", room.world.wall_clock), room.address, hang_up)


async def hang_up(link: Link) -> None:
    await link.aclose()


async def test_init_on_an_address_in_use_is_refused_and_can_be_repeated(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await hall.start("alice")
    async with address_taken(hall, alice):
        assert f"cannot listen on {alice.address}" in await refusal_of(alice.machine.init(InitOptions()))

        assert_outside(alice)
    await alice.machine.init(InitOptions())
    assert alice.machine.info().state is LocalState.ACTIVE


async def test_a_manager_that_cannot_take_part_again_says_why_and_forgets_nothing(
    autojump_clock: MockClock, hall: Hall
) -> None:
    alice = await hall.start("alice")
    await alice.machine.init(LOCKED)
    key = alice.machine.info().cluster
    assert key is not None
    await hall.stop(alice)
    await hall.restart(alice)
    async with address_taken(hall, alice):
        refusal = await refusal_of(alice.machine.unlock(key.unlock_key))

    assert f"cannot listen on {alice.address}" in refusal
    assert alice.machine.info().state is LocalState.ERROR
    assert alice.machine.info().error == refusal
    await hall.stop(alice)
    await hall.restart(alice)
    await alice.machine.unlock(key.unlock_key)
    assert await service_names(alice) == []


async def test_whoever_leaves_while_it_joins_is_in_no_swarm_later_either(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall)
    _, token = await tokens_of(alice)
    participation = alice.machine._participation
    assert participation is not None
    manager = participation.manager

    async def answer_late(link: Link) -> None:
        await trio.sleep(30)
        await route_link(
            link, calls=lambda calls: serve_calls(calls, CallService(manager)), members=manager.links.accept
        )

    slow = hall.cable.plug("slow", alice.world.wall_clock, participation._credentials)
    dave = await hall.start("dave")
    async with listening(slow, "slow:2377", answer_late):
        refusal = await refusal_of(dave.machine.join(JoinOptions(remote_addresses=("slow:2377",), join_token=token)))
        assert refusal.startswith("Timeout was reached before node joined.")
        assert dave.machine.info().state is LocalState.PENDING

        await dave.machine.leave(force=False)

        await trio.sleep(60)
        assert_outside(dave)


@pytest.mark.parametrize("spoil", ["secret", "digest", "form"])
async def test_a_token_that_lets_nobody_in_leaves_the_machine_outside(
    autojump_clock: MockClock, hall: Hall, spoil: str
) -> None:
    [alice] = await form(hall)
    _, token = await tokens_of(alice)
    dave = await hall.start("dave")
    prefix, version, digest, secret = token.split("-")
    digest = ("0" if digest[0] != "0" else "1") + digest[1:] if spoil == "digest" else digest
    secret = ("0" if secret[0] != "0" else "1") + secret[1:] if spoil == "secret" else secret
    wrong = "nonsense" if spoil == "form" else f"{prefix}-{version}-{digest}-{secret}"

    refusal = await refusal_of(dave.machine.join(JoinOptions(remote_addresses=(alice.address,), join_token=wrong)))

    assert {
        "secret": "A valid join token is necessary to join this cluster",
        "digest": "remote CA does not match fingerprint",
        "form": "invalid join token",
    }[spoil] in refusal
    assert_outside(dave)
    await dave.machine.join(JoinOptions(remote_addresses=(alice.address,), join_token=token))


async def test_a_manager_that_is_not_there_is_asked_again_and_then_named(autojump_clock: MockClock, hall: Hall) -> None:
    [alice] = await form(hall)
    _, token = await tokens_of(alice)
    dave = await hall.start("dave")

    with pytest.raises(LinkError, match=r"10\.9\.9\.9:2377"):
        await dave.machine.join(JoinOptions(remote_addresses=("10.9.9.9:2377",), join_token=token))

    assert_outside(dave)


async def test_a_node_joins_by_any_manager(autojump_clock: MockClock, hall: Hall) -> None:
    alice, bob = await form(hall, managers=2)
    _, token = await tokens_of(alice)
    dave = await hall.start("dave")

    await dave.machine.join(JoinOptions(remote_addresses=("10.9.9.9:2377", bob.address), join_token=token))

    assert dave.machine.info().state is LocalState.ACTIVE


# Autolock.


async def test_a_restarted_manager_is_locked_until_it_gets_its_key(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await hall.start("alice")
    await alice.machine.init(LOCKED)
    answer = await alice.machine.control(GetUnlockKey())
    assert isinstance(answer, UnlockKeyAnswer)
    key = answer.unlock_key
    await hall.stop(alice)
    await hall.restart(alice)

    assert alice.machine.info().state is LocalState.LOCKED
    locked = "Swarm is encrypted and needs to be unlocked before it can be used."
    assert (await refusal_of(alice.machine.control(GetCluster()))).startswith(locked)
    assert (await refusal_of(alice.machine.init(InitOptions()))).startswith(locked)
    assert (await refusal_of(alice.machine.leave(force=False))).startswith("Swarm is encrypted and locked.")
    wrong = key[:-2] + ("AA" if key[-2:] != "AA" else "BA")
    assert await refusal_of(alice.machine.unlock(wrong)) == "swarm could not be unlocked: invalid key provided"
    assert alice.machine.info().state is LocalState.LOCKED

    await alice.machine.unlock(key)

    assert await service_names(alice) == []
    assert await refusal_of(alice.machine.unlock(key)) == "swarm is not locked"


async def test_a_locked_manager_leaves_by_force(autojump_clock: MockClock, hall: Hall) -> None:
    alice = await hall.start("alice")
    await alice.machine.init(LOCKED)
    await hall.stop(alice)
    await hall.restart(alice)

    await alice.machine.leave(force=True)

    assert_outside(alice)
