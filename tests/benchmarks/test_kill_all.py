"""Nothing acknowledged is lost when all managers are killed at once under load; twice here, 200 times when asked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kill_all import Ledger, Round, kill_all, show
from tests.daemons import kill_processes_of


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name, as sockets need it."""
    with tempfile.TemporaryDirectory(prefix="raftswarm-test-") as directory:
        yield Path(directory)
        kill_processes_of(Path(directory))


async def test_all_managers_may_be_killed_under_load(place: Path) -> None:
    rounds, ledger = await kill_all(place / "swarm", 2, writers=3, seed=1)

    assert [one.acknowledged >= 20 for one in rounds] == [True, True]
    assert ledger.acknowledged == sum(one.acknowledged for one in rounds)
    assert ledger.removed


def test_the_table_tells_what_was_tried() -> None:
    text = show([Round(20, 1, 2.0), Round(40, 3, 4.0)], Ledger(acknowledged=60, removed=1))

    assert "| acknowledged writes before the kill |" in text
    assert text.endswith("kill-all times=2 acknowledged=60 removed=1 lost=0 undone=0")
