"""The first transaction of a swarm (SWARM 13)."""

from __future__ import annotations

from raftswarm.ca import check_root, parse_join_token
from raftswarm.manager.control.bootstrap import create_cluster, make_first_node
from raftswarm.objects.records import Cluster, Node
from raftswarm.store.alone import LoneProposer
from raftswarm.store.store import Store
from raftswarm.store.writes import StoreWrites


async def test_a_swarm_begins_with_its_cluster_and_one_manager(
    store: Store, writes: StoreWrites, new_cluster: Cluster
) -> None:
    first = make_first_node(node_id="m1", member_id=7, manager_address="10.0.0.1:2377", availability="drain")

    await writes.write(lambda transaction: create_cluster(transaction, new_cluster, first))

    assert store.cluster is not None
    assert (store.cluster.id, store.cluster.version) == ("cluster", 1)
    node = store.get(Node, "m1")
    assert node is not None
    assert (node.role, node.spec.role, node.spec.availability, node.member_id) == ("manager", "manager", "drain", 7)


async def test_asking_again_changes_nothing(writes: StoreWrites, log: LoneProposer, new_cluster: Cluster) -> None:
    first = make_first_node(node_id="m1", member_id=7, manager_address="10.0.0.1:2377")

    for _ in range(2):
        await writes.write(lambda transaction: create_cluster(transaction, new_cluster, first))

    assert len(log.commands) == 1


def test_the_tokens_differ_and_pin_the_root(new_cluster: Cluster) -> None:
    worker, manager = (
        parse_join_token(token) for token in (new_cluster.join_tokens.worker, new_cluster.join_tokens.manager)
    )

    assert worker.secret != manager.secret
    check_root(new_cluster.root_certificate, worker.root_digest)
    check_root(new_cluster.root_certificate, manager.root_digest)
