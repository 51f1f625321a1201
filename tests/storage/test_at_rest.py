"""What lies on the disk is as it was written, or the member does not start: bits, records, segments, whole files.

Behind the last record that something vouches for, damage cannot be told from a write that was cut by a crash: that one
record is cut, and only the other members can know better (docs/raft.md, "Openings"; `tests/lab/test_set_back.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import TYPE_CHECKING

import attrs
import pytest

from raftswarm.errors import StorageError
from raftswarm.raft.log_entry import Entry, HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage
from raftswarm.storage.records import SECTOR
from raftswarm.storage.segment import OpenSegment, read_records, segment_name
from raftswarm.storage.state_directory import lock_state
from tests.receiving import receive

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

RAFT = "state/raft"
OURS = SnapshotMeta(index=3, term=1, commands=3)
RECEIVED = SnapshotMeta(index=10, term=2, commands=10)
EMPTY = "nothing"
"""What bytes belong to that nobody reads."""

MakeWrite = Callable[..., Write]


@attrs.frozen
class Seen:
    """What a start makes of a disk."""

    hard_state: HardState
    snapshot: SnapshotMeta
    state: bytes
    entries: tuple[Entry, ...]
    torn_bytes: int


@attrs.define(eq=False)
class Life:
    """A member that has stopped, and what is on its disk."""

    disk: MemoryDisk
    entropy: SeededEntropy
    segment_bytes: int
    whole: Seen | None = None
    """What a start finds on the disk as it was left."""

    def start(self, disk: MemoryDisk) -> Seen:
        """Start it, as a node does."""
        lock_state(disk, "state").close()
        keys = KeyRing.open(disk, "state/certificates", self.entropy)
        storage, recovered = MemberStorage.open(disk, RAFT, keys, self.entropy, segment_bytes=self.segment_bytes)
        newest = storage.read_snapshot()
        state = b"" if newest is None else b"".join(newest[1])
        return Seen(recovered.hard_state, recovered.snapshot, state, recovered.entries, recovered.torn_bytes)

    def judge(self, disk: MemoryDisk) -> str:
        """Say what came of it: ``refused``, ``cut`` or ``unharmed``; AssertionError if anything wrong was served."""
        whole = self.whole = self.whole or self.start(self.disk.copy())
        try:
            seen = self.start(disk)
        except StorageError:
            return "refused"
        assert (seen.snapshot, seen.state) == (whole.snapshot, whole.state)
        if seen.torn_bytes:
            # The term may be that of the record which was cut.
            assert seen.entries in {whole.entries, whole.entries[:-1]}, "more than the last record was cut"
            return "cut"
        assert (seen.entries, seen.hard_state) == (whole.entries, whole.hard_state)
        return "unharmed"

    def records(self, path: str) -> list[tuple[int, int]]:
        """Where the records of that segment begin and end."""
        image = bytes(self.disk.names[path].seen)
        keys = KeyRing.open(self.disk.copy(), "state/certificates", self.entropy)
        segment = OpenSegment.parse(image[:SECTOR], keys.data_key, path)
        return [(record.offset, record.end) for record in read_records(segment, image)[0]]

    def holds_nothing(self, path: str, offset: int) -> bool:
        """Tell whether that byte is of no file of the state: of a spare, or behind the end of a finished segment."""
        if path not in self.segments()[:-1]:
            return path.endswith(".spare")
        return offset >= max(end for _, end in [(0, SECTOR), *self.records(path)])

    def segments(self) -> list[str]:
        """Paths of all segments, in order."""
        return [path for path in sorted(self.disk.names) if path.endswith(".segment")]


@pytest.fixture
def begin(disk: MemoryDisk, keys: KeyRing, entropy: SeededEntropy) -> Callable[[int], tuple[Life, MemberStorage]]:
    """Create and start a member."""

    def begin(segment_bytes: int) -> tuple[Life, MemberStorage]:
        lock_state(disk, "state").close()
        MemberStorage.create(
            disk, RAFT, keys, entropy, member_id=1, cluster="c", incarnation=1, segment_bytes=segment_bytes
        ).close()
        storage, _ = MemberStorage.open(disk, RAFT, keys, entropy, segment_bytes=segment_bytes)
        return Life(disk, entropy, segment_bytes), storage

    return begin


@pytest.fixture
def small(begin: Callable[[int], tuple[Life, MemberStorage]], make_write: MakeWrite) -> Life:
    """Segments of two records, a vote, a conflict, an own snapshot; stopped by a crash behind an unmarked write."""
    life, storage = begin(2048)
    storage.write(make_write(1, 2, hard_state=HardState(term=1, voted_for=1)))
    storage.write(make_write(3, 4, 5))
    storage.write(make_write(5, term=2, truncate_after=4, hard_state=HardState(term=2)))
    storage.save_snapshot(OURS, [b"our ", b"state"])
    storage.write(make_write(6, term=2))
    storage.write(make_write(7, term=2))
    return life


@pytest.fixture
def installed(begin: Callable[[int], tuple[Life, MemberStorage]], make_write: MakeWrite) -> Life:
    """A log that follows a leader's snapshot, closed in peace."""
    life, storage = begin(2048)
    storage.write(make_write(1))
    receive(storage, RECEIVED, [b"leader's"])
    storage.install(RECEIVED)
    storage.write(make_write(11, term=2))
    storage.close()
    return life


def flips(life: Life, places: Iterator[tuple[str, int]] | list[tuple[str, int]]) -> dict[str, Counter[str]]:
    """Flip a bit at each place, and count what came of it by kind of file."""
    counts: dict[str, Counter[str]] = {}
    for number, (path, offset) in enumerate(places):
        damaged = life.disk.copy()
        damaged.names[path].seen[offset] ^= 1 << number % 8
        kind = EMPTY if life.holds_nothing(path, offset) else path.rpartition("/")[2].rpartition(".")[2]
        counts.setdefault(kind, Counter())[life.judge(damaged)] += 1
    return counts


def every_byte(life: Life) -> Iterator[tuple[str, int]]:
    for path, content in life.disk.image().items():
        for offset in range(len(content)):
            yield path, offset


def show(title: str, counts: dict[str, Counter[str]]) -> None:
    """Print the figures; `pytest -s` shows them."""
    for kind, found in sorted(counts.items()):
        print(f"{title}: {kind}: {', '.join(f'{name} {count}' for name, count in sorted(found.items()))}")  # noqa: T201 - figures, for whoever asks with -s


def test_a_bit_flipped_in_any_byte_of_a_log_is_seen(small: Life) -> None:
    last = small.segments()[-1]
    last_record = small.records(last)[-1][0]

    counts = flips(small, every_byte(small))

    show("a bit in every byte of a small log", counts)
    assert set(counts.pop(EMPTY)) == {"unharmed"}
    assert sum(found["unharmed"] for found in counts.values()) == 0, "nothing goes unseen"
    assert set(counts) == {"format", "keys", "kek", "segment", "saved"}
    assert all(set(found) == {"refused"} for kind, found in counts.items() if kind != "segment")
    # What is cut is the last record, which nothing vouches for, or the emptiness behind it.
    behind = flips(small, [(last, offset) for offset in range(last_record, len(small.disk.names[last].seen))])
    assert counts["segment"]["cut"] == behind["segment"]["cut"]
    assert counts["segment"]["refused"] > 3000


def test_a_bit_flipped_in_any_byte_behind_an_installed_snapshot_is_seen(installed: Life) -> None:
    counts = flips(installed, every_byte(installed))

    show("a bit in every byte behind an installed snapshot", counts)
    assert set(counts.pop(EMPTY)) == {"unharmed"}
    assert sum(found["unharmed"] for found in counts.values()) == 0
    assert set(counts) == {"format", "keys", "kek", "segment", "received"}
    # It was closed in peace: the mark vouches for every record, and costs nothing if it is itself what was hit.
    last = installed.segments()[-1]
    *_, mark = installed.records(last)
    lost = [
        offset
        for path, offset in every_byte(installed)
        if path == last and offset < mark[0] and installed.judge(_flipped(installed, path, offset)) != "refused"
    ]
    assert not lost


def _flipped(life: Life, path: str, offset: int) -> MemoryDisk:
    damaged = life.disk.copy()
    damaged.names[path].seen[offset] ^= 1
    return damaged


def test_a_bit_flipped_anywhere_in_a_large_log_is_seen(
    begin: Callable[[int], tuple[Life, MemberStorage]], make_write: MakeWrite
) -> None:
    life, storage = begin(64 * 1024)
    for index in range(1, 500):
        storage.write(make_write(index))
    storage.save_snapshot(SnapshotMeta(index=300, term=1), [bytes(100_000)])
    storage.close()
    chance = Random(1)
    places = [(path, len(content)) for path, content in life.disk.image().items() if content and RAFT in path]
    end = life.records(life.segments()[-1])[-1][1]
    sizes = {path: end if path == life.segments()[-1] else size for path, size in places}
    drawn = [
        (path, chance.randrange(sizes[path]))
        for path in chance.choices([path for path, _ in places], [sizes[path] for path, _ in places], k=150)
    ]

    counts = flips(life, drawn)

    show("150 bits of a large log", counts)
    assert counts["segment"]["refused"] + counts["saved"]["refused"] >= 148, "all but one in the mark at the end"
    assert not counts["segment"]["unharmed"]


# Records and segments that are whole, and not where they were written.


def rearrangements(life: Life, path: str) -> Iterator[tuple[str, Callable[[bytearray], None]]]:
    """Everything that can be done to the records of a segment by moving bytes in whole records."""
    places = life.records(path)
    for one, (begin, end) in enumerate(places):
        for other, (other_begin, other_end) in enumerate(places):
            if one != other:
                yield "replayed", lambda image, a=begin, b=end, c=other_begin: _copy(image, a, b, c)  # type: ignore[misc]
            if one < other:
                yield "swapped", lambda image, a=(begin, end), b=(other_begin, other_end): _swap(image, a, b)  # type: ignore[misc]
        yield "replayed at the end", lambda image, a=begin, b=end, c=places[-1][1]: _copy(image, a, b, c)  # type: ignore[misc]
        if one < len(places) - 1:
            yield "removed", lambda image, a=begin, b=end: _close_up(image, a, b)  # type: ignore[misc]
            yield "blanked", lambda image, a=begin, b=end: _copy(image, len(image), len(image), a, b - a)  # type: ignore[misc]


def _copy(image: bytearray, begin: int, end: int, to: int, size: int | None = None) -> None:
    piece = bytes(image[begin:end]).ljust(end - begin if size is None else size, b"\0")
    if len(image) < to + len(piece):
        image.extend(bytes(to + len(piece) - len(image)))
    image[to : to + len(piece)] = piece


def _swap(image: bytearray, one: tuple[int, int], other: tuple[int, int]) -> None:
    first, between, second = image[slice(*one)], image[one[1] : other[0]], image[slice(*other)]
    image[one[0] : other[1]] = second + between + first


def _close_up(image: bytearray, begin: int, end: int) -> None:
    image[begin:] = image[end:] + bytes(end - begin)


def test_no_record_counts_anywhere_but_where_it_was_written(
    begin: Callable[[int], tuple[Life, MemberStorage]], make_write: MakeWrite
) -> None:
    life, storage = begin(8192)
    for index in range(1, 15):
        storage.write(make_write(index))
    storage.write(make_write(*range(15, 75)))  # Of several sectors.
    for index in range(75, 90):
        storage.write(make_write(index))
    counts: Counter[tuple[str, str]] = Counter()

    for path in life.segments():
        for what, rearrange in rearrangements(life, path):
            damaged = life.disk.copy()
            rearrange(damaged.names[path].seen)
            if (
                path != life.segments()[-1]
                and damaged.image()[path][: life.records(path)[-1][1]]
                == (life.disk.image()[path][: life.records(path)[-1][1]])
            ):
                continue  # What stands behind the last record of a finished segment belongs to nothing.
            counts[what, life.judge(damaged)] += 1

    print({" ".join(key): count for key, count in sorted(counts.items())})  # noqa: T201 - figures, for whoever asks with -s
    assert {outcome for _, outcome in counts} == {"refused"}
    assert {what for what, _ in counts} == {"replayed", "swapped", "replayed at the end", "removed", "blanked"}
    assert counts.total() > 400


def test_no_segment_counts_under_another_name_or_in_another_state(small: Life) -> None:
    paths = small.segments()
    earlier = small.disk.copy()
    counts: Counter[str] = Counter()

    def count(change: Callable[[dict[str, object]], object]) -> None:
        damaged = earlier.copy()
        change(damaged.names)  # type: ignore[arg-type]
        counts[small.judge(damaged)] += 1

    for one in paths:
        for other in paths:
            if one < other:
                count(lambda names, a=one, b=other: names.update({a: names[b], b: names[a]}))  # type: ignore[misc]
            if one != other:
                count(lambda names, a=one, b=other: names.update({b: names[a]}))  # type: ignore[misc]
    for middle in paths[1:-1]:
        count(lambda names, a=middle: names.pop(a))  # type: ignore[misc]
    beyond = f"{RAFT}/log/{segment_name(len(paths) + 1)}"
    for one in paths:
        count(lambda names, a=one: names.update({beyond: names[a]}))  # type: ignore[misc]

    print(dict(counts))  # noqa: T201 - figures, for whoever asks with -s
    assert set(counts) == {"refused"}


def test_a_log_that_was_set_back_behind_its_snapshot_is_refused(small: Life) -> None:
    """Without a snapshot in between, only other members can know: `tests/lab/test_set_back.py`."""
    whole = small.disk.image()
    newest = small.segments()[-1]

    damaged = small.disk.copy()
    del damaged.names[newest]
    damaged.names[small.segments()[-2]].seen[SECTOR:] = bytes(len(whole[small.segments()[-2]]) - SECTOR)

    assert small.judge(damaged) == "refused"
