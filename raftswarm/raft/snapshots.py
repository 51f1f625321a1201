"""Snapshots (section 7): cut the log behind our own, send one to whoever needs old entries, install a leader's."""

from __future__ import annotations

from itertools import accumulate

from raftswarm.raft.core import Core
from raftswarm.raft.events import SnapshotSaved, SnapshotSent
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.log_view import weigh
from raftswarm.raft.messages import InstallSnapshot, SnapshotReply
from raftswarm.raft.progress import Progress
from raftswarm.raft.ready import SnapshotTransfer
from raftswarm.raft.roles import Leader
from raftswarm.raft.rules import Rule

INSTALL_PATIENCE_TIMEOUTS = 10
"""After so many election timeouts without an answer, a delivered snapshot counts as lost."""


def save(core: Core, event: SnapshotSaved) -> None:
    """Our own state is saved: the log may be cut behind it."""
    assert event.snapshot.index <= core.applied_index, "only what was applied can be in a snapshot"
    kept, needed = _count_kept(core, event), _count_needed(core, event)
    if event.snapshot.index < core.log.snapshot.index:
        core.because(Rule.SNAPSHOT_OVERTAKEN, index=event.snapshot.index)
    elif needed > kept:
        core.because(Rule.KEEPS_FOR_FOLLOWER, count=needed)
    core.log.compact(event.snapshot, max(kept, needed))


def _count_kept(core: Core, event: SnapshotSaved) -> int:
    """Count the newest entries before the snapshot that stay in any case."""
    last = event.snapshot.index
    first = max(core.log.first_index, last + 1 - event.keep_entries)
    newest_first = reversed(core.log.entries(first, last)) if first <= last else ()
    return sum(1 for size in accumulate(map(weigh, newest_first)) if size <= event.keep_entries_bytes)


def _count_needed(core: Core, event: SnapshotSaved) -> int:
    """Count the entries before the snapshot that followers who are alive still need, unless they are too many bytes."""
    role, last = core.role, event.snapshot.index
    followers = role.progress.values() if isinstance(role, Leader) else ()
    needed = (_first_needed(progress) for progress in followers if _is_alive(core, progress))
    kept_from = [
        first
        for first in needed
        if core.log.first_index <= first <= last and core.log.weigh_between(first, last) <= event.keep_bytes
    ]
    return last + 1 - min(kept_from, default=last + 1)


def _first_needed(progress: Progress) -> int:
    """Return the first entry that a follower lacks: behind the snapshot that it is being sent, if it is sent one."""
    snapshot = progress.snapshot or progress.broken_off
    return max(progress.match_index, snapshot.index if snapshot is not None else 0) + 1


def _is_alive(core: Core, progress: Progress) -> bool:
    return core.now - progress.heard_at < core.settings.election_seconds


# The leader's side.


def begin_transfer(core: Core, peer: int, progress: Progress) -> None:
    """The entries that a follower needs are compacted: ask for the newest snapshot to be streamed to it.

    If a transfer broke off, for that one again, as long as the log goes on from there: most of it may have arrived.
    """
    if not _is_alive(core, progress):
        core.because(Rule.NOBODY_TO_SEND_TO, peer=peer)
        return  # Its first answer brings us back here.
    snapshot, case = core.log.snapshot, "THE_NEWEST"
    if progress.broken_off is not None and core.log.first_index <= progress.broken_off.index + 1:
        snapshot, case = progress.broken_off, "WHERE_IT_BROKE_OFF"
    progress.await_snapshot(snapshot)
    core.work.snapshots_to_send.append(SnapshotTransfer(peer, snapshot))
    core.note(f"member {peer} needs the snapshot up to entry {snapshot.index}")
    core.because(Rule.NEEDS_SNAPSHOT, peer=peer, case=case)


def end_transfer(core: Core, event: SnapshotSent) -> None:
    """The data is there: let it be installed. Or the transfer ended too early: try again when the follower is heard."""
    role = core.role
    progress = role.progress.get(event.to) if isinstance(role, Leader) else None
    if progress is None or progress.snapshot is None or progress.snapshot.index != event.index:
        core.because(Rule.SNAPSHOT_FOR_NOTHING, peer=event.to)
        return
    if event.delivered:
        core.because(Rule.SNAPSHOT_DELIVERED, peer=event.to)
        progress.broken_off = None
        progress.delivered_at = core.now
        _send_install(core, event.to, progress.snapshot)
    elif event.can_go_on:
        core.because(Rule.SNAPSHOT_BROKE_OFF, peer=event.to)
        progress.break_off()
    else:
        core.because(Rule.SNAPSHOT_FAILED, peer=event.to)
        progress.broken_off = None
        progress.probe(paused=True)


def remind(core: Core, peer: int, progress: Progress) -> None:
    """A follower that has the data is alive, and has not said that it installed it."""
    if progress.snapshot is None or progress.delivered_at is None:
        return
    if core.now - progress.delivered_at > INSTALL_PATIENCE_TIMEOUTS * core.settings.election_seconds:
        core.because(Rule.INSTALL_GIVEN_UP, peer=peer)
        progress.probe()
    else:
        core.because(Rule.INSTALL_REPEATED, peer=peer)
        _send_install(core, peer, progress.snapshot)


def _send_install(core: Core, peer: int, snapshot: SnapshotMeta) -> None:
    core.send(InstallSnapshot(sender=core.id, to=peer, term=core.term, boot=core.boot, snapshot=snapshot))


# The follower's side.


def install(core: Core, message: InstallSnapshot) -> None:
    """Take a leader's snapshot in the place of the log, unless the log already goes that far."""
    snapshot = message.snapshot
    installed = False
    if snapshot.index > core.commit_index:
        if core.log.term_at(snapshot.index) == snapshot.term:
            core.because(Rule.SNAPSHOT_IN_LOG, index=snapshot.index)
            core.commit_to(snapshot.index)
        else:
            _replace_log(core, snapshot)
            installed = True
    else:
        core.because(Rule.SNAPSHOT_OLD, index=snapshot.index)
    core.send_when_written(
        SnapshotReply(
            sender=core.id,
            to=message.sender,
            term=core.term,
            boot=core.boot,
            installed=installed,
            match_index=core.commit_index,
        )
    )


def _replace_log(core: Core, snapshot: SnapshotMeta) -> None:
    core.note(f"installs the leader's snapshot up to entry {snapshot.index}")
    core.because(Rule.INSTALLS_SNAPSHOT, index=snapshot.index)
    core.replace_log(snapshot)
    core.work.install = snapshot
