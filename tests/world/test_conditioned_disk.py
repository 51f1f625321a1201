"""A disk that is full, or slow, while it is said to be, and otherwise as it was."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raftswarm.errors import DiskFailed
from raftswarm.world.conditioned_disk import ConditionedDisk
from raftswarm.world.conditions import MachineConditions
from raftswarm.world.real_disk import RealDisk


class Trouble:
    now = MachineConditions(host="a")

    def __call__(self) -> MachineConditions:
        return self.now


def test_a_full_disk_takes_no_write_and_no_growth_and_gives_what_it_has(tmp_path: Path) -> None:
    trouble = Trouble()
    file = ConditionedDisk(RealDisk(), trouble).open(str(tmp_path / "file"), create=True)
    file.write(0, [b"before"])

    trouble.now = MachineConditions(host="a", disk_full=True)

    with pytest.raises(DiskFailed, match=r"could not write .*file: No space left on device"):
        file.write(0, [b"after!"])
    with pytest.raises(DiskFailed, match="No space left on device"):
        file.truncate(100)
    file.truncate(3)
    file.sync()
    assert file.read(0, 100) == b"bef"
    trouble.now = MachineConditions(host="a")
    file.write(3, [b"ore"])
    assert file.read(0, 100) == b"before"
    file.close()


def test_a_slow_disk_takes_longer_for_syncs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    trouble = Trouble()
    disk = ConditionedDisk(RealDisk(), trouble)
    file = disk.open(str(tmp_path / "file"), create=True)
    file.sync()

    trouble.now = MachineConditions(host="a", sync_seconds=0.3)
    file.write(0, [b"x"])
    assert slept == []
    file.sync()
    disk.sync_directory(str(tmp_path))

    assert slept == [0.3, 0.3]
    file.close()
