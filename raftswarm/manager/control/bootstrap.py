"""The first transaction of a swarm: its cluster object and its first node."""

from __future__ import annotations

from raftswarm.ca.tokens import SECRET_RANDOM_BYTES, make_join_token
from raftswarm.objects.records import Cluster, JoinTokens, Node, NodeDescription
from raftswarm.objects.specs import NodeSpec, SwarmSpec
from raftswarm.store.store import Transaction
from raftswarm.world.chance import Entropy


def make_cluster(
    *,
    cluster_id: str,
    spec: SwarmSpec,
    root_certificate: str,
    root_key: str,
    unlock_key: str,
    entropy: Entropy,
    default_address_pool: tuple[str, ...] = (),
    subnet_size: int = 24,
    data_path_port: int = 4789,
) -> Cluster:
    """A cluster with fresh join tokens; `unlock_key` is empty without autolock."""
    return Cluster(
        id=cluster_id,
        spec=spec,
        root_certificate=root_certificate,
        root_key=root_key,
        join_tokens=JoinTokens(
            worker=make_join_token(root_certificate, entropy.token_bytes(SECRET_RANDOM_BYTES)),
            manager=make_join_token(root_certificate, entropy.token_bytes(SECRET_RANDOM_BYTES)),
        ),
        unlock_key=unlock_key,
        default_address_pool=default_address_pool or ("10.0.0.0/8",),
        subnet_size=subnet_size,
        data_path_port=data_path_port,
    )


def make_first_node(
    *,
    node_id: str,
    member_id: int,
    manager_address: str,
    availability: str = "active",
    description: NodeDescription | None = None,
    certificate_expiry: int = 0,
) -> Node:
    """The node that began the swarm: a manager from the start."""
    return Node(
        id=node_id,
        spec=NodeSpec(role="manager", availability=availability),
        role="manager",
        description=description or NodeDescription(),
        member_id=member_id,
        manager_address=manager_address,
        certificate_expiry=certificate_expiry,
    )


def create_cluster(transaction: Transaction, cluster: Cluster, first_node: Node) -> None:
    """Write both, once: nothing if an earlier try succeeded."""
    if transaction.cluster is None:
        transaction.create(cluster)
    if transaction.get(Node, first_node.id) is None:
        transaction.create(first_node)
