"""The file of made-up conditions: written in one step, followed by daemons, and gone when nothing befalls anybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.errors import RaftSwarmError
from raftswarm.world.conditions import (
    POLL_SECONDS,
    Conditions,
    ConditionsFollower,
    LinkConditions,
    MachineConditions,
    read_conditions,
    write_conditions,
)

CUT = Conditions(links=(LinkConditions(sender="a", receiver="b", cut=True),))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "conditions.json"


def cuts(conditions: Conditions) -> set[str]:
    return {link.sender + link.receiver for link in conditions.links if link.cut}


def test_what_is_written_is_read_again_by_its_owner_only(file: Path) -> None:
    bad = CUT.with_machines(MachineConditions(host="c", sync_seconds=0.2, disk_full=True, clock_rate=2.0))

    write_conditions(file, bad)

    assert read_conditions(file) == bad
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["conditions.json"]


def test_without_trouble_there_is_no_file(file: Path) -> None:
    write_conditions(file, CUT)

    write_conditions(file, Conditions())

    assert not file.exists()
    assert read_conditions(file) == Conditions()


def test_a_partition_cuts_every_way_between_groups_and_none_within_one() -> None:
    divided = Conditions().partitioned([["a", "b"], ["c"], []])

    assert cuts(divided) == {"ac", "ca", "bc", "cb"}


def test_the_next_partition_takes_the_place_of_the_one_before_and_leaves_other_trouble() -> None:
    late = LinkConditions(sender="a", receiver="b", delay_seconds=0.1)

    divided = Conditions().with_links(late).partitioned([["a"], ["b", "c"]]).partitioned([["a", "b"], ["c"]])

    assert cuts(divided) == {"ac", "ca", "bc", "cb"}
    assert divided.link("a", "b") == late


def test_what_is_as_it_should_be_is_not_named() -> None:
    healed = CUT.with_links(LinkConditions(sender="a", receiver="b")).with_machines(MachineConditions(host="a"))

    assert healed == Conditions()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        (json.dumps({"version": 2}), "version 2"),
        (json.dumps({"links": [{"sender": "a", "receiver": "b", "cut": 1}]}), "cannot be read"),
        (json.dumps({"links": [{"sender": "a", "receiver": "b", "loss": 1.0}]}), "a loss below 1"),
        (json.dumps({"machines": [{"host": "a", "clock_rate": 0}]}), "a clock goes forward"),
        (json.dumps({"machines": [{"host": "a", "speed": 3}]}), "cannot be read"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_by_name(file: Path, content: str, words: str) -> None:
    file.write_text(content)

    with pytest.raises(RaftSwarmError, match=words) as refusal:
        read_conditions(file)

    assert str(file) in str(refusal.value)


async def test_a_follower_wakes_whoever_waits_when_the_file_changes(
    file: Path, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    follower = ConditionsFollower(file)
    nursery.start_soon(follower.run)
    await wait_all_tasks_blocked()
    began = trio.current_time()

    write_conditions(file, CUT)
    with follower.until_changed(began + 10):
        await trio.sleep_forever()

    assert follower.current == CUT
    assert trio.current_time() - began <= POLL_SECONDS
    nursery.cancel_scope.cancel()


def test_a_daemon_that_starts_meets_what_holds(file: Path) -> None:
    write_conditions(file, CUT)

    assert ConditionsFollower(file).current == CUT


def test_a_file_that_is_damaged_meanwhile_changes_nothing(file: Path) -> None:
    write_conditions(file, CUT)
    follower = ConditionsFollower(file)

    file.write_text("{")
    follower.look()

    assert follower.current == CUT
    file.unlink()
    follower.look()
    assert follower.current == Conditions()
