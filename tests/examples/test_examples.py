"""Every example runs as it stands, twice: what it keeps, it finds again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(name: str, directory: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, directory],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_counter_goes_on_where_it_was(tmp_path: Path) -> None:
    first = run("replicated_counter.py", tmp_path)
    second = run("replicated_counter.py", tmp_path)

    assert first[-3:] == ["total: 1", "total: 2", "total: 3"]
    assert second[-3:] == ["total: 4", "total: 5", "total: 6"]
