"""A leader's control API over a store whose log is a list."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs
import pytest

from raftswarm.ca import create_root, key_to_pem, new_key
from raftswarm.manager.control.bootstrap import create_cluster, make_cluster
from raftswarm.manager.control.handler import ControlHandler
from raftswarm.manager.control.requests import ManagerStatus
from raftswarm.manager.scheduler.explaining import explain_placement
from raftswarm.objects.records import AnyObject, Cluster, Node
from raftswarm.objects.specs import NodeSpec, SwarmSpec
from raftswarm.objects.swarm_status import MemberStatus
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.store.writes import StoreWrites

NOW_NS = 1_800_000_000_000_000_000


class SeededEntropy:
    def __init__(self, seed: int = 7) -> None:
        self._random = Random(seed)

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


class FixedClock:
    def now_ns(self) -> int:
        return NOW_NS


@attrs.frozen
class Members:
    """The managers as a dict."""

    statuses: dict[str, ManagerStatus]

    def manager_status(self, node_id: str) -> ManagerStatus | None:
        return self.statuses.get(node_id)

    term = 4

    def member_statuses(self) -> list[MemberStatus]:
        return [
            MemberStatus(
                node_id=node_id,
                address=status.address,
                leader=status.leader,
                reachable=status.reachable,
                behind=0 if status.reachable else 12,
                silent_seconds=0.0 if status.reachable else 3.5,
            )
            for node_id, status in self.statuses.items()
        ]


@pytest.fixture
def entropy() -> SeededEntropy:
    return SeededEntropy()


@pytest.fixture
def wall_clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def log(store: Store) -> LoneProposer:
    return LoneProposer(store)


@pytest.fixture
def writes(store: Store, log: LoneProposer) -> StoreWrites:
    return StoreWrites(store, log)


@pytest.fixture
def put(store: Store, log: LoneProposer) -> Callable[..., None]:
    """Store objects as they are, in one transaction: new ones, or next versions of what is there."""

    def put(*objects: AnyObject) -> None:
        transaction = store.begin()
        for stored in objects:
            if transaction.get(type(stored), stored.id) is None:
                transaction.create(stored)
            else:
                transaction.update(stored)
        log.apply(encode(transaction.change_set()))

    return put


@pytest.fixture
def managers() -> dict[str, ManagerStatus]:
    """What Raft says of each manager, by node id; tests change it."""
    return {"m1": ManagerStatus(leader=True, reachable=True, address="10.0.0.1:2377")}


@pytest.fixture
def handler(
    store: Store,
    writes: StoreWrites,
    managers: dict[str, ManagerStatus],
    entropy: SeededEntropy,
    wall_clock: FixedClock,
) -> ControlHandler:
    return ControlHandler(
        store,
        writes,
        membership=Members(managers),
        explain_placement=explain_placement,
        entropy=entropy,
        wall_clock=wall_clock,
    )


@pytest.fixture(scope="session")
def new_cluster() -> Cluster:
    """A cluster with a real root, as `init` makes it."""
    entropy = SeededEntropy(seed=8)
    key = new_key(entropy.token_bytes(48))
    return make_cluster(
        cluster_id="cluster",
        spec=SwarmSpec(),
        root_certificate=create_root(key, now_ns=NOW_NS, serial_bytes=entropy.token_bytes(16)),
        root_key=key_to_pem(key),
        unlock_key="",
        entropy=entropy,
    )


@pytest.fixture
async def cluster(writes: StoreWrites, new_cluster: Cluster) -> Cluster:
    """The swarm after init: one manager, `m1`."""
    first = Node(id="m1", spec=NodeSpec(role="manager"), role="manager")
    await writes.write(lambda transaction: create_cluster(transaction, new_cluster, first))
    return new_cluster
