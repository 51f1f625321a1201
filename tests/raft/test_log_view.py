"""The log in memory: what is held, cut, kept and still unwritten (5.3, section 7)."""

from __future__ import annotations

import pytest

from raftswarm.errors import CorruptLog
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, MemberInfo, SnapshotMeta
from raftswarm.raft.log_view import ENTRY_OVERHEAD_BYTES, LogView, encode_configuration

ONE = Configuration(voters=(MemberInfo(id=1),))
TWO = Configuration(voters=(MemberInfo(id=1), MemberInfo(id=2)))
EMPTY = SnapshotMeta(configuration=ONE)


def entry(index: int, term: int = 1, *, commands: int = 1, first_command: int | None = None, size: int = 0) -> Entry:
    return Entry(
        index=index,
        term=term,
        kind=EntryKind.COMMANDS,
        first_command=first_command or index,
        command_count=commands,
        data=bytes(size),
    )


def change(index: int, configuration: Configuration) -> Entry:
    data = encode_configuration(configuration)
    return Entry(index=index, term=1, kind=EntryKind.CONFIGURATION, first_command=index, data=data)


def make_log(*terms: int, snapshot: SnapshotMeta = EMPTY) -> LogView:
    first = snapshot.index + 1
    return LogView(snapshot, [entry(first + position, term) for position, term in enumerate(terms)])


def test_an_empty_log_ends_where_its_snapshot_does() -> None:
    log = make_log(snapshot=SnapshotMeta(index=7, term=3, commands=20))

    assert (log.first_index, log.last_index, log.last_term) == (8, 7, 3)
    assert log.commands_through(7) == 20
    assert log.term_at(7) == 3
    assert log.term_at(6) is None


def test_entries_behind_the_snapshot_are_kept_for_slow_followers() -> None:
    log = LogView(SnapshotMeta(index=3, term=1), [entry(2), entry(3), entry(4, 2)])

    assert (log.first_index, log.last_index) == (2, 4)
    assert log.term_at(1) is None


def test_a_log_that_the_installed_snapshot_replaced_is_not_believed() -> None:
    conflicting = LogView(SnapshotMeta(index=3, term=2), [entry(2), entry(3), entry(4)])
    too_short = LogView(SnapshotMeta(index=3, term=2), [entry(1), entry(2)])

    assert conflicting.last_index == too_short.last_index == 3
    assert conflicting.last_term == too_short.last_term == 2


def test_a_configuration_on_disk_that_cannot_be_read_stops_the_member() -> None:
    broken = Entry(index=1, term=1, kind=EntryKind.CONFIGURATION, first_command=1, data=b"\xc1")

    with pytest.raises(CorruptLog, match="entry 1 should be a configuration"):
        LogView(SnapshotMeta(), [broken])


def test_a_truncated_configuration_is_undone() -> None:
    log = make_log()
    log.append(change(1, TWO))
    assert log.configuration == TWO

    log.truncate(0)

    assert log.configuration == ONE
    assert log.configuration_index == 0


def test_what_is_unwritten_is_handed_out_once() -> None:
    log = make_log()
    log.append(entry(1))

    assert log.take_unwritten() == (None, (entry(1),))
    assert not log.has_unwritten
    assert log.take_unwritten() == (None, ())


def test_a_cut_of_what_was_handed_out_is_handed_out_too() -> None:
    log = make_log(1, 1, 1)
    log.truncate(2)
    log.append(entry(3, 2))
    log.append(entry(4, 2))
    log.truncate(1)
    log.append(entry(2, 3))

    assert log.take_unwritten() == (1, (entry(2, 3),))


def test_a_cut_of_what_the_disk_never_got_needs_no_cut_there() -> None:
    log = make_log(1)
    log.append(entry(2))
    log.truncate(1)

    assert not log.has_unwritten


def test_a_message_takes_what_fits_and_at_least_one_entry() -> None:
    log = LogView(SnapshotMeta(), [entry(1, size=100), entry(2, size=10), entry(3, size=10)])
    two = 110 + 2 * ENTRY_OVERHEAD_BYTES

    assert [e.index for e in log.entries_within(1, 1)[0]] == [1]
    assert [e.index for e in log.entries_within(1, two)[0]] == [1, 2]
    assert log.entries_within(1, two)[1] == two
    assert log.entries_within(4, 1000) == ((), 0)


def test_compaction_keeps_some_entries_and_the_term_before_them() -> None:
    log = make_log(1, 1, 2, 2, 3)
    log.compact(log.describe_snapshot(4), keep_entries=2)

    assert (log.first_index, log.last_index) == (3, 5)
    assert [log.term_at(index) for index in (1, 2, 3, 5)] == [None, 1, 2, 3]


def test_commands_are_counted_on_over_compaction_and_replacement() -> None:
    log = LogView(SnapshotMeta(), [entry(1, commands=3, first_command=1), entry(2, commands=2, first_command=4)])
    log.compact(log.describe_snapshot(2), keep_entries=0)
    assert log.commands_through(2) == 5

    log.replace(SnapshotMeta(index=9, term=4, commands=40))

    assert log.commands_through(log.last_index) == 40


def test_an_older_snapshot_changes_nothing() -> None:
    log = make_log(1, 1, 1)
    old = log.describe_snapshot(1)
    log.compact(log.describe_snapshot(3), keep_entries=0)

    log.compact(old, keep_entries=0)

    assert (log.snapshot.index, log.first_index) == (3, 4)


def test_a_snapshot_is_described_with_the_configuration_of_its_place() -> None:
    log = LogView(SnapshotMeta(configuration=ONE), [entry(1), change(2, TWO)])

    assert log.describe_snapshot(1).configuration == ONE
    assert log.describe_snapshot(2).configuration == TWO


def test_a_conflict_begins_where_its_term_begins() -> None:
    log = make_log(1, 2, 2, 2, 3)

    assert log.first_index_of_term_at(4) == 2
    assert log.first_index_of_term_at(5) == 5
