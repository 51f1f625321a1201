"""What a manager answers over a link, and to whom (SWARM 10.3, 14)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from raftswarm.ca import make_signing_request, new_key, parse_join_token
from raftswarm.engine.node_protocol import InitOptions, JoinOptions
from raftswarm.errors import NotLeader, RequestRefused
from raftswarm.manager.control.requests import ClusterAnswer, GetCluster, encode_request
from raftswarm.node.identity_files import read_credentials
from raftswarm.node.state_directory import StateDirectory
from raftswarm.storage.keys import KeyRing
from raftswarm.transport.calls import Caller, open_caller, use_caller
from raftswarm.wire.requests import BeatHeart, Control, GetAssignments, IssueCertificate, IssuedCertificate

if TYPE_CHECKING:
    from tests.node.conftest import Hall, Room

CSR = make_signing_request(new_key(bytes(range(48))))


async def form(hall: Hall) -> tuple[Room, Room, Room, str]:
    """A leader, a follower, a worker, and the workers' token."""
    leader, follower, worker = [await hall.start(name) for name in ("alice", "bob", "dave")]
    await leader.machine.init(InitOptions())
    answer = await leader.machine.control(GetCluster())
    assert isinstance(answer, ClusterAnswer)
    tokens = answer.cluster.join_tokens
    await follower.machine.join(JoinOptions(remote_addresses=(leader.address,), join_token=tokens.manager))
    await worker.machine.join(JoinOptions(remote_addresses=(leader.address,), join_token=tokens.worker))
    return leader, follower, worker, tokens.worker


@asynccontextmanager
async def calling(hall: Hall, who: Room, whom: Room) -> AsyncIterator[Caller]:
    """Call with a node's own certificate."""
    directory = StateDirectory("state", who.disk)
    keys = KeyRing.open(who.disk, directory.certificates, who.world.entropy)
    network = hall.cable.plug("10.9.9.9", who.world.wall_clock, read_credentials(directory, keys))
    async with open_caller(network, whom.address) as caller:
        yield caller


async def test_a_joining_node_gets_its_certificate_from_any_manager(autojump_clock: MockClock, hall: Hall) -> None:
    _, follower, worker, token = await form(hall)
    stranger = hall.cable.plug("10.9.9.9", worker.world.wall_clock)
    link, _ = await stranger.bootstrap_connect(follower.address, parse_join_token(token).root_digest)

    async with use_caller(link) as caller:
        issued = await caller.call(IssueCertificate(csr=CSR, token=token))

    assert isinstance(issued, IssuedCertificate)
    assert issued.role == "swarm-worker"
    assert issued.unlock_key == ""


async def test_a_renewal_is_for_the_node_that_calls_and_its_role(autojump_clock: MockClock, hall: Hall) -> None:
    leader, _, worker, _ = await form(hall)

    async with calling(hall, worker, leader) as caller:
        issued = await caller.call(IssueCertificate(csr=CSR))

    assert isinstance(issued, IssuedCertificate)
    assert (issued.node_id, issued.role) == (worker.machine.info().node_id, "swarm-worker")


async def test_a_renewal_is_never_passed_on_in_a_managers_name(autojump_clock: MockClock, hall: Hall) -> None:
    leader, follower, worker, _ = await form(hall)

    async with calling(hall, worker, follower) as caller:
        with pytest.raises(NotLeader) as refusal:
            await caller.call(IssueCertificate(csr=CSR))

    assert refusal.value.address == leader.address


async def test_a_worker_controls_nothing(autojump_clock: MockClock, hall: Hall) -> None:
    leader, _, worker, _ = await form(hall)

    async with calling(hall, worker, leader) as caller:
        with pytest.raises(RequestRefused, match="Control is for a swarm-manager, and the caller is a swarm-worker"):
            await caller.call(Control(body=encode_request(GetCluster())))


async def test_a_follower_sends_sessions_and_control_to_the_leader(autojump_clock: MockClock, hall: Hall) -> None:
    leader, follower, worker, _ = await form(hall)

    for who, request in ((worker, BeatHeart(session_id="any")), (leader, Control(body=encode_request(GetCluster())))):
        async with calling(hall, who, follower) as caller:
            with pytest.raises(NotLeader) as refusal:
                await caller.call(request)
        assert refusal.value.address == leader.address


async def test_control_that_cannot_be_read_is_refused(autojump_clock: MockClock, hall: Hall) -> None:
    leader, follower, _, _ = await form(hall)

    async with calling(hall, follower, leader) as caller:
        with pytest.raises(RequestRefused):
            await caller.call(Control(body=b"\xc1 nonsense"))
        assert (await caller.call(Control(body=encode_request(GetCluster())))) is not None


async def test_what_a_manager_does_not_serve_is_refused(autojump_clock: MockClock, hall: Hall) -> None:
    leader, _, worker, _ = await form(hall)

    async with calling(hall, worker, leader) as caller:
        with pytest.raises(RequestRefused, match="a manager does not serve GetAssignments") as refusal:
            await caller.call(GetAssignments(session_id="s"))

    assert refusal.value.code == "Unimplemented"
