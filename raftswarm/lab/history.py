"""What clients saw: every call ends once, and no acknowledged write is ever lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from raftswarm.errors import NotLeader, Overloaded, PayloadTooLarge, RaftSwarmError, Rejected
from raftswarm.lab.event_heap import EventHeap
from raftswarm.lab.invariants import Violation
from raftswarm.raft.state_machine import Context

CallKind = Literal["write", "read", "change", "transfer"]
NOTHING_HAPPENED = (NotLeader, Overloaded, PayloadTooLarge)


@attrs.frozen
class _Applied:
    command_number: int
    index: int


@attrs.frozen
class Remembered:
    """What of a history a cluster still knows that is set back to some moment."""

    applied: dict[int, _Applied]
    acknowledged_index: int
    last_acknowledged_command: int


@attrs.define(eq=False)
class Call:
    """One call to one member; it is the waiter that the replica tells."""

    history: History
    number: int
    kind: CallKind
    member: int
    invoked_at: float
    floor: int
    """Highest index known to be acknowledged when it began: a read must not see less."""
    applied: Callable[[], int] | None = None
    """Of a read: up to which index its member's state machine is."""
    ended_at: float | None = None
    result: object = None
    error: RaftSwarmError | None = None
    then: Callable[[], object] | None = None
    """What to do once it has ended."""

    @property
    def acknowledged(self) -> bool:
        """It ended well, or with the state machine's own refusal."""
        return self.ended_at is not None and (self.error is None or isinstance(self.error, Rejected))

    def is_open_since(self, moment: float) -> bool:
        """Tell whether it was asked at that moment or later and has no answer."""
        return self.ended_at is None and self.invoked_at >= moment

    def complete(self, result: object) -> None:
        """Succeed."""
        self.result = result
        self.history.ended(self)

    def fail(self, error: RaftSwarmError) -> None:
        """Fail, or end with an unknown outcome."""
        self.error = error
        self.history.ended(self)


class History:
    """All calls of a run."""

    def __init__(self, heap: EventHeap) -> None:
        self._heap = heap
        self._calls = 0
        self._pending: dict[int, Call] = {}
        self._applied: dict[int, _Applied] = {}
        """Where each write stands in the log, by call."""
        self._refused: set[int] = set()
        """Writes whose callers were told that nothing happened."""
        self._acknowledged_index = 0
        self.acknowledged_writes = 0
        self.acknowledged_reads = 0
        self.last_acknowledged_command = 0
        """The highest command number that a client knows to be written."""

    def begin(self, kind: CallKind, member: int) -> Call:
        """A client asks that member."""
        self._calls += 1
        call = Call(self, self._calls, kind, member, self._heap.now, self._acknowledged_index)
        self._pending[call.number] = call
        return call

    def applied(self, call: int, context: Context) -> None:
        """Some member applied the command of that call."""
        known = self._applied.get(call)
        if known is None:
            if call in self._refused:
                raise Violation(f"call {call} was told that nothing happened, and then was applied")
            self._applied[call] = _Applied(context.command_number, context.index)
        elif known.command_number != context.command_number:
            raise Violation(f"call {call} was applied as command {known.command_number} and {context.command_number}")

    def ended(self, call: Call) -> None:
        """A call has its answer."""
        if call.ended_at is not None:
            raise Violation(f"call {call.number} ended twice")
        call.ended_at = self._heap.now
        del self._pending[call.number]
        match call.kind:
            case "write":
                self._write_ended(call)
            case "read" if call.error is None:
                assert isinstance(call.result, int), "a read barrier answers with an index"
                self.acknowledged_reads += 1
                if call.result < call.floor:
                    raise Violation(
                        f"read {call.number} saw index {call.result}; {call.floor} was acknowledged before it was "
                        f"asked of member {call.member}"
                    )
                if call.applied is not None and call.applied() < call.result:
                    raise Violation(
                        f"15: read {call.number} of index {call.result} ended at index {call.applied()}: the state "
                        f"machine of member {call.member} had come no further"
                    )
            case "change" if call.error is None:
                assert isinstance(call.result, int), "a change of members answers with its index"
                self._acknowledged_index = max(self._acknowledged_index, call.result)
            case _:
                pass
        if call.then is not None:
            call.then()

    def _write_ended(self, call: Call) -> None:
        applied = self._applied.get(call.number)
        if isinstance(call.error, NOTHING_HAPPENED):
            if applied is not None:
                raise Violation(f"call {call.number} was told that nothing happened, but it was applied")
            self._refused.add(call.number)
        elif call.acknowledged:
            if applied is None:
                raise Violation(f"call {call.number} was answered before it was applied")
            self.acknowledged_writes += 1
            self._acknowledged_index = max(self._acknowledged_index, applied.index)
            self.last_acknowledged_command = max(self.last_acknowledged_command, applied.command_number)

    @property
    def acknowledged_index(self) -> int:
        """How far the log is known to clients."""
        return self._acknowledged_index

    @property
    def pending(self) -> int:
        """How many calls have no answer yet."""
        return len(self._pending)

    # A cluster that is set back as a whole.

    def remember(self) -> Remembered:
        """Return what is true now, for `go_back`."""
        return Remembered(dict(self._applied), self._acknowledged_index, self.last_acknowledged_command)

    def go_back(self, remembered: Remembered) -> None:
        """What was acknowledged since is lost, as whoever set the cluster back knows. No call may be under way."""
        assert not self._pending, "whoever was asked has died"
        self._applied = dict(remembered.applied)
        self._acknowledged_index = remembered.acknowledged_index
        self.last_acknowledged_command = remembered.last_acknowledged_command

    def has_pending(self, kind: CallKind) -> bool:
        """Tell whether a call of that kind has no answer yet."""
        return any(call.kind == kind for call in self._pending.values())

    def pending_at(self, member: int) -> list[Call]:
        """Calls to that member that have no answer yet."""
        return [call for call in self._pending.values() if call.member == member]
