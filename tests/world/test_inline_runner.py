"""Disk jobs without a thread keep the protocol: in order, and never called back from within."""

from __future__ import annotations

import trio.testing

from raftswarm.world.inline_runner import InlineDiskRunner


async def test_jobs_run_in_order_and_are_answered_later() -> None:
    runner, told = InlineDiskRunner(), list[object]()

    for number in (1, 2):
        runner.submit(lambda number=number: told.append(number), told.append)  # type: ignore[misc]
    assert told == [1, 2]
    await trio.testing.wait_all_tasks_blocked()

    assert told == [1, 2, None, None]


async def test_what_a_job_raises_goes_to_who_submitted_it() -> None:
    told: list[BaseException | None] = []

    def fail() -> None:
        raise OSError("full")

    InlineDiskRunner().submit(fail, told.append)
    await trio.testing.wait_all_tasks_blocked()

    assert [str(error) for error in told] == ["full"]
