"""A replicated dict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from raftswarm.errors import InvalidSpec, Rejected
from raftswarm.recipes import ReplicatedDict

if TYPE_CHECKING:
    from tests.recipes.conftest import LoneCluster


@pytest.fixture
def votes(cluster: LoneCluster) -> ReplicatedDict:
    return ReplicatedDict(cluster, "votes")


async def test_what_was_set_is_there_until_it_is_deleted(votes: ReplicatedDict) -> None:
    await votes.set("alice", 1)
    await votes.set(7, b"seven")
    await votes.set("alice", 2)

    assert await votes.get("alice") == 2
    assert await votes.items() == {"alice": 2, 7: b"seven"}
    assert await votes.delete("alice")
    assert not await votes.delete("alice")
    assert await votes.get("alice") is None


@pytest.mark.parametrize(
    ("value", "comes_back"),
    [
        (True, True),
        (1.5, 1.5),
        ("ä", "ä"),
        (b"\x00", b"\x00"),
        ([1, [2]], [1, [2]]),
        ((1, "two"), [1, "two"]),
        ({"a": {"b": None}}, {"a": {"b": None}}),
        (2**64 - 1, 2**64 - 1),
    ],
)
async def test_values_are_what_msgpack_can_say(votes: ReplicatedDict, value: object, comes_back: object) -> None:
    await votes.set("k", value)

    assert await votes.get("k") == comes_back


async def test_nobody_changes_a_value_behind_the_logs_back(votes: ReplicatedDict) -> None:
    value: list[Any] = [1]
    await votes.set("k", value)
    value.append(2)
    got: Any = await votes.get("k")
    got.append(3)

    assert await votes.get("k") == [1]


async def test_compare_and_set_changes_only_what_is_as_expected(votes: ReplicatedDict) -> None:
    assert await votes.compare_and_set("k", None, 1)
    assert not await votes.compare_and_set("k", None, 2)
    assert not await votes.compare_and_set("k", 2, 3)
    assert await votes.compare_and_set("k", 1, {"b": 1, "a": 2})
    assert await votes.compare_and_set("k", {"a": 2, "b": 1}, 4), "the order of a map does not matter"
    assert await votes.compare_and_set("k", 4, None)
    assert await votes.items() == {}


async def test_a_superseded_token_changes_nothing(votes: ReplicatedDict) -> None:
    await votes.set("k", "old", fence=5)
    await votes.set("k", "new", fence=9)

    for late in (
        votes.set("k", "late", fence=5),
        votes.delete("k", fence=5),
        votes.compare_and_set("k", "new", 1, fence=5),
    ):
        with pytest.raises(Rejected, match="token 5 was superseded by 9"):
            await late
    assert await votes.get("k") == "new"


async def test_changes_without_a_token_leave_the_fence_where_it_is(votes: ReplicatedDict) -> None:
    await votes.set("k", "fenced", fence=9)
    await votes.set("k", "free")

    with pytest.raises(Rejected, match="superseded"):
        await votes.set("k", "late", fence=5)


async def test_a_fence_outlives_what_it_protects(cluster: LoneCluster, votes: ReplicatedDict) -> None:
    await votes.set("k", "v", fence=9)
    await votes.delete("k", fence=9)
    cluster.restart()

    with pytest.raises(Rejected, match="superseded"):
        await votes.set("k", "late", fence=5)


@pytest.mark.parametrize("key", [None, True, 1.5, b"k", ("a",), [], 2**64, -(2**63) - 1, "\ud800"])
async def test_what_cannot_be_a_key_is_refused_before_it_travels(
    cluster: LoneCluster, votes: ReplicatedDict, key: Any
) -> None:
    with pytest.raises(InvalidSpec):
        await votes.set(key, 1)
    assert cluster.commands == 0


@pytest.mark.parametrize("value", [None, object(), 2**64, {1: object()}, "\ud800", lambda: None])
async def test_what_msgpack_cannot_say_is_refused_before_it_travels(
    cluster: LoneCluster, votes: ReplicatedDict, value: object
) -> None:
    with pytest.raises(InvalidSpec):
        await votes.set("k", value)
    assert cluster.commands == 0
