"""What tests need from outside the tree. Where it is missing they are skipped with the reason; under CI they fail."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import pytest


def do_without(what: str) -> Never:
    """Skip for want of something, unless this is CI, which has to have it."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and under CI nothing may be missing")
    pytest.skip(what, allow_module_level=True)


SHARED = Path(os.environ.get("RAFTSWARM_SHARED", Path(__file__).parents[2] / "shared"))
"""Recordings of a Docker Engine, and vectors of other Raft engines."""


def find_vectors(name: str) -> Path:
    """Return a file or directory of vectors; for modules that make a test of each."""
    path = SHARED / "vectors" / name
    if not path.exists():
        do_without(f"no {name} under {SHARED} (set RAFTSWARM_SHARED)")
    return path


@pytest.fixture(scope="session")
def needs_shared() -> Path:
    """Return the directory of recordings and vectors."""
    if not (SHARED / "docker-api" / "recordings").is_dir():
        do_without(f"no recordings under {SHARED} (set RAFTSWARM_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def needs_docker_cli() -> str:
    """Return the docker CLI's path."""
    found = shutil.which("docker")
    if found is None:
        do_without("no docker CLI on the PATH")
    return found


@pytest.fixture(scope="session")
def load_recording(needs_shared: Path) -> Callable[[str], dict[str, Any]]:
    """Return a function that reads a recording of the docker CLI by the number it begins with."""

    def load(number: str) -> dict[str, Any]:
        [path] = (needs_shared / "docker-api" / "recordings").glob(f"{number}-*.json")
        recording: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return recording

    return load
