"""A replicated counter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from raftswarm.errors import InvalidSpec, Rejected
from raftswarm.recipes import ReplicatedCounter

if TYPE_CHECKING:
    from tests.recipes.conftest import LoneCluster


async def test_it_counts_up_and_down(cluster: LoneCluster) -> None:
    visits = ReplicatedCounter(cluster, "visits")

    assert await visits.value() == 0
    assert await visits.add() == 1
    assert await visits.add(5) == 6
    assert await visits.add(-10) == -4
    assert await visits.value() == -4


async def test_it_refuses_to_overflow_and_stays_as_it_is(cluster: LoneCluster) -> None:
    visits = ReplicatedCounter(cluster, "visits")
    await visits.add(2**63 - 1)

    with pytest.raises(Rejected, match="63 bits"):
        await visits.add()
    assert await visits.value() == 2**63 - 1
    cluster.restart()
    assert await visits.value() == 2**63 - 1


@pytest.mark.parametrize("amount", [1.0, "1", None, True, 2**63])
async def test_only_whole_numbers_are_added(cluster: LoneCluster, amount: Any) -> None:
    with pytest.raises(InvalidSpec, match="cannot be added"):
        await ReplicatedCounter(cluster, "visits").add(amount)
