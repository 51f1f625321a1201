"""The benchmark of storage measures what is on the disk, sealed and not, and says when sealing costs too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ours.null_sealing import sealing_nothing
from benchmarks.storage import SIZES, Place, Plan, check, measure, show
from raftswarm.errors import RaftSwarmError


def test_everything_is_measured_in_both_modes_and_shown(tmp_path: Path) -> None:
    plan = Plan(directory=tmp_path, rounds=1, entries=640, run_bytes=1024 * 1024, run_appends=10)

    found = measure(plan)

    assert {(run["mode"], run["size"]) for run in found["appends"]} == {
        (mode, size) for mode in ("sealed", "unsealed") for size in SIZES
    }
    assert all(run["rate"] > 0 for run in found["appends"])
    assert found["restart"][0]["open_log"] > 0
    text = show(found)
    for part in ("append and sync 4,096 bytes", "seal 262,144 bytes", "a log of 640 entries", "behind a snapshot"):
        assert part in text
    assert list(tmp_path.iterdir()) == []


def test_sealing_that_costs_more_than_a_tenth_is_told() -> None:
    def run(mode: str, size: int, micros: float) -> dict[str, object]:
        return {"mode": mode, "size": size, "round": 0, "median_micros": micros}

    found = {"appends": [run("unsealed", size, 89.0) for size in SIZES]}
    found["appends"] += [run("sealed", size, 100.0 if size == 4096 else 95.0) for size in SIZES]

    assert check(found) == ["4,096 bytes: 0.890"]


def test_what_was_not_sealed_is_seen_and_opens_nowhere_else(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with sealing_nothing():
        place.create()
        with place.opened() as log:
            log.append(256)
        assert place.shows_plain_text()

    with pytest.raises(RaftSwarmError), place.opened():
        pass
