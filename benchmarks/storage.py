"""What one member's log costs on this disk: append, sync, seal, recovery, restart; beside a cipher that hides nothing.

No Raft, no links, no loop: the storage floor alone, on real files. Sealed and unsealed appends take turns one by one,
in files that an earlier life of the log left behind as spares, as in a member that has run for a while. What was
appended is read back by a start after each run, and the files are looked into: sealed ones show none of it.

Appends and rates are to be high, times low. The ratio is to be above 0.9: sealing is never turned off.

    python benchmarks/storage.py [--rounds 5] [--entries 100000] [--directory DIR] [--json FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks.harness.processes import ROOT
from benchmarks.harness.statistics import paired_ratios, percentile, spread
from benchmarks.harness.surroundings import describe_machine, load_average, one_at_a_time, probe_disk
from benchmarks.harness.tables import figure, render
from benchmarks.ours.null_sealing import sealing_nothing
from raftswarm.raft.log_entry import Entry, EntryKind, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.records import RecordHeader, seal_record
from raftswarm.storage.sealing import KEY_BYTES, SALT_BYTES, SEGMENT, Seal
from raftswarm.storage.snapshot_file import CHUNK_BYTES
from raftswarm.world.chance import SystemEntropy
from raftswarm.world.real_disk import RealDisk

SIZES: Final = (256, 4096, 16 * 1024, 256 * 1024)
"""Of an entry: one command, small batches, and the largest batch there is."""
RUN_BYTES: Final = 48 * 1024 * 1024
"""Of all entries of a run at most: so many spares there may be."""
RUN_APPENDS: Final = 4000
BATCH_ENTRIES: Final = 64
"""In a write of the log that is recovered."""
SNAPSHOT_BYTES: Final = 64 * 1024 * 1024
PIECE: Final = bytes(CHUNK_BYTES)
PLAIN_TEXT: Final = b"measured by this benchmark "
MODES: Final[Mapping[str, Callable[[], AbstractContextManager[None]]]] = {
    "sealed": nullcontext,
    "unsealed": sealing_nothing,
}
LEAST_RATIO: Final = 0.9


@attrs.frozen(kw_only=True)
class Plan:
    """What is measured."""

    directory: Path
    rounds: int
    entries: int
    run_bytes: int = RUN_BYTES
    run_appends: int = RUN_APPENDS

    def appends(self, size: int) -> int:
        """Return how many entries of that size a run has."""
        return max(8, min(self.run_appends, self.run_bytes // (size + 1024)))


class Place:
    """The state of one member, on the real disk."""

    def __init__(self, directory: Path) -> None:
        self._disk = RealDisk()
        self._root = str(directory)
        self._entropy = SystemEntropy()

    def create(self) -> None:
        """Make it, empty."""
        keys = KeyRing.create(self._disk, f"{self._root}/certificates", self._entropy)
        MemberStorage.create(
            self._disk,
            f"{self._root}/raft",
            keys,
            self._entropy,
            member_id=1,
            cluster="benchmark",
            incarnation=1,
        ).close()

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """Start: recover what is there, for as long as the block lasts."""
        began = time.perf_counter()
        keys = KeyRing.open(self._disk, f"{self._root}/certificates", self._entropy)
        storage, recovered = MemberStorage.open(self._disk, f"{self._root}/raft", keys, self._entropy)
        last = recovered.entries[-1].index if recovered.entries else recovered.snapshot.index
        opened = Opened(storage, last, len(recovered.entries), time.perf_counter() - began)
        try:
            yield opened
        finally:
            storage.close()

    def shows_plain_text(self) -> bool:
        """Tell whether what was appended can be read in the files."""
        files = [path for path in Path(self._root, "raft").rglob("*") if path.is_file()]
        assert files, "there is no log where it is looked for"
        return any(PLAIN_TEXT in path.read_bytes() for path in files)


@attrs.define
class Opened:
    """A log that may be appended to."""

    storage: MemberStorage
    last_index: int
    found: int
    """Entries that the start read."""
    seconds: float
    """That it took."""

    def append(self, size: int, count: int = 1) -> None:
        """Write and sync so many entries of that size, all at once."""
        first = self.last_index + 1
        self.last_index += count
        entries = tuple(make_entry(index, size) for index in range(first, self.last_index + 1))
        self.storage.write(Write(number=first, entries=entries, last_index=self.last_index, last_term=1))

    def let_go(self, pieces: Iterable[bytes] = (b"",)) -> None:
        """Let a snapshot stand for everything: the files become spares."""
        meta = SnapshotMeta(index=self.last_index, term=1, commands=self.last_index)
        self.storage.save_snapshot(meta, pieces)
        self.storage.compact(self.last_index + 1)


def make_entry(index: int, size: int) -> Entry:
    """Return an entry whose bytes can be recognised, and are its index's alone."""
    data = (PLAIN_TEXT + b"%020d" % index).ljust(size, b".")[:size]
    return Entry(
        index=index, term=1, kind=EntryKind.COMMANDS, first_command=index, command_count=1, time_ns=index, data=data
    )


# What is measured.


def measure_appends(plan: Plan, directory: Path, size: int) -> dict[str, dict[str, float]]:
    """Append one entry after the other, each synced, sealed and unsealed in turn; then look whether all are there."""
    count = plan.appends(size)
    places, times = {}, {}
    with ExitStack() as stack:
        logs: dict[str, Opened] = {}
        for mode, in_mode in MODES.items():
            with in_mode():
                places[mode], times[mode] = Place(directory / mode), list[float]()
                places[mode].create()
                logs[mode] = stack.enter_context(places[mode].opened())
                for _ in range(count):
                    logs[mode].append(size)  # So that there are spares: the files of a log that has run for a while.
                logs[mode].let_go()
        for number in range(count):
            # Who comes first changes: the second may find the disk at work for the first.
            for mode in list(MODES)[:: 1 if number % 2 else -1]:
                with MODES[mode]():  # A segment that is begun meanwhile is sealed, or not, like the others.
                    begin = time.perf_counter()
                    logs[mode].append(size)
                    times[mode].append(time.perf_counter() - begin)
        ends = {mode: log.last_index for mode, log in logs.items()}
    for mode, place in places.items():
        with MODES[mode](), place.opened() as log:
            assert (log.last_index, log.found >= count) == (ends[mode], True), "what was appended is not there"
        assert place.shows_plain_text() == (mode == "unsealed"), f"the {mode} log is not {mode}"
    return {mode: _sum_up(sorted(found)) for mode, found in times.items()}


def _sum_up(times: Sequence[float]) -> dict[str, float]:
    return {
        "rate": len(times) / sum(times),
        "median_micros": percentile(times, 0.5) * 1e6,
        "p99_micros": percentile(times, 0.99) * 1e6,
    }


def measure_sealing(size: int, count: int) -> float:
    """Return the microseconds of CPU that it takes to make one record, without the disk."""
    seal = Seal(b"k" * KEY_BYTES, b"s" * SALT_BYTES, SEGMENT)
    payload = make_entry(1, size).data
    begin = time.process_time()
    for number in range(1, count + 1):
        header = RecordHeader(segment=1, number=number, length=size, durable_upto=number - 1, previous_tag=bytes(16))
        seal_record(seal, header, payload)
    return (time.process_time() - begin) / count * 1e6


def measure_recovery(plan: Plan, directory: Path) -> dict[str, float]:
    """Start on a log of so many entries; save a snapshot in its stead, and read that."""
    place = Place(directory)
    place.create()
    with place.opened() as log:
        for _ in range(0, plan.entries, BATCH_ENTRIES):
            log.append(SIZES[0], BATCH_ENTRIES)
        entries = log.last_index
    with place.opened() as log:
        assert log.found == entries, "the start did not read the log"
        log_seconds = log.seconds
    size = min(SNAPSHOT_BYTES, plan.run_bytes)
    with place.opened() as log:
        begin = time.perf_counter()
        log.let_go([PIECE] * (size // len(PIECE)))
        saved_seconds = time.perf_counter() - begin
    with place.opened() as log:
        assert log.found == 0, "the snapshot stands for nothing"
        begin = time.perf_counter()
        snapshot = log.storage.read_snapshot()
        assert snapshot is not None
        assert sum(map(len, snapshot[1])) == size, "measured something else"
        read_seconds = time.perf_counter() - begin
    return {
        "entries_per_second": entries / log_seconds,
        "snapshot_saved_mib_per_second": size / 2**20 / saved_seconds,
        "snapshot_read_mib_per_second": size / 2**20 / read_seconds,
    }


def measure_restart(plan: Plan, directory: Path) -> dict[str, float]:
    """Start a process until the log is open: with the entries of recovery, and with a snapshot instead of them."""
    place = Place(directory)
    place.create()
    with place.opened() as log:
        for _ in range(0, plan.entries, BATCH_ENTRIES):
            log.append(SIZES[0], BATCH_ENTRIES)
    long = _restart(directory)
    with place.opened() as log:
        log.let_go()
    short = _restart(directory)
    assert (long["found"] >= plan.entries, short["found"]) == (True, 0), "measured something else"
    return {"imports": short["imports"], "open_log": long["open"], "open_snapshot": short["open"]}


def _restart(directory: Path) -> dict[str, float]:
    """Let a process of its own open the log; return the seconds until it had its imports, and from then on."""
    arguments = [sys.executable, __file__, "--open", str(directory)]
    began = time.monotonic()
    done = subprocess.run(
        arguments, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE, check=True
    )
    report: dict[str, float] = json.loads(done.stdout)
    return {"imports": report["imported_at"] - began, "open": report["seconds"], "found": report["found"]}


def open_and_tell(directory: Path) -> None:
    """Be the process that is started again."""
    imported_at = time.monotonic()
    with Place(directory).opened() as log:
        print(json.dumps({"imported_at": imported_at, "seconds": log.seconds, "found": log.found}))


def measure(plan: Plan) -> dict[str, Any]:
    """Measure everything in turn; AssertionError when it was not what it should be."""
    found: dict[str, Any] = {
        "machine": describe_machine(),
        "rounds": plan.rounds,
        "entries": plan.entries,
        "disk_before": probe_disk(plan.directory),
        "load_before": load_average(),
        "appends": [],
        "sealing": [],
        "recovery": [],
        "restart": [],
    }
    for number in range(plan.rounds):
        modes = list(MODES) if number % 2 == 0 else list(MODES)[::-1]
        for size in SIZES:
            with tempfile.TemporaryDirectory(dir=plan.directory) as directory:
                runs = measure_appends(plan, Path(directory), size)
            for mode in modes:
                with MODES[mode]():
                    micros = measure_sealing(size, 20_000 if size <= 4096 else 2_000)
                found["appends"].append({"mode": mode, "round": number, "size": size, **runs[mode]})
                found["sealing"].append({"mode": mode, "round": number, "size": size, "micros": micros})
        for mode in modes:
            with MODES[mode](), tempfile.TemporaryDirectory(dir=plan.directory) as directory:
                found["recovery"].append({"mode": mode, "round": number, **measure_recovery(plan, Path(directory))})
        with tempfile.TemporaryDirectory(dir=plan.directory) as directory:
            found["restart"].append(measure_restart(plan, Path(directory)))
        print(f"round {number + 1} of {plan.rounds}", file=sys.stderr, flush=True)
    found |= {"disk_after": probe_disk(plan.directory), "load_after": load_average()}
    return found


# What is shown.


def show(found: Mapping[str, Any]) -> str:
    """Return everything as text."""
    machine = found["machine"]
    lines = [
        (
            f"raftswarm {machine['raftswarm']}, Python {machine['python']}, {machine['cores']} cores of "
            f"{machine['processor']}, Linux {machine['kernel']}; {found['rounds']} rounds."
        )
    ]
    for when in ("before", "after"):
        disk = found[f"disk_{when}"]
        lines.append(
            f"A sync of 4 KiB {when}: {disk['median_micros']:.0f} us (median), {disk['p99_micros']:.0f} us (p99); "
            f"load average {found[f'load_{when}']:.2f}."
        )
    tables = [_show_appends(found), _show_sealing(found["sealing"]), _show_recovery(found), _show_restart(found)]
    return "\n\n".join(["\n".join(lines), *tables])


def _show_appends(found: Mapping[str, Any]) -> str:
    rows = []
    for size in SIZES:
        sealed, unsealed = (_of(found["appends"], mode, size) for mode in MODES)
        ratio = spread(ratios(found, size))
        rows.append(
            [
                f"append and sync {size:,} bytes",
                figure(spread([run["rate"] for run in sealed]).median),
                figure(spread([run["rate"] for run in unsealed]).median),
                f"{ratio.median:.3f}",
                f"{ratio.least:.3f} to {ratio.most:.3f}",
                figure(spread([run["median_micros"] for run in sealed]).median),
                figure(spread([run["p99_micros"] for run in sealed]).median),
            ]
        )
    header = ("what", "sealed, /s", "unsealed, /s", "ratio of medians", "least and most", "sealed, median us", "p99 us")
    return render(header, rows)


def _show_sealing(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for size in SIZES:
        sealed, unsealed = (spread([run["micros"] for run in _of(runs, mode, size)]).median for mode in MODES)
        rows.append(
            [f"seal {size:,} bytes", figure(sealed), figure(unsealed), figure(size / max(sealed - unsealed, 0.01))]
        )
    header = ("what", "CPU us a record", "without a cipher", "the cipher alone, MB/s")
    return render(header, rows)


def _show_recovery(found: Mapping[str, Any]) -> str:
    rows = []
    for what, title in (
        ("entries_per_second", f"start on a log of {found['entries']:,} entries of {SIZES[0]} bytes, entries/s"),
        ("snapshot_saved_mib_per_second", "save a snapshot, MiB/s"),
        ("snapshot_read_mib_per_second", "read a snapshot, MiB/s"),
    ):
        rates = {mode: {run["round"]: run[what] for run in found["recovery"] if run["mode"] == mode} for mode in MODES}
        ratio = spread(paired_ratios(rates["sealed"], rates["unsealed"]))
        medians = [figure(spread(list(rates[mode].values())).median) for mode in MODES]
        rows.append([title, *medians, f"{ratio.median:.3f}", f"{ratio.least:.3f} to {ratio.most:.3f}"])
    return render(("what", "sealed", "unsealed", "ratio, median", "of pairs"), rows)


def _show_restart(found: Mapping[str, Any]) -> str:
    rows = []
    for what, title in (
        ("imports", "a process is started, until it has its imports"),
        ("open_log", f"then until a log of {found['entries']:,} entries is open"),
        ("open_snapshot", "or one behind a snapshot"),
    ):
        times = spread([run[what] * 1e3 for run in found["restart"]])
        rows.append([title, figure(times.median), figure(times.most)])
    return render(("what", "ms, median", "worst"), rows)


def _of(runs: Sequence[Mapping[str, Any]], mode: str, size: int) -> list[Mapping[str, Any]]:
    return [run for run in runs if (run["mode"], run["size"]) == (mode, size)]


def ratios(found: Mapping[str, Any], size: int) -> list[float]:
    """Return the median time of an unsealed append over that of a sealed one, for each round."""
    sealed, unsealed = (
        {run["round"]: run["median_micros"] for run in _of(found["appends"], mode, size)} for mode in MODES
    )
    return paired_ratios(unsealed, sealed)


def check(found: Mapping[str, Any]) -> list[str]:
    """Return the sizes whose sealing costs more than it may."""
    medians = {size: spread(ratios(found, size)).median for size in SIZES}
    return [f"{size:,} bytes: {median:.3f}" for size, median in medians.items() if median < LEAST_RATIO]


def main() -> int:
    """Measure and print; status 1 when sealing costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--entries", type=int, default=100_000, help="of the log that is recovered")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    parser.add_argument("--json", type=Path, help="keep all figures there")
    parser.add_argument("--quick", action="store_true", help="a look at everything in a few seconds")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.open is not None:
        open_and_tell(given.open)
        return 0
    plan = Plan(directory=given.directory, rounds=given.rounds, entries=given.entries)
    if given.quick:
        plan = attrs.evolve(plan, rounds=2, entries=10_000, run_bytes=8 * 1024 * 1024, run_appends=500)
    with one_at_a_time():
        found = measure(plan)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1))
    print(show(found))
    too_dear = check(found)
    if too_dear:
        print(f"sealing costs more than a tenth: {'; '.join(too_dear)}", file=sys.stderr)
    return 1 if too_dear else 0


if __name__ == "__main__":
    sys.exit(main())
