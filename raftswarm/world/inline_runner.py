"""Runs disk jobs where they are submitted: for disks in memory, which never make anybody wait."""

from __future__ import annotations

from collections.abc import Callable

import trio

_Done = Callable[[BaseException | None], None]


class InlineDiskRunner:
    """`world.disk.DiskRunner` without a thread; `done` is called in a later pass of the loop, as by a real one."""

    def submit(self, job: Callable[[], object], done: _Done) -> None:
        """Run `job` now, and call `done(None)` or `done(error)` soon."""
        failure: BaseException | None = None
        try:
            job()
        except Exception as error:  # noqa: BLE001 - the protocol: whatever it raised goes to `done`
            failure = error
        trio.lowlevel.current_trio_token().run_sync_soon(done, failure)
