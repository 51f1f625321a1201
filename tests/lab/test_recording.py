"""Recordings are text files: what they say is read again, and what they say wrongly is named by its line."""

from __future__ import annotations

from math import inf
from pathlib import Path

import msgspec
import pytest

from raftswarm.consensus.replica import CompactionPolicy
from raftswarm.errors import InvalidSpec
from raftswarm.lab.fault_events import Crash, Cut, FaultEvent, Partition, SetLink
from raftswarm.lab.faults import FaultMix, NetworkConditions
from raftswarm.lab.recording import (
    Ending,
    Fork,
    Recording,
    decode_recording,
    describe_fault,
    encode_recording,
    read_recording,
    write_recording,
)
from tests.lab.recorded import drawn, scripted


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_random_world_is_read_as_it_was_written(tmp_path: Path, seed: int) -> None:
    recording = drawn(seed)

    write_recording(tmp_path / "run", recording)

    assert read_recording(tmp_path / "run") == recording


def test_all_that_a_recording_may_say_is_kept() -> None:
    recording = Recording(
        seed=7,
        members=3,
        seconds=2.5,
        mix=FaultMix(compaction=CompactionPolicy(snapshot_every_seconds=inf), call_every=0.02),
        faults=(
            FaultEvent(0.1, Cut(1, 2)),
            FaultEvent(0.2, SetLink(1, 2, NetworkConditions(loss=0.5))),
        ),
        heals=False,
        title="a title",
        forks=(Fork(after_step=20, seed=3),),
        ending=Ending(steps=9, at=2.5, digest="d", checkpoints=("c",), violation="Violation: 1: so"),
    )

    assert decode_recording(encode_recording(recording)) == recording


def test_knobs_that_are_as_usual_are_left_out() -> None:
    head = msgspec.json.decode(encode_recording(scripted()).splitlines()[0])

    assert head["mix"] == {"priority_levels": 3}


HEAD = b'{"format":"raftswarm recording","version":1,"seed":1,"members":3,"seconds":1.0}\n'
CRASH = b'{"at":0.5,"fault":{"kind":"crash","member":1}}\n'


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"{", "line 1"),
        (HEAD.replace(b"raftswarm recording", b"something else"), "line 1: this is no recording but 'something else'"),
        (HEAD.replace(b'"version":1', b'"version":2'), "line 1: version 2 is not known here"),
        (HEAD.replace(b"}", b',"mix":{"disk":{"speed":1}}}'), "no knob is called 'disk.speed'"),
        (HEAD.replace(b"}", b',"mix":{"segment_bytes":"x"}}'), "line 1, knobs"),
        (HEAD + CRASH.replace(b"crash", b"crush"), "line 2: Invalid value 'crush'"),
        (HEAD + CRASH + CRASH.replace(b"0.5", b"0.4"), "not in the order of their times"),
        (HEAD + b'{"ending":{}}\n', "line 2"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, complaint: str) -> None:
    with pytest.raises(InvalidSpec, match=rf"^run.*{complaint}"):
        decode_recording(content, name="run")


def test_a_file_that_is_not_there_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"cannot read .*nothing: No such file"):
        read_recording(tmp_path / "nothing")


def test_a_fault_is_told_in_words() -> None:
    assert describe_fault(FaultEvent(1.0, Crash(2))) == "crash member 2"
    assert describe_fault(FaultEvent(1.0, Crash(2, disk_calls=3))) == "crash member 2 disk calls 3"
    assert describe_fault(FaultEvent(1.0, Cut(1, 3))) == "cut 1 -> 3"
    assert describe_fault(FaultEvent(1.0, Partition((1,), (2, 3)))) == "partition 1 | 2 3"
