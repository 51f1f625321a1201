"""Traces are short lines, the same to the byte for the same run."""

from __future__ import annotations

from raftswarm.lab.trace import Trace
from raftswarm.raft.log_entry import Entry, EntryKind
from raftswarm.raft.messages import AppendEntries, TimeoutNow

BLANK = Entry(index=5, term=2, kind=EntryKind.BLANK, first_command=1)


def test_a_message_is_one_line_that_leaves_out_what_is_empty() -> None:
    trace = Trace(enabled=True)

    trace.message(
        1.5, AppendEntries(sender=1, to=2, term=3, previous_index=4, previous_term=2, entries=(BLANK,), commit=0)
    )
    trace.message(2.0, TimeoutNow(sender=1, to=2, term=3))

    assert trace.lines == [
        "1.500000 1->2 AppendEntries t3 previous_index=4 previous_term=2 entries=[(5, 2)]",
        "2.000000 1->2 TimeoutNow t3",
    ]


def test_the_digest_stands_for_all_lines_even_those_not_kept() -> None:
    kept, not_kept, other = Trace(enabled=True), Trace(enabled=True, keep_lines=False), Trace(enabled=True)
    for trace in (kept, not_kept):
        trace.record(1.0, "line")
    other.record(1.0, "other line")

    assert kept.digest() == not_kept.digest() != other.digest()
    assert not_kept.lines == []
