"""The links between members, each direction on its own: slow, lossy, cut, clogged, half open, or refused.

Links report what real ones can: `connected` when one is open, `stopped` when it broke and the other side's machine
refuses a new one. A partition, or a machine without power, gives silence and no hint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from math import log
from random import Random
from typing import Protocol

import attrs

from raftswarm.lab.conditions import NetworkConditions
from raftswarm.lab.event_heap import EventHeap
from raftswarm.raft.messages import AnyMessage, Opening

REDIAL_SECONDS = 0.05
"""A link that could not be opened is tried again within this time after it could be."""
MOST_BEHIND_SECONDS = 1.0
"""What waits for a slow reader is no more than it reads in this time: queues are bounded."""
LOST_TRANSFER_SECONDS = 1.0
"""How long a sender of a snapshot waits before it believes that the transfer failed."""


class ProcessEvents(Protocol):
    """What a process is told; all but the last as `transport.member_links.MemberEvents` has it."""

    def received(self, message: AnyMessage) -> None:
        """A peer's message."""
        ...

    def connected(self, peer: int) -> None:
        """A link to the peer is open."""
        ...

    def stopped(self, peer: int) -> None:
        """The link broke and reconnecting was refused."""
        ...

    def unreachable(self, peer: int) -> None:
        """Messages to the peer were lost."""
        ...

    def bulk_opened(self, peer: int, end: BulkEnd) -> None:
        """The peer opened a link for a snapshot."""
        ...


Hear = Callable[[bytes], object]
Broken = Callable[[], object]


class BulkEnd:
    """One process's end of a link for a snapshot: frames arrive in order, or it breaks."""

    def __init__(self, network: SimulatedNetwork, owner: int, peer: int) -> None:
        self.owner = owner
        self.peer = peer
        self.other = self
        self.busy_until = 0.0
        self.is_broken = False
        self._network = network
        self._hear: Hear = _nothing
        self._broken: Broken = _nothing

    def listen(self, hear: Hear, broken: Broken) -> None:
        """Tell `hear` of each frame, and `broken` if the link breaks."""
        self._hear, self._broken = hear, broken

    def post(self, frame: bytes) -> None:
        """Send a frame to the other end."""
        if not self.is_broken:
            self._network.post_bulk(self, frame)

    def hear(self, frame: bytes) -> None:
        """A frame arrived."""
        self._hear(frame)

    def break_off(self) -> None:
        """The link broke, or the other end closed it."""
        if not self.is_broken:
            self.is_broken = True
            self._broken()

    def close(self) -> None:
        """Say and hear nothing more; the other end notices."""
        if not self.is_broken:
            self.is_broken = True
            self._network.after_delay(self, self.other.break_off)


def _nothing(*_: object) -> None:
    """Nobody listens."""


@attrs.define(eq=False)
class _Attached:
    """A running process."""

    events: ProcessEvents
    protocol: int = 1
    """Which version of the links it speaks."""
    peers: tuple[int, ...] = ()


@attrs.define(eq=False)
class _Link:
    """One direction between two members."""

    sender: int
    receiver: int
    conditions: NetworkConditions
    random: Random
    """Its own, so that what befalls one link moves no other's draws."""
    cut: bool = False
    clogged: bool = False
    held: list[Callable[[], object]] = attrs.Factory(list)
    """What would have arrived, were it not clogged."""
    under_way: int = 0
    open: bool = False
    process: _Attached | None = None
    """The receiving process that it was opened to; what is sent after its death vanishes, until that is noticed."""
    attempt: int = 0
    """Counts dials; a later one makes an earlier one void."""
    dialling: bool = False
    lost_opening: bool = False
    last_arrival: float = 0.0
    told_unreachable: bool = False

    def draw_delay(self) -> float:
        """Draw how long something takes to the other end."""
        conditions = self.conditions
        if not conditions.jitter_seconds:
            return conditions.delay_seconds
        return conditions.delay_seconds - log(1.0 - self.random.random()) * conditions.jitter_seconds


class SimulatedNetwork:
    """Who can hear whom."""

    def __init__(
        self,
        heap: EventHeap,
        chance_of: Callable[[str], Random],
        conditions: NetworkConditions,
        *others: NetworkConditions,
    ) -> None:
        """With `others`, each link draws its own of them all."""
        self._heap = heap
        self._chance_of = chance_of
        self._conditions = (conditions, *others)
        self._attached: dict[int, _Attached] = {}
        self._links: dict[tuple[int, int], _Link] = {}
        self._without_power: dict[int, None] = {}
        self._bulk: list[BulkEnd] = []
        self.bulk_bytes = 0
        """Of all frames of snapshots that were ever sent."""

    @property
    def conditions(self) -> NetworkConditions:
        """How links are that drew nothing else."""
        return self._conditions[0]

    @conditions.setter
    def conditions(self, conditions: NetworkConditions) -> None:
        """Let all links be like this from now on."""
        self._conditions = (conditions,)
        for link in self._links.values():
            link.conditions = conditions

    def set_link(self, sender: int, receiver: int, conditions: NetworkConditions) -> bool:
        """Let one link be like this from now on; False if it is."""
        link = self._link(sender, receiver)
        before, link.conditions = link.conditions, conditions
        return before != conditions

    # Processes come and go.

    def attach(self, member: int, events: ProcessEvents, protocol: int = 1) -> None:
        """A process starts: whoever wants to talk to it, and speaks its protocol, may connect."""
        assert member not in self._attached, "one process per member"
        self._attached[member] = _Attached(events, protocol)
        self._without_power.pop(member, None)
        for peer, other in self._attached.items():
            link = self._link(peer, member)
            if member in other.peers or link.open:
                self._dial(link)

    def detach(self, member: int, *, power_lost: bool) -> None:
        """The process dies: its peers notice, unless its machine died with it."""
        del self._attached[member]
        for end in self._bulk:
            if end.owner == member:
                end.is_broken = True
                delay = LOST_TRANSFER_SECONDS if power_lost else self._link(member, end.peer).draw_delay()
                self._heap.after(delay, end.other.break_off)
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
        new = [peer for peer in peers if peer not in attached.peers]
        attached.peers = tuple(peers)
        for peer in gone:
            link = self._link(member, peer)
            link.open = link.dialling = False
            link.attempt += 1
        for peer in new:
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
        conditions = link.conditions
        opening = isinstance(message, Opening)
        if link.cut:
            link.lost_opening = link.lost_opening or opening
            return True
        receiver = link.process
        assert receiver is not None, "an open link was opened to a process"
        random = link.random.random
        if opening:
            self._send(link, receiver, message, in_order=True)
        elif (conditions.capacity and link.under_way >= conditions.capacity) or self._is_behind(link):
            self._tell_unreachable(link)
            return False
        elif conditions.breakage and random() < conditions.breakage:
            self.reconnect(link.sender, link.receiver)
        elif not conditions.loss or random() >= conditions.loss:
            self._send(link, receiver, message, in_order=False)
            if conditions.duplication and random() < conditions.duplication:
                self._send(link, receiver, message, in_order=False)
        return True

    def _is_behind(self, link: _Link) -> bool:
        """Tell whether a slow reader is so far behind that the sender's queue is full."""
        return bool(link.conditions.reading_seconds) and link.last_arrival > self._heap.now + MOST_BEHIND_SECONDS

    def _send(self, link: _Link, receiver: _Attached, message: AnyMessage, *, in_order: bool) -> None:
        conditions = link.conditions
        arrival = self._heap.now + link.draw_delay()
        if not in_order and conditions.reordering and link.random.random() < conditions.reordering:
            # On its way by itself: it holds up nothing, and takes up no room.
            arrival += link.random.random() * conditions.reordering_seconds
            self._heap.at(arrival, self._arrive, link, receiver, message)
            return
        arrival = link.last_arrival = max(arrival, link.last_arrival + conditions.reading_seconds)
        link.under_way += 1
        self._heap.at(arrival, self._deliver, link, receiver, message)

    def _deliver(self, link: _Link, receiver: _Attached, message: AnyMessage) -> None:
        if link.clogged:
            link.held.append(partial(self._deliver, link, receiver, message))
            return
        link.under_way -= 1
        self._arrive(link, receiver, message)

    def _arrive(self, link: _Link, receiver: _Attached, message: AnyMessage) -> None:
        if link.clogged:
            link.held.append(partial(self._arrive, link, receiver, message))
        elif self._attached.get(link.receiver) is receiver:
            link.told_unreachable = False
            receiver.events.received(message)

    def open_bulk(self, sender: int, receiver: int, hear: Hear, broken: Broken) -> BulkEnd:
        """Open a link for a snapshot; the receiving process is told of it. `broken` is called once if it breaks."""
        link = self._link(sender, receiver)
        process = self._attached.get(receiver)
        near, far = BulkEnd(self, sender, receiver), BulkEnd(self, receiver, sender)
        near.other, far.other = far, near
        near.listen(hear, broken)
        if not link.open or link.cut or process is None:
            self._heap.after(LOST_TRANSFER_SECONDS, near.break_off)
            return near
        self._bulk = [end for end in self._bulk if not end.is_broken]
        self._bulk += (near, far)
        process.events.bulk_opened(sender, far)
        return near

    def post_bulk(self, end: BulkEnd, frame: bytes) -> None:
        """Send a frame on a link for snapshots: it arrives, damaged maybe, or the link breaks."""
        self.bulk_bytes += len(frame)
        link = self._link(end.owner, end.peer)
        conditions, chance = link.conditions, link.random
        lost = conditions.loss and chance.random() < conditions.loss
        if conditions.damage and chance.random() < conditions.damage:
            place = chance.randrange(len(frame))
            frame = frame[:place] + bytes([frame[place] ^ 1 << chance.randrange(8)]) + frame[place + 1 :]
        begins = max(self._heap.now + link.draw_delay(), end.busy_until)
        end.busy_until = begins + len(frame) / conditions.bytes_per_second
        self._heap.at(end.busy_until, self._bulk_arrives, end, frame, bool(lost))

    def _bulk_arrives(self, end: BulkEnd, frame: bytes, lost: bool) -> None:
        if end.is_broken or end.other.is_broken:
            return
        link = self._link(end.owner, end.peer)
        if link.clogged:
            link.held.append(partial(self._bulk_arrives, end, frame, lost))
        elif lost or link.cut:
            self._heap.after(LOST_TRANSFER_SECONDS, end.break_off)
            self._heap.after(LOST_TRANSFER_SECONDS, end.other.break_off)
        else:
            end.other.hear(frame)

    # What befalls it.

    def cut(self, sender: int, receiver: int) -> bool:
        """Lose whatever `sender` says to `receiver` from now on, in silence; False if it is cut already."""
        link = self._link(sender, receiver)
        was_cut, link.cut = link.cut, True
        return not was_cut

    def mend(self, sender: int, receiver: int) -> bool:
        """Undo a cut, if there is one. A link that came through it may go on, or be replaced by a new one."""
        link = self._link(sender, receiver)
        if not link.cut:
            return False
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
            if broken or restarted or direction.random.random() < 0.5:
                self._dial(direction)
        return True

    def partition(self, *groups: Sequence[int]) -> None:
        """Cut every link between members of different groups."""
        for one, other in combinations(groups, 2):
            for a in one:
                for b in other:
                    self.cut(a, b)
                    self.cut(b, a)

    def clog(self, sender: int, receiver: int) -> bool:
        """Hold whatever would arrive from now on, and lose nothing of it; False if it is clogged already."""
        link = self._link(sender, receiver)
        was_clogged, link.clogged = link.clogged, True
        return not was_clogged

    def unclog(self, sender: int, receiver: int) -> bool:
        """Let all of it arrive."""
        link = self._link(sender, receiver)
        was_clogged, link.clogged = link.clogged, False
        held, link.held = link.held, []
        for arrival in held:
            self._heap.after(0.0, arrival)
        return was_clogged

    def half_open(self, sender: int, receiver: int) -> bool:
        """Let the receiver forget a connection that the sender talks on into; False if there is none."""
        link = self._link(sender, receiver)
        if link.open and link.process is not None:
            link.process = _Attached(link.process.events, link.process.protocol)
        return link.open

    def reconnect(self, sender: int, receiver: int) -> bool:
        """Break a connection and open another; what is under way still arrives. False if there is none."""
        link = self._link(sender, receiver)
        was_open, link.open = link.open, False
        if was_open:
            self._dial(link)
        return was_open

    def heal(self) -> None:
        """Mend all cuts and clogs, and open anew what is half open."""
        for (sender, receiver), link in list(self._links.items()):
            self.mend(sender, receiver)
            if link.clogged:
                self.unclog(sender, receiver)
            if link.open and link.process is not self._attached.get(receiver) and not link.dialling:
                self._dial(link)

    # Dialling.

    def _link(self, sender: int, receiver: int) -> _Link:
        link = self._links.get((sender, receiver))
        if link is None:
            chance = self._chance_of(f"link {sender} {receiver}")
            link = self._links[sender, receiver] = _Link(sender, receiver, chance.choice(self._conditions), chance)
        return link

    def _dial(self, link: _Link) -> None:
        link.attempt += 1
        link.dialling = True
        delay = link.draw_delay() + link.random.random() * REDIAL_SECONDS
        self._heap.after(delay, self._dialled, link, link.attempt)

    def _dialled(self, link: _Link, attempt: int) -> None:
        if attempt != link.attempt:
            return
        link.dialling = False
        sender = self._attached.get(link.sender)
        if sender is None or link.cut or self._link(link.receiver, link.sender).cut:
            return  # `mend` and `attach` dial again.
        receiver = self._attached.get(link.receiver)
        if receiver is not None:
            # Who hears another protocol hangs up; the dialler is told nothing, and stops for no hint.
            link.open = receiver.protocol == sender.protocol
            link.process = receiver
            if not link.open:
                return
            link.lost_opening = link.told_unreachable = False
            sender.events.connected(link.receiver)
        elif link.open:
            self._notice_stop(link)  # It stopped behind the cut.

    def _notice_stop(self, link: _Link) -> None:
        """The link broke; the sender redials at once and is refused."""
        if link.cut or self._link(link.receiver, link.sender).cut:
            return
        link.open = link.dialling = False
        link.attempt += 1
        self._heap.after(3 * link.draw_delay(), self._refused, link, link.attempt)

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
            self._tell_unreachable(link)
        elif self._link(link.receiver, link.sender).open and not link.dialling:
            self._dial(link)

    def _tell_unreachable(self, link: _Link) -> None:
        """Tell the sender, once, that messages got lost."""
        sender = self._attached.get(link.sender)
        if sender is not None and not link.told_unreachable:
            link.told_unreachable = True
            self._heap.after(0.0, sender.events.unreachable, link.receiver)

    def after_delay(self, end: BulkEnd, action: Callable[[], object]) -> None:
        """Do that once a message from that end would have arrived."""
        self._heap.after(self._link(end.owner, end.peer).draw_delay(), action)
