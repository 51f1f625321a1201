"""Ages, sizes and ports in docker's words."""

from __future__ import annotations

import pytest

from raftswarm.cli.words import describe_duration, describe_ports, describe_size, natural
from raftswarm.objects.specs import PortConfig


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3600, "About an hour"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (3 * 365 * 86400, "3 years"),
    ],
)
def test_a_duration_is_told_roughly(seconds: int, words: str) -> None:
    assert describe_duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0B"), (1023, "1023B"), (64 << 20, "64MiB"), (25276514304, "23.54GiB")]
)
def test_a_size_has_four_digits(count: int, words: str) -> None:
    assert describe_size(count) == words


def test_neighbouring_ports_are_joined() -> None:
    ports = [
        PortConfig(published_port=8081, target_port=81),
        PortConfig(published_port=8080, target_port=80),
        PortConfig(published_port=53, target_port=53, protocol="udp"),
    ]

    assert describe_ports(ports) == "*:8080-8081->80-81/tcp, *:53->53/udp"


def test_names_are_ordered_as_people_count() -> None:
    assert sorted(["docker10", "docker9", "alpha", "docker"], key=natural) == ["alpha", "docker", "docker9", "docker10"]
