"""What an inspection says of a state directory: plain data, printed by the command line as text or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """What a start would make of it."""

    SOUND = "sound"
    TORN = "torn"
    """The last write is not whole, or was on its way when the process stopped: it is cut."""
    DAMAGED = "damaged"
    """The start is refused."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it was written."""

    verdict: Verdict
    path: str
    offset: int | None
    reason: str
    way_back: str

    def __str__(self) -> str:
        """Say it in a sentence."""
        place = self.path if self.offset is None else f"{self.path} at byte {self.offset}"
        return f"{self.verdict}: {place}: {self.reason}; {self.way_back}"


class SegmentReport(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the log. All but name and size is missing if its header cannot be read."""

    file: str
    size_bytes: int
    state: str
    """``newest``, ``finished``; ``obsolete``: counts for nothing; ``not judged``: what follows it cannot be read.

    Or why it cannot be read itself.
    """
    key: str = ""
    """Names the data key that sealed it."""
    boot: int = 0
    follows: str = ""
    term: int = 0
    """When it was begun, as the next two."""
    voted_for: int = 0
    first_index: int = 0
    records: int = 0
    """That open, marks included; of a finished one some may have been cut."""
    marks: int = 0
    entries: int = 0


class SnapshotReport(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot's file. All but name and size is missing if it cannot be read."""

    file: str
    size_bytes: int
    state: str
    """``newest``; ``older``, ``not installed``: counts for nothing; or why it cannot be read."""
    key: str = ""
    index: int = 0
    term: int = 0
    commands: int = 0
    chunks: int = 0


class TermReport(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one term that are in the log."""

    term: int
    first_index: int
    last_index: int
    commands: int


class MemberReport(msgspec.Struct, frozen=True, kw_only=True):
    """One member. What only a whole log can tell is missing from a damaged one."""

    directory: str
    verdict: Verdict
    findings: Sequence[Finding]
    cluster: str = ""
    member_id: int = 0
    incarnation: int = 0
    boot: int = 0
    """How often it was started."""
    term: int = 0
    voted_for: int = 0
    snapshot_index: int = 0
    first_index: int = 0
    """Of the first entry in the log; those up to the snapshot are kept for others."""
    last_index: int = 0
    last_command: int = 0
    """The number of the newest command."""
    terms: Sequence[TermReport] = ()
    segments: Sequence[SegmentReport]
    snapshots: Sequence[SnapshotReport]
    spares: Sequence[str]
    """Names of files that wait to be used again."""
    unfinished: Sequence[str]
    """Names of what was being written when the process stopped: the next start removes it."""
    keys: Sequence[str]
    """Names of all data keys that something here is sealed under."""


class StateReport(msgspec.Struct, frozen=True, kw_only=True):
    """A state directory."""

    directory: str
    verdict: Verdict
    is_locked: bool
    """Its keys are sealed under an unlock key."""
    data_key: str
    """Names the key that new files are sealed under."""
    members: Sequence[MemberReport]
