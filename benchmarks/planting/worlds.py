"""A program that runs random worlds, seeds in order, until one fails; a line of JSON tells of each.

It runs in a process of its own, in the directory of the copy whose code it is to import:

    python …/worlds.py FIRST_SEED SEEDS SECONDS CPU_SECONDS
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from time import process_time

import raftswarm
from raftswarm.lab.replaying import describe_failure
from raftswarm.lab.seeds import run_seed

MEMORY_BYTES = 4 * 1024**3
AGAIN_CPU_SECONDS = 1.0
"""Whoever swallowed the exception gets it again."""


class TookTooLong(Exception):
    """A world did not end within its CPU seconds: a bug may make one go round for ever."""


def main(first: int, seeds: int, seconds: float, cpu_seconds: float) -> None:
    """Run the seeds."""
    code = Path(raftswarm.__file__)
    assert code.is_relative_to(Path.cwd()), f"this is to try the code of {Path.cwd()}, not {code}"
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _interrupt)
    for seed in range(first, first + seeds):
        began = process_time()
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds, AGAIN_CPU_SECONDS)
        try:
            failure = run_seed(seed, seconds).failure
        except Exception as error:  # noqa: BLE001 - a world that cannot even be built
            failure = error
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
        found = "" if failure is None else describe_failure(failure)
        print(json.dumps({"seed": seed, "cpu_seconds": process_time() - began, "found": found}), flush=True)
        if found:
            return


def _interrupt(_signal: int, _frame: object) -> None:
    raise TookTooLong("a world did not end within its CPU seconds")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
