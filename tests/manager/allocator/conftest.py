"""Services that publish ports, and their tasks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from raftswarm.objects.records import Service, Task
from raftswarm.objects.specs import EndpointSpec, PortConfig, ServiceSpec
from raftswarm.objects.tasks import new_task
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.store.transaction import StoreTransaction
from raftswarm.store.writes import StoreWrites


class Dock:
    """A store with services and tasks."""

    def __init__(self) -> None:
        self.store = Store()
        self.log = LoneProposer(self.store)
        self.writes = StoreWrites(self.store, self.log)

    def commit(self, transaction: StoreTransaction) -> None:
        if transaction.changes:
            self.log.apply(encode(transaction.change_set()))

    def service(self, name: str, *ports: PortConfig) -> Service:
        """Make it, or give it other ports."""
        transaction = self.store.begin()
        endpoint = EndpointSpec(mode="vip", ports=list(ports) or None)
        known = transaction.get(Service, name)
        if known is None:
            transaction.create(Service(id=name, spec=ServiceSpec(name=name, endpoint_spec=endpoint)))
        else:
            transaction.update(replace(known, spec=replace(known.spec, endpoint_spec=endpoint)))
        self.commit(transaction)
        return self.stored(name)

    def stored(self, name: str) -> Service:
        service = self.store.get(Service, name)
        assert service is not None
        return service

    def remove(self, name: str) -> None:
        transaction = self.store.begin()
        transaction.delete(Service, name)
        self.commit(transaction)

    def task(self, name: str, service: str) -> Task:
        transaction = self.store.begin()
        transaction.create(new_task(self.stored(service), task_id=name, now=0, slot=1))
        self.commit(transaction)
        return self.stored_task(name)

    def stored_task(self, name: str) -> Task:
        task = self.store.get(Task, name)
        assert task is not None
        return task

    def ports(self, name: str) -> list[int] | None:
        """The ports a service has been given; None without an endpoint."""
        endpoint = self.stored(name).endpoint
        return [port.published_port for port in endpoint.ports] if endpoint is not None else None


@pytest.fixture
def dock() -> Dock:
    return Dock()
