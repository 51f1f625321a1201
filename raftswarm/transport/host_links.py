"""Links between hosts, shared by all Raft groups that have members on both: one set of lanes, however many groups.

The one big idea: a link carries channels. Whoever dialled it introduces pairs of members, one of its own and one of the
other side's in the same group, and gives each pair a number; frames in both directions begin with that number. So what
many groups have to say in one turn leaves in one piece, and what happens to the link happens to all of them.

Every host dials every other that it has a group in common with, so there are links in both directions and nobody has to
agree on who dials. When a link breaks, its dialler dials again at once: if that is refused, the process at the other
end has stopped, and every group with a member there hears of it within milliseconds.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Final, Protocol

import attrs
import trio

from raftswarm.errors import ConnectionRefused, LinkClosed, LinkError, NotAuthentic, RaftSwarmError
from raftswarm.raft.log_entry import MemberInfo
from raftswarm.raft.messages import AnyMessage
from raftswarm.transport.redial import Backoff
from raftswarm.wire.errors import WireError
from raftswarm.wire.greetings import Lane, encode_purpose
from raftswarm.wire.member_codec import (
    Introduction,
    decode_introduction,
    encode_introduction,
    encode_message,
    prefix_frame,
    split_frame,
)
from raftswarm.world.network import Link, Network

logger = logging.getLogger("raftswarm.transport")

FIRST_FRAME_SECONDS: Final = 5.0
MESSAGE_LANES: Final = (Lane.CONTROL, Lane.APPEND)
MAX_CHANNELS: Final = 65_536
"""On one link that another host dialled."""


class Correspondent(Protocol):
    """A peer of one of our members: hears what happens on the links to its host. Nothing here may block."""

    @property
    def introduction(self) -> Introduction:
        """Who speaks with whom, on a link that we dial."""
        ...

    def opened(self, channel: Channel) -> None:
        """There is a new link to speak on."""
        ...

    def closed(self, channel: Channel) -> None:
        """That link is gone."""
        ...

    def received(self, channel: Channel, body: memoryview) -> None:
        """The peer said something; WireError if it is nonsense, NotAuthentic if it may not speak for that member."""
        ...

    def refused(self) -> None:
        """Nobody listens at the host's address."""
        ...


class Group(Protocol):
    """One of our members, as far as incoming links are concerned."""

    def meet(self, introduction: Introduction, link: Link) -> Correspondent:
        """Return the peer that speaks; WireError or NotAuthentic if it is mistaken or not who it says."""
        ...

    async def receive_snapshot(self, introduction: Introduction, link: Link) -> None:
        """Serve a link that carries a snapshot, after its introduction; errors as of `meet`."""
        ...


@attrs.define(eq=False, kw_only=True)
class Channel:
    """Two members' share of a link."""

    link: Link
    lane: Lane
    number: int
    introduction: Introduction
    is_dialled: bool
    """The link is one that we dialled."""
    correspondent: Correspondent | None = None
    """Who hears what comes; None while nobody does."""
    introduced: bool = attrs.field(default=attrs.Factory(lambda self: not self.is_dialled, takes_self=True))
    """The other side knows the number."""
    last_note: str = ""

    def introduce(self) -> bool:
        """Tell the other side whose this number is; False if the link has no room for it now."""
        self.introduced = self.link.post(prefix_frame(self.number, encode_introduction(self.introduction)))
        return self.introduced

    def hold(self, message: AnyMessage) -> bool:
        """Queue a message until the link is flushed; False when it is lost."""
        if not self.introduced and not self.introduce():
            return False
        return self.link.hold(prefix_frame(self.number, encode_message(message)))

    def deliver(self, body: memoryview) -> None:
        """Pass a message on; one that nobody may hear is dropped."""
        if self.correspondent is None:
            return
        try:
            self.correspondent.received(self, body)
        except NotAuthentic as error:
            self.correspondent.closed(self)
            self.correspondent = None
            self.note(str(error), logging.WARNING)

    def close(self) -> None:
        """The link is gone."""
        if self.correspondent is not None:
            self.correspondent.closed(self)

    def note(self, sentence: str, level: int) -> None:
        """Log why messages are dropped, once."""
        if sentence != self.last_note:
            self.last_note = sentence
            logger.log(level, "%s from %s: %s", self.lane.name, self.link.remote_address, sentence)


@attrs.define(eq=False)
class _Neighbour:
    """Another host, which groups know by address and node name, and the links that we dial to it."""

    address: str
    name: str
    channels: dict[Correspondent, dict[Lane, Channel]] = attrs.field(factory=dict)
    """Of everybody who speaks with that host, on the links that are open."""
    lines: dict[Lane, _DialledLine] = attrs.field(factory=dict)
    backoffs: dict[Lane, Backoff] = attrs.field(factory=dict)
    dialling: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    last_note: str = ""

    def add(self, correspondent: Correspondent) -> None:
        self.channels[correspondent] = {}
        for line in self.lines.values():
            self.open_channel(correspondent, line)

    def open_channel(self, correspondent: Correspondent, line: _DialledLine) -> None:
        self.channels[correspondent][line.lane] = line.open_channel(correspondent)

    def remove(self, correspondent: Correspondent) -> None:
        for lane, channel in self.channels.pop(correspondent).items():
            channel.correspondent = None
            self.lines[lane].channels.pop(channel.number)
            correspondent.closed(channel)

    def refused(self) -> None:
        for correspondent in self.channels:
            correspondent.refused()

    def hurry(self) -> None:
        for backoff in self.backoffs.values():
            backoff.hurry()

    def note(self, sentence: str) -> None:
        """Log what changed, once: a host that stays away is dialled every second."""
        if sentence != self.last_note:
            self.last_note = sentence
            logger.info("links to %s at %s: %s", self.name or "a host", self.address, sentence)


@attrs.define(eq=False)
class _DialledLine:
    """A link that we dialled: we introduce and number the pairs."""

    link: Link
    lane: Lane
    channels: dict[int, Channel] = attrs.field(factory=dict)
    _last_number: int = 0

    def open_channel(self, correspondent: Correspondent) -> Channel:
        self._last_number += 1  # Never used again: what is still on its way cannot reach somebody else.
        channel = Channel(
            link=self.link,
            lane=self.lane,
            number=self._last_number,
            introduction=correspondent.introduction,
            is_dialled=True,
            correspondent=correspondent,
        )
        self.channels[channel.number] = channel
        channel.introduce()
        correspondent.opened(channel)
        return channel

    def take(self, frame: bytes) -> None:
        """Take in a frame; what is for a pair that we have withdrawn is dropped."""
        number, body = split_frame(frame)
        channel = self.channels.get(number)
        if channel is not None:
            channel.deliver(body)


@attrs.define(eq=False)
class _CalledLine:
    """A link that another host dialled: it introduces and numbers the pairs, and we answer by its numbers."""

    link: Link
    lane: Lane
    _host: HostLinks
    _channels: dict[int, Channel] = attrs.field(factory=dict)
    _numbers: dict[Introduction, int] = attrs.field(factory=dict)

    def take(self, frame: bytes) -> None:
        """Take in a frame; WireError if it is nonsense."""
        number, body = split_frame(frame)
        channel = self._channels.get(number)
        if channel is None:
            self._open_channel(number, decode_introduction(body))
            return
        if channel.correspondent is None:
            self._meet(channel)
        channel.deliver(body)

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def _open_channel(self, number: int, introduction: Introduction) -> None:
        before = self._numbers.get(introduction)
        if before is not None:  # The other side's group was closed and opened again.
            self._channels.pop(before).close()
        elif len(self._channels) >= MAX_CHANNELS:
            raise WireError(f"more than {MAX_CHANNELS} pairs of members on one link")
        channel = Channel(link=self.link, lane=self.lane, number=number, introduction=introduction, is_dialled=False)
        self._channels[number] = channel
        self._numbers[introduction] = number
        self._meet(channel)

    def _meet(self, channel: Channel) -> None:
        """Let the group that is meant hear it; tried again with every message, since groups come and change."""
        try:
            channel.correspondent = self._host.group(channel.introduction.group).meet(channel.introduction, self.link)
        except WireError as error:
            channel.note(str(error), logging.INFO)  # As often as not it is about to be opened.
        except NotAuthentic as error:
            channel.note(str(error), logging.WARNING)
        else:
            channel.correspondent.opened(channel)


class HostLinks:
    """All links of this process to other members' hosts."""

    def __init__(self, network: Network, chance: Random) -> None:
        """`chance` spreads the redialling."""
        self._network = network
        self._chance = chance
        self._groups: dict[str, Group] = {}
        self._neighbours: dict[tuple[str, str], _Neighbour] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Keep links to all hosts open that are spoken with, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                for neighbour in self._neighbours.values():
                    nursery.start_soon(self._dial_lanes, neighbour)
                await trio.sleep_forever()
            finally:
                self._nursery = None

    # For the groups here.

    def enter(self, name: str, group: Group) -> None:
        """Let a group hear what comes in for it."""
        assert name not in self._groups, "a process has one member of a group"
        self._groups[name] = group

    def leave(self, name: str) -> None:
        """Drop what comes in for that group."""
        del self._groups[name]

    def group(self, name: str) -> Group:
        """Return our member of that group; WireError if we have none."""
        group = self._groups.get(name)
        if group is None:
            raise WireError(f"there is no member of group {name} here")
        return group

    def correspond(self, info: MemberInfo, correspondent: Correspondent) -> None:
        """Dial the member's host, if that is not done for others already, and let the correspondent speak there."""
        key = (info.address, info.name)
        neighbour = self._neighbours.get(key)
        if neighbour is None:
            neighbour = self._neighbours[key] = _Neighbour(*key)
            if self._nursery is not None:
                self._nursery.start_soon(self._dial_lanes, neighbour)
        neighbour.add(correspondent)

    def withdraw(self, info: MemberInfo, correspondent: Correspondent) -> None:
        """Let the correspondent speak there no more; the last one hangs up."""
        neighbour = self._neighbours[info.address, info.name]
        neighbour.remove(correspondent)
        if not neighbour.channels:
            neighbour.dialling.cancel()
            del self._neighbours[info.address, info.name]

    def hurry(self, info: MemberInfo) -> None:
        """Dial that host at once: it has just been heard of."""
        self._neighbours[info.address, info.name].hurry()

    @asynccontextmanager
    async def open_bulk(self, info: MemberInfo, introduction: Introduction) -> AsyncIterator[Link]:
        """Dial a link that carries one pair's bulk data and nothing else. LinkError if that fails."""
        link = await self._network.connect(info.address, expect_node=info.name or None)
        try:
            link.post(encode_purpose(Lane.BULK))
            link.post(encode_introduction(introduction))
            yield link
        finally:
            await link.aclose()

    # Links that we dial.

    async def _dial_lanes(self, neighbour: _Neighbour) -> None:
        with neighbour.dialling:
            async with trio.open_nursery() as nursery:
                for lane in MESSAGE_LANES:
                    nursery.start_soon(self._keep_dialled, neighbour, lane)

    async def _keep_dialled(self, neighbour: _Neighbour, lane: Lane) -> None:
        backoff = neighbour.backoffs[lane] = Backoff(self._chance)
        while True:
            await backoff.wait()
            try:
                link = await self._network.connect(neighbour.address, expect_node=neighbour.name or None)
            except ConnectionRefused as error:
                neighbour.note(str(error))
                neighbour.refused()
                backoff.refused()
            except RaftSwarmError as error:
                neighbour.note(str(error))
            else:
                opened = trio.current_time()
                await self._use_dialled(neighbour, link, lane)
                backoff.succeeded(trio.current_time() - opened)

    async def _use_dialled(self, neighbour: _Neighbour, link: Link, lane: Lane) -> None:
        """Speak and listen on a link until it ends."""
        line = neighbour.lines[lane] = _DialledLine(link, lane)
        try:
            link.post(encode_purpose(lane))
            for correspondent in neighbour.channels:
                neighbour.open_channel(correspondent, line)
            if len(neighbour.lines) == len(MESSAGE_LANES):
                neighbour.note("connected")
            while True:
                for frame in await link.receive_many():
                    line.take(frame)
        except LinkClosed as error:
            neighbour.note(str(error))
        except LinkError as error:
            logger.warning("%s to %s: %s", lane.name, neighbour.name or neighbour.address, error)
        finally:
            del neighbour.lines[lane]
            for correspondent, channels in neighbour.channels.items():
                correspondent.closed(channels.pop(lane))
            await link.aclose()

    # Links that others dial.

    async def accept(self, link: Link, lane: Lane) -> None:
        """Serve an incoming link whose first frame named a lane of members."""
        try:
            first = await _receive_first(link)
            if lane is Lane.BULK:
                introduction = decode_introduction(first)
                await self.group(introduction.group).receive_snapshot(introduction, link)
            else:
                await self._use_called(link, lane, first)
        except LinkClosed:
            pass  # The other side's business; ours is to dial.
        except LinkError as error:
            logger.warning("%s from %s: %s", lane.name, link.remote_address, error)

    async def _use_called(self, link: Link, lane: Lane, first: bytes) -> None:
        line = _CalledLine(link, lane, self)
        try:
            line.take(first)
            while True:
                for frame in await link.receive_many():
                    line.take(frame)
        finally:
            line.close()
            await link.aclose()


async def _receive_first(link: Link) -> bytes:
    with trio.move_on_after(FIRST_FRAME_SECONDS):
        return await link.receive()
    raise LinkClosed("the caller did not say which member it is")
