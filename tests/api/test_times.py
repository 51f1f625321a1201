"""Times and durations read and written as Go does."""

from __future__ import annotations

import pytest

from raftswarm.api.times import read_duration, read_time, write_duration, write_time


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (1_795_246_773_397_347_575, "2026-11-21T07:39:33.397347575Z"),
        (1_795_246_773_300_000_000, "2026-11-21T07:39:33.3Z"),
        (1_795_246_773_000_000_000, "2026-11-21T07:39:33Z"),
        (0, "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_has_as_many_digits_as_it_takes(time_ns: int, text: str) -> None:
    assert write_time(time_ns) == text
    assert read_time(text) == time_ns


def test_a_time_with_a_zone_is_read_and_nonsense_is_never() -> None:
    assert read_time("2026-11-21T08:39:33+01:00") == read_time("2026-11-21T07:39:33Z")
    assert read_time("yesterday") == 0


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (20_000_000, "20ms"),
        (5_000_000_000, "5s"),
        (1_500_000_000, "1.5s"),
        (60_000_000_000, "1m0s"),
        (3_661_000_000_000, "1h1m1s"),
        (7_776_000_000_000_000, "2160h0m0s"),
        (-5_000_000_000, "-5s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(duration_ns: int, text: str) -> None:
    assert write_duration(duration_ns) == text
    if duration_ns >= 0:
        assert read_duration(text) == duration_ns


@pytest.mark.parametrize(
    ("text", "duration_ns"), [("1h30m", 5_400_000_000_000), ("0", 0), (".5s", 500_000_000), ("2us", 2_000)]
)
def test_a_duration_is_read_as_go_reads_it(text: str, duration_ns: int) -> None:
    assert read_duration(text) == duration_ns


@pytest.mark.parametrize("text", ["", "5", "x", "5s x", "1d"])
def test_a_duration_go_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time: "):
        read_duration(text)
