"""The simulated disk: what is not synced may be lost, kept or torn; what is synced stays."""

from __future__ import annotations

import errno
from random import Random

import pytest

from raftswarm.world.disk import Disk, File
from raftswarm.world.simulated_disk import SECTOR_BYTES, PowerLost, SimulatedDisk

OLD, NEW = b"o", b"n"


def as_disk(disk: SimulatedDisk) -> Disk:
    """The type checkers compare it with the protocol here."""
    return disk


def make_file(disk: SimulatedDisk, content: bytes = b"") -> File:
    """A file whose name and content are durable."""
    file = disk.open("file", create=True)
    file.write(0, [content])
    file.sync()
    disk.sync_directory("")
    return file


def content_of(disk: SimulatedDisk, path: str = "file") -> bytes:
    file = disk.open(path)
    return file.read(0, file.size())


def contents_after_power_loss(*, sectors: int, seeds: int = 200) -> set[bytes]:
    """Overwrite old sectors with new ones, lose power before a sync, once per seed."""
    seen = set()
    for seed in range(seeds):
        disk = SimulatedDisk()
        file = make_file(disk, OLD * SECTOR_BYTES * sectors)
        file.write(0, [NEW * SECTOR_BYTES * sectors])
        disk.lose_power(Random(seed))
        seen.add(content_of(disk))
    return seen


def test_what_was_synced_survives_a_power_loss() -> None:
    disk = SimulatedDisk()
    make_file(disk, b"kept")

    disk.lose_power(Random(1))

    assert content_of(disk) == b"kept"


def test_an_unsynced_write_may_be_kept_or_lost() -> None:
    seen = contents_after_power_loss(sectors=1)

    assert OLD * SECTOR_BYTES in seen
    assert NEW * SECTOR_BYTES in seen


def test_an_unsynced_write_may_be_torn_within_a_sector() -> None:
    torn = {content for content in contents_after_power_loss(sectors=1) if OLD in content and NEW in content}

    assert len(torn) > 10
    assert all(content.rstrip(OLD) == NEW * content.count(NEW) for content in torn)


def test_a_later_sector_may_be_kept_where_an_earlier_one_is_lost() -> None:
    first_lost = OLD * SECTOR_BYTES + NEW * SECTOR_BYTES

    assert first_lost in contents_after_power_loss(sectors=2)


def test_a_newer_write_to_a_sector_is_not_kept_without_the_older() -> None:
    for seed in range(200):
        disk = SimulatedDisk()
        file = make_file(disk, b"....")
        file.write(0, [b"1"])
        file.write(1, [b"2"])
        disk.lose_power(Random(seed))

        assert content_of(disk) in {b"....", b"1...", b"12.."}


def test_a_killed_process_leaves_its_writes_in_the_page_cache() -> None:
    disk = SimulatedDisk()
    file = make_file(disk, b"old")
    file.write(0, [b"new"])

    disk.lose_process()

    assert content_of(disk) == b"new"


def test_the_page_cache_is_lost_with_the_power_after_the_process() -> None:
    disk = SimulatedDisk()
    file = make_file(disk, b"old")
    file.write(0, [b"new"])
    disk.lose_process()

    assert content_of(disk.after_power_loss()) == b"old"
    assert content_of(disk) == b"new"


def test_a_name_whose_directory_was_not_synced_may_be_missing() -> None:
    seen = set()
    for seed in range(20):
        disk = SimulatedDisk()
        disk.open("file", create=True).sync()
        disk.lose_power(Random(seed))
        seen.add(disk.exists("file"))

    assert seen == {True, False}


def test_a_rename_is_atomic_and_lasts_once_its_directory_is_synced() -> None:
    seen = set()
    for seed in range(20):
        disk = SimulatedDisk()
        make_file(disk, b"old")
        aside = disk.open("aside", create=True)
        aside.write(0, [b"new"])
        aside.sync()
        disk.rename("aside", "file")
        if seed % 2:
            disk.sync_directory("")
        disk.lose_power(Random(seed))
        seen.add((bool(seed % 2), content_of(disk)))

    assert seen == {(True, b"new"), (False, b"old"), (False, b"new")}


def test_a_process_that_died_cannot_write_any_more() -> None:
    disk = SimulatedDisk()
    file = make_file(disk, b"kept")
    disk.lose_process()

    with pytest.raises(PowerLost):
        file.write(0, [b"ghost"])

    assert content_of(disk) == b"kept"


def test_a_process_may_die_at_any_disk_call() -> None:
    disk = SimulatedDisk()
    file = make_file(disk, b"old")
    disk.cut_after(1)
    file.write(0, [b"new"])

    with pytest.raises(PowerLost):
        file.sync()

    disk.lose_process()
    assert content_of(disk.after_power_loss()) == b"old"


def test_a_lock_is_held_by_one_process_and_ends_with_it() -> None:
    disk = SimulatedDisk()
    disk.lock("lock")

    with pytest.raises(BlockingIOError):
        disk.lock("lock")

    disk.lose_process()
    disk.lock("lock").close()
    disk.lock("lock")


def test_a_failing_disk_fails_writes_and_syncs_and_still_reads() -> None:
    disk = SimulatedDisk()
    file = make_file(disk, b"kept")
    disk.fail_from_now(OSError(errno.EIO, "input/output error"))

    for change in (lambda: file.write(0, [b"x"]), file.sync, lambda: disk.open("other", create=True)):
        with pytest.raises(OSError, match="input/output"):
            change()

    assert file.read(0, 4) == b"kept"


def test_it_answers_as_the_protocol_says() -> None:
    disk = as_disk(SimulatedDisk())
    disk.make_directory("a/b")
    file = disk.open("a/b/two", create=True)
    file.write(2, [b"x", b"y"])
    disk.open("a/b/one", create=True)

    assert disk.list("a/b") == ["one", "two"]
    assert disk.list("nowhere") == []
    assert file.read(0, 10) == b"\0\0xy"
    file.truncate(3)
    assert file.size() == 3
    disk.remove("a/b/one")
    assert not disk.exists("a/b/one")
    for missing in (
        lambda: disk.open("a/b/one"),
        lambda: disk.remove("a/b/one"),
        lambda: disk.open("c/d", create=True),
    ):
        with pytest.raises(FileNotFoundError):
            missing()


# What would be left, while the disk goes on.


def test_copies_of_what_would_be_left_change_nothing_and_are_all_that_a_loss_of_power_may_leave() -> None:
    disk = SimulatedDisk()
    file = make_file(disk, OLD * SECTOR_BYTES * 3)
    file.write(0, [NEW * SECTOR_BYTES * 3])

    left = {content_of(disk.tear(Random(seed))) for seed in range(200)}

    assert left <= contents_after_power_loss(sectors=3, seeds=2000)
    assert {OLD * SECTOR_BYTES * 3, NEW * SECTOR_BYTES * 3} < left
    assert content_of(disk) == NEW * SECTOR_BYTES * 3
    assert content_of(disk.after_power_loss()) == OLD * SECTOR_BYTES * 3
    assert not disk.survives_power_loss()


def test_a_write_is_cut_at_any_byte() -> None:
    disk = SimulatedDisk()
    file = make_file(disk, b"....")
    file.write(0, [b"ab"])
    file.write(2, [b"cd"])

    assert disk.unsynced_write("file") == 2
    assert [content_of(disk.cut_write("file", kept)) for kept in range(3)] == [b"ab..", b"abc.", b"abcd"]
    file.sync()
    assert disk.unsynced_write("file") == 0
    assert disk.survives_power_loss()


def test_what_a_lying_sync_has_not_written_does_not_survive() -> None:
    disk = SimulatedDisk()
    file = make_file(disk, b"old")
    file.write(0, [b"new"])
    disk.lie_on_sync()
    with pytest.raises(OSError, match="input/output error"):
        file.sync()

    assert not disk.survives_power_loss()
    assert content_of(disk.after_power_loss()) == b"old"


def test_a_name_that_is_not_synced_is_kept_or_lost_with_its_file_in_a_copy() -> None:
    disk = SimulatedDisk()
    make_file(disk, b"content")
    disk.rename("file", "renamed")

    left = {tuple(disk.tear(Random(seed)).list("")) for seed in range(50)}

    assert left == {("file",), ("renamed",)}
    assert {content_of(torn, torn.list("")[0]) for torn in (disk.tear(Random(seed)) for seed in range(50))} == {
        b"content"
    }


def test_a_watcher_hears_of_each_change_before_it_is_made() -> None:
    disk = SimulatedDisk()
    heard: list[tuple[str, str, list[str]]] = []
    disk.watcher = lambda kind, path: heard.append((kind, path, disk.list("")))

    make_file(disk, b"content").truncate(2)
    content_of(disk)
    disk.rename("file", "other")
    disk.remove("other")

    assert heard == [
        ("create", "file", []),
        ("write", "file", ["file"]),
        ("sync", "file", ["file"]),
        ("sync directory", "", ["file"]),
        ("truncate", "file", ["file"]),
        ("rename", "file", ["file"]),
        ("remove", "other", ["other"]),
    ]
