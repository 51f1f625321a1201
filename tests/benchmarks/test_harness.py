"""Few numbers that stand for many: what the benchmarks print is what they measured."""

from __future__ import annotations

import attrs
import pytest

from benchmarks.commits import show
from benchmarks.contest import ENTRANTS, PAIRS, Arena, Plan
from benchmarks.harness.statistics import paired_ratios, percentile, spread
from benchmarks.harness.tables import factor, figure, render
from benchmarks.harness.values import Values
from benchmarks.ours.null_sealing import NullCipher
from raftswarm.raft.state_machine import Context
from raftswarm.storage.sealing import TAG_BYTES


def test_a_percentile_is_one_of_the_values() -> None:
    ordered = [float(number) for number in range(1, 101)]

    assert [percentile(ordered, share) for share in (0.5, 0.99, 1.0)] == [51.0, 100.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0


def test_a_spread_names_the_median_and_both_ends() -> None:
    found = spread([3.0, 1.0, 10.0])

    assert (found.median, found.least, found.most, found.count) == (3.0, 1.0, 10.0, 3)


def test_ratios_are_of_the_same_round() -> None:
    ratios = paired_ratios({0: 10.0, 1: 50.0, 2: 7.0}, {1: 25.0, 0: 20.0})

    assert ratios == [0.5, 2.0]


def test_a_rival_that_did_nothing_makes_no_ratio() -> None:
    assert paired_ratios({0: 10.0}, {0: 0.0}) == []


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0.0, "0"), (0.5, "0.50"), (12.34, "12.3"), (1234.5, "1,234"), (-0.25, "-0.25")]
)
def test_a_figure_has_about_three_digits(value: float | None, shown: str) -> None:
    assert figure(value) == shown


def test_a_table_is_aligned_markdown() -> None:
    table = render(("what", "rate"), [["one", "1,000"], ["many of them", factor(2.5)]])

    assert table.splitlines() == [
        "| what         |  rate |",
        "| ------------ | ----: |",
        "| one          | 1,000 |",
        "| many of them | 2.50x |",
    ]


def test_a_picture_of_the_values_makes_the_same_values() -> None:
    values, copy = Values(command_bytes=16), Values(command_bytes=16)
    for number in range(50):
        values.apply(b"%08d%08d" % (number % 20, number), Context(number + 1, 0, number + 1, 1))

    copy.restore(values.capture().chunks())

    assert copy.digest() == values.digest()
    assert copy.query(b"%08d" % 3) == b"%08d%08d" % (3, 43)
    assert (copy.applied, copy.restored, copy.restored_bytes) == (50, 50, 20 * 16)


def test_the_null_cipher_hides_nothing_and_has_the_length_of_the_real_one() -> None:
    cipher = NullCipher(b"key")

    sealed = cipher.encrypt(bytes(12), b"plain to read", b"header")

    assert sealed.startswith(b"plain to read")
    assert len(sealed) == len(b"plain to read") + TAG_BYTES
    assert cipher.decrypt(bytes(12), memoryview(sealed), b"header") == b"plain to read"


def test_every_pair_is_of_entrants_that_are_measured() -> None:
    titles = {entrant.title for entrant in ENTRANTS}

    assert {title for pair in PAIRS for title in pair} <= titles


def test_peers_are_measured_where_they_can_be() -> None:
    plan = Plan(directory=None)  # type: ignore[arg-type]

    def had(links: str, outstanding: int) -> set[str]:
        return {entrant.title for entrant in plan.entrants(links, outstanding)}

    assert "pysyncobj" in had("plain", 64)
    assert "pysyncobj" not in had("tls", 64)
    assert had("tls", 10_000) == {"one await each", "propose_many", "network client"}


def recorded_run(entrant: str, number: int, rate: float) -> dict[str, object]:
    return {
        "links": "tls",
        "round": number,
        "entrant": entrant,
        "outstanding": 64,
        "rate": rate,
        "failures": 0,
        "leader_cpu_micros": 10.0,
        "follower_cpu_micros": 5.0,
    }


def test_what_was_kept_is_shown_with_the_median_of_its_ratios() -> None:
    plan = {"payload": {"command_bytes": 256, "keys": 10}, "rounds": 3, "seconds": 10.0}
    machine = {"raftswarm": "1", "python": "3", "kernel": "6", "processor": "P", "cores": 2, "nice": 0}
    runs = [
        recorded_run(entrant, number, rate)
        for entrant, rates in (("one await each", (10.0, 30.0, 20.0)), ("etcd-embedded", (10.0, 10.0, 10.0)))
        for number, rate in enumerate(rates)
    ]
    checks = [{"cluster": "raftswarm", "acknowledged": 60, "after_all_were_killed": {"acknowledged": 60}}]

    text = show(
        {
            "machine": machine,
            "plan": plan,
            "versions": [],
            "skipped": {"etcd": "it is not there"},
            "sections": {"commits": {"runs": runs, "checks": checks}},
        }
    )

    assert "| one await each, against etcd-embedded |" in text
    assert "| 2.00x | 1.00x to 3.00x |" in " ".join(text.split())
    assert "Without etcd: it is not there." in text
    assert "60 of them were there after all three were killed" in text


def test_who_cannot_be_had_is_left_out() -> None:
    arena = Arena(plan=Plan(directory=None, peers=()), rivals={}, skipped={})  # type: ignore[arg-type]

    assert attrs.asdict(arena)["rivals"] == {}
    assert {entrant.family for entrant in arena.plan.entrants("plain", 1)} == {"raftswarm"}
