"""What a violation breaks is said with the section where it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raftswarm.lab import invariants
from raftswarm.lab.promises import find_promise

LAB = Path(invariants.__file__).parent


def list_violations() -> list[str]:
    """Return the beginning of every violation that the lab of Raft clusters can raise."""
    return [
        re.sub(r"\{[^{}]*\}", "3", text)
        for path in sorted(LAB.glob("*.py"))
        for text in re.findall(r'raise Violation\(\s*f?"([^"]*)"', path.read_text(encoding="utf-8"))
    ]


def test_every_violation_breaks_a_promise() -> None:
    violations = list_violations()

    assert len(violations) > 50
    assert [text for text in violations if find_promise(f"Violation: {text}") is None] == []


@pytest.mark.parametrize(
    ("violation", "section"),
    [
        ("Violation: 1: 2 and 3 both lead term 4", "Election Safety, 5.2"),
        ("Violation: 15: read 7 of index 66 ended at index 29", "dissertation 6.4"),
        ("Violation: 15: command 2 of client 10 took effect twice, as commands 75 and 80", "section 8"),
        ("Violation: 23: member 1 acts on voters [1, 2]; its log says voters [1] at 9", "dissertation 4.1"),
        ("Violation: read 589 saw index 59; 61 was acknowledged before", "dissertation 6.4"),
        ("Violation: an answer to call 27 did not happen within 30 s, by 51.1 s", "5.6"),
        ("CorruptLog: raft is incomplete", "docs/formats.md"),
        ("KeyError: 3", "docs/embedding.md"),
    ],
)
def test_a_promise_is_found_by_what_the_violation_says(violation: str, section: str) -> None:
    promise = find_promise(violation)

    assert promise is not None
    assert section in promise.section


def test_of_an_invariant_of_ones_own_nothing_is_said() -> None:
    assert find_promise("Violation: two leaders at once") is None
