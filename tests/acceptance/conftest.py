"""Swarms of real daemons in directories of their own; whatever happens, nothing of them stays."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from raftswarm.errors import RaftSwarmError
from raftswarm.local import LocalSwarm
from tests.daemons import kill_processes_of


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for one swarm, with a short name as sockets need it; not there yet."""
    directory = Path(tempfile.mkdtemp(prefix="raftswarm-test-"))
    directory.rmdir()
    yield directory
    try:
        trio.run(LocalSwarm.open(directory).down)
    except RaftSwarmError:
        pass  # The test took it down, or never made it.
    finally:
        kill_processes_of(directory)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def lay_out(place: Path) -> Callable[..., LocalSwarm]:
    """Lay out a swarm; nothing runs yet."""

    def make(*, managers: int = 1, workers: int = 0) -> LocalSwarm:
        return LocalSwarm.create(place, managers=managers, workers=workers, name_prefix="node")

    return make
