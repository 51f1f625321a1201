"""Stores with a fake log in front of them."""

from __future__ import annotations

import pytest

from raftswarm.store.alone import LoneProposer
from raftswarm.store.store import Store
from raftswarm.store.writes import StoreWrites


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def log(store: Store) -> LoneProposer:
    return LoneProposer(store)


@pytest.fixture
def writes(store: Store, log: LoneProposer) -> StoreWrites:
    return StoreWrites(store, log)
