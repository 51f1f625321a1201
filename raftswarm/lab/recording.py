"""A run as a file: what it began with, what befell it when, and how it went (docs/formats.md, "Recordings").

The one big idea: a run is its seed, its knobs and the list of its faults, nothing else. So the file need not hold what
happened, only digests of it; whoever wants to see a step lets the run happen again up to there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, isinf
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from raftswarm.errors import InvalidSpec
from raftswarm.lab.fault_events import FaultEvent
from raftswarm.lab.faults import FaultMix

FORMAT: Final = "raftswarm recording"
VERSION: Final = 1
MOST_MEMBERS: Final = 64
"""A cluster may begin with; far more than Raft is made for."""
CHECKPOINT_STEPS: Final = 500
"""After so many steps there is a digest of all that was told so far."""


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """From that step on, chance comes from another seed."""

    after_step: int
    seed: int


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went."""

    steps: int
    at: float
    """Simulated seconds."""
    digest: str
    """Of everything that was told."""
    checkpoints: tuple[str, ...] = ()
    """Digests of what was told until then, after every `CHECKPOINT_STEPS` steps."""
    violation: str = ""
    """What does not hold; empty when all went well."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A run that can happen again. Without an ending it is a scenario, which has not happened yet."""

    seed: int
    members: int
    """With which the cluster begins."""
    seconds: float
    """Simulated, of the phase with faults."""
    mix: FaultMix
    """The knobs of the world: links, disks, clients, settings."""
    faults: tuple[FaultEvent, ...] = ()
    """In the order of their times."""
    heals: bool = True
    """Then the faults end, and the cluster has to serve and to agree."""
    title: str = ""
    forks: tuple[Fork, ...] = ()
    ending: Ending | None = None


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    format: str
    version: int
    seed: Annotated[int, msgspec.Meta(ge=0)]
    members: Annotated[int, msgspec.Meta(ge=1, le=MOST_MEMBERS)]
    seconds: Annotated[float, msgspec.Meta(gt=0)]
    heals: bool = True
    title: str = ""
    forks: tuple[Fork, ...] = ()
    mix: dict[str, Any] = {}


class _Tail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line."""

    ending: Ending


def write_recording(path: Path | str, recording: Recording) -> None:
    """Write the recording to a file."""
    Path(path).write_bytes(encode_recording(recording))


def read_recording(path: Path | str) -> Recording:
    """Read a recording; InvalidSpec, naming the line, if the file is none."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InvalidSpec(f"cannot read {path}: {error.strerror}") from None
    return decode_recording(content, name=str(path))


def encode_recording(recording: Recording) -> bytes:
    """Return the lines of the file: head, faults, ending. Knobs that are as they always are are left out."""
    head = _Head(
        format=FORMAT,
        version=VERSION,
        seed=recording.seed,
        members=recording.members,
        seconds=recording.seconds,
        heals=recording.heals,
        title=recording.title,
        forks=recording.forks,
        mix=_outline(msgspec.to_builtins(recording.mix), msgspec.to_builtins(FaultMix())),
    )
    lines: list[object] = [head, *recording.faults]
    if recording.ending is not None:
        lines.append(_Tail(recording.ending))
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def decode_recording(content: bytes, *, name: str = "recording") -> Recording:
    """Read the lines of a file."""
    lines = [(number, line) for number, line in enumerate(content.splitlines(), start=1) if line.strip()]
    if not lines:
        raise InvalidSpec(f"{name} is empty; a recording begins with a line of JSON that says so")
    head = _decode(name, *lines.pop(0), _Head)
    if head.format != FORMAT:
        raise InvalidSpec(f"{name}, line 1: this is no recording but {head.format!r}")
    if head.version != VERSION:
        raise InvalidSpec(
            f"{name}, line 1: version {head.version} is not known here, only {VERSION}; upgrade raftswarm"
        )
    ending = None
    if lines and lines[-1][1].startswith(b'{"ending"'):
        ending = _decode(name, *lines.pop(), _Tail).ending
    faults = [_decode(name, number, line, FaultEvent) for number, line in lines]
    if sorted(faults, key=_time) != faults:
        raise InvalidSpec(f"{name}: its faults are not in the order of their times; sort them")
    return Recording(
        seed=head.seed,
        members=head.members,
        seconds=head.seconds,
        mix=_build_mix(name, head.mix),
        faults=tuple(faults),
        heals=head.heals,
        title=head.title,
        forks=head.forks,
        ending=ending,
    )


def describe_fault(event: FaultEvent) -> str:
    """Put a fault into words: its kind, whom it strikes, and what else it says that is not as usual."""
    fault = event.fault
    words = [fault.kind.replace("_", " ")]
    usual = dict(zip(reversed(fault.__struct_fields__), reversed(fault.__struct_defaults__), strict=False))
    for field in fault.__struct_fields__:
        value = getattr(fault, field)
        match field:
            case "sender":
                words.append(f"{value} ->")
            case "receiver":
                words.append(str(value))
            case "member":
                words.append(f"member {value}")
            case "one":
                words.append(f"{_list(value)} |")
            case "other":
                words.append(_list(value))
            case _ if field not in usual or usual[field] != value:
                words.append(f"{field.replace('_', ' ')} {_show(value)}")
            case _:
                pass
    return " ".join(words)


def _list(members: Iterable[int]) -> str:
    return " ".join(map(str, members))


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return "{" + _list(value) + "}"
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "value", value))


def sort_faults(faults: Iterable[FaultEvent]) -> tuple[FaultEvent, ...]:
    """Order them by time; of one time, as they came."""
    return tuple(sorted(faults, key=_time))


def _time(event: FaultEvent) -> float:
    return event.at


def _decode(name: str, number: int, line: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidSpec(f"{name}, line {number}: {error}") from None


def _outline(knobs: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is as usual. JSON knows no infinity: it is a word here."""
    outline: dict[str, Any] = {}
    for knob, value in knobs.items():
        if isinstance(value, dict) and isinstance(usual[knob], dict) and value != usual[knob]:
            outline[knob] = _outline(value, usual[knob])
        elif value != usual[knob]:
            outline[knob] = "inf" if isinstance(value, float) and isinf(value) and value == inf else value
    return outline


def _build_mix(name: str, outline: Mapping[str, Any]) -> FaultMix:
    usual = msgspec.to_builtins(FaultMix())
    if unknown := _find_unknown(outline, usual):
        raise InvalidSpec(f"{name}, line 1: no knob is called {unknown!r}")
    try:
        return msgspec.convert(outline, FaultMix, strict=False)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidSpec(f"{name}, line 1, knobs: {error}") from None


def _find_unknown(outline: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    for knob, value in outline.items():
        if knob not in usual:
            return knob
        if isinstance(value, dict) and isinstance(usual[knob], dict) and (inner := _find_unknown(value, usual[knob])):
            return f"{knob}.{inner}"
    return ""
