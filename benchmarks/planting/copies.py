"""Scratch copies of the tree: bugs are planted there and never in the tree itself."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.planting.patches import BadPatch, PlantedBug

TREE: Final = Path(__file__).parents[2]
COPIED: Final = ("raftswarm", "property_tests", "tests", "examples", "benchmarks", "pyproject.toml")
"""What the checks need: some tests run examples, and import what they test of the benchmarks."""
_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", ".hypothesis", ".pytest_cache")


@contextmanager
def scratch_copy(bug: PlantedBug | None) -> Iterator[Path]:
    """Copy the tree, plant the bug there, if there is one, and take the copy away afterwards. Raises BadPatch."""
    with TemporaryDirectory(prefix="raftswarm-planted-") as directory:
        copy = Path(directory)
        for name in COPIED:
            source = TREE / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=_LEFT_OUT)
            else:
                shutil.copy(source, copy / name)
        if bug is not None:
            plant(bug, copy)
        yield copy


def plant(bug: PlantedBug, copy: Path, *, only_look: bool = False) -> None:
    """Apply the patch. Raises BadPatch when the code is not what it was made for."""
    # A copy is no repository, and one around it is none of its business.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)}
    apply = ["git", "apply", *["--check"] * only_look]
    done = subprocess.run(
        apply, cwd=copy, env=environment, input=bug.patch, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise BadPatch(f"{bug.label} does not apply; make it anew for the code as it is: {done.stderr.strip()}")


def fingerprint() -> str:
    """Name the code that is copied: what was found in other code says nothing of this."""
    digest = hashlib.sha256()
    for name in COPIED:
        source = TREE / name
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            digest.update(f"{path.relative_to(TREE)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
