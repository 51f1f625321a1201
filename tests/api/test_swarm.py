"""What init, join and unlock accept (SWARM 15), and how the swarm's spec is normalised."""

from __future__ import annotations

import pytest

from raftswarm.api import swarm
from raftswarm.api.errors import ApiError
from raftswarm.objects.specs import DispatcherConfig, OrchestrationConfig, RaftConfig, SwarmSpec


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("", ""),
        ("0.0.0.0:2377", ""),
        ("[::]:2377", ""),
        ("127.0.0.2:2377", "127.0.0.2:2377"),
        ("127.0.0.2", "127.0.0.2"),
        ("[::1]:2377", "[::1]:2377"),
        ("::1", "::1"),
    ],
)
def test_a_listen_address_that_names_no_address_is_the_daemons_own(given: str, taken: str) -> None:
    assert swarm.parse_listen_address(given) == taken


@pytest.mark.parametrize("given", ["x", "1.2.3", "1.2.3.4:99999", "1.2.3.4:http", "eth0:2377"])
def test_an_address_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ApiError, match="listen address must be"):
        swarm.parse_listen_address(given)
    with pytest.raises(ApiError, match="advertise address must be"):
        swarm.parse_advertise_address(given)


def test_a_wildcard_cannot_be_advertised() -> None:
    assert swarm.parse_advertise_address("") == ""
    assert swarm.parse_advertise_address("10.0.0.1") == "10.0.0.1"
    with pytest.raises(ApiError, match="non-zero IP address"):
        swarm.parse_advertise_address("0.0.0.0")


def test_zero_in_a_swarm_spec_is_the_default_and_none_is_kept() -> None:
    spec = SwarmSpec(
        raft=RaftConfig(election_tick=0, heartbeat_tick=0, keep_old_snapshots=3),
        dispatcher=DispatcherConfig(heartbeat_period=0),
        orchestration=OrchestrationConfig(task_history_retention_limit=0),
    )

    normal = swarm.parse_swarm_spec(spec)

    assert normal.raft == RaftConfig(keep_old_snapshots=3)
    assert normal.dispatcher == DispatcherConfig()
    assert normal.orchestration.task_history_retention_limit == 0


@pytest.mark.parametrize("key", ["", "nope", "SWMKEY-1-short", "SWMKEY-2-" + "A" * 43, "SWMKEY-1-" + "*" * 43])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ApiError, match="invalid key string"):
        swarm.parse_unlock_key(key)


def test_the_signing_key_is_never_shown() -> None:
    from raftswarm.objects.records import Cluster, JoinTokens
    from raftswarm.objects.specs import CAConfig

    cluster = Cluster(
        id="c",
        spec=SwarmSpec(ca_config=CAConfig(signing_ca_key="secret")),
        root_certificate="none",
        root_key="secret",
        join_tokens=JoinTokens(worker="w", manager="m"),
        unlock_key="secret",
    )

    assert "secret" not in repr(swarm.show_swarm(cluster))
