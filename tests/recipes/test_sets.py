"""A replicated set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.recipes import ReplicatedSet

if TYPE_CHECKING:
    from tests.recipes.conftest import LoneCluster


async def test_elements_come_and_go_once(cluster: LoneCluster) -> None:
    tags = ReplicatedSet(cluster, "tags")

    assert await tags.add("a")
    assert not await tags.add("a")
    assert await tags.add(1)
    assert await tags.contains("a")
    assert await tags.members() == {"a", 1}
    assert await tags.discard("a")
    assert not await tags.discard("a")
    assert not await tags.contains("a")


@pytest.mark.parametrize("element", [[], None, 1.0, True, {}])
async def test_what_cannot_be_an_element_is_refused(cluster: LoneCluster, element: Any) -> None:
    with pytest.raises(InvalidSpec, match="cannot be a key"):
        await ReplicatedSet(cluster, "tags").add(element)
