"""How many planted bugs are found, by what, and how soon. More, and sooner, is better.

Each patch of `benchmarks/planted` is applied alone to a scratch copy of the tree, and what has to find it is run there,
in processes of its own: random worlds, seeds in order, until one violates something or the seeds are used up; then the
property tests and then the tests of its area (`planting/checks.py`), of which the last do not count for the score. A
copy without a bug is tried in the same way and must raise no alarm.

    python benchmarks/planted_bugs.py [--only 3,17] [--seeds 300] [--seconds 20] [--jobs 2] [--resume FILE] [--json]

The exit status is 0 if the gate caught them all, 1 if one got by or the control raised an alarm, and 2 if a patch does
not apply. With `--resume` outcomes are kept in a file, line by line; what was tried on the same code is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec

from benchmarks.planting.checks import Budget
from benchmarks.planting.copies import fingerprint, plant, scratch_copy
from benchmarks.planting.patches import BadPatch, PlantedBug, read_bugs
from benchmarks.planting.scoring import (
    CONTROL,
    Outcome,
    Score,
    add_up,
    describe,
    render_score,
    render_table,
    try_bug,
)

PATCHES = Path(__file__).with_name("planted")


def choose(bugs: list[PlantedBug], only: str) -> list[PlantedBug | None]:
    """Return those to be tried, the control, which is None, first. Raises BadPatch for a number that nobody has."""
    counting: list[PlantedBug | None] = [None, *(bug for bug in bugs if not bug.rejected)]
    if not only:
        return counting
    try:
        wanted = {int(number) for number in only.split(",")}
    except ValueError:
        raise BadPatch(f"--only takes numbers of patches, with commas between them, not {only!r}") from None
    chosen = [bug for bug in counting if _number_of(bug) in wanted]
    if missing := wanted - {_number_of(bug) for bug in chosen}:
        raise BadPatch(f"there is no bug {', '.join(map(str, sorted(missing)))} that counts; 0 is the control")
    return chosen


def _number_of(bug: PlantedBug | None) -> int:
    return CONTROL if bug is None else bug.number


def name_code(tree: str, bug: PlantedBug | None, *, gate_only: bool) -> str:
    """Name the code that a bug is tried on, and what has to find it there."""
    return hashlib.sha256(f"{tree} {gate_only} {bug.patch if bug else ''}".encode()).hexdigest()[:16]


def check_patches(bugs: Iterable[PlantedBug]) -> None:
    """Tell of every patch that does not fit the code any more, by a BadPatch."""
    wrong = []
    with scratch_copy(None) as copy:
        for bug in bugs:
            try:
                plant(bug, copy, only_look=True)
            except BadPatch as error:
                wrong.append(str(error))
    if wrong:
        raise BadPatch("\n".join(wrong))


def read_outcomes(path: Path | None, budget: Budget) -> dict[str, Outcome]:
    """Return what was found before with this budget, by the code that it was found in."""
    if path is None or not path.exists():
        return {}
    decoder = msgspec.json.Decoder(Outcome)
    known = [decoder.decode(line) for line in path.read_bytes().splitlines()]
    return {
        one.code: one
        for one in known
        if not one.error and (one.seeds_allowed, one.seconds) == (budget.seeds, budget.seconds)
    }


def try_all(bugs: list[PlantedBug | None], budget: Budget, jobs: int, resumed: Path | None) -> Iterator[Outcome]:
    """Try them, `jobs` at a time; outcomes come as they are known."""
    tree = fingerprint()
    known = read_outcomes(resumed, budget)
    codes = {_number_of(bug): name_code(tree, bug, gate_only=budget.gate_only) for bug in bugs}
    yield from (known[code] for code in codes.values() if code in known)
    with ProcessPoolExecutor(jobs) as pool:
        futures: list[Future[Outcome]] = [
            pool.submit(try_bug, bug, budget, code) for bug in bugs if (code := codes[_number_of(bug)]) not in known
        ]
        try:
            for future in as_completed(futures):
                outcome = future.result()
                if resumed is not None:
                    with resumed.open("ab") as file:
                        file.write(msgspec.json.encode(outcome) + b"\n")
                yield outcome
        finally:
            pool.shutdown(cancel_futures=True)


def main(arguments: argparse.Namespace) -> Score:
    """Try what was asked for, telling of each as it ends. Raises BadPatch."""
    bugs = read_bugs(PATCHES)
    check_patches(bugs)
    budget = Budget(
        seeds=arguments.seeds,
        seconds=arguments.seconds,
        gate_only=arguments.gate_only,
        timeout_seconds=arguments.timeout,
    )
    outcomes: list[Outcome] = []
    try:
        for outcome in try_all(choose(bugs, arguments.only), budget, arguments.jobs, arguments.resume):
            outcomes.append(outcome)
            print(describe(outcome), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted; this is what was found so far", file=sys.stderr)
    outcomes.sort(key=lambda outcome: outcome.number)
    return add_up(outcomes)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NN,…", help="try these alone; 0 is the copy without a bug")
    parser.add_argument("--seeds", type=int, default=300, help="random worlds a bug may take")
    parser.add_argument("--seconds", type=float, default=20.0, help="simulated seconds of faults of each")
    parser.add_argument("--gate-only", action="store_true", help="leave out the tests of the parts")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="bugs tried at a time")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds that one check may take")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep outcomes there, and go on from them")
    parser.add_argument("--json", action="store_true", help="print the score as JSON")
    return parser.parse_args()


def run() -> int:
    """Print the score; return the exit status."""
    arguments = parse()
    try:
        score = main(arguments)
    except BadPatch as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(score), indent=2).decode())
    else:
        print(render_table([one for one in score.outcomes if one.number != CONTROL]), render_score(score), sep="\n\n")
    alarm = score.control is not None and bool(score.control.caught_by or score.control.error)
    return 1 if alarm or score.caught < score.bugs else 0


if __name__ == "__main__":
    sys.exit(run())
