"""Snapshots on disk are whole or refused (section 7; docs/formats.md)."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from msgspec.structs import replace

from raftswarm.errors import CorruptLog, DiskFailed, ForeignState, SnapshotDamaged
from raftswarm.raft.log_entry import HardState, SnapshotMeta
from raftswarm.storage.files import Place
from raftswarm.storage.replay import Position
from raftswarm.storage.segment import Follows, SegmentHeader
from raftswarm.storage.snapshot_file import CHUNK_BYTES
from raftswarm.storage.snapshots import Saving, Snapshots
from raftswarm.wire.member_codec import SnapshotChunk, SnapshotOffer, cut_chunk
from tests.receiving import offer_of, receive

if TYPE_CHECKING:
    from tests.storage.conftest import MemoryDisk, SeededEntropy

META = SnapshotMeta(index=7, term=2)
NOTHING_INSTALLED = SegmentHeader(
    number=1,
    cluster="c",
    member_id=1,
    incarnation=1,
    boot=1,
    hard_state=HardState(),
    first_index=1,
    follows=Follows.NOTHING,
)


@pytest.fixture
def place(disk: MemoryDisk, entropy: SeededEntropy) -> Place:
    disk.make_directory("snapshots")
    return Place(disk, "snapshots", b"k" * 32, entropy)


def save(snapshots: Snapshots, meta: SnapshotMeta, chunks: Iterable[bytes]) -> None:
    saving = Saving(meta, iter(chunks))
    while not snapshots.save_slice(saving, Position()):
        pass


def read(place: Place) -> tuple[SnapshotMeta, list[bytes]] | None:
    snapshots = Snapshots(place)
    snapshots.recover(NOTHING_INSTALLED)
    snapshots.verify()
    found = snapshots.open()
    return None if found is None else (found[0].snapshot, list(found[1]))


def test_chunks_come_back_as_they_went_in(place: Place) -> None:
    save(Snapshots(place), META, [b"a", b"bc"])

    assert read(place) == (META, [b"a", b"bc"])


def test_an_empty_state_is_a_state(place: Place) -> None:
    save(Snapshots(place), META, [b""])

    assert read(place) == (META, [])


def test_long_chunks_are_cut(place: Place) -> None:
    state = bytes(range(256)) * 3000

    save(Snapshots(place), META, [state])

    found = read(place)
    assert found is not None
    assert max(map(len, found[1])) == CHUNK_BYTES
    assert b"".join(found[1]) == state


def test_no_two_snapshots_share_a_key(place: Place, disk: MemoryDisk) -> None:
    salts: set[bytes] = set()
    for _ in range(3):
        save(Snapshots(place), META, [])
        salts.add(disk.image()[f"snapshots/{7:020d}.saved"][64:96])

    assert len(salts) == 3


def test_the_newest_one_counts_and_older_ones_go(place: Place, disk: MemoryDisk) -> None:
    snapshots = Snapshots(place)
    save(snapshots, META, [b"7"])
    save(snapshots, SnapshotMeta(index=11, term=2), [b"11"])
    save(snapshots, SnapshotMeta(index=9, term=2), [b"9"])

    assert len(disk.list("snapshots")) == 1
    assert read(place) == (SnapshotMeta(index=11, term=2), [b"11"])


def test_a_file_that_is_not_ours_is_left_alone(place: Place, disk: MemoryDisk) -> None:
    disk.open("snapshots/notes.txt", create=True).close()

    save(Snapshots(place), META, [b"7"])

    assert "notes.txt" in disk.list("snapshots")


def test_a_state_machine_that_fails_leaves_the_old_snapshot(place: Place) -> None:
    def chunks() -> list[bytes]:
        raise ZeroDivisionError

    snapshots = Snapshots(place)
    save(snapshots, META, [b"7"])

    with pytest.raises(ZeroDivisionError):
        save(snapshots, SnapshotMeta(index=9, term=2), (chunks() for _ in range(1)))  # type: ignore[misc] # It never yields.

    assert read(place) == (META, [b"7"])


def test_received_ones_do_not_pile_up(place: Place, disk: MemoryDisk) -> None:
    snapshots = Snapshots(place)

    for index in range(1, 10):
        receive(snapshots, SnapshotMeta(index=index, term=2), [b"state"])

    assert disk.list("snapshots") == [f"{index:020d}.received" for index in (8, 9)]


def test_any_flipped_bit_and_any_cut_is_noticed(place: Place, disk: MemoryDisk) -> None:
    save(Snapshots(place), META, [b"one chunk", b"and another"])
    path = f"snapshots/{7:020d}.saved"
    content = disk.image()[path]

    for offset in range(len(content)):
        for damaged in (
            content[:offset],
            content[:offset] + bytes([content[offset] ^ 1 << offset % 8]) + content[offset + 1 :],
        ):
            disk.names[path].seen[:] = damaged
            with pytest.raises((CorruptLog, ForeignState)) as refused:
                read(place)
            assert path in str(refused.value)


def test_something_behind_the_end_is_noticed(place: Place, disk: MemoryDisk) -> None:
    save(Snapshots(place), META, [b"state"])
    disk.names[f"snapshots/{7:020d}.saved"].seen.append(0)

    with pytest.raises(CorruptLog, match="something stands behind the last chunk"):
        read(place)


def test_a_chunk_of_another_snapshot_is_noticed(place: Place, disk: MemoryDisk) -> None:
    save(Snapshots(place), META, [b"state"])
    path = f"snapshots/{7:020d}.saved"
    first = bytes(disk.names[path].seen)
    save(Snapshots(place), META, [b"state"])
    second = disk.names[path].seen

    second[-26 - 21 :] = first[-26 - 21 :]

    with pytest.raises(CorruptLog, match="does not open"):
        read(place)


def test_a_snapshot_under_another_ones_name_is_noticed(place: Place, disk: MemoryDisk) -> None:
    save(Snapshots(place), META, [b"state"])
    disk.rename(f"snapshots/{7:020d}.saved", f"snapshots/{8:020d}.saved")

    with pytest.raises(CorruptLog, match="another snapshot than its name says"):
        read(place)


# What comes from the leader, piece by piece.

PIECES = [b"first", b"second", b"third"]
LEADERS = SnapshotMeta(index=50, term=3)
OFFER = offer_of(LEADERS, PIECES)


def receive_some(snapshots: Snapshots, *numbers: int, offer: SnapshotOffer = OFFER) -> int:
    """Begin, or go on, with these pieces; return how many are there then."""
    here = snapshots.begin_receiving(offer)
    for number in numbers:
        here = snapshots.receive_chunk(offer, cut_chunk(offer, number, PIECES[number - 1]))
    return here


def received(snapshots: Snapshots, meta: SnapshotMeta = LEADERS) -> list[bytes]:
    """Install what was received, and read it."""
    snapshots.installed(snapshots.find_received(meta))
    found = snapshots.open()
    assert found is not None
    assert found[0].snapshot == meta
    return list(found[1])


def test_a_transfer_goes_on_where_the_last_one_broke_off(place: Place) -> None:
    snapshots = Snapshots(place)
    receive_some(snapshots, 1, 2)

    assert snapshots.begin_receiving(OFFER) == 2

    receive_some(snapshots, 3)
    snapshots.finish_receiving(OFFER)
    assert received(snapshots) == PIECES


@pytest.mark.parametrize(
    "other",
    [
        offer_of(SnapshotMeta(index=51, term=3), PIECES),
        offer_of(SnapshotMeta(index=50, term=4), PIECES),
        offer_of(LEADERS, [b"First", *PIECES[1:]]),
        offer_of(LEADERS, PIECES[:2]),
    ],
    ids=["index", "term", "content", "size"],
)
def test_another_snapshot_starts_anew(place: Place, disk: MemoryDisk, other: SnapshotOffer) -> None:
    snapshots = Snapshots(place)
    receive_some(snapshots, 1, 2)

    assert snapshots.begin_receiving(other) == 0
    assert disk.list("snapshots") == [f"{other.snapshot.index:020d}.received.part"]


def test_who_was_given_up_for_another_snapshot_cannot_go_on(place: Place) -> None:
    snapshots = Snapshots(place)
    receive_some(snapshots, 1)
    other = offer_of(SnapshotMeta(index=51, term=3), PIECES)
    snapshots.begin_receiving(other)

    with pytest.raises(SnapshotDamaged, match="given up for another one"):
        snapshots.receive_chunk(OFFER, cut_chunk(OFFER, 2, PIECES[1]))
    assert receive_some(snapshots, 1, offer=other) == 1


@pytest.mark.parametrize(
    ("chunk", "why"),
    [
        (cut_chunk(OFFER, 3, PIECES[2]), "chunk 3 came where chunk 2 was to come"),
        (cut_chunk(OFFER, 1, PIECES[0]), "chunk 1 came where chunk 2 was to come"),
        (replace(cut_chunk(OFFER, 2, PIECES[1]), data=b"Second"), "chunk 2 is damaged"),
        (cut_chunk(offer_of(LEADERS, PIECES[:2]), 2, PIECES[1]), "chunk 2 is damaged"),
        (cut_chunk(OFFER, 2, b""), "chunk 2 has 0 bytes"),
        (cut_chunk(OFFER, 2, bytes(CHUNK_BYTES + 1)), "chunk 2 has 262145 bytes"),
    ],
    ids=["skipped", "repeated", "damaged", "of another snapshot", "empty", "too long"],
)
def test_what_is_not_the_next_piece_is_refused_and_all_of_it_comes_anew(
    place: Place, disk: MemoryDisk, chunk: SnapshotChunk, why: str
) -> None:
    snapshots = Snapshots(place)
    receive_some(snapshots, 1)

    with pytest.raises(SnapshotDamaged, match=why):
        snapshots.receive_chunk(OFFER, chunk)

    assert disk.list("snapshots") == []
    assert snapshots.begin_receiving(OFFER) == 0


def test_pieces_that_do_not_add_up_to_what_was_offered_are_never_installed(place: Place, disk: MemoryDisk) -> None:
    snapshots = Snapshots(place)
    lie = replace(OFFER, digest=bytes(32))
    receive_some(snapshots, 1, 2, 3, offer=lie)

    with pytest.raises(SnapshotDamaged, match="do not add up"):
        snapshots.finish_receiving(lie)

    assert disk.list("snapshots") == []


def test_an_incomplete_snapshot_is_not_taken_for_one(place: Place) -> None:
    snapshots = Snapshots(place)
    receive_some(snapshots, 1, 2)

    with pytest.raises(SnapshotDamaged, match="do not add up"):
        snapshots.finish_receiving(OFFER)


def test_what_an_earlier_run_left_half_received_is_removed(place: Place, disk: MemoryDisk) -> None:
    save(Snapshots(place), META, [b"7"])
    receive_some(Snapshots(place), 1, 2)

    assert read(place) == (META, [b"7"])
    again = Snapshots(place)
    again.recover(NOTHING_INSTALLED)
    again.clean()

    assert disk.list("snapshots") == [f"{7:020d}.saved"]
    assert again.begin_receiving(OFFER) == 0


def test_saving_ours_spares_what_is_arriving(place: Place) -> None:
    snapshots = Snapshots(place)
    receive_some(snapshots, 1)

    save(snapshots, META, [b"7"])

    assert receive_some(snapshots, 2, 3) == 3
    snapshots.finish_receiving(OFFER)
    assert received(snapshots) == PIECES


def test_an_arriving_snapshot_that_ours_has_overtaken_is_given_up(place: Place, disk: MemoryDisk) -> None:
    snapshots = Snapshots(place)
    receive_some(snapshots, 1)

    save(snapshots, SnapshotMeta(index=60, term=3), [b"60"])

    assert disk.list("snapshots") == [f"{60:020d}.saved"]
    assert snapshots.begin_receiving(OFFER) == OFFER.chunks


def test_once_it_is_complete_it_is_durable(place: Place, disk: MemoryDisk) -> None:
    snapshots = Snapshots(place)
    receive_some(snapshots, 1, 2, 3)
    snapshots.finish_receiving(OFFER)
    kept = snapshots.find_received(LEADERS)

    after = disk.after_crash(lambda _: False)
    again = Snapshots(Place(after, "snapshots", b"k" * 32, place.entropy))
    again.recover(
        evolve(NOTHING_INSTALLED, follows=Follows.SNAPSHOT, follows_position=50, follows_term=3, follows_tag=kept.tag)
    )
    again.verify()

    found = again.open()
    assert found is not None
    assert (found[0], list(found[1])) == (OFFER, PIECES)


def test_a_state_of_no_bytes_can_be_received(place: Place) -> None:
    snapshots = Snapshots(place)

    receive(snapshots, LEADERS, [])

    assert received(snapshots) == []


def test_what_is_saved_is_offered_as_what_it_is(place: Place) -> None:
    snapshots = Snapshots(place)
    save(snapshots, LEADERS, PIECES)
    found = snapshots.open()
    assert found is not None
    assert found[0] == OFFER

    again = Snapshots(place)
    again.recover(NOTHING_INSTALLED)
    again.verify()
    found = again.open()
    assert found is not None
    assert found[0] == OFFER


def test_a_reader_goes_on_at_any_piece_and_again(place: Place) -> None:
    snapshots = Snapshots(place)
    save(snapshots, LEADERS, PIECES)
    found = snapshots.open()
    assert found is not None
    reader = found[1]

    for number in (1, 3, 2, 4):
        reader.seek(number)
        assert list(reader) == PIECES[number - 1 :]


# Slices.


def test_a_snapshot_is_written_in_slices_and_counts_with_the_last(place: Place, disk: MemoryDisk) -> None:
    snapshots = Snapshots(place, slice_bytes=10)
    save(snapshots, META, [b"7"])
    saving = Saving(LEADERS, iter([b"x" * 10, b"y" * 10]))

    assert not snapshots.save_slice(saving, Position())
    assert not snapshots.save_slice(saving, Position())
    assert snapshots.index == 7
    assert snapshots.save_slice(saving, Position())

    assert snapshots.index == 50
    assert disk.list("snapshots") == [f"{50:020d}.saved"]


def test_a_snapshot_that_was_overtaken_by_an_installed_one_does_not_count(place: Place) -> None:
    snapshots = Snapshots(place, slice_bytes=1)
    saving = Saving(META, iter([b"x", b"y"]))
    snapshots.save_slice(saving, Position())
    receive(snapshots, LEADERS, PIECES)
    assert received(snapshots) == PIECES

    while not snapshots.save_slice(saving, Position()):
        pass

    assert snapshots.newest is not None
    assert snapshots.newest.meta == LEADERS


def test_a_disk_that_does_not_give_a_chunk_is_said_to_have_failed(
    place: Place, disk: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever streams a snapshot to a peer long after it was opened hears of it as of any failing disk."""
    snapshots = Snapshots(place)
    save(snapshots, SnapshotMeta(index=5, term=1), [b"one", b"two"])
    found = snapshots.open()
    assert found is not None
    _, reader = found
    assert next(reader) == b"one"

    def fail(_self: object, _offset: int, _size: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(type(reader._file), "read", fail)

    with pytest.raises(DiskFailed, match=r"could not read .*Input/output error"):
        next(reader)
    with pytest.raises(DiskFailed, match="could not read"):
        reader.seek(2)
