"""Links between Raft members, in lanes: control apart from appends, bulk apart from both.

Every member dials every other, so each pair has links in both directions and nobody has to agree on who dials. A member
speaks on the links it dialled; while it has none, on the one the other side dialled: so a member that joins with an
empty log can answer a leader whose address it has yet to learn. When a link breaks, its dialler dials again at once:
if that is refused, the process at the other end has stopped, and the member hears of it within milliseconds.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain
from random import Random
from typing import Final, Protocol

import attrs
import trio

from raftswarm.ca.identity import MANAGER
from raftswarm.errors import ConnectionRefused, LinkClosed, LinkError, NotAuthentic, RaftSwarmError
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.messages import AnyMessage, AppendEntries, AppendReply, InstallSnapshot, SnapshotReply
from raftswarm.transport.redial import Backoff
from raftswarm.wire.errors import WireError
from raftswarm.wire.greetings import Lane, decode_purpose, encode_purpose
from raftswarm.wire.member_codec import (
    Introduction,
    decode_introduction,
    decode_message,
    encode_introduction,
    encode_message,
)
from raftswarm.world.network import Link, Network

__all__ = ["Lane", "MemberEvents", "MemberLinks", "route_link"]

logger = logging.getLogger("raftswarm.transport")

FIRST_FRAME_SECONDS: Final = 5.0
MESSAGE_LANES: Final = (Lane.CONTROL, Lane.APPEND)


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

    async def receive_snapshot(self, peer: int, link: Link) -> None:
        """Serve a bulk link on which that peer sends a snapshot. Cancelled when somebody begins another one."""
        ...


async def route_link(
    link: Link, *, calls: Callable[[Link], Awaitable[None]], members: Callable[[Link, Lane], Awaitable[None]]
) -> None:
    """Read the first frame of an incoming link and hand the link on to who serves it."""
    lane: Lane | None = None
    try:
        with trio.move_on_after(FIRST_FRAME_SECONDS):
            lane = decode_purpose(await link.receive())
    except WireError as error:
        logger.warning("link from %s: %s", link.remote_address, error)
    if lane is Lane.CALLS:
        await calls(link)
    elif lane is not None:
        if link.peer is None or link.peer.role != MANAGER:
            logger.warning("refused %s from %s, which is not a manager", lane.name, link.remote_address)
        else:
            await members(link, lane)
    await link.aclose()


@attrs.define(eq=False)
class _Peer:
    """Another member, and the links that lead to it."""

    info: MemberInfo
    known: bool = False
    """The configuration lists it."""
    dialled: dict[Lane, Link] = attrs.field(factory=dict)
    called: dict[Lane, Link] = attrs.field(factory=dict)
    """Links that the peer dialled to us."""
    backoffs: dict[Lane, Backoff] = attrs.field(factory=dict)
    dialling: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    loss_told: bool = True
    """The member knows that messages get lost; nothing to say again until one gets through."""
    stop_told: bool = False
    last_note: str = ""

    def link(self, lane: Lane) -> Link | None:
        """The link to speak on."""
        return self.dialled.get(lane) or self.called.get(lane)


class MemberLinks:
    """One member's links to all others."""

    def __init__(self, network: Network, member_id: int, events: MemberEvents, chance: Random | None = None) -> None:
        """`chance` spreads the redialling; by default it follows from the member's id."""
        self._network = network
        self._member_id = member_id
        self._events = events
        self._chance = chance or Random(member_id)  # noqa: S311 - timing, not secrets
        self._peers: dict[int, _Peer] = {}
        self._nursery: trio.Nursery | None = None
        self._incoming_snapshot = trio.CancelScope()

    async def run(self) -> None:
        """Keep links to the members of the configuration open, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for peer in self._peers.values():
                self._start_dialling(peer)
            await trio.sleep_forever()

    def set_configuration(self, configuration: Configuration, before: Configuration | None = None) -> None:
        """Dial whoever is new, hang up on whoever is gone, also from `before`."""
        infos = chain(_all_members(before or configuration), _all_members(configuration))
        members = {info.id: info for info in infos if info.id != self._member_id}
        for peer in list(self._peers.values()):
            if peer.known and members.get(peer.info.id) != peer.info:
                peer.dialling.cancel()
                peer.known = False
                self._forget_if_idle(peer)
        for info in members.values():
            peer = self._peer(info.id)
            if not peer.known:
                peer.known = True
                peer.info = info
                self._start_dialling(peer)

    def post(self, message: AnyMessage) -> bool:
        """Queue on the lane that fits; False when it is lost."""
        peer = self._peers.get(message.to)
        link = peer.link(_lane_of(message)) if peer is not None else None
        if peer is None or link is None:
            return False
        if link.post(encode_message(message)):
            peer.loss_told = False
            return True
        self._tell_loss(peer)
        return False

    async def send_snapshot(self, peer: int, stream: Callable[[Link], Awaitable[None]]) -> None:
        """Let `stream` speak on a bulk link to the peer; what ends it too early is logged."""
        known = self._peers.get(peer)
        if known is None or not known.known:
            return
        try:
            link = await self._dial(known.info, Lane.BULK)
            try:
                await stream(link)
            finally:
                await link.aclose()
        except LinkError as error:
            logger.warning("member %d, snapshot for member %d: %s", self._member_id, peer, error)

    async def wait_room(self) -> None:
        """Return when what is queued for the peers on the lanes of messages is short: bulk data goes last."""
        for peer in list(self._peers.values()):
            for lane in MESSAGE_LANES:
                link = peer.link(lane)
                if link is not None:
                    with contextlib.suppress(LinkClosed):
                        await link.wait_room()

    async def accept(self, link: Link, lane: Lane) -> None:
        """Serve an incoming link whose first frame named a lane of members."""
        try:
            sender = await self._meet(link)
            if lane is Lane.BULK:
                await self._receive_snapshot(link, sender)
            else:
                await self._serve_called(link, lane, self._peer(sender))
        except LinkClosed:
            pass  # The other side's business; ours is to dial.
        except LinkError as error:
            logger.warning("%s from %s: %s", lane.name, link.remote_address, error)

    # Links that we dial.

    def _start_dialling(self, peer: _Peer) -> None:
        if self._nursery is not None and peer.known and peer.info.address:
            peer.dialling = trio.CancelScope()
            self._nursery.start_soon(self._dial_lanes, peer, peer.dialling)

    async def _dial_lanes(self, peer: _Peer, until: trio.CancelScope) -> None:
        with until:
            async with trio.open_nursery() as nursery:
                for lane in MESSAGE_LANES:
                    nursery.start_soon(self._keep_dialled, peer, lane)
        self._forget_if_idle(peer)

    async def _keep_dialled(self, peer: _Peer, lane: Lane) -> None:
        backoff = Backoff(self._chance)
        peer.backoffs[lane] = backoff
        while True:
            await backoff.wait()
            try:
                link = await self._dial(peer.info, lane)
            except ConnectionRefused as error:
                self._note(peer, str(error))
                self._tell_stop(peer)
            except RaftSwarmError as error:
                self._note(peer, str(error))
            else:
                opened = trio.current_time()
                await self._use(link, lane, peer, peer.dialled)
                backoff.succeeded(trio.current_time() - opened)

    async def _dial(self, info: MemberInfo, lane: Lane) -> Link:
        link = await self._network.connect(info.address, expect_node=info.name or None)
        link.post(encode_purpose(lane))
        link.post(encode_introduction(Introduction(sender=self._member_id, to=info.id)))
        return link

    # Links that others dial.

    async def _meet(self, link: Link) -> int:
        """Return which member called; LinkError if it looks for somebody else, or is not who it says."""
        with trio.move_on_after(FIRST_FRAME_SECONDS):
            introduction = decode_introduction(await link.receive())
            if introduction.to != self._member_id or introduction.sender == self._member_id:
                raise WireError(
                    f"member {introduction.sender} looks for member {introduction.to}, and this is {self._member_id}"
                )
            self._vouch(introduction.sender, link)
            return introduction.sender
        raise LinkClosed("the caller did not say which member it is")

    async def _serve_called(self, link: Link, lane: Lane, peer: _Peer) -> None:
        for backoff in peer.backoffs.values():
            backoff.hurry()
        try:
            await self._use(link, lane, peer, peer.called)
        finally:
            self._forget_if_idle(peer)

    async def _receive_snapshot(self, link: Link, sender: int) -> None:
        self._incoming_snapshot.cancel()  # Whoever begins a new one has given up the old one, or leads in its stead.
        with trio.CancelScope() as scope:
            self._incoming_snapshot = scope
            await self._events.receive_snapshot(sender, link)

    # Both.

    async def _use(self, link: Link, lane: Lane, peer: _Peer, links: dict[Lane, Link]) -> None:
        """Speak and listen on a link until it ends."""
        spoken_on = peer.link(lane)
        links[lane] = link
        if peer.link(lane) is not spoken_on:
            self._tell_connected(peer)
        try:
            while True:
                frame = await link.receive()
                self._vouch(peer.info.id, link)
                self._deliver(decode_message(frame), peer.info.id)
        except LinkClosed as error:
            self._note(peer, str(error))
        except LinkError as error:
            logger.warning("%s with member %d: %s", lane.name, peer.info.id, error)
        finally:
            was_spoken_on = peer.link(lane) is link
            if links.get(lane) is link:
                del links[lane]
            await link.aclose()
        if was_spoken_on:
            self._tell_loss(peer)

    def _deliver(self, message: AnyMessage, sender: int) -> None:
        if (message.sender, message.to) != (sender, self._member_id):
            raise WireError(f"member {sender} passed on a message from {message.sender} to {message.to}")
        self._events.received(message)

    def _vouch(self, sender: int, link: Link) -> None:
        """NotAuthentic unless the link's certificate is that of the node the configuration has for the sender."""
        peer = self._peers.get(sender)
        name = peer.info.name if peer is not None else ""
        if name and (link.peer is None or link.peer.node_id != name):
            claimant = link.peer.node_id if link.peer is not None else "a caller without a certificate"
            raise NotAuthentic(f"member {sender} is node {name}, and {claimant} speaks for it")

    def _peer(self, member_id: int) -> _Peer:
        return self._peers.setdefault(member_id, _Peer(MemberInfo(id=member_id)))

    def _forget_if_idle(self, peer: _Peer) -> None:
        if not (peer.known or peer.dialled or peer.called) and self._peers.get(peer.info.id) is peer:
            del self._peers[peer.info.id]

    def _tell_connected(self, peer: _Peer) -> None:
        peer.stop_told = False
        if all(peer.link(lane) for lane in MESSAGE_LANES):
            self._note(peer, "connected")
            self._events.connected(peer.info.id)

    def _tell_stop(self, peer: _Peer) -> None:
        if not peer.stop_told and not peer.dialled and not peer.called:
            peer.stop_told = True
            self._events.stopped(peer.info.id)

    def _tell_loss(self, peer: _Peer) -> None:
        if not peer.loss_told:
            peer.loss_told = True
            self._events.unreachable(peer.info.id)

    def _note(self, peer: _Peer, sentence: str) -> None:
        """Log what changed, once: a peer that stays away is dialled every second."""
        if sentence != peer.last_note:
            peer.last_note = sentence
            logger.info("member %d, with member %d: %s", self._member_id, peer.info.id, sentence)


def _all_members(configuration: Configuration) -> Iterator[MemberInfo]:
    # A member listed twice during a joint change counts with its newer entry.
    yield from configuration.outgoing
    yield from configuration.learners
    yield from configuration.voters


def _lane_of(message: AnyMessage) -> Lane:
    match message:
        case AppendEntries() | AppendReply() | InstallSnapshot() | SnapshotReply():
            return Lane.APPEND
        case _:
            return Lane.CONTROL
