"""Exactly once: which commands of sessions took effect, told by the state machine under the sessions' table."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from raftswarm.consensus.sessions import SessionLimits, SessionMachine
from raftswarm.lab.invariants import Violation
from raftswarm.lab.journal import Journal
from raftswarm.raft.rules import RuleSink, ignore_rule
from raftswarm.raft.state_machine import Capture, Context, StateMachine

_MARK: Final = b"S"
_KEY: Final = struct.Struct(">QQ")
REMEMBERED_BYTES: Final = 1024
"""Of a huge command the journal keeps its beginning, or its snapshots would take all the time there is."""


def mark(client: int, number: int, body: bytes) -> bytes:
    """Name a command, so that its second effect is known for that."""
    return _MARK + _KEY.pack(client, number) + body


class Effects:
    """At which place in the log each named command took effect, and with which result."""

    def __init__(self) -> None:
        self._effects: dict[bytes, tuple[int, int]] = {}
        self._refused: set[bytes] = set()
        """Their clients were told that they were not applied."""
        self.named: RuleSink = ignore_rule
        """Hears what the tables of sessions decide."""

    def took_effect(self, key: bytes, command_number: int, result: int) -> None:
        """Some member's state machine was changed by it."""
        place, _ = self._effects.setdefault(key, (command_number, result))
        client, number = _KEY.unpack(key)
        if place != command_number:
            raise Violation(
                f"15: command {number} of client {client} took effect twice, as commands {place} and {command_number}"
            )
        if key in self._refused:
            raise Violation(f"15: command {number} of client {client} took effect after it was refused")

    def refuse(self, client: int, number: int) -> None:
        """The client was told that this command was not applied."""
        if self.has_taken(client, number):
            raise Violation(f"15: command {number} of client {client} took effect, and the client is told that not")
        self._refused.add(_KEY.pack(client, number))

    def has_taken(self, client: int, number: int) -> bool:
        """Tell whether that command took effect anywhere."""
        return _KEY.pack(client, number) in self._effects

    def effect_of(self, client: int, number: int) -> tuple[int, int]:
        """Return the place in the log, and the result, of a command that took effect."""
        return self._effects[_KEY.pack(client, number)]

    def remember(self) -> Mapping[bytes, tuple[int, int]]:
        """Return what took effect, for `go_back`."""
        return dict(self._effects)

    def go_back(self, effects: Mapping[bytes, tuple[int, int]]) -> None:
        """All members were set back to that moment: what came after it had no effect."""
        self._effects = dict(effects)

    def make_machine(self, limits: SessionLimits) -> Callable[[], StateMachine]:
        """Return what makes a journal under a table of sessions."""
        return lambda: _WatchedSessions(_NamedJournal(self), limits, self.named)


class _NamedJournal(Journal):
    def __init__(self, effects: Effects) -> None:
        super().__init__()
        self._effects = effects

    def apply(self, command: bytes, context: Context) -> int:
        result = super().apply(command[:REMEMBERED_BYTES], context)
        if command.startswith(_MARK):
            key = command[len(_MARK) : len(_MARK) + _KEY.size]
            self._effects.took_effect(key, context.command_number, result)
        return result


class _WatchedSessions(SessionMachine):
    """The table itself; who goes first when it is full, or when time has passed, is looked at now and then."""

    def capture(self) -> Capture:
        used_ns = [session.used_ns for session in self.sessions.save()]
        if used_ns != sorted(used_ns):
            raise Violation("15: a session stands before one that was not used for longer")
        return super().capture()
