"""One session per node (SWARM 7.1)."""

from __future__ import annotations

from random import Random

import pytest
from trio.testing import MockClock

from raftswarm.errors import RequestRefused
from raftswarm.manager.dispatcher.sessions import RATE_LIMIT, RATE_PERIOD_SECONDS, Sessions, session_invalid


class SeededEntropy:
    def __init__(self) -> None:
        self._random = Random(7)

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


async def test_a_session_is_required_by_node_and_id() -> None:
    sessions = Sessions(SeededEntropy())
    session = sessions.open("n1", "")

    assert sessions.require("n1", session.id) is session
    for node_id, session_id, message in (("n1", "other", "session invalid"), ("n2", session.id, "node not registered")):
        with pytest.raises(RequestRefused, match=message):
            sessions.require(node_id, session_id)


async def test_an_id_that_is_not_the_nodes_begins_a_new_session() -> None:
    sessions = Sessions(SeededEntropy())
    first = sessions.open("n1", "")

    assert sessions.open("n1", first.id) is first
    second = sessions.open("n1", "made up")

    assert second.id not in {first.id, "made up"}
    assert str(first.ended) == str(session_invalid())
    assert sessions.all() == [second]


async def test_resuming_does_not_count_as_registering(mock_clock: MockClock) -> None:
    sessions = Sessions(SeededEntropy())
    session = sessions.open("n1", "")

    for _ in range(10):
        assert sessions.open("n1", session.id) is session


async def test_each_node_has_its_own_rate(mock_clock: MockClock) -> None:
    sessions = Sessions(SeededEntropy())
    for _ in range(3):
        sessions.open("n1", "")

    sessions.open("n2", "")
    with pytest.raises(RequestRefused, match="node n1 exceeded rate limit count of registrations"):
        sessions.open("n1", "")


async def test_who_is_refused_and_keeps_asking_gets_in_when_the_period_is_over(mock_clock: MockClock) -> None:
    sessions = Sessions(SeededEntropy())
    for _ in range(RATE_LIMIT):
        sessions.open("n1", "")

    refusals = 0
    for _ in range(20):
        mock_clock.jump(1.0)
        try:
            sessions.open("n1", "")
        except RequestRefused:
            refusals += 1
        else:
            break

    assert refusals == RATE_PERIOD_SECONDS
