r"""A run as a log with vector clocks: ShiViz (https://bestchai.bitbucket.io/shiviz) draws it as a space-time diagram.

Each event takes two lines, what happened and then who with which clock, as ShiViz's usual expression has it:
``(?<event>.*)\n(?<host>\S*) (?<clock>{.*})``.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import attrs
import msgspec

from raftswarm.lab.core_world import CoreWorld
from raftswarm.lab.recording import Recording
from raftswarm.lab.replaying import Replay
from raftswarm.lab.sentences import tell_event
from raftswarm.lab.steps import Step, StepLog
from raftswarm.raft.tracing import RULE, TracedMessage, TraceEvent

Clock = dict[str, int]


def write_shiviz(
    recording: Recording, *, start: float = 0.0, end: float = inf, heartbeats: bool = False
) -> Iterator[str]:
    """Let a recording happen and write its events between two moments; heartbeats only if they are asked for."""
    writer = _Writer(start, end, heartbeats)
    Replay(recording, log=StepLog(first=0, observe=writer.observe)).run()
    yield from writer.lines


@attrs.define(eq=False)
class _Writer:
    start: float
    end: float
    heartbeats: bool
    lines: list[str] = attrs.field(factory=list)
    _clocks: dict[str, Clock] = attrs.field(factory=dict)
    _sent: dict[TracedMessage, Clock] = attrs.field(factory=dict)
    """With which clock a message left."""

    def observe(self, step: Step, _: CoreWorld) -> None:
        if self.start <= step.at <= self.end:
            for event in step.engine:
                if self._is_shown(event):
                    self._write(step, event)

    def _is_shown(self, event: TraceEvent) -> bool:
        is_heartbeat = event.message is not None and event.message.type in {"MsgHeartbeat", "MsgHeartbeatResp"}
        return event.name not in {RULE, "Ready"} and (self.heartbeats or not is_heartbeat)

    def _write(self, step: Step, event: TraceEvent) -> None:
        host = f"member-{event.member}"
        clock = self._clocks.setdefault(host, {})
        message = event.message
        if message is not None and event.name.startswith("Receive"):
            for other, count in self._sent.get(message, {}).items():
                clock[other] = max(clock.get(other, 0), count)
        clock[host] = clock.get(host, 0) + 1
        if message is not None and event.name.startswith("Send"):
            self._sent[message] = dict(clock)
        told = "; ".join(sentence.text for sentence in tell_event(step, event)) or event.name
        self.lines.append(f"{step.at:.6f} s, step {step.number}: {told}")
        self.lines.append(f"{host} {msgspec.json.encode(clock).decode()}")
