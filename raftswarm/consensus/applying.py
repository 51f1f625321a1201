"""Applies what is committed, so many commands a turn, and takes pictures of the state between two entries.

The one big idea: the state machine is behind the log, and that is no one's business but the applier's. It is given
committed entries and snapshots that take their place, and says how far the state is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate

import attrs
import msgspec

from raftswarm.consensus.compaction import SnapshotSaver
from raftswarm.consensus.pending_calls import NO_PROPOSALS, PendingCalls
from raftswarm.consensus.proposals import NOBODY_FAILED, Proposals
from raftswarm.errors import (
    CorruptLog,
    MachineFailed,
    OutcomeUnknown,
    RaftSwarmError,
    Rejected,
    ResultLost,
)
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind, SnapshotMeta
from raftswarm.raft.state_machine import Context, StateMachine, machine_errors
from raftswarm.wire.batch import decode_batch

APPLIED_AT_ONCE = 512
"""Commands that one turn applies, waking whoever waits for them. Counted, not timed: equal events make equal turns."""
APPLIED_BYTES_AT_ONCE = 256 * 1024
"""Of a turn's commands from one entry: large ones tend to take longer."""
ENTRIES_APPLIED_AT_ONCE = 64


@attrs.define(eq=False)
class _Applying:
    """An entry with commands, in the middle of being applied."""

    entry: Entry
    commands: Sequence[bytes]
    proposals: Proposals
    position: int = 0

    def fail_rest(self, error: RaftSwarmError) -> None:
        self.proposals.fail_from(self.position, error)


class Applier:
    """Owns the state machine; nothing else calls `apply`."""

    def __init__(
        self,
        machine: StateMachine,
        pending: PendingCalls,
        saver: SnapshotSaver,
        *,
        snapshot: SnapshotMeta,
        fail: Callable[[RaftSwarmError], object],
    ) -> None:
        """`machine` has been restored from `snapshot`; `fail` stops the member, and calls `stop`."""
        self.machine = machine
        self.applied = snapshot
        """How far the state machine is, and what a snapshot of it would say."""
        self.waiting: deque[Entry] = deque()
        """What is committed and comes next."""
        self._pending = pending
        self._saver = saver
        self._fail = fail
        self._applying: _Applying | None = None
        self._installing: SnapshotMeta | None = None
        """The newest snapshot that is on its way to log and state."""
        self._has_stopped = False

    @property
    def is_behind(self) -> bool:
        """Tell whether something waits to be applied that can be."""
        return bool(self._applying or self.waiting) and self._installing is None and not self._has_stopped

    def stop(self) -> None:
        """Apply nothing more."""
        self._has_stopped = True
        self._give_up(OutcomeUnknown("this member is stopping"))

    def _give_up(self, error: RaftSwarmError) -> None:
        if self._applying is not None:
            self._applying.fail_rest(error)
            self._applying = None

    # Snapshots that come from a leader.

    def make_way(self, snapshot: SnapshotMeta) -> bool:
        """A snapshot is to take the place of log and state: what is committed behind it waits until it is there.

        Returns whether something was about to be applied that no longer will be.
        """
        gives_up = bool(self.waiting or self._applying)
        self._installing = snapshot
        self.waiting.clear()
        unknown = OutcomeUnknown("a snapshot took the place of what was being applied")
        self._give_up(unknown)
        self._pending.lose_through(snapshot.index, unknown)
        return gives_up

    def installed(self, snapshot: SnapshotMeta) -> bool:
        """The machine has been restored from it; tell whether it was the newest on its way."""
        self.applied = snapshot
        is_newest = self._installing is snapshot
        if is_newest:  # Otherwise what waits stands behind the newer one.
            self._installing = None
        self._saver.installed(snapshot)
        return is_newest

    # Entries.

    def apply(self, now: float) -> None:
        """Apply what is committed, as much as one turn may."""
        room, entries = APPLIED_AT_ONCE, 0
        while self.is_behind and room > 0 and entries < ENTRIES_APPLIED_AT_ONCE:
            if self._applying is None:
                self._applying = self._begin_entry(self.waiting.popleft())
                entries += 1
            applying = self._applying
            if applying is None:
                return
            room -= self._apply_commands(applying, room)
            if applying.position == len(applying.commands) and not self._has_stopped:
                self._applying = None
                self._advance(applying.entry)
                self._pending.complete_reads(self.applied.index)
                self.save_if_due(now)

    def _begin_entry(self, entry: Entry) -> _Applying | None:
        """Make an entry ready to be applied; None, and this member fails, when nobody can read it."""
        proposals = self._pending.take_proposals(entry)
        if entry.kind is EntryKind.COMMANDS:
            # Who proposed them has them as they were before they were encoded.
            try:
                commands = proposals.commands or decode_batch(entry.command_count, entry.data)
            except ValueError as error:
                what = f"{error}; take this member out, empty its directory and let it join again"
                self._fail(CorruptLog(f"entry {entry.index} of the log cannot be read: {what}"))
                return None
            return _Applying(entry, commands, proposals)
        proposals.settle(0, [entry.index] * proposals.count, NOBODY_FAILED)
        return _Applying(entry, (), NO_PROPOSALS)

    def _apply_commands(self, applying: _Applying, room: int) -> int:
        """Apply up to so many commands of an entry; return how much of the turn's room that took."""
        entry, apply = applying.entry, self.machine.apply
        time_ns, index, term = entry.time_ns, entry.index, entry.term
        begin = applying.position
        number = entry.first_command + begin
        results: list[object] = []
        failed: dict[int, RaftSwarmError] = {}
        waiting = applying.commands[begin : begin + room]
        commands = _first_within(waiting, APPLIED_BYTES_AT_ONCE)
        for command in commands:
            try:
                results.append(apply(command, Context(number, time_ns, index, term)))
            except (Rejected, ResultLost) as refused:
                failed[len(results)] = refused.with_traceback(None)  # It refers to this frame, and this frame to it.
                results.append(None)
            except Exception as error:  # noqa: BLE001 - whatever it is, this state must not go on
                self._settle(applying, results, failed)
                self._machine_failed(applying, number, error)
                return room
            number += 1
        self._settle(applying, results, failed)
        return len(results) if len(commands) == len(waiting) else room

    def _settle(self, applying: _Applying, results: list[object], failed: dict[int, RaftSwarmError]) -> None:
        applying.proposals.settle(applying.position, results, failed)
        applying.position += len(results)

    def _machine_failed(self, applying: _Applying, number: int, error: Exception) -> None:
        entry = applying.entry
        when = f"at command {number} (entry {entry.index}, term {entry.term})"
        failure = MachineFailed(f"the state machine failed {when}: {type(error).__name__}: {error}")
        failure.__cause__ = error
        self._give_up(OutcomeUnknown(failure.message))
        self._fail(failure)

    def _advance(self, entry: Entry) -> None:
        configuration = self.applied.configuration
        if entry.kind is EntryKind.CONFIGURATION:
            configuration = msgspec.msgpack.decode(entry.data, type=Configuration)
        self.applied = SnapshotMeta(
            index=entry.index,
            term=entry.term,
            commands=entry.first_command + entry.command_count - 1,
            time_ns=entry.time_ns,
            configuration=configuration,
        )
        self._saver.applied(len(entry.data))

    # Snapshots of our own.

    @property
    def may_save(self) -> bool:
        """Tell whether the state is one of the log's: between entries."""
        return self._applying is None and self._installing is None and not self._has_stopped

    def save_if_due(self, now: float) -> None:
        """Take a picture of the state, if it is time for one, and get it to the disk."""
        if self.may_save and now >= self._saver.due_at(self.applied):
            try:
                with machine_errors(f"while capturing the state at entry {self.applied.index}"):
                    capture = self.machine.capture()
            except MachineFailed as failure:
                self._fail(failure)
            else:
                self._saver.save(self.applied, capture, now)


def _first_within(commands: Sequence[bytes], limit_bytes: int) -> Sequence[bytes]:
    """Return the first commands, which have so many bytes together at most; one in any case."""
    if sum(map(len, commands)) <= limit_bytes:
        return commands
    fitting = sum(1 for size in accumulate(map(len, commands)) if size <= limit_bytes)
    return commands[: max(fitting, 1)]
