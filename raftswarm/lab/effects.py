"""Exactly once: which commands of sessions took effect, told by the state machine under the sessions' table."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from raftswarm.consensus.sessions import SessionLimits, SessionMachine
from raftswarm.lab.invariants import Violation
from raftswarm.lab.journal import Journal
from raftswarm.raft.rules import RuleSink, ignore_rule
from raftswarm.raft.state_machine import Context, StateMachine

_MARK: Final = b"S"
_KEY: Final = struct.Struct(">QQ")
REMEMBERED_BYTES: Final = 1024
"""Of a huge command the journal keeps its beginning, or its snapshots would take all the time there is."""


def mark(client: int, number: int, body: bytes) -> bytes:
    """Name a command, so that its second effect is known for that."""
    return _MARK + _KEY.pack(client, number) + body


class Effects:
    """At which place in the log each named command took effect."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self.named: RuleSink = ignore_rule
        """Hears what the tables of sessions decide."""

    def took_effect(self, key: bytes, command_number: int) -> None:
        """Some member's state machine was changed by it."""
        place = self._places.setdefault(key, command_number)
        if place != command_number:
            client, number = _KEY.unpack(key)
            raise Violation(
                f"15: command {number} of client {client} took effect twice, as commands {place} and {command_number}"
            )

    def has_taken(self, client: int, number: int) -> bool:
        """Tell whether that command took effect anywhere."""
        return _KEY.pack(client, number) in self._places

    def remember(self) -> Mapping[bytes, int]:
        """Return what took effect, for `go_back`."""
        return dict(self._places)

    def go_back(self, places: Mapping[bytes, int]) -> None:
        """All members were set back to that moment: what came after it had no effect."""
        self._places = dict(places)

    def make_machine(self, limits: SessionLimits) -> Callable[[], StateMachine]:
        """Return what makes a journal under a table of sessions."""
        return lambda: SessionMachine(_NamedJournal(self), limits, self.named)


class _NamedJournal(Journal):
    def __init__(self, effects: Effects) -> None:
        super().__init__()
        self._effects = effects

    def apply(self, command: bytes, context: Context) -> int:
        if command.startswith(_MARK):
            self._effects.took_effect(command[len(_MARK) : len(_MARK) + _KEY.size], context.command_number)
        return super().apply(command[:REMEMBERED_BYTES], context)
