"""The links between members, each direction on its own: slow, lossy, cut, or refused.

Links report what real ones can: `connected` when one is open, `stopped` when it broke and the other side's machine
refuses a new one. A partition, or a machine without power, gives silence and no hint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from random import Random

import attrs

from raftswarm.lab.event_heap import EventHeap
from raftswarm.raft.log_entry import SnapshotMeta
from raftswarm.raft.messages import AnyMessage, Opening
from raftswarm.transport.member_links import MemberEvents

REDIAL_SECONDS = 0.05
"""A link that could not be opened is tried again within this time after it could be."""
LOST_TRANSFER_SECONDS = 1.0
"""How long a sender of a snapshot waits before it believes that the transfer failed."""


@attrs.frozen(kw_only=True)
class NetworkConditions:
    """How all links are, apart from cuts."""

    delay_seconds: float = 0.0005
    """The least a message takes."""
    jitter_seconds: float = 0.0005
    """Mean of what comes on top, exponentially distributed."""
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    """Share of messages that others may overtake …"""
    reordering_seconds: float = 0.2
    """… by up to this long."""
    bytes_per_second: float = 100e6
    """For snapshots; what else is sent is small."""


@attrs.define(eq=False)
class _Attached:
    """A running process."""

    events: MemberEvents
    peers: tuple[int, ...] = ()


@attrs.define(eq=False)
class _Link:
    """One direction between two members."""

    sender: int
    receiver: int
    cut: bool = False
    open: bool = False
    process: _Attached | None = None
    """The receiving process that it was opened to; what is sent after its death vanishes, until that is noticed."""
    attempt: int = 0
    """Counts dials; a later one makes an earlier one void."""
    dialling: bool = False
    lost_opening: bool = False
    last_arrival: float = 0.0
    told_unreachable: bool = False


class SimulatedNetwork:
    """Who can hear whom."""

    def __init__(self, heap: EventHeap, chance: Random, conditions: NetworkConditions) -> None:
        self.conditions = conditions
        self._heap = heap
        self._chance = chance
        self._attached: dict[int, _Attached] = {}
        self._links: dict[tuple[int, int], _Link] = {}
        self._without_power: dict[int, None] = {}

    # Processes come and go.

    def attach(self, member: int, events: MemberEvents) -> None:
        """A process starts: whoever wants to talk to it may connect."""
        assert member not in self._attached, "one process per member"
        self._attached[member] = _Attached(events)
        self._without_power.pop(member, None)
        for peer, other in self._attached.items():
            link = self._link(peer, member)
            if member in other.peers or link.open:
                self._dial(link)

    def detach(self, member: int, *, power_lost: bool) -> None:
        """The process dies: its peers notice, unless its machine died with it."""
        del self._attached[member]
        if power_lost:
            self._without_power[member] = None
        for link in self._links.values():
            if link.sender == member:
                link.open = link.dialling = False
                link.attempt += 1
            elif link.receiver == member and link.open and not power_lost:
                self._notice_stop(link)

    def set_peers(self, member: int, peers: Sequence[int]) -> None:
        """Keep links from `member` to exactly these."""
        attached = self._attached[member]
        gone = [peer for peer in attached.peers if peer not in peers]
        attached.peers = tuple(peers)
        for peer in gone:
            link = self._link(member, peer)
            link.open = link.dialling = False
            link.attempt += 1
        for peer in peers:
            link = self._link(member, peer)
            if not link.open and not link.dialling:
                self._dial(link)

    # What is sent.

    def post(self, message: AnyMessage) -> bool:
        """Send, or lose, a message; False if it is known to be lost."""
        link = self._link(message.sender, message.to)
        if not link.open:
            self._answer_on_a_new_link(link)
            return False
        conditions = self.conditions
        chance = self._chance
        opening = isinstance(message, Opening)
        if link.cut:
            link.lost_opening = link.lost_opening or opening
            return True
        if conditions.loss and not opening and chance.random() < conditions.loss:
            return True
        receiver = link.process
        assert receiver is not None, "an open link was opened to a process"
        self._send(link, receiver, message, in_order=opening)
        if conditions.duplication and not opening and chance.random() < conditions.duplication:
            self._send(link, receiver, message, in_order=False)
        return True

    def _send(self, link: _Link, receiver: _Attached, message: AnyMessage, *, in_order: bool) -> None:
        conditions = self.conditions
        arrival = self._heap.now + self._draw_delay()
        if not in_order and conditions.reordering and self._chance.random() < conditions.reordering:
            arrival += self._chance.random() * conditions.reordering_seconds
        else:
            arrival = link.last_arrival = max(arrival, link.last_arrival)
        self._heap.at(arrival, self._deliver, receiver, message)

    def _deliver(self, receiver: _Attached, message: AnyMessage) -> None:
        if self._attached.get(message.to) is receiver:
            receiver.events.received(message)

    def send_snapshot(
        self, sender: int, receiver: int, snapshot: SnapshotMeta, chunks: Iterator[bytes], done: Callable[[bool], None]
    ) -> None:
        """Stream a snapshot; `done` learns whether the receiver has it all."""
        kept = list(chunks)
        conditions = self.conditions
        link = self._link(sender, receiver)
        process = self._attached.get(receiver)
        lost = conditions.loss and self._chance.random() < conditions.loss
        if not link.open or link.cut or process is None or lost:
            self._heap.after(LOST_TRANSFER_SECONDS, done, False)
            return
        size = sum(len(chunk) for chunk in kept)
        delay = self._draw_delay() + size / conditions.bytes_per_second
        self._heap.after(delay, self._snapshot_arrives, link, process, snapshot, kept, done)

    def _snapshot_arrives(
        self,
        link: _Link,
        process: _Attached,
        snapshot: SnapshotMeta,
        chunks: Iterable[bytes],
        done: Callable[[bool], None],
    ) -> None:
        arrives = self._attached.get(link.receiver) is process and not link.cut
        if arrives:
            process.events.receive_snapshot(link.sender, snapshot, chunks)
        confirmed = arrives and not self._link(link.receiver, link.sender).cut
        self._heap.after(self._draw_delay() if confirmed else LOST_TRANSFER_SECONDS, done, confirmed)

    # What befalls it.

    def cut(self, sender: int, receiver: int) -> None:
        """Lose whatever `sender` says to `receiver` from now on, in silence."""
        self._link(sender, receiver).cut = True

    def mend(self, sender: int, receiver: int) -> None:
        """Undo a cut. A link that came through it may go on, or be replaced by a new one."""
        link = self._link(sender, receiver)
        if not link.cut:
            return
        link.cut = False
        back = self._link(receiver, sender)
        for direction in (link, back):
            if direction.sender not in self._attached:
                continue
            wanted = direction.open or direction.receiver in self._attached[direction.sender].peers
            if not wanted:
                continue
            broken = not direction.open or direction.lost_opening
            restarted = direction.process is not self._attached.get(direction.receiver)
            if broken or restarted or self._chance.random() < 0.5:
                self._dial(direction)

    def partition(self, *groups: Sequence[int]) -> None:
        """Cut every link between members of different groups."""
        for one, other in combinations(groups, 2):
            for a in one:
                for b in other:
                    self.cut(a, b)
                    self.cut(b, a)

    def heal(self) -> None:
        """Mend all cuts."""
        for sender, receiver in list(self._links):
            self.mend(sender, receiver)

    # Dialling.

    def _link(self, sender: int, receiver: int) -> _Link:
        link = self._links.get((sender, receiver))
        if link is None:
            link = self._links[sender, receiver] = _Link(sender, receiver)
        return link

    def _dial(self, link: _Link) -> None:
        link.attempt += 1
        link.dialling = True
        self._heap.after(self._draw_delay() + self._chance.random() * REDIAL_SECONDS, self._dialled, link, link.attempt)

    def _dialled(self, link: _Link, attempt: int) -> None:
        if attempt != link.attempt:
            return
        link.dialling = False
        sender = self._attached.get(link.sender)
        if sender is None or link.cut or self._link(link.receiver, link.sender).cut:
            return  # `mend` and `attach` dial again.
        if link.receiver in self._attached:
            link.open = True
            link.process = self._attached[link.receiver]
            link.lost_opening = link.told_unreachable = False
            sender.events.connected(link.receiver)
        elif link.open:
            self._notice_stop(link)  # It stopped behind the cut.

    def _notice_stop(self, link: _Link) -> None:
        """The link broke; the sender redials at once and is refused."""
        if link.cut or self._link(link.receiver, link.sender).cut:
            return
        link.open = False
        link.attempt += 1
        self._heap.after(3 * self._draw_delay(), self._refused, link, link.attempt)

    def _refused(self, link: _Link, attempt: int) -> None:
        sender = self._attached.get(link.sender)
        if attempt == link.attempt and sender is not None and link.receiver not in self._without_power:
            sender.events.stopped(link.receiver)

    def _answer_on_a_new_link(self, link: _Link) -> None:
        """Who is spoken to may answer, even before it knows the speaker from a configuration."""
        sender = self._attached.get(link.sender)
        if sender is None:
            return
        if link.receiver in sender.peers:
            if not link.told_unreachable:
                link.told_unreachable = True
                self._heap.after(0.0, sender.events.unreachable, link.receiver)
        elif self._link(link.receiver, link.sender).open and not link.dialling:
            self._dial(link)

    def _draw_delay(self) -> float:
        conditions = self.conditions
        if not conditions.jitter_seconds:
            return conditions.delay_seconds
        return conditions.delay_seconds + self._chance.expovariate(1.0) * conditions.jitter_seconds
