"""The state machine: applying transactions, all or nothing (SWARM 1.4, 3.2)."""

from __future__ import annotations

import pytest
from msgspec import Raw
from msgspec.structs import replace

from raftswarm.errors import Conflict, Rejected
from raftswarm.objects.records import Cluster, JoinTokens, Node, Service
from raftswarm.objects.specs import NodeSpec, ServiceSpec, SwarmSpec
from raftswarm.store.alone import SECOND_NS, LoneProposer
from raftswarm.store.change_set import ChangeSet, NameRead, Put, UnknownCommandVersion, encode, encode_object
from raftswarm.store.store import Store
from raftswarm.store.transaction import StoreTransaction


def make_service(service_id: str, name: str = "") -> Service:
    return Service(id=service_id, spec=ServiceSpec(name=name or service_id))


def apply(log: LoneProposer, transaction: StoreTransaction) -> None:
    log.apply(encode(transaction.change_set()))


def create(store: Store, log: LoneProposer, *objects: Service | Node | Cluster) -> None:
    transaction = store.begin()
    for new in objects:
        transaction.create(new)
    apply(log, transaction)


def picture(store: Store) -> bytes:
    return b"".join(store.capture().chunks())


def test_versions_and_times_come_from_the_log(store: Store, log: LoneProposer) -> None:
    create(store, log, make_service("s1"))
    create(store, log, make_service("s2"))
    transaction = store.begin()
    service = transaction.get(Service, "s1")
    assert service is not None
    transaction.update(replace(service, created_at=12345))
    apply(log, transaction)

    changed = store.get(Service, "s1")
    assert changed is not None
    assert (changed.version, changed.created_at, changed.updated_at) == (3, 1 * SECOND_NS, 3 * SECOND_NS)


def test_of_two_updates_of_one_version_the_second_is_a_conflict(store: Store, log: LoneProposer) -> None:
    create(store, log, Node(id="n"))
    first, second = store.begin(), store.begin()
    for transaction, role in ((first, "manager"), (second, "worker")):
        node = transaction.get(Node, "n")
        assert node is not None
        transaction.update(replace(node, spec=NodeSpec(role=role)))

    apply(log, first)
    with pytest.raises(Conflict):
        apply(log, second)

    node = store.get(Node, "n")
    assert node is not None
    assert node.spec.role == "manager"


def test_what_was_only_read_must_still_be_so(store: Store, log: LoneProposer) -> None:
    create(store, log, Node(id="n"))
    reader = store.begin()
    reader.get(Node, "n")
    reader.create(make_service("s1"))
    writer = store.begin()
    writer.delete(Node, "n")

    apply(log, writer)

    with pytest.raises(Conflict):
        apply(log, reader)
    assert store.get(Service, "s1") is None


def test_what_was_not_there_must_still_be_absent(store: Store, log: LoneProposer) -> None:
    reader = store.begin()
    assert reader.get(Node, "n") is None
    reader.create(make_service("s1"))

    create(store, log, Node(id="n"))

    with pytest.raises(Conflict):
        apply(log, reader)


def test_a_name_found_free_must_still_be_free(store: Store, log: LoneProposer) -> None:
    reader = store.begin()
    assert reader.by_name(Service, "web") is None
    reader.create(make_service("other"))

    create(store, log, make_service("s1", "web"))

    with pytest.raises(Conflict):
        apply(log, reader)


def test_two_creations_of_one_name_cannot_both_succeed(store: Store, log: LoneProposer) -> None:
    first, second = store.begin(), store.begin()
    first.create(make_service("s1", "web"))
    second.create(make_service("s2", "WEB"))

    apply(log, first)

    with pytest.raises(Conflict, match="name web is taken"):
        apply(log, second)


def test_there_is_one_cluster_of_a_name(store: Store, log: LoneProposer) -> None:
    def make_cluster(cluster_id: str) -> Cluster:
        tokens = JoinTokens(worker="w", manager="m")
        return Cluster(id=cluster_id, spec=SwarmSpec(), root_certificate="", root_key="", join_tokens=tokens)

    first, second = store.begin(), store.begin()
    first.create(make_cluster("c1"))
    second.create(make_cluster("c2"))

    apply(log, first)

    with pytest.raises(Conflict):
        apply(log, second)
    assert store.cluster is not None
    assert store.cluster.id == "c1"


def test_a_table_expected_unchanged_must_be(store: Store, log: LoneProposer) -> None:
    reader = store.begin()
    list(reader.find(Service))
    reader.expect_unchanged(Service)
    reader.create(Node(id="n"))

    create(store, log, make_service("s1"))

    with pytest.raises(Conflict, match="service table"):
        apply(log, reader)


def test_other_tables_may_change_meanwhile(store: Store, log: LoneProposer) -> None:
    reader = store.begin()
    reader.expect_unchanged(Service)
    reader.create(make_service("s1"))

    create(store, log, Node(id="n"))
    apply(log, reader)

    assert store.get(Service, "s1") is not None


def test_a_refused_transaction_changes_nothing(store: Store, log: LoneProposer) -> None:
    create(store, log, Node(id="n1"), Node(id="n2"))
    stale = store.begin()
    stale.delete(Node, "n1")
    stale.delete(Node, "n2")
    newer = store.begin()
    node = newer.get(Node, "n2")
    assert node is not None
    newer.update(replace(node, message="changed"))
    apply(log, newer)
    before = picture(store)

    with store.watch() as watch, pytest.raises(Conflict):
        apply(log, stale)

    assert picture(store) == before
    assert watch.cursor == 2


def test_bytes_of_this_version_that_make_no_sense_are_refused(store: Store, log: LoneProposer) -> None:
    body = Raw(encode_object(make_service("s1")))

    for change_set in (
        ChangeSet(changes=(Put("spaceship", body),)),
        ChangeSet(changes=(Put("cluster", body),)),
        ChangeSet(changes=(Put("service", body), Put("service", body))),
        ChangeSet(changes=(), names=(NameRead("task", "t", ""),)),
    ):
        with pytest.raises(Rejected):
            log.apply(encode(change_set))
    assert list(store.find(Service)) == []


def test_a_command_of_another_version_is_not_a_result(log: LoneProposer) -> None:
    with pytest.raises(UnknownCommandVersion) as stopped:
        log.apply(b"\x02whatever")

    assert not isinstance(stopped.value, Rejected)


def test_one_transaction_cannot_give_a_name_twice(store: Store, log: LoneProposer) -> None:
    bodies = [Raw(encode_object(make_service(service_id, "web"))) for service_id in ("s1", "s2")]

    with pytest.raises(Conflict, match="name web is taken"):
        log.apply(encode(ChangeSet(changes=tuple(Put("service", body) for body in bodies))))

    assert store.by_name(Service, "web") is None
