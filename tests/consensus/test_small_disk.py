"""A file system that is really full: a leader on it refuses and hands over, and goes on when there is room.

The file system is a small tmpfs in a mount namespace of its own, for which the machine has to let us mount.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import do_without

ROOT = Path(__file__).parents[2]
IN_SMALL_SPACE = 'mount -t tmpfs -o size=24m tmpfs "$0" && exec "$@"'
FILLER_BYTES = 12 * 1024 * 1024

# Three members in one process; the disk of `a` is small, and a file of somebody else takes up half of it.
PROGRAM = """
import json, sys
from contextlib import AsyncExitStack
from pathlib import Path
import trio, raftswarm
from raftswarm.errors import NotLeader, OutcomeUnknown, Overloaded
from tests.consensus.conftest import Journal, free_addresses

COMMAND = bytes(100_000)

async def find_leader(members):
    with trio.fail_after(10):
        while True:
            for one in members.values():
                if one.leadership.value.is_leader:
                    return one
            await trio.sleep(0.01)

async def main(small, large, filler_bytes):
    filler = Path(small) / "filler"
    filler.write_bytes(bytes(int(filler_bytes)))
    names, machines = free_addresses("abc"), {name: Journal() for name in "abc"}
    async with AsyncExitStack() as stack:
        places = {"a": Path(small) / "a", "b": Path(large) / "b", "c": Path(large) / "c"}
        members = {}
        for name, machine in machines.items():
            opened = raftswarm.open_member(places[name], machine, name=name, members=names)
            members[name] = await stack.enter_async_context(opened)
        leader = await find_leader(members)
        if leader is not members["a"]:
            await leader.transfer_leadership("a")
        await members["a"].wait_gained()
        acknowledged, refusals = 0, []
        with trio.fail_after(20):
            while members["a"].leadership.value.is_leader:
                try:
                    await members["a"].propose(COMMAND)
                    acknowledged += 1
                except (Overloaded, NotLeader, OutcomeUnknown) as error:
                    refusals.append(f"{type(error).__name__}: {error}")
                    await trio.sleep(0.01)
        before = acknowledged
        other = await find_leader(members)
        for _ in range(10):
            await other.propose(COMMAND)
            acknowledged += 1
        filler.unlink()
        target = other.applied.value
        with trio.fail_after(10):
            await members["a"].applied.wait_until(lambda count: count >= target)
        await members["b"].applied.wait_until(lambda count: count >= target)
        print(json.dumps({
            "before": before,
            "acknowledged": acknowledged,
            "applied": [len(machine.lines) for machine in machines.values()],
            "refusals": sorted(set(refusals)),
        }))

trio.run(main, *sys.argv[1:])
"""


def may_mount(place: Path) -> bool:
    words = ["unshare", "--mount", "sh", "-c", IN_SMALL_SPACE, str(place), "true"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_a_leader_on_a_full_file_system_hands_over_and_catches_up_when_there_is_room(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    large.mkdir()
    if not may_mount(small):
        do_without("leave to mount a file system")

    finished = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", IN_SMALL_SPACE, str(small)),
            *(sys.executable, "-c", PROGRAM, str(small), str(large), str(FILLER_BYTES)),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert found["before"] > 30
    assert found["acknowledged"] == found["before"] + 10
    assert all(found["acknowledged"] <= count <= found["acknowledged"] + 5 for count in found["applied"])
    assert any(
        line.startswith("Overloaded: nothing can be written here now: could not write") and "make room" in line
        for line in found["refusals"]
    )
