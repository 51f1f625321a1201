"""Settings that cannot work are refused when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from raftswarm.raft.settings import RaftSettings


@pytest.mark.parametrize("value", [0, -1, float("nan")])
@pytest.mark.parametrize(
    "name",
    [
        "heartbeat_seconds",
        "election_seconds",
        "append_window_bytes",
        "append_window_messages",
        "uncommitted_bytes",
    ],
)
def test_times_and_limits_are_above_zero(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"'{name}' must be > 0"):
        RaftSettings(**{name: value})


def test_an_election_waits_for_longer_than_a_heartbeat() -> None:
    with pytest.raises(ValueError, match="leaves no time for a heartbeat"):
        RaftSettings(heartbeat_seconds=0.5, election_seconds=0.5)
