"""``raftswarm storage``: what a stopped node keeps on disk, and whether it is whole. Nothing there is changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from raftswarm.cli.lab_words import NotUnderstood, exit_if, print_json, style
from raftswarm.cli.tables import print_table

if TYPE_CHECKING:
    from raftswarm.storage.keys import KeyRing
    from raftswarm.storage.reports import MemberReport, SegmentReport, SnapshotReport, StateReport, Verdict
    from raftswarm.world.disk import Disk

COLOURS = {"sound": "green", "torn": "yellow", "damaged": "red"}

_directory = click.argument("directory", metavar="DIR", type=click.Path())
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("storage")
def command() -> None:
    """Look at what a stopped node keeps on disk, and whether it is whole. Nothing there is changed.

    DIR is a state directory: `--state-dir` of a daemon, or where a program opened its member. If it is sealed by
    autolock, the unlock key is read from the terminal or from standard input.

    Exit status: 0 sound, or with a torn end that the next start cuts; 1 damaged; 2 in use, locked, or not understood.
    """


@command.command()
@_directory
@_as_json
def inspect(directory: str, as_json: bool) -> None:
    """Show members, log, snapshots, terms and keys of a state directory."""
    report = _look(directory)
    if as_json:
        print_json(report)
    else:
        _print_state(report)
        _print_verdict(report)
    exit_if(report.verdict == "damaged")


@command.command()
@_directory
@_as_json
def verify(directory: str, as_json: bool) -> None:
    """Read everything in a state directory, and say what is not as it was written: where, and what to do."""
    report = _look(directory)
    if as_json:
        findings = [finding for member in report.members for finding in member.findings]
        print_json({"directory": directory, "verdict": report.verdict, "findings": findings})
    else:
        _print_verdict(report)
    exit_if(report.verdict == "damaged")


def _look(directory: str) -> StateReport:
    from raftswarm.storage.inspection import inspect_state
    from raftswarm.world.chance import SystemEntropy
    from raftswarm.world.real_disk import ReadOnlyDisk

    disk = ReadOnlyDisk()
    with _explained(), _held(disk, directory):
        return inspect_state(disk, directory, _open_keys(disk, directory), SystemEntropy())


@contextmanager
def _explained() -> Iterator[None]:
    """What is damaged is status 1; whatever else keeps us from looking is status 2."""
    from raftswarm.errors import CorruptLog, StorageError

    try:
        yield
    except CorruptLog:
        raise
    except StorageError as error:
        raise NotUnderstood(str(error)) from None


@contextmanager
def _held(disk: Disk, directory: str) -> Iterator[None]:
    """Keep nodes from starting there meanwhile; StorageError if one runs, or if it is no state directory."""
    from raftswarm.errors import ForeignState, StateInUse
    from raftswarm.storage.files import disk_errors
    from raftswarm.storage.state_directory import LOCK_FILE, check_format

    with disk_errors(f"could not read {directory}"):
        if not check_format(disk, directory):
            raise ForeignState(f"{directory} is no state directory of raftswarm: there is no file `format` in it")
        try:
            lock = disk.lock(f"{directory}/{LOCK_FILE}")
        except FileNotFoundError:
            lock = None  # A copy of a state directory: nobody runs there.
        except BlockingIOError:
            raise StateInUse(f"a running node uses {directory}: stop it first, or look at a copy of it") from None
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def _open_keys(disk: Disk, directory: str) -> KeyRing:
    from raftswarm.errors import StateLocked
    from raftswarm.storage.keys import KeyRing
    from raftswarm.world.chance import SystemEntropy

    certificates = f"{directory}/certificates"
    try:
        return KeyRing.open(disk, certificates, SystemEntropy())
    except StateLocked:
        key = _read_unlock_key()
        if not key:
            raise
        return KeyRing.open(disk, certificates, SystemEntropy(), unlock_key=key)


def _read_unlock_key() -> str:
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass("Enter unlock key: ").strip()
    return sys.stdin.readline().strip()


# As text.


def _print_verdict(report: StateReport) -> None:
    for member in report.members:
        for finding in member.findings:
            click.echo(str(finding))
    members = len(report.members)
    what = "no member lives there" if not members else f"{members} member{'s' * (members > 1)}"
    click.echo(f"{_coloured(report.verdict)}: {report.directory}, {what}")


def _coloured(verdict: Verdict) -> str:
    return style(str(verdict), COLOURS[verdict])


def _print_state(report: StateReport) -> None:
    sealed = "sealed by autolock" if report.is_locked else "not locked"
    click.echo(f"state directory {report.directory}: data key {report.data_key}, {sealed}")
    for member in report.members:
        click.echo()
        _print_member(member)
    click.echo()


def _print_member(member: MemberReport) -> None:
    click.echo(f"member in {member.directory}: {_coloured(member.verdict)}")
    if member.member_id:
        click.echo(
            f"  id {member.member_id} of cluster {member.cluster!r}, incarnation {member.incarnation}, "
            f"started {member.boot} times"
        )
        vote = f"vote for {member.voted_for}" if member.voted_for else "no vote"
        click.echo(
            f"  term {member.term}, {vote}; log up to entry {member.last_index}, command {member.last_command}; "
            + (f"snapshot up to entry {member.snapshot_index}" if member.snapshot_index else "no snapshot")
        )
    click.echo(f"  sealed under: {', '.join(member.keys) or 'nothing'}")
    _print_columns(
        "SEGMENT STATE BOOT TERM FIRST RECORDS MARKS ENTRIES BYTES KEY FOLLOWS", map(_segment_cells, member.segments)
    )
    _print_columns("SNAPSHOT STATE INDEX TERM COMMANDS CHUNKS BYTES KEY", map(_snapshot_cells, member.snapshots))
    _print_columns(
        "TERM ENTRIES COMMANDS",
        ([str(one.term), f"{one.first_index} to {one.last_index}", str(one.commands)] for one in member.terms),
    )
    for title, names in (("spare", member.spares), ("unfinished", member.unfinished)):
        for name in names:
            click.echo(f"  {title}: {name}")


def _segment_cells(one: SegmentReport) -> Sequence[str]:
    if not one.follows:
        return [one.file, one.state]
    numbers = (one.boot, one.term, one.first_index, one.records, one.marks, one.entries, one.size_bytes)
    return [one.file, one.state, *map(str, numbers), one.key, one.follows]


def _snapshot_cells(one: SnapshotReport) -> Sequence[str]:
    numbers = (one.index, one.term, one.commands, one.chunks, one.size_bytes)
    return [one.file, one.state, *map(str, numbers), one.key]


def _print_columns(headings: str, rows: Iterator[Sequence[str]]) -> None:
    lines = list(rows)
    if lines:
        click.echo()
        print_table([headings.split(), *lines])
