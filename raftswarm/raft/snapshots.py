"""Snapshots (section 7): cut the log behind our own, send one to whoever needs old entries, install a leader's."""

from __future__ import annotations

from raftswarm.raft.core import Core
from raftswarm.raft.events import SnapshotSaved, SnapshotSent
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.messages import InstallSnapshot, SnapshotReply
from raftswarm.raft.progress import Progress, Stage
from raftswarm.raft.ready import SnapshotTransfer
from raftswarm.raft.roles import Leader

INSTALL_PATIENCE_TIMEOUTS = 10
"""After so many election timeouts without an answer, a delivered snapshot counts as lost."""


def save(core: Core, event: SnapshotSaved) -> None:
    """Our own state is saved: the log may be cut behind it."""
    assert event.snapshot.index <= core.applied_index, "only what was applied can be in a snapshot"
    core.log.compact(event.snapshot, event.keep_entries)
    core.recent_snapshots.append(event.snapshot)


# The leader's side.


def begin_transfer(core: Core, peer: int, progress: Progress) -> None:
    """The entries that a follower needs are compacted: ask for the newest snapshot to be streamed to it."""
    if core.now - progress.heard_at >= core.settings.election_seconds:
        return  # Nobody seems to be there; its first answer brings us back here.
    progress.await_snapshot(core.log.snapshot)
    core.work.snapshots_to_send.append(SnapshotTransfer(peer, core.log.snapshot))
    core.note(f"member {peer} needs the snapshot up to entry {core.log.snapshot.index}")


def end_transfer(core: Core, event: SnapshotSent) -> None:
    """The data is there: let it be installed. Or it got lost: begin again when the follower is heard from."""
    role = core.role
    progress = role.progress.get(event.to) if isinstance(role, Leader) else None
    if progress is None or progress.stage is not Stage.SNAPSHOT:
        return
    streamed = _find_snapshot(core, progress, event.index)
    if not event.delivered or streamed is None:
        progress.probe(paused=True)
        return
    progress.snapshot = streamed
    progress.delivered_at = core.now
    _send_install(core, event.to, streamed)


def remind(core: Core, peer: int, progress: Progress) -> None:
    """A follower that has the data is alive, and has not said that it installed it."""
    if progress.snapshot is None or progress.delivered_at is None:
        return
    if core.now - progress.delivered_at > INSTALL_PATIENCE_TIMEOUTS * core.settings.election_seconds:
        progress.probe()
    else:
        _send_install(core, peer, progress.snapshot)


def _find_snapshot(core: Core, progress: Progress, index: int) -> SnapshotMeta | None:
    """Return what was streamed: the newest when the stream began, so maybe a newer one than was asked for."""
    known = (core.log.snapshot, progress.snapshot, *core.recent_snapshots)
    return next((snapshot for snapshot in known if snapshot is not None and snapshot.index == index), None)


def _send_install(core: Core, peer: int, snapshot: SnapshotMeta) -> None:
    core.send(InstallSnapshot(sender=core.id, to=peer, term=core.term, boot=core.boot, snapshot=snapshot))


# The follower's side.


def install(core: Core, message: InstallSnapshot) -> None:
    """Take a leader's snapshot in the place of the log, unless the log already goes that far."""
    snapshot = message.snapshot
    installed = False
    if snapshot.index > core.commit_index:
        if core.log.term_at(snapshot.index) == snapshot.term:
            core.commit_to(snapshot.index)
        else:
            _replace_log(core, snapshot)
            installed = True
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
    core.replace_log(snapshot)
    core.work.install = snapshot
    core.recent_snapshots.append(snapshot)
