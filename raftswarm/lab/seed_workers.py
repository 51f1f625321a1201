"""Runs worlds in processes of their own, as many at a time as there are.

They are asked by lines of JSON over pipes. In sessions of their own they get no Ctrl-C: whoever leaves the block ends
them, and if this process is killed they stop too.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

import attrs

import raftswarm
from raftswarm.errors import InvalidSpec
from raftswarm.lab.running import Order, Row
from raftswarm.lab.seed_worker import decode_answer, encode_order

ORDERS_AHEAD: Final = 2
"""Each has one more than it runs, so that it never waits for us."""
_READ_BYTES: Final = 64 * 1024


@contextmanager
def open_workers(count: int, *, hash_seed: int | None = None) -> Iterator[SeedWorkers]:
    """Start so many processes and end them on leaving, whatever they are at.

    With `hash_seed`, Python's hashes of strings, and so the order of sets of them, depend on it.
    """
    package = Path(raftswarm.__file__).parent.parent
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    if hash_seed is not None:
        environment["PYTHONHASHSEED"] = str(hash_seed)
    with ExitStack() as ending:
        workers = []
        for _ in range(count):
            worker = Worker(_start(environment))
            ending.callback(worker.end)
            workers.append(worker)
        yield SeedWorkers(workers)


def _start(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "raftswarm.lab.seed_worker", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )


@attrs.define(eq=False)
class Worker:
    """One process, and what it has to do."""

    process: subprocess.Popen[bytes]
    orders: deque[Order] = attrs.field(factory=deque)
    _unread: bytes = b""

    def give(self, orders: Iterable[Order]) -> None:
        """Let it run these, too."""
        assert self.process.stdin is not None, "it was started with a pipe"
        for order in orders:
            self.orders.append(order)
            try:
                self.process.stdin.write(encode_order(order) + b"\n")
                self.process.stdin.flush()
            except BrokenPipeError:
                raise self._died() from None

    def take_rows(self) -> Iterator[Row]:
        """Read what it has said; InvalidSpec if it refuses something or ended by itself."""
        received = os.read(self.answers, _READ_BYTES)
        if not received:
            raise self._died()
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            answer = decode_answer(line)
            self.orders.popleft()
            if answer.row is None:
                raise InvalidSpec(answer.refused)
            yield answer.row

    @property
    def answers(self) -> int:
        """Descriptor of the pipe that its answers come from."""
        assert self.process.stdout is not None, "it was started with a pipe"
        return self.process.stdout.fileno()

    def _died(self) -> InvalidSpec:
        status = self.process.wait()
        at = f" in seed {self.orders[0].seed}" if self.orders else ""
        return InvalidSpec(f"a process that runs worlds ended{at} with status {status}; try that seed with --jobs 1")

    def end(self) -> None:
        """Kill it: nobody waits for what it is at."""
        self.process.kill()
        with suppress(BrokenPipeError), self.process:  # Closes the pipes, of which one may hold orders, and waits.
            pass


@attrs.frozen
class SeedWorkers:
    """Some processes."""

    workers: list[Worker]

    def run(self, orders: Iterable[Order]) -> Generator[Row, None, None]:
        """Yield rows as they come, in any order."""
        waiting = iter(orders)
        with selectors.DefaultSelector() as selector:
            for worker in self.workers:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
                worker.give(islice(waiting, ORDERS_AHEAD))
            while any(worker.orders for worker in self.workers):
                for key, _ in selector.select():
                    worker = key.data
                    for row in worker.take_rows():
                        worker.give(islice(waiting, 1))
                        yield row
