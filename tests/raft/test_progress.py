"""What a leader knows of a follower, and the window in which entries flow (5.3; dissertation 10.2.1)."""

from __future__ import annotations

from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.progress import Progress, Stage


def make_progress(next_index: int = 1) -> Progress:
    return Progress(next_index=next_index, heard_at=0.0)


def test_the_first_acknowledgement_ends_probing() -> None:
    progress = make_progress(5)

    progress.acknowledge(4, now=1.0)

    assert (progress.stage, progress.match_index, progress.next_index) == (Stage.REPLICATE, 4, 5)


def test_an_acknowledgement_frees_the_window_up_to_it() -> None:
    progress = make_progress()
    progress.acknowledge(0, now=0.0)
    progress.sent(2, 100, now=0.0)
    progress.sent(3, 50, now=0.0)

    progress.acknowledge(2, now=1.0)

    assert (progress.in_flight_messages, progress.in_flight_bytes) == (1, 50)


def test_late_and_repeated_acknowledgements_change_nothing() -> None:
    progress = make_progress()
    progress.acknowledge(9, now=1.0)

    progress.acknowledge(4, now=2.0)

    assert (progress.match_index, progress.next_index, progress.moved_at) == (9, 10, 1.0)


def test_probing_forgets_what_is_in_flight_and_never_goes_below_the_match() -> None:
    progress = make_progress()
    progress.acknowledge(5, now=0.0)
    progress.sent(8, 100, now=0.0)

    progress.probe(3)

    assert (progress.next_index, progress.in_flight_messages, progress.in_flight_bytes) == (6, 0, 0)


def test_it_is_stalled_when_what_was_sent_stays_unanswered() -> None:
    progress = make_progress()
    progress.acknowledge(0, now=0.0)
    assert not progress.is_stalled(100.0, 1.0)

    progress.sent(1, 10, now=100.0)

    assert not progress.is_stalled(101.0, 1.0)
    assert progress.is_stalled(101.5, 1.0)


def test_waiting_for_a_snapshot_is_left_by_probing() -> None:
    progress = make_progress()
    progress.await_snapshot(SnapshotMeta(index=9, term=1))
    assert progress.stage is Stage.SNAPSHOT

    progress.probe()

    assert (progress.stage, progress.snapshot) == (Stage.PROBE, None)
