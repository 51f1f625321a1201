"""Bare members and the messages between them: each waits in its receiver's queue until somebody moves it.

Openings alone are delivered at once and cannot be lost: how members get to know each other is no part of the scenarios.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import attrs

from raftswarm.lab.vectors.bare_member import BareMember
from raftswarm.lab.vectors.scenario_form import Selection
from raftswarm.raft.events import PeerConnected, Receive
from raftswarm.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Opening,
    PreVote,
    PreVoteReply,
    Regressed,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)

TYPES: Final[dict[type[AnyMessage], str]] = {
    AppendEntries: "append",
    AppendReply: "append_reply",
    RequestVote: "vote",
    VoteReply: "vote_reply",
    PreVote: "pre_vote",
    PreVoteReply: "pre_vote_reply",
    Heartbeat: "heartbeat",
    HeartbeatReply: "heartbeat_reply",
    InstallSnapshot: "snapshot",
    SnapshotReply: "append_reply",
    TimeoutNow: "timeout_now",
}
"""Ours by the names that the forms use."""


@attrs.define(eq=False)
class Post:
    """All nodes of a world and what is on its way between them."""

    nodes: dict[int, BareMember] = attrs.field(factory=dict)
    delivered: int = 0
    """Messages that reached a node."""
    _queue: list[AnyMessage] = attrs.field(factory=list)
    _held: list[AnyMessage] = attrs.field(factory=list)
    _groups: Sequence[Collection[int]] = ()

    @property
    def running(self) -> list[BareMember]:
        """The nodes that run."""
        return [node for node in self.nodes.values() if node.running is not None]

    def start(self, *members: BareMember) -> None:
        """Start nodes, and let each and all that run get to know each other."""
        for node in members:
            self.nodes[node.id] = node
            node.start()
        for node in members:
            for peer in self.running:
                if peer is not node:
                    node.step(PeerConnected(peer.id))
        self._deliver_openings()

    def _deliver_openings(self) -> None:
        moved = True
        while moved:
            moved = False
            for node in self.running:
                node.hand_out()
                for message in [message for message in node.outbox if isinstance(message, Opening | Regressed)]:
                    node.outbox.remove(message)
                    receiver = self.nodes.get(message.to)
                    if receiver is not None and receiver.running is not None:
                        receiver.step(Receive(message))
                        moved = True

    def crash(self, node: BareMember) -> None:
        """Stop a node; what is on its way to and from it is lost."""
        node.crash()
        self._queue = [message for message in self._queue if node.id not in {message.sender, message.to}]

    def collect(self, node: BareMember) -> bool:
        """Put what a node has handed out into the queues; False when that is nothing."""
        sent = node.take_sent()
        self._queue += [message for message in sent if not isinstance(message, Opening | Regressed)]
        node.outbox += [message for message in sent if isinstance(message, Opening | Regressed)]
        if node.outbox:
            self._deliver_openings()
        return bool(sent)

    def add(self, message: AnyMessage) -> None:
        """Put a message into its queue."""
        self._queue.append(message)

    def deliver(self, selection: Selection) -> bool:
        """Let messages arrive, in the order of their sending; False when there are none."""
        chosen = self._take(selection)
        for message in chosen:
            receiver = self.nodes.get(message.to)
            if receiver is None or receiver.running is None or self._is_cut(message):
                continue
            self.delivered += 1
            receiver.step(Receive(message))
        return bool(chosen)

    def drop(self, selection: Selection) -> None:
        """Lose messages."""
        self._take(selection)

    def hold(self, selection: Selection) -> None:
        """Keep copies of messages."""
        self._held += [message for message in self._queue if _is_selected(message, selection)]

    def replay(self) -> None:
        """Put the copies into the queues."""
        self._queue += self._held
        self._held = []

    def partition(self, groups: Sequence[Collection[int]]) -> None:
        """Lose what arrives from another group, from now on."""
        self._groups = groups

    def _take(self, selection: Selection) -> list[AnyMessage]:
        chosen = [message for message in self._queue if _is_selected(message, selection)]
        self._queue = [message for message in self._queue if not _is_selected(message, selection)]
        return chosen

    def _is_cut(self, message: AnyMessage) -> bool:
        return any((message.sender in group) != (message.to in group) for group in self._groups)


def _is_selected(message: AnyMessage, selection: Selection) -> bool:
    return (
        _is_among(message.to, selection.to)
        and _is_among(message.sender, selection.sender)
        and selection.type in {None, TYPES.get(type(message))}
    )


def _is_among(member: int, members: Iterable[int] | None) -> bool:
    return members is None or member in members
