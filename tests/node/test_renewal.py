"""Certificates are renewed in time, by whoever leads, as often as it takes (SWARM 10.3)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from raftswarm.ca import MANAGER, WORKER, Credentials, Identity, create_root, issue_certificate, key_to_pem, new_key
from raftswarm.engine.node_protocol import InitOptions
from raftswarm.errors import ConnectionRefused, NotLeader, RequestRefused
from raftswarm.node.entering import enter_by_init
from raftswarm.node.identity_files import read_credentials
from raftswarm.node.renewal import Renewal, renewal_time
from raftswarm.node.state_directory import StateDirectory
from raftswarm.objects.specs import CAConfig, SwarmSpec
from raftswarm.storage.keys import KeyRing
from raftswarm.wire.requests import AnyAnswer, AnyRequest, IssueCertificate, IssuedCertificate

if TYPE_CHECKING:
    from tests.node.conftest import Hall, Room

HOUR = 3600.0
BEGIN_NS = 1_800_000_000 * 10**9
DAY = 24 * HOUR
ROOT_KEY = new_key(bytes(48))


@attrs.define
class Date:
    """Goes on with trio's clock, for years; after a minute it may jump ahead."""

    jump_seconds: float = 0.0

    def now_ns(self) -> int:
        passed = trio.current_time()
        return BEGIN_NS + int((passed + (self.jump_seconds if passed > 60 else 0)) * 1e9)


@attrs.define(eq=False)
class Signers:
    """Managers by address; what one of them is to say instead of signing."""

    room: Room
    role: str = MANAGER
    excuses: dict[str, list[Exception]] = attrs.field(factory=dict)
    asked: list[tuple[str, float]] = attrs.field(factory=list)

    async def call(self, address: str, request: AnyRequest) -> AnyAnswer:
        await trio.lowlevel.checkpoint()
        self.asked.append((address, trio.current_time()))
        assert isinstance(request, IssueCertificate)
        if excuses := self.excuses.get(address):
            raise excuses.pop(0)
        now = self.room.world.wall_clock.now_ns()
        root = create_root(ROOT_KEY, now_ns=now, serial_bytes=bytes([1]) * 16)
        certificate = issue_certificate(
            request.csr,
            Identity("alice", self.role, "swarm"),
            root=root,
            root_key=key_to_pem(ROOT_KEY),
            now_ns=now,
            serial_bytes=self.room.world.entropy.token_bytes(16),
        )
        return IssuedCertificate(
            node_id="alice", cluster_id="swarm", role=self.role, certificate=certificate, root_certificate=root
        )


@attrs.define(eq=False)
class Scene:
    """A node that has just been let in, with a certificate for two days."""

    room: Room
    signers: Signers
    renewed: list[Credentials]
    renewal: Renewal
    addresses: list[str]

    @property
    def stored(self) -> Credentials:
        keys = KeyRing.open(self.room.disk, "state/certificates", self.room.world.entropy)
        return read_credentials(StateDirectory("state", self.room.disk), keys)

    async def run(self) -> IssuedCertificate:
        return await self.renewal.run(self.stored, MANAGER)


@pytest.fixture
def scene(hall: Hall) -> Scene:
    room = hall.furnish("alice")
    room.world = attrs.evolve(room.world, wall_clock=Date())
    directory = StateDirectory("state", room.disk)
    spec = SwarmSpec(ca_config=CAConfig(node_cert_expiry=int(2 * DAY * 1e9)))
    keys = enter_by_init(room.world, directory, InitOptions(spec=spec), room.address, room.address, room.settings).keys
    signers, renewed, addresses = Signers(room), list[Credentials](), ["m1", "m2"]
    renewal = Renewal(room.world, directory, keys, signers, lambda: addresses, renewed.append)
    return Scene(room, signers, renewed, renewal, addresses)


async def test_it_is_renewed_between_half_and_four_fifths_of_its_time(scene: Scene, autojump_clock: MockClock) -> None:
    before = scene.stored

    with trio.move_on_after(2 * DAY):
        await scene.run()

    [(_, at), *_] = scene.signers.asked
    assert DAY <= at <= 0.8 * 2 * DAY
    assert scene.stored != before
    assert scene.stored == scene.renewed[-1]
    assert scene.stored.key != before.key, "every certificate has a key of its own"


async def test_time_counts_from_when_it_was_issued(scene: Scene, autojump_clock: MockClock) -> None:
    # Certificates are good for an hour before they were made: clocks differ.
    credentials = scene.stored
    now = scene.room.world.wall_clock.now_ns() / 1e9

    assert renewal_time(credentials, 0) == pytest.approx(now, abs=1)
    assert renewal_time(credentials, 1) == pytest.approx(now + 2 * DAY, abs=1)


async def test_it_goes_on_being_renewed(scene: Scene, autojump_clock: MockClock) -> None:
    with trio.move_on_after(365 * DAY):
        await scene.run()

    assert 4 <= len(scene.renewed) <= 9, "those for 90 days, after the first for two"


async def test_who_does_not_lead_names_the_leader(scene: Scene, autojump_clock: MockClock) -> None:
    scene.signers.excuses = {"m1": [NotLeader("not me", 3, "m3")]}
    scene.renewal.ask()

    with trio.move_on_after(60):
        await scene.run()

    assert [address for address, _ in scene.signers.asked] == ["m1", "m3"]
    assert len(scene.renewed) == 1


async def test_all_managers_are_asked_and_asked_again_ever_more_seldom(scene: Scene, autojump_clock: MockClock) -> None:
    gone = [ConnectionRefused("nobody there") for _ in range(100)]
    scene.signers.excuses = {"m1": list(gone), "m2": [*gone[:6], RequestRefused("not now", code="Unavailable")]}
    scene.renewal.ask()

    with trio.move_on_after(300):
        await scene.run()

    times = [at for address, at in scene.signers.asked if address == "m2"]
    assert len(times) == 8
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(pause <= 30 for pause in pauses)
    assert pauses[-1] > pauses[0]
    assert len(scene.renewed) == 1


async def test_two_managers_that_name_each_other_are_not_asked_for_ever(
    scene: Scene, autojump_clock: MockClock
) -> None:
    scene.signers.excuses = {"m1": [NotLeader("m2", 2, "m2")], "m2": [NotLeader("m1", 1, "m1")]}
    scene.renewal.ask()

    with trio.move_on_after(5):
        await scene.run()

    assert [address for address, _ in scene.signers.asked] == ["m1", "m2", "m1"]


async def test_a_certificate_for_another_role_ends_it(scene: Scene, autojump_clock: MockClock) -> None:
    scene.signers.role = WORKER
    scene.renewal.ask()

    with trio.fail_after(5):
        issued = await scene.run()

    assert issued.role == WORKER
    assert scene.stored.certificate == issued.certificate


async def test_a_date_that_jumps_ahead_is_noticed_within_the_hour(scene: Scene, autojump_clock: MockClock) -> None:
    world = scene.room.world = attrs.evolve(scene.room.world, wall_clock=Date(1.9 * DAY))
    keys = KeyRing.open(scene.room.disk, "state/certificates", world.entropy)
    renewal = Renewal(
        world, StateDirectory("state", scene.room.disk), keys, scene.signers, lambda: scene.addresses, lambda _: None
    )

    with trio.move_on_after(2 * HOUR):
        await renewal.run(scene.stored, MANAGER)

    assert scene.signers.asked[0][1] <= HOUR + 60
