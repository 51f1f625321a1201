"""An engine over a fake node."""

from __future__ import annotations

import pytest

from tests.fake_engine import Engine, FakeNode


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def engine(node: FakeNode) -> Engine:
    return Engine(node)
