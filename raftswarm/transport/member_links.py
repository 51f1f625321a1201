"""One Raft member's links to the others of its group, in lanes: control apart from appends, bulk apart from both.

The links themselves belong to the host and are shared with its other groups (`host_links`). A member speaks on those
that its host dialled; while there is none, on the one that the other side dialled: so a member that joins with an empty
log can answer a leader whose address it has yet to learn.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain
from typing import Final, Protocol

import attrs
import trio

from raftswarm.ca.identity import MANAGER
from raftswarm.errors import LinkClosed, LinkError, NotAuthentic
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.messages import AnyMessage, AppendEntries, AppendReply, InstallSnapshot, SnapshotReply
from raftswarm.transport.host_links import FIRST_FRAME_SECONDS, MESSAGE_LANES, Channel, Correspondent, HostLinks
from raftswarm.wire.errors import WireError
from raftswarm.wire.greetings import Lane, decode_purpose
from raftswarm.wire.member_codec import (
    Introduction,
    decode_introduction,
    decode_message,
    encode_introduction,
    prefix_frame,
)
from raftswarm.world.network import Link

__all__ = ["Lane", "MemberEvents", "MemberLinks", "route_link"]

logger = logging.getLogger("raftswarm.transport")


class MemberEvents(Protocol):
    """Who is told; all are called on the loop and must not block."""

    def received(self, message: AnyMessage) -> None:
        """A peer's message; its sender is who the link's certificate and the configuration say."""
        ...

    def connected(self, peer: int) -> None:
        """Control and append lanes to the peer are open; again whenever one of them is a new link."""
        ...

    def stopped(self, peer: int) -> None:
        """The link broke and reconnecting was refused."""
        ...

    def unreachable(self, peer: int) -> None:
        """Messages to the peer were lost."""
        ...

    def superseded(self, epoch: int) -> None:
        """The cluster goes on in that later epoch: this member is not part of it."""
        ...

    async def receive_snapshot(self, peer: int, link: Link) -> None:
        """Serve a bulk link on which that peer sends a snapshot. Cancelled when somebody begins another one."""
        ...


async def route_link(
    link: Link,
    *,
    calls: Callable[[Link], Awaitable[None]],
    members: Callable[[Link, Lane], Awaitable[None]],
    clients: Callable[[Link], Awaitable[None]] | None = None,
) -> None:
    """Read the first frame of an incoming link and hand the link on to who serves it, if somebody does."""
    lane: Lane | None = None
    try:
        with trio.move_on_after(FIRST_FRAME_SECONDS):
            lane = decode_purpose(await link.receive())
    except WireError as error:
        logger.warning("link from %s: %s", link.remote_address, error)
    if lane is Lane.CALLS:
        await calls(link)
    elif lane is Lane.CLIENTS:
        if clients is None or link.peer is None:
            logger.warning("refused a client from %s", link.remote_address)
        else:
            await clients(link)
    elif lane is not None:
        if link.peer is None or link.peer.role != MANAGER:
            logger.warning("refused %s from %s, which is not a manager", lane.name, link.remote_address)
        else:
            await members(link, lane)
    await link.aclose()


class MemberLinks:
    """One member's links to all others of its group (`host_links.Group`)."""

    def __init__(self, host: HostLinks, group: str, member_id: int, events: MemberEvents, *, epoch: int = 0) -> None:
        """`group` is what the members call what they have in common: its name is the same on all hosts."""
        self._host = host
        self._group = group
        self._member_id = member_id
        self._events = events
        self._epoch = epoch
        self._peers: dict[int, _Peer] = {}
        self._running = False
        self._held: list[Link] = []
        """Links with messages that wait for `flush`."""
        self._incoming_snapshot = trio.CancelScope()

    async def run(self) -> None:
        """Keep links to the members of the configuration open, until cancelled."""
        self._host.enter(self._group, self)
        self._running = True
        for peer in self._peers.values():
            peer.dial()
        try:
            await trio.sleep_forever()
        finally:
            self._running = False
            for peer in list(self._peers.values()):
                peer.hang_up()
                peer.hear_no_more()
            self._host.leave(self._group)

    def set_configuration(self, configuration: Configuration, before: Configuration | None = None) -> None:
        """Dial whoever is new, hang up on whoever is neither here nor in `before`, which is committed."""
        infos = chain(_all_members(before or configuration), _all_members(configuration))
        members = {info.id: info for info in infos if info.id != self._member_id}
        for peer in list(self._peers.values()):
            if peer.known and not _is_same_node(peer.info, members.get(peer.info.id)):
                peer.hang_up()
                peer.known = False
                self._forget_if_idle(peer)
        for info in members.values():
            peer = self._peer(info.id)
            if not peer.known:
                peer.known = True
                peer.info = info
                if self._running:
                    peer.dial()

    def post(self, message: AnyMessage) -> bool:
        """Queue on the lane that fits, until `flush`; False when it is lost."""
        peer = self._peers.get(message.to)
        channel = peer.channel(_lane_of(message)) if peer is not None else None
        if peer is None or channel is None:
            return False
        if channel.hold(message):
            self._held.append(channel.link)
            peer.loss_told = False
            return True
        peer.tell_loss()
        return False

    def flush(self) -> None:
        """Let what was posted leave, in one piece per link."""
        for link in self._held:
            link.flush()
        self._held.clear()

    async def send_snapshot(self, peer: int, stream: Callable[[Link], Awaitable[None]]) -> None:
        """Let `stream` speak on a bulk link to the peer; what ends it too early is logged."""
        known = self._peers.get(peer)
        if known is None or not known.known:
            return
        try:
            async with self._host.open_bulk(known.info, known.introduction) as link:
                await stream(link)
        except LinkError as error:
            logger.warning("member %d, snapshot for member %d: %s", self._member_id, peer, error)

    async def wait_room(self) -> None:
        """Return when what is queued for the peers on the lanes of messages is short: bulk data goes last."""
        for peer in list(self._peers.values()):
            for lane in MESSAGE_LANES:
                channel = peer.channel(lane)
                if channel is not None:
                    with contextlib.suppress(LinkClosed):
                        await channel.link.wait_room()

    # What comes in.

    def meet(self, introduction: Introduction, link: Link) -> Correspondent:
        """Return the peer that speaks on a link; WireError or NotAuthentic if it is mistaken or not who it says."""
        if introduction.epoch < self._epoch:
            return _LeftBehind(self._introduce_to(introduction.sender))
        self._check(introduction, link)
        return self._peer(introduction.sender)

    async def receive_snapshot(self, introduction: Introduction, link: Link) -> None:
        """Serve a bulk link after its introduction; errors as of `meet`."""
        self._check(introduction, link)
        self._incoming_snapshot.cancel()  # Whoever begins a new one has given up the old one, or leads in its stead.
        with trio.CancelScope() as scope:
            self._incoming_snapshot = scope
            await self._events.receive_snapshot(introduction.sender, link)

    def _check(self, introduction: Introduction, link: Link) -> None:
        sender = introduction.sender
        if introduction.epoch != self._epoch:
            if introduction.epoch > self._epoch:
                self._events.superseded(introduction.epoch)
            raise WireError(f"member {sender} is of epoch {introduction.epoch}, and this one of {self._epoch}")
        if introduction.to != self._member_id or sender == self._member_id:
            raise WireError(f"member {sender} looks for member {introduction.to}, and this is {self._member_id}")
        known = self._peers.get(sender)
        if known is not None:
            known.vouch(link)

    def _peer(self, member_id: int) -> _Peer:
        introduction = self._introduce_to(member_id)
        unknown = _Peer(introduction, MemberInfo(id=member_id), self._host, self._events, self._forget_if_idle)
        return self._peers.setdefault(member_id, unknown)

    def _introduce_to(self, member_id: int) -> Introduction:
        return Introduction(group=self._group, sender=self._member_id, to=member_id, epoch=self._epoch)

    def _forget_if_idle(self, peer: _Peer) -> None:
        if not (peer.known or peer.dialled or peer.called) and self._peers.get(peer.info.id) is peer:
            del self._peers[peer.info.id]


@attrs.define(eq=False)
class _Peer:
    """Another member of the group (`host_links.Correspondent`), and what leads to it."""

    introduction: Introduction
    """What we say of ourselves on links to it."""
    info: MemberInfo
    _host: HostLinks
    _events: MemberEvents
    _gone: Callable[[_Peer], None]
    known: bool = False
    """The configuration lists it."""
    dialled: dict[Lane, Channel] = attrs.field(factory=dict)
    called: dict[Lane, Channel] = attrs.field(factory=dict)
    """On links that its host dialled to ours."""
    loss_told: bool = True
    """The member knows that messages get lost; nothing to say again until one gets through."""
    stop_told: bool = False
    _is_dialled: bool = False

    def channel(self, lane: Lane) -> Channel | None:
        """What to speak on."""
        return self.dialled.get(lane) or self.called.get(lane)

    def dial(self) -> None:
        """Have links to its host, if the configuration says where it is."""
        if self.known and self.info.address:
            self._is_dialled = True
            self._host.correspond(self.info, self)

    def hang_up(self) -> None:
        """Speak no more on links that we dialled."""
        if self._is_dialled:
            self._is_dialled = False
            self._host.withdraw(self.info, self)

    def hear_no_more(self) -> None:
        """Leave what comes on links that its host dialled to whoever takes this group's place."""
        for channel in list(self.called.values()):
            channel.correspondent = None
            self.closed(channel)

    def vouch(self, link: Link) -> None:
        """NotAuthentic unless the link's certificate is that of the node the configuration has for this member."""
        name = self.info.name
        if name and (link.peer is None or link.peer.node_id != name):
            claimant = link.peer.node_id if link.peer is not None else "a caller without a certificate"
            raise NotAuthentic(f"member {self.info.id} is node {name}, and {claimant} speaks for it")

    # What the links tell.

    def opened(self, channel: Channel) -> None:
        """Speak on a new link, if it is the better one."""
        spoken_on = self.channel(channel.lane)
        self._channels_like(channel)[channel.lane] = channel
        if self._is_dialled and not channel.is_dialled:
            self._host.hurry(self.info)
        if self.channel(channel.lane) is not spoken_on:
            self.stop_told = False
            if all(self.channel(lane) for lane in MESSAGE_LANES):
                self._events.connected(self.info.id)

    def closed(self, channel: Channel) -> None:
        """Speak on another link, if there is one."""
        was_spoken_on = self.channel(channel.lane) is channel
        channels = self._channels_like(channel)
        if channels.get(channel.lane) is channel:
            del channels[channel.lane]
        if was_spoken_on:
            self.tell_loss()
        if self._is_dialled and not channel.is_dialled and not self.dialled and not self.called:
            self._host.hurry(self.info)  # A refusal that came before the last link broke told nothing.
        self._gone(self)

    def _channels_like(self, channel: Channel) -> dict[Lane, Channel]:
        return self.dialled if channel.is_dialled else self.called

    def received(self, channel: Channel, body: memoryview) -> None:
        """Pass on what the peer said; WireError if it is nonsense, NotAuthentic if it may not speak."""
        self.vouch(channel.link)
        try:
            message = decode_message(body)
        except WireError:
            self._take_answer(body)
            return
        if (message.sender, message.to) != (self.introduction.to, self.introduction.sender):
            raise WireError(f"member {self.introduction.to} passed on a message from {message.sender} to {message.to}")
        self._events.received(message)

    def _take_answer(self, body: memoryview) -> None:
        """Take in what is no message: the introduction of a member that has gone on without us; else WireError."""
        answer = decode_introduction(body)
        if answer.group != self.introduction.group or answer.epoch <= self.introduction.epoch:
            raise WireError(f"member {answer.sender} introduces itself on a link that it did not dial")
        self._events.superseded(answer.epoch)

    def refused(self) -> None:
        """Tell that the peer's process has stopped."""
        if not self.stop_told and not self.dialled and not self.called:
            self.stop_told = True
            self._events.stopped(self.info.id)

    def tell_loss(self) -> None:
        """Tell, once, that messages got lost."""
        if not self.loss_told:
            self.loss_told = True
            self._events.unreachable(self.info.id)


@attrs.frozen
class _LeftBehind:
    """A member of an earlier epoch that still calls (`host_links.Correspondent`): it is told so, and not heard."""

    introduction: Introduction
    """Ours."""

    def opened(self, channel: Channel) -> None:
        """Tell it."""
        channel.link.post(prefix_frame(channel.number, encode_introduction(self.introduction)))

    def closed(self, channel: Channel) -> None:
        """It matters to nobody."""

    def received(self, channel: Channel, body: memoryview) -> None:
        """What it says counts for nothing."""

    def refused(self) -> None:
        """It is not dialled."""


def _is_same_node(info: MemberInfo, other: MemberInfo | None) -> bool:
    """A change of a member's part, or of its priority, leaves its links alone."""
    return other is not None and (info.address, info.name) == (other.address, other.name)


def _all_members(configuration: Configuration) -> Iterator[MemberInfo]:
    # A member listed twice during a joint change counts with its newer entry.
    yield from configuration.outgoing
    yield from configuration.learners
    yield from configuration.voters


_APPEND_LANE: Final = frozenset({AppendEntries, AppendReply, InstallSnapshot, SnapshotReply})


def _lane_of(message: AnyMessage) -> Lane:
    return Lane.APPEND if type(message) in _APPEND_LANE else Lane.CONTROL
