"""Campaigns: the same rows in any number of processes, put down so that they need not be run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from raftswarm.errors import InvalidSpec
from raftswarm.lab.campaign import open_campaign, run_campaign, run_pairs
from raftswarm.lab.running import Order, Row, run_order
from raftswarm.lab.seed_workers import open_workers


def order(*seeds: int, seconds: float = 0.5) -> list[Order]:
    return [Order(seed=seed, seconds=seconds, is_traced=True) for seed in seeds]


def without_times(rows: Sequence[Row]) -> list[Row]:
    return [msgspec.structs.replace(row, cpu_seconds=0.0) for row in rows]


def test_the_number_of_processes_changes_nothing_but_the_time() -> None:
    orders = order(9, 2, 7, 4)

    alone = list(run_campaign(orders))
    together = list(run_campaign(orders, jobs=2))

    assert [row.seed for row in together] == [9, 2, 7, 4]
    assert without_times(together) == without_times(alone)


def test_processes_that_hash_otherwise_run_the_same_worlds() -> None:
    """A slice of the thousand: ``raftswarm lab run --random --twice --seeds 1000``."""
    pairs = list(run_pairs(order(1, 2, 3, 4, 5, 6, seconds=3.0), jobs=2))

    assert [(one.seed, other.seed) for one, other in pairs] == [(seed, seed) for seed in (1, 2, 3, 4, 5, 6)]
    assert all(one.digest == other.digest != "" for one, other in pairs)


def test_what_ended_before_is_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "campaign"
    first = open_campaign(path, seconds=0.5, members=None)
    list(run_campaign(order(1, 2), ended=first.append))

    second = open_campaign(path, seconds=0.5, members=None)
    ran: list[int] = []
    rows = list(run_campaign(order(1, 2, 3), known=second.rows, ended=lambda row: ran.append(row.seed)))

    assert ran == [3]
    assert without_times(rows) == without_times(list(run_campaign(order(1, 2, 3))))


def test_a_line_that_was_cut_off_is_run_again(tmp_path: Path) -> None:
    path = tmp_path / "campaign"
    file = open_campaign(path, seconds=0.5, members=3)
    for one in order(1, 2):
        file.append(run_order(one))
    path.write_bytes(path.read_bytes()[:-20])

    again = open_campaign(path, seconds=0.5, members=3)

    assert list(again.rows) == [1]
    again.append(run_order(order(2)[0]))
    assert list(open_campaign(path, seconds=0.5, members=3).rows) == [1, 2]


def test_a_campaign_of_other_worlds_is_refused(tmp_path: Path) -> None:
    open_campaign(tmp_path / "campaign", seconds=20.0, members=5)

    with pytest.raises(InvalidSpec, match=r"5 members for 20 s, this is .* a drawn number of members for 60 s"):
        open_campaign(tmp_path / "campaign", seconds=60.0, members=None)


@pytest.mark.parametrize("content", [b"", b"no campaign\n", b"{}\n", b'{"format":"raftswarm recording","version":1}\n'])
def test_a_file_that_is_no_campaign_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(InvalidSpec, match="name a file that is not there yet"):
        open_campaign(tmp_path / "file", seconds=20.0, members=5)

    assert (tmp_path / "file").read_bytes() == content


def test_what_a_process_refuses_is_said_here(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bad = [Order(seed=seed, seconds=0.5, directory=str(tmp_path / "file"), keeps_all=True) for seed in (1, 2)]

    with pytest.raises(InvalidSpec, match="cannot write"):
        list(run_campaign(bad, jobs=2))


def test_a_process_that_ends_by_itself_is_named_with_its_seed() -> None:
    with open_workers(1) as workers:
        [worker] = workers.workers
        os.kill(worker.process.pid, signal.SIGKILL)

        with pytest.raises(InvalidSpec, match=r"ended in seed 3 with status -9; try that seed with --jobs 1"):
            list(workers.run(order(3)))


def test_processes_end_with_the_block() -> None:
    with open_workers(2) as workers:
        rows = workers.run(order(1, 2, 3, 4, 5, 6, seconds=1.0))
        next(rows)
        rows.close()

    assert [worker.process.returncode for worker in workers.workers] == [-signal.SIGKILL] * 2


def test_a_process_stops_when_nobody_asks_any_more() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "raftswarm.lab.seed_worker"],
        input=b"",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert (ran.stdout, ran.stderr) == (b"", b"")


def test_a_campaign_tells_of_each_world_when_it_has_ended() -> None:
    """Before it is yielded: whoever is interrupted in between has put it down."""
    told: list[int] = []

    rows = run_campaign(order(1, 2), ended=lambda row: told.append(row.seed))

    assert next(rows).seed == 1
    assert told == [1]
    rows.close()


KILLED = """
import os, signal
from raftswarm.lab.running import Order
from raftswarm.lab.seed_workers import open_workers
with open_workers(1) as workers:
    [worker] = workers.workers
    worker.give([Order(seed=1, seconds=1e9)])
    print(worker.process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_one_that_is_killed() -> None:
    """In the middle of a world that would take days."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as parent:
        # Its process has inherited standard error, which is at its end when both have ended.
        started, errors = parent.communicate(timeout=60)

    assert parent.returncode == -signal.SIGKILL
    assert int(started) > 0
    assert errors == b""
