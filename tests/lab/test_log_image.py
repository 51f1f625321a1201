"""What a log holds, by terms: it must follow `Write` and `Recovered` exactly."""

from __future__ import annotations

from raftswarm.lab.log_image import DurableImage, LogImage
from raftswarm.raft.log_entry import Entry, EntryKind, HardState, SnapshotMeta
from raftswarm.raft.ready import Write
from raftswarm.storage.member_storage import Recovered


def entries(start: int, *terms: int) -> tuple[Entry, ...]:
    return tuple(
        Entry(index=start + place, term=term, kind=EntryKind.BLANK, first_command=1) for place, term in enumerate(terms)
    )


def recovered(*found: Entry, snapshot: SnapshotMeta | None = None) -> Recovered:
    return Recovered(
        member_id=1,
        cluster="",
        incarnation=1,
        boot=1,
        hard_state=HardState(),
        snapshot=snapshot or SnapshotMeta(),
        entries=found,
    )


def test_a_write_truncates_and_then_appends() -> None:
    log = LogImage()
    log.make(Write(number=1, entries=entries(1, 1, 1, 2)))
    log.make(Write(number=2, truncate_after=1, entries=entries(2, 3)))

    assert [log.term_at(index) for index in (1, 2, 3)] == [1, 3, None]
    assert (log.last_index, log.last_term) == (2, 3)


def test_what_a_snapshot_covers_is_held_whatever_its_term() -> None:
    log = LogImage.of(SnapshotMeta(index=5, term=2), entries(6, 3))

    assert log.holds(4, 1)
    assert log.holds(5, 2)
    assert not log.holds(5, 3)
    assert log.holds(6, 3)
    assert not log.holds(7, 3)


def test_entries_before_the_snapshot_count_too() -> None:
    log = LogImage.of(SnapshotMeta(index=2, term=1), entries(1, 1, 1, 2))

    assert (log.base_index, log.last_index, log.term_at(1)) == (0, 3, 1)


def test_a_recovered_log_is_compared_entry_by_entry() -> None:
    image = DurableImage()
    image.wrote(Write(number=1, entries=entries(1, 1, 2, 2)))

    assert image.is_same_as(recovered(*entries(1, 1, 2, 2)))
    assert not image.is_same_as(recovered(*entries(1, 1, 2)))
    assert not image.is_same_as(recovered(*entries(1, 1, 1, 2)))


def test_an_installed_snapshot_takes_the_place_of_the_log() -> None:
    image = DurableImage()
    image.wrote(Write(number=1, entries=entries(1, 1, 1)))
    snapshot = SnapshotMeta(index=9, term=4)

    image.installed(snapshot)

    assert image.is_same_as(recovered(snapshot=snapshot))
    assert not image.is_same_as(recovered(*entries(1, 1, 1)))
