"""The page of a report: whole, by itself, and honest."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import msgspec
import pytest

from raftswarm.lab.chaos import Check, Report, render_page
from raftswarm.lab.chaos.report import encode_report

Make = Callable[..., Report]


def drawings(page: str) -> list[ET.Element]:
    return [ET.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_a_page_needs_nothing_but_itself(make_report: Make) -> None:
    page = render_page(make_report())

    assert not re.search(r"(src|href)=|url\(|@import|https?:", page)
    assert "prefers-color-scheme: dark" in page
    assert len(drawings(page)) == 3


def test_everything_that_counts_is_on_it(make_report: Make) -> None:
    page = render_page(make_report())

    for words in (
        "everything held",
        "97.00%",
        "0.60 s",
        "81 ms",
        "kill the leader",
        "320 writes, none lost",
        "raftswarm chaos run --seed 7 --duration 20 --faults kill,clock",
    ):
        assert words in page


def test_each_fault_outage_and_time_is_drawn(make_report: Make) -> None:
    calls, swarm, times = drawings(render_page(make_report()))

    bands = [one for one in calls.iter("rect") if (one.get("class") or "").startswith("band")]
    assert [one.get("class") for one in bands] == ["band hit", "band"]
    assert len([one for one in calls.iter("rect") if one.get("class") == "outage"]) == 1
    assert [text.text for text in swarm.iter("text") if text.get("class") == "inside"] == ["docker1", "docker2"]
    assert len(list(times.iter("circle"))) == 2


def test_a_check_that_failed_and_what_was_kept_are_plain_to_see(make_report: Make) -> None:
    failed = Check(name="nothing acknowledged is lost", held=False, seen="<b>'c1-7'</b> of c1")

    page = render_page(make_report(checks=[failed], lost=1, kept="/tmp/chaos-seed-7-x"))

    assert "1 of 1 checks failed" in page
    assert "&lt;b&gt;" in page
    assert "/tmp/chaos-seed-7-x" in page
    assert "<b class=bad>1</b><span>of them lost" in page


@pytest.mark.parametrize("missing", [{"strikes": []}, {"sights": []}, {"outages": []}, {"convergence_seconds": None}])
def test_what_did_not_happen_is_no_trouble(make_report: Make, missing: dict[str, object]) -> None:
    assert len(drawings(render_page(make_report(**missing)))) == 3


def test_the_json_has_the_figures_of_the_table(make_report: Make) -> None:
    encoded = msgspec.json.decode(encode_report(make_report()))

    assert encoded["held"] is True
    assert encoded["longest_outage"] == pytest.approx(0.6)
    assert encoded["median_failover"] == encoded["worst_failover"] == 0.081
    assert encoded["strikes"][1]["failover_seconds"] is None
