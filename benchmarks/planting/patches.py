"""Planted bugs: patches with a header that says what is wrong, where it belongs, and what would come of it.

A file is `NN-name.patch`: lines `Title:`, `Area:` and `Effect:`, an empty line, and what `git apply` takes. One that
turned out to change nothing that anybody could see has a line `Rejected:` with the reason, and does not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args

import attrs

Area = Literal["consensus", "storage", "driver", "sessions", "membership", "swarm"]
AREAS: Final[Mapping[str, Area]] = {area: area for area in get_args(Area)}
_NAME: Final = re.compile(r"(\d\d)-([a-z0-9-]+)\.patch")
_HEADER: Final = re.compile(r"(Title|Area|Effect|Rejected): (.+)")


class BadPatch(Exception):
    """A file that says too little of its bug, or a patch that does not fit the code any more."""


@attrs.frozen(kw_only=True)
class PlantedBug:
    """One patch, and what its header says."""

    number: int
    name: str
    title: str
    area: Area
    effect: str
    rejected: str = ""
    """Why it does not count."""
    patch: str = attrs.field(repr=False)

    @property
    def label(self) -> str:
        """What the file is called, without its suffix."""
        return f"{self.number:02}-{self.name}"


def read_bugs(directory: Path) -> list[PlantedBug]:
    """Read all patches, by their numbers. Raises BadPatch."""
    bugs = [_read_bug(path) for path in sorted(directory.glob("*.patch"))]
    if len({bug.number for bug in bugs}) < len(bugs):
        raise BadPatch(f"two files in {directory} have the same number")
    return bugs


def _read_bug(path: Path) -> PlantedBug:
    named = _NAME.fullmatch(path.name)
    if named is None:
        raise BadPatch(f"{path}: a patch is called NN-some-name.patch")
    text = path.read_text(encoding="utf-8")
    head, _, patch = text.partition("\n\n")
    header: dict[str, str] = {}
    for line in head.splitlines():
        said = _HEADER.fullmatch(line)
        if said is None:
            raise BadPatch(f"{path}: {line!r} begins with none of Title:, Area:, Effect:, Rejected:")
        header[said[1]] = said[2]
    for key in ("Title", "Area", "Effect"):
        if key not in header:
            raise BadPatch(f"{path}: the header lacks a line {key}:")
    area = AREAS.get(header["Area"])
    if area is None:
        raise BadPatch(f"{path}: {header['Area']!r} is none of the areas {', '.join(AREAS)}")
    return PlantedBug(
        number=int(named[1]),
        name=named[2],
        title=header["Title"],
        area=area,
        effect=header["Effect"],
        rejected=header.get("Rejected", ""),
        patch=patch,
    )
