"""``raftswarm storage``: on real directories, with the exit statuses that scripts go by."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from raftswarm.cli.main import run
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.state_directory import lock_state
from raftswarm.world.chance import SystemEntropy
from raftswarm.world.real_disk import RealDisk

FIXTURE = Path(__file__).parents[1] / "storage" / "fixtures" / "state-1"
UNLOCK_KEY = "SWMKEY-1-" + "A" * 43
NEWEST = f"raft/log/{4:020d}.segment"

Say = Callable[[str], None]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state directory of a node that has stopped."""
    directory = tmp_path / "state"
    shutil.copytree(FIXTURE, directory)
    return directory


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Give the command a standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def everything(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.rglob("*") if path.is_file()}


def test_a_sound_directory_is_shown_and_left_as_it_is(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything(state)

    assert run(["storage", "inspect", str(state)]) == 0

    shown = capsys.readouterr().out
    assert everything(state) == before
    assert f"member in {state}/raft: sound" in shown
    assert "id 7 of cluster 'cluster-1', incarnation 1, started 2 times" in shown
    assert "term 3, no vote; log up to entry 5, command 5; snapshot up to entry 3" in shown
    assert "newest" in shown
    assert f"member in {state}/groups/orders: sound" in shown
    assert shown.endswith(f"sound: {state}, 2 members\n")


def test_verify_says_one_line_of_what_is_sound(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["storage", "verify", str(state)]) == 0

    assert capsys.readouterr().out == f"sound: {state}, 2 members\n"


def test_json_holds_it_all(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["storage", "inspect", str(state), "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "sound"
    assert [member["member_id"] for member in report["members"]] == [7, 7]
    assert [segment["state"] for segment in report["members"][0]["segments"]] == ["finished"] * 3 + ["newest"]
    assert report["members"][1]["snapshots"][0]["index"] == 50


def test_a_torn_end_is_told_and_is_status_0(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (state / NEWEST).open("r+b") as file:
        file.seek(1024)
        file.write(b"RSWR" + bytes(508))  # Where the mark was.

    assert run(["storage", "verify", str(state)]) == 0

    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"torn: {state}/{NEWEST} at byte 1024: ")
    assert "the next start cuts it" in first
    assert last == f"torn: {state}, 2 members"


def test_damage_is_status_1_with_file_place_and_the_way_back(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(state / NEWEST, 512 + 80)

    assert run(["storage", "verify", str(state)]) == 1
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == (
        f"damaged: {state}/{NEWEST} at byte 512: it does not open with this node's key; take this member out, empty "
        "its directory and let it join again, or restore its state from a backup"
    )

    assert run(["storage", "inspect", str(state)]) == 1
    capsys.readouterr()
    assert run(["storage", "verify", str(state), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["findings"][0]["offset"] == 512


def test_a_damaged_key_ring_is_status_1(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(state / "certificates" / "keys", 60)

    assert run(["storage", "verify", str(state)]) == 1
    assert f"Error: {state}/certificates/keys is damaged: its checksum does not fit" in capsys.readouterr().err


def test_a_running_node_is_said_and_status_2(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = lock_state(RealDisk(), str(state))
    try:
        assert run(["storage", "verify", str(state)]) == 2
    finally:
        lock.close()

    assert f"Error: a running node uses {state}: stop it first, or look at a copy of it" in capsys.readouterr().err


def test_no_node_starts_meanwhile(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def look(*_: object) -> None:
        with pytest.raises(Exception, match="another process uses"):
            lock_state(RealDisk(), str(state))
        seen.append("held")
        raise KeyboardInterrupt

    monkeypatch.setattr("raftswarm.storage.inspection.inspect_state", look)

    assert run(["storage", "verify", str(state)]) == 130
    assert seen == ["held"]


@pytest.mark.parametrize(
    ("said", "status", "message"),
    [
        (UNLOCK_KEY + "\n", 0, ""),
        ("", 2, "are sealed by autolock: give the unlock key"),
        ("SWMKEY-1-" + "B" * 42 + "A\n", 2, "swarm could not be unlocked: invalid key provided"),
        ("open sesame\n", 2, "invalid key string"),
    ],
)
def test_a_locked_directory_needs_the_key_from_standard_input(
    *, state: Path, say: Say, capsys: pytest.CaptureFixture[str], said: str, status: int, message: str
) -> None:
    KeyRing.open(RealDisk(), str(state / "certificates"), SystemEntropy()).lock_with(UNLOCK_KEY)
    say(said)

    assert run(["storage", "verify", str(state)]) == status

    captured = capsys.readouterr()
    assert message in captured.err
    assert said.strip() not in (captured.out + captured.err) or not said


@pytest.mark.parametrize("name", ["", "certificates", "nowhere"])
def test_what_is_no_state_directory_is_status_2(name: str, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = state.parent if not name else state / name

    assert run(["storage", "inspect", str(place)]) == 2

    assert f"Error: {place} is no state directory of raftswarm" in capsys.readouterr().err


def test_a_directory_of_a_newer_version_is_status_2(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "format").write_bytes(b"raftswarm state 2\n")

    assert run(["storage", "verify", str(state)]) == 2

    assert "this version of raftswarm reads 1: run a newer one" in capsys.readouterr().err
