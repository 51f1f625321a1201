"""What else decides the figures: the machine, its disk, what runs beside, and that one benchmark runs at a time."""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import raftswarm
from benchmarks.harness.statistics import percentile

PAGE_BYTES = 4096
PROBE_PAGES = 256


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other benchmark runs: they would measure each other. SIGTERM ends this one as Ctrl-C does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Trio's own handling depends on it.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with (Path(tempfile.gettempdir()) / "raftswarm-benchmark.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def describe_machine() -> dict[str, Any]:
    """Say what the figures belong to."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "raftswarm": raftswarm.__version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processor": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "nice": os.nice(0),
    }


def load_average() -> float:
    """Return how many processes have wanted a core at a time, over the last minute."""
    return os.getloadavg()[0]


def probe_disk(directory: Path, count: int = 300) -> dict[str, float]:
    """Return how long the disk takes to sync one page of a file that is there already, in microseconds."""
    path = directory / "probe"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, bytes(PROBE_PAGES * PAGE_BYTES), 0)
        os.fsync(descriptor)
        page = os.urandom(PAGE_BYTES)
        times = []
        for number in range(count):
            begin = time.perf_counter()
            os.pwrite(descriptor, page, number % PROBE_PAGES * PAGE_BYTES)
            os.fdatasync(descriptor)
            times.append((time.perf_counter() - begin) * 1e6)
    finally:
        os.close(descriptor)
        path.unlink()
    times.sort()
    return {"median_micros": percentile(times, 0.5), "p99_micros": percentile(times, 0.99)}
