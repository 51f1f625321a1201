"""What a state directory holds, told without changing anything: `raftswarm storage inspect` and `verify`.

The verdict is that of a start: `read_back` is what a start does before it writes. Around it every file is looked at on
its own, so that behind the first damage there is still something to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final

import msgspec

from raftswarm.errors import CorruptLog, StorageError
from raftswarm.raft.log_entry import Entry
from raftswarm.storage.files import TEMPORARY_SUFFIX, Place, disk_errors, read_file
from raftswarm.storage.keys import KeyRing
from raftswarm.storage.member_storage import MemberStorage, places_of, read_back
from raftswarm.storage.records import SECTOR, Record, decode_content
from raftswarm.storage.replay import WAY_BACK, Replayed
from raftswarm.storage.reports import (
    Finding,
    MemberReport,
    SegmentReport,
    SnapshotReport,
    StateReport,
    TermReport,
    Verdict,
)
from raftswarm.storage.sealing import KEY_ID_BYTES, Damaged, key_id
from raftswarm.storage.segment import (
    KEY_ID_AT,
    SPARE_SUFFIX,
    Follows,
    OpenSegment,
    SegmentHeader,
    read_records,
    segment_name,
    segment_number,
)
from raftswarm.storage.snapshot_file import KEY_ID_AT as SNAPSHOT_KEY_ID_AT
from raftswarm.storage.snapshot_file import Origin, SnapshotReader
from raftswarm.storage.snapshots import Snapshots
from raftswarm.world.chance import Entropy
from raftswarm.world.disk import Disk

TORN_WAY_BACK: Final = "the next start cuts it, and the other members send what they know of it"


def inspect_state(disk: Disk, directory: str, keys: KeyRing, entropy: Entropy) -> StateReport:
    """Look at every member that lives there.

    Raises:
        ForeignState, InvalidKey: something there was written by a newer version, or sealed by another node.
        DiskFailed: it cannot be read.
    """
    with disk_errors(f"could not read {directory}"):
        places = [f"{directory}/raft", *(f"{directory}/groups/{name}" for name in disk.list(f"{directory}/groups"))]
        members = [
            _inspect_member(disk, place, keys, entropy)
            for place in places
            if MemberStorage.exists(disk, place) or disk.list(f"{place}/snapshots")
        ]
    return StateReport(
        directory=directory,
        verdict=_worst([member.verdict for member in members]),
        is_locked=keys.locked_by is not None,
        data_key=key_id(keys.data_key).hex(),
        members=members,
    )


def _inspect_member(disk: Disk, directory: str, keys: KeyRing, entropy: Entropy) -> MemberReport:
    log_place, snapshots_place = places_of(disk, directory, keys, entropy)
    snapshots = Snapshots(snapshots_place)
    replayed: Replayed | None = None
    findings: list[Finding] = []
    if not MemberStorage.exists(disk, directory):
        findings.append(_damage(directory, None, "there are snapshots, and no log"))
    else:
        try:
            replayed = read_back(log_place, snapshots, directory)
        except CorruptLog as error:
            findings.append(_damage(error.path or directory, error.offset, error.reason or str(error)))
    segments, torn_or_damaged = _inspect_log(log_place)
    known = {(finding.path, finding.offset) for finding in findings}
    findings += [finding for finding in torn_or_damaged if (finding.path, finding.offset) not in known]
    names = disk.list(log_place.directory)
    spares = [name for name in names if name.endswith(SPARE_SUFFIX)]
    found = _inspect_snapshots(snapshots_place, snapshots)
    sealed_under = {
        *(segment.key for segment in segments),
        *(snapshot.key for snapshot in found),
        *(_glance(log_place, name, KEY_ID_AT)[1] for name in spares),
    }
    report = MemberReport(
        directory=directory,
        verdict=_worst([finding.verdict for finding in findings]),
        findings=findings,
        segments=segments,
        snapshots=found,
        spares=spares,
        unfinished=[
            name for name in (*names, *disk.list(snapshots_place.directory)) if name.endswith(TEMPORARY_SUFFIX)
        ],
        keys=sorted(sealed_under - {""}),
    )
    return report if replayed is None else _tell_of(replayed, snapshots, report)


def _tell_of(replayed: Replayed, snapshots: Snapshots, report: MemberReport) -> MemberReport:
    """Add what a whole log says."""
    newest, entries = snapshots.newest, replayed.entries
    last = entries[-1] if entries else None
    return msgspec.structs.replace(
        report,
        cluster=replayed.header.cluster,
        member_id=replayed.header.member_id,
        incarnation=replayed.header.incarnation,
        boot=replayed.segments[-1].header.boot,
        term=replayed.hard_state.term,
        voted_for=replayed.hard_state.voted_for,
        snapshot_index=snapshots.index,
        first_index=entries[0].index if entries else replayed.last_index + 1,
        last_index=replayed.last_index,
        last_command=(
            last.first_command + last.command_count - 1 if last else newest.meta.commands if newest is not None else 0
        ),
        terms=[_sum_up(term, list(group)) for term, group in groupby(entries, key=lambda entry: entry.term)],
    )


def _sum_up(term: int, entries: Sequence[Entry]) -> TermReport:
    return TermReport(
        term=term,
        first_index=entries[0].index,
        last_index=entries[-1].index,
        commands=sum(entry.command_count for entry in entries),
    )


# The log, file by file.


def _inspect_log(place: Place) -> tuple[list[SegmentReport], list[Finding]]:
    """Look at each segment, newest first as the chain is found, and return them in order."""
    found = [(name, segment_number(name)) for name in place.disk.list(place.directory)]
    reports: list[SegmentReport] = []
    findings: list[Finding] = []
    following: SegmentHeader | None = None
    is_chain, elsewhere = True, "obsolete"
    for name, number in reversed(found):
        if number is None:
            continue
        is_chain = is_chain and (following is None or following.number == number + 1)
        path = place.path(name)
        image = read_file(place.disk, path)
        try:
            segment = OpenSegment.parse(image[:SECTOR], place.data_key, path, place.earlier_keys)
        except (Damaged, StorageError) as error:
            reports.append(SegmentReport(file=name, size_bytes=len(image), state=str(error)))
            if is_chain:
                findings.append(_damage(path, 0, str(error)))
                elsewhere = "not judged"
            is_chain, following = False, None
            continue
        records, finding = _look_into(segment, image, path, following)
        state = ("newest" if following is None else "finished") if is_chain else elsewhere
        reports.append(_report_segment(name, image, segment.header, records, state))
        if is_chain and finding is not None:
            findings.append(finding)
        is_chain = is_chain and segment.header.follows is Follows.SEGMENT
        following = segment.header
    return reports[::-1], findings[::-1]


def _look_into(
    segment: OpenSegment, image: bytes, path: str, following: SegmentHeader | None
) -> tuple[list[Record], Finding | None]:
    """Return what opens, and what is wrong with it: in the newest a torn end is right, in others it was cut."""
    records, broken = read_records(segment, image)
    if following is None:
        if broken is None:
            return records, None
        if broken.proven_durable:
            return records, _damage(path, broken.offset, broken.reason)
        reason = f"{broken.size} bytes of an unfinished last write ({broken.reason})"
        return records, Finding(
            verdict=Verdict.TORN, path=path, offset=broken.offset, reason=reason, way_back=TORN_WAY_BACK
        )
    if following.follows is Follows.SEGMENT and len(records) < following.follows_position:
        offset = broken.offset if broken else len(image)
        return records, _damage(path, offset, broken.reason if broken else "the file ends before its last record")
    return records, None


def _report_segment(
    name: str, image: bytes, header: SegmentHeader, records: Sequence[Record], state: str
) -> SegmentReport:
    entries = 0
    for record in records:
        with suppress(Damaged):  # That it opens and makes no sense is for the verdict to say.
            content = decode_content(record.payload)
            entries += len(content.entries) if content is not None else 0
    return SegmentReport(
        file=name,
        size_bytes=len(image),
        state=state,
        key=image[KEY_ID_AT : KEY_ID_AT + KEY_ID_BYTES].hex(),
        boot=header.boot,
        follows=_name_followed(header),
        term=header.hard_state.term,
        voted_for=header.hard_state.voted_for,
        first_index=header.first_index,
        records=len(records),
        marks=sum(not record.payload for record in records),
        entries=entries,
    )


def _name_followed(header: SegmentHeader) -> str:
    match header.follows:
        case Follows.NOTHING:
            return "nothing"
        case Follows.SEGMENT:
            return f"record {header.follows_position} of {segment_name(header.number - 1)}"
        case Follows.SNAPSHOT:
            return f"the snapshot of index {header.follows_position}"


def _glance(place: Place, name: str, key_id_at: int) -> tuple[int, str]:
    """Return how large a file is, and the name of the key that its header claims."""
    file = place.disk.open(place.path(name))
    try:
        return file.size(), file.read(key_id_at, KEY_ID_BYTES).hex()
    finally:
        file.close()


# Snapshots.


def _inspect_snapshots(place: Place, snapshots: Snapshots) -> list[SnapshotReport]:
    newest = None if snapshots.newest is None else snapshots.newest.name
    return [
        _report_snapshot(place, name, newest) for name in place.disk.list(place.directory) if name.endswith((*Origin,))
    ]


def _report_snapshot(place: Place, name: str, newest: str | None) -> SnapshotReport:
    size, key = _glance(place, name, SNAPSHOT_KEY_ID_AT)
    try:
        reader = SnapshotReader(place, name)
        chunks = sum(1 for _ in reader)
        reader.close()
    except StorageError as error:
        return SnapshotReport(file=name, size_bytes=size, state=str(error), key=key)
    state = "newest" if name == newest else "older" if name.endswith(Origin.SAVED) else "not installed"
    meta = reader.found.meta
    return SnapshotReport(
        file=name,
        size_bytes=size,
        state=state,
        key=key,
        index=meta.index,
        term=meta.term,
        commands=meta.commands,
        chunks=chunks,
    )


def _damage(path: str, offset: int | None, reason: str) -> Finding:
    return Finding(verdict=Verdict.DAMAGED, path=path, offset=offset, reason=reason, way_back=WAY_BACK)


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.SOUND)
