"""Which engine a command talks to."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftswarm.api.errors import ApiError
from raftswarm.cli.session import choose_host, explain
from raftswarm.errors import ConnectionRefused, InvalidSpec


@pytest.mark.parametrize(
    ("given", "environment", "host"),
    [
        ("tcp://a:1", {"RAFTSWARM_HOST": "tcp://b:1", "DOCKER_HOST": "tcp://c:1"}, "tcp://a:1"),
        (None, {"RAFTSWARM_HOST": "tcp://b:1", "DOCKER_HOST": "tcp://c:1"}, "tcp://b:1"),
        (None, {"DOCKER_HOST": "tcp://c:1"}, "tcp://c:1"),
    ],
)
def test_what_is_typed_comes_before_the_environment(given: str | None, environment: dict[str, str], host: str) -> None:
    assert choose_host(given, environment) == host


def test_without_any_the_users_own_socket_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    socket = choose_host(None, {})

    assert socket.startswith(f"unix://{tmp_path}/raftswarm-")
    assert socket.endswith("/raftswarm.sock")


def test_without_any_root_takes_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)

    assert choose_host(None, {}) == "unix:///run/raftswarm.sock"


def test_errors_are_told_in_dockers_words_and_bugs_are_not_hidden() -> None:
    assert explain(ApiError("service web not found", status=404)) == (
        "Error response from daemon: service web not found"
    )
    assert explain(ConnectionRefused("nothing listens on x")) == (
        "Cannot connect to the daemon: nothing listens on x. Is it running?"
    )
    assert explain(InvalidSpec("no")) == "Error: no"
    assert explain(KeyError("bug")) is None
