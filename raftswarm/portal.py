"""Trio in a thread of its own, for programs that are not trio: it holds one async context manager open.

The one big idea: whatever crosses is a `concurrent.futures.Future`, which blocking programs and asyncio both know how
to wait for and to cancel. The thread lives exactly as long as what it holds; whoever waits when it ends is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, ParamSpec, TypeVar

import trio

from raftswarm.errors import NotLeader, OutcomeUnknown

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Portal(Generic[T]):
    """One thread, one trio loop, and what is open in it. Calls may come from any thread."""

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        """Start the thread, and open the context manager in it."""
        self.opened: Future[T] = Future()
        """What the context manager gave, or why it did not open."""
        self.ended: Future[None] = Future()
        """Done when all is closed; with what came out of the context manager, if that is an error."""
        self._manager = manager
        self._token: trio.lowlevel.TrioToken | None = None
        self._is_running = threading.Event()
        self._everything = trio.CancelScope()
        self._release = trio.Event()
        self._error: Exception | None = None
        self._calls: trio.Nursery | None = None
        self._thread = threading.Thread(target=self._run, name="raftswarm-trio", daemon=True)
        self._thread.start()

    def call(self, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run an async function in the loop. Cancelling the future cancels it there, too.

        Raises RuntimeError when all is closed, or the error that closed it.
        """
        future: Future[R] = Future()
        scope = trio.CancelScope()

        async def serve() -> None:
            try:
                with scope:
                    _settle(future, await function(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
                _fail(future, error)
            finally:
                _fail(future, OutcomeUnknown("the block ended before the answer came; it may have happened"))

        def begin() -> None:
            if self._calls is None:
                _fail(future, NotLeader("the block has ended, and nothing has happened"))
            else:
                self._calls.start_soon(serve)

        if not self._post(begin):
            if self.ended.done():
                self.ended.result()
            raise RuntimeError("this is closed: use it within its `with` block")
        future.add_done_callback(lambda done: self._post(scope.cancel) if done.cancelled() else None)
        return future

    def release(self, error: Exception | None = None) -> None:
        """Close what is open, as if its block had raised that error; `ended` tells what came of it."""
        self._error = error
        self._post(self._release.set)

    def abandon(self) -> None:
        """Cancel everything, also while it is still being opened, and wait for the thread."""
        self._is_running.wait()
        self._post(self._everything.cancel)
        self._thread.join()

    def _post(self, function: Callable[[], object]) -> bool:
        """Have it called in the loop; False if there is none any more."""
        assert self._token is not None, "whoever has a portal has waited for `opened`, or for `_is_running`"
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            return False
        return True

    # In the thread.

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            trio.run(self._hold)
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to who opened the portal
            failure = error
        if not self.opened.done():
            _fail(self.opened, failure or RuntimeError("it was given up before it was open"))
            _settle(self.ended, None)
        elif failure is not None:
            _fail(self.ended, failure)
        else:
            _settle(self.ended, None)

    async def _hold(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._is_running.set()
        with self._everything:
            async with self._manager as value:
                async with trio.open_nursery() as calls:
                    self._calls = calls
                    _settle(self.opened, value)
                    try:
                        await self._release.wait()
                    finally:
                        self._calls = None
                        calls.cancel_scope.cancel()
                if self._error is not None:
                    raise self._error


def _settle(future: Future[R], result: R) -> None:
    with suppress(InvalidStateError):  # Who asked has gone away.
        future.set_result(result)


def _fail(future: Future[Any], error: BaseException) -> None:
    with suppress(InvalidStateError):
        future.set_exception(error)
