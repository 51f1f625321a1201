"""What a state machine raises is its failure, whatever it raises; the disk's errors are the disk's."""

from __future__ import annotations

import pytest

from raftswarm.errors import DiskFailed, MachineFailed, NotLeader, Rejected
from raftswarm.raft.state_machine import machine_errors


@pytest.mark.parametrize("raised", [ZeroDivisionError("no"), Rejected("no"), NotLeader("no")])
def test_what_the_machine_raises_while_it_may_raise_nothing_is_its_failure(raised: Exception) -> None:
    with pytest.raises(MachineFailed, match=f"failed while restoring: {type(raised).__name__}: no") as failure:
        fail(raised)
    assert failure.value.__cause__ is raised


def test_the_disks_errors_come_through() -> None:
    with pytest.raises(DiskFailed, match="gone"):
        fail(DiskFailed("gone"))


def fail(error: Exception) -> None:
    with machine_errors("while restoring"):
        raise error
