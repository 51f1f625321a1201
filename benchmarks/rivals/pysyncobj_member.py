"""One PySyncObj member in a process of its own, loaded from within; run with its own interpreter, apart from ours.

Its best case: the load needs no network, each answer sends the next command from PySyncObj's own thread, and commands
that wait go out together. Without a journal it keeps its log in memory only; with one it would not sync it either.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import threading
import time
from typing import Any

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

PERIOD_SECONDS = 0.001
"""Between two looks at what waits, and two batches; its defaults give ten answers a second to one caller."""


class Values(SyncObj):  # type: ignore[misc]
    """The newest value of each key."""

    def __init__(self, address: str, others: list[str]) -> None:
        super().__init__(
            address, others, SyncObjConf(autoTickPeriod=PERIOD_SECONDS, appendEntriesPeriod=PERIOD_SECONDS)
        )
        self.applied = 0
        self._values: dict[str, bytes] = {}

    @replicated  # type: ignore[untyped-decorator]
    def put(self, key: str, value: bytes) -> None:
        """Keep the value."""
        self._values[key] = value
        self.applied += 1


class Load:
    """A closed loop: each answer sends the next command."""

    def __init__(self, values: Values, keys: list[str], value: bytes, outstanding: int) -> None:
        self._values = values
        self._keys = itertools.cycle(keys)
        self._value = value
        self._running = outstanding
        self.acknowledged = 0
        self.failures = 0
        self.is_over = False
        self.all_answered = threading.Event()
        self.latencies: list[float] = []

    def send(self) -> None:
        """Send one command, and from its answer the next."""
        begin = time.perf_counter()

        def answered(_: object, failure: int) -> None:
            if failure == FAIL_REASON.SUCCESS:
                self.acknowledged += 1
                self.latencies.append(time.perf_counter() - begin)
            else:
                self.failures += 1
            if not self.is_over:
                self.send()
                return
            self._running -= 1
            if not self._running:
                self.all_answered.set()

        self._values.put(next(self._keys), self._value, callback=answered)  # pyright: ignore[reportCallIssue]


def load(values: Values, keys: list[str], value: bytes, order: dict[str, Any]) -> dict[str, Any]:
    """Make load; report as the other members do."""
    work = Load(values, keys, value, order["outstanding"])
    for _ in range(order["outstanding"]):
        work.send()
    time.sleep(order["warm_seconds"])
    work.latencies = []
    first, begin = work.acknowledged, time.perf_counter()
    time.sleep(order["seconds"])
    count, seconds = work.acknowledged - first, time.perf_counter() - begin
    latencies = sorted(work.latencies)
    work.is_over = True
    work.all_answered.wait(30)
    report = {
        "rate": count / seconds,
        "measured_seconds": seconds,
        "acknowledged": work.acknowledged,
        "failures": work.failures,
    }
    if latencies:
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            report[f"latency_{name}_ms"] = latencies[int(len(latencies) * share)] * 1000
    return report


def main() -> None:
    """Serve the parent's requests."""
    logging.disable()  # It warns under load that it cuts entries that were applied; what counts is checked in the end.
    settings = json.loads(sys.argv[1])
    values = Values(settings["address"], settings["others"])
    keys = [f"k{number:08d}" for number in range(settings["keys"])]
    value = b"x" * (settings["command_bytes"] - len(keys[0]))
    for line in sys.stdin:
        request = json.loads(line)
        if request["ask"] == "load":
            report = load(values, keys, value, request["order"])
        else:
            report = {"leads": bool(values.isReady() and values._isLeader()), "applied": values.applied}  # noqa: SLF001
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
