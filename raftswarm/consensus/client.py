"""A client of a cluster over the network: finds the leader, follows it, and has each command take effect once.

The one big idea: one link at a time, to the leader. Members say who leads, first thing and whenever that changes; the
client goes there and sends again whatever has no answer (`requests`). Callers only wait.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from random import Random
from typing import Final

import trio

from raftswarm.ca.identity import WORKER, Credentials, Identity
from raftswarm.consensus.requests import Conversation, PlainQueue, Queue, Request, SessionQueue
from raftswarm.errors import InvalidSpec, LinkClosed, NotLeader, OutcomeUnknown, Overloaded, RaftSwarmError
from raftswarm.transport.helpers import open_helpers, require_trio
from raftswarm.transport.plain import open_plain_network
from raftswarm.transport.redial import Backoff
from raftswarm.transport.sockets import parse_address
from raftswarm.transport.tls import open_tls_network
from raftswarm.wire.client_codec import (
    Failures,
    FromMember,
    Hello,
    Look,
    Whereabouts,
    decode_from_member,
    encode_from_client,
)
from raftswarm.wire.envelopes import NONCE_BYTES, check_payload, encode_plain
from raftswarm.wire.errors import WireError
from raftswarm.wire.failures import decode_failure
from raftswarm.wire.greetings import Lane, encode_purpose
from raftswarm.world.chance import SystemEntropy
from raftswarm.world.clock import SystemWallClock
from raftswarm.world.network import Link, Network

logger = logging.getLogger("raftswarm.clients")

TIMEOUT_SECONDS: Final = 30.0
MAX_WAITING: Final = 65_536
"""Requests that wait for an answer in one client."""
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
MEETING_SECONDS: Final = 1.0
"""How long a member may take to let us in and name a leader; then another one is asked."""
SILENCE_SECONDS: Final = 1.0
"""A member that has to answer and is silent for so long is asked whether it lives; as long again, and we go."""
RETRY_SECONDS: Final = 0.02
KEEP_ALIVE_SECONDS: Final = 300.0


@asynccontextmanager
async def connect(
    addresses: Iterable[str],
    *,
    cluster: str = "embedded",
    group: str = "",
    credentials: Credentials | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    exactly_once: bool = True,
) -> AsyncIterator[Client]:
    """Talk to a cluster for as long as the block lasts.

    Args:
        addresses: ``host:port`` of some members; one that can be reached is enough, the others are learned.
        cluster: as its members were told.
        group: which group of its hosts is meant, if they were opened with `open_host`.
        credentials: certificate, key and root for mutual TLS: any certificate of the cluster's root will do. Without
            them links are plain TCP between loopback addresses.
        timeout_seconds: how long a call waits for its answer.
        exactly_once: send commands in a session, which survives lost links and leaders: each takes effect once, in
            the order of the calls. Without, a command whose answer is lost raises `OutcomeUnknown`.

    Raises:
        InvalidSpec: an address that cannot be dialled, or none. Whether anybody answers shows with the first call.
    """
    require_trio()
    places = _check_addresses(addresses, plain=credentials is None)
    chance = Random(SystemEntropy().token_bytes(32))  # noqa: S311 - timing, and numbers no other client draws
    async with (
        _open_network(cluster, credentials, chance) as network,
        open_client(
            network,
            f"{cluster}/{group}" if group else cluster,
            places,
            chance,
            timeout_seconds=timeout_seconds,
            exactly_once=exactly_once,
        ) as client,
    ):
        yield client


def _check_addresses(addresses: Iterable[str], *, plain: bool) -> list[str]:
    if isinstance(addresses, str):
        raise InvalidSpec("`addresses` is a list of addresses, not one: put it in brackets")
    places = list(addresses)
    if not places:
        raise InvalidSpec("name the address of at least one member")
    for place in places:
        if not parse_address(place).is_loopback and plain:
            raise InvalidSpec(f"links without TLS stay on this machine, and {place} is elsewhere: pass `credentials`")
    return places


def _open_network(
    cluster: str, credentials: Credentials | None, chance: Random
) -> AbstractAsyncContextManager[Network]:
    if credentials is None:
        return open_plain_network(Identity(f"client-{chance.randbytes(6).hex()}", WORKER, cluster))
    return open_tls_network(SystemWallClock(), credentials=credentials)


@asynccontextmanager
async def open_client(
    network: Network,
    group: str,
    addresses: Sequence[str],
    chance: Random,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    exactly_once: bool = True,
) -> AsyncIterator[Client]:
    """Talk to a group, by its full name, over a network that is there already."""
    commands: Queue = (
        SessionQueue(lambda: chance.randbytes(NONCE_BYTES))
        if exactly_once
        else PlainQueue(encode_plain, may_repeat=False)
    )
    client = Client(network, group, addresses, commands, chance, timeout_seconds)
    async with open_helpers() as helpers:
        helpers.start_soon(client.run)
        try:
            yield client
        finally:
            client.close()


class Client:
    """Talks to a cluster, whoever leads it; made by `connect` or `RaftMember.client`."""

    def __init__(
        self,
        network: Network,
        group: str,
        addresses: Sequence[str],
        commands: Queue,
        chance: Random,
        timeout_seconds: float,
    ) -> None:
        self._network = network
        self._group = group
        self._given = list(addresses)
        self._addresses = list(addresses)
        """Where to ask, in this order: whoever was just asked in vain goes to the end."""
        self._commands = commands
        self._questions = PlainQueue(bytes, may_repeat=True)
        self._chance = chance
        self._timeout_seconds = timeout_seconds
        self._calls: dict[_Call, None] = {}
        self._waiting_count = 0
        """Requests of these calls, answered ones too as long as others of their call are not."""
        self._waiting_bytes = 0
        self._trouble = "none has answered yet"
        """Why there is no link to a leader."""
        self._leader = ""
        self._talk: tuple[Link, Conversation] | None = None
        """With the leader."""
        self._is_closed = False
        self._to_send = trio.lowlevel.ParkingLot()

    @property
    def leader(self) -> str:
        """Address of the member that is spoken to; empty while none that leads is found."""
        return self._leader

    async def propose(self, command: bytes) -> object:
        """Replicate a command; return what the state machine answered, as msgpack values (tuples come as lists).

        Cancelled, it may be applied all the same.

        Raises:
            Rejected: the state machine refused it, and has not changed. `SessionExpired`: its session had ended before
                it came; later commands open another one.
            OutcomeUnknown: no answer came in time; it may be applied, now or later, and once at most.
            NotLeader: no leader was reached in time, and nothing was sent.
            PayloadTooLarge: nothing was sent; a command has at most 1.5 MiB.
            Overloaded: nothing was sent; too much waits for answers in this client.
            ResultLost: it was applied, but its result cannot be told.
            TypeError: a command is bytes.
        """
        check_payload(command)
        [outcome] = await self._ask(self._commands, [command])
        return _unwrap(outcome)

    async def propose_many(self, commands: Sequence[bytes]) -> list[object]:
        """Replicate commands, in order; return for each its result, or the exception that `propose` would raise.

        PayloadTooLarge, Overloaded and TypeError are raised at once, before any of them is sent.
        """
        commands = list(commands)
        for command in commands:
            check_payload(command)
        return await self._ask(self._commands, commands)

    async def query(self, question: bytes) -> object:
        """Return what the state machine's `query` answers, linearizably.

        Raises:
            NotLeader: nobody could answer in time.
            Rejected: by the state machine.
            InvalidSpec: the state machine cannot be asked.
            PayloadTooLarge, Overloaded, TypeError: as of `propose`; PayloadTooLarge also for an answer above 3 MiB.
        """
        check_payload(question, "question")
        [outcome] = await self._ask(self._questions, [question])
        if isinstance(outcome, OutcomeUnknown):
            raise NotLeader(f"no answer within {self._timeout_seconds:g} seconds: {self._trouble}")
        return _unwrap(outcome)

    async def _ask(self, queue: Queue, bodies: Sequence[bytes]) -> list[object]:
        size = sum(map(len, bodies))
        self._check_room(len(bodies), size)
        call = _Call(len(bodies))
        requests = [Request(body, call, place) for place, body in enumerate(bodies)]
        self._calls[call] = None
        self._waiting_count += len(bodies)
        self._waiting_bytes += size
        try:
            for request in requests:
                queue.add(request)
            self._to_send.unpark()
            with trio.move_on_after(self._timeout_seconds):
                await call.wait()
            return [
                self._no_answer(request) if outcome is _MISSING else outcome
                for request, outcome in zip(requests, call.outcomes, strict=True)
            ]
        finally:
            call.is_over = True
            del self._calls[call]
            self._waiting_count -= len(bodies)
            self._waiting_bytes -= size

    def _check_room(self, count: int, size: int) -> None:
        if self._is_closed:
            raise NotLeader("this client is closed, and nothing was sent")
        waiting = self._waiting_count
        if waiting and (waiting + count > MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES):
            raise Overloaded(f"{waiting} requests wait for answers already: wait for some of them")

    def _no_answer(self, request: Request) -> RaftSwarmError:
        when = "before the client was closed" if self._is_closed else f"within {self._timeout_seconds:g} seconds"
        if request.times_sent:
            return OutcomeUnknown(f"no answer came {when}; the command was sent, and may be applied now or later")
        if self._leader:
            return Overloaded(f"nothing was sent {when}: earlier requests wait for their answers")
        return NotLeader(f"no leader was reached {when}, and nothing was sent: {self._trouble}")

    # The link.

    async def run(self) -> None:
        """Keep a link to the leader, until cancelled."""
        backoff = Backoff(self._chance)
        left = ""
        """Who was just found not to lead: members that still name it have yet to notice."""
        while True:
            await backoff.wait()
            address = self._addresses[0]
            began = trio.current_time()
            try:
                leader = await self._visit(address, left)
            except RaftSwarmError as error:
                self._note(f"{address}: {error}")
                leader = ""
            backoff.succeeded(trio.current_time() - began)
            left = address
            self._addresses.append(self._addresses.pop(0))
            if leader:
                self._ask_first(leader)
                backoff.hurry()

    async def _visit(self, address: str, left: str) -> str:
        """Hear from a member who leads, and stay if it does; return who leads by now, if that is known."""
        async with self._dial(address) as link:
            leader = await self._hear_of_leader(link, left)
            return leader if leader is not None else await self._stay(link, address)

    @asynccontextmanager
    async def _dial(self, address: str) -> AsyncIterator[Link]:
        link: Link | None = None
        with trio.move_on_after(MEETING_SECONDS):
            link = await self._network.connect(address)
        if link is None:
            raise LinkClosed(f"it did not let us in within {MEETING_SECONDS:g} seconds")
        try:
            link.post(encode_purpose(Lane.CLIENTS))
            link.post(encode_from_client(Hello(self._group)))
            yield link
        finally:
            await link.aclose()

    async def _hear_of_leader(self, link: Link, left: str) -> str | None:
        """Return who leads, other than whom we `left`; None if it is who speaks."""
        with trio.move_on_after(MEETING_SECONDS):
            while True:
                match decode_from_member(await link.receive()):
                    case Whereabouts() as whereabouts:
                        self._learn(whereabouts)
                        if whereabouts.leads:
                            return None
                        if whereabouts.leader not in {"", left}:
                            return whereabouts.leader
                    case Failures(errors=[refusal, *_]):
                        raise decode_failure(refusal)
                    case _:
                        raise WireError("a member answered before it was asked")
        self._note(f"{link.remote_address} knows of no leader")
        return ""

    async def _stay(self, link: Link, address: str) -> str:
        """Talk to the leader as long as it is one; return who is next, if it says so."""
        conversation = Conversation(self._commands, self._questions)
        self._leader, self._talk = address, (link, conversation)
        try:
            async with open_helpers() as helpers:
                helpers.start_soon(self._send, link, conversation)
                helpers.start_soon(self._keep_alive)
                return await self._receive(link, conversation)
        finally:
            self._leader, self._talk = "", None
            conversation.end()

    async def _send(self, link: Link, conversation: Conversation) -> None:
        with suppress(LinkClosed):  # The receiver hears of it, too.
            while True:
                if conversation.should_pause:
                    await trio.sleep(RETRY_SECONDS)
                    conversation.should_pause = False
                frame = conversation.next_frame()
                if frame is None:
                    await self._to_send.park()
                else:
                    while not link.post(frame):
                        await link.wait_room()

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(KEEP_ALIVE_SECONDS)
            self._commands.keep_alive()
            self._to_send.unpark()

    async def _receive(self, link: Link, conversation: Conversation) -> str:
        while True:
            match await self._hear(link, conversation):
                case Whereabouts() as whereabouts:
                    self._learn(whereabouts)
                    if not whereabouts.leads:
                        self._note(f"{link.remote_address} leads no more")
                        return whereabouts.leader
                case outcomes:
                    conversation.take(outcomes)
                    self._to_send.unpark()

    async def _hear(self, link: Link, conversation: Conversation) -> FromMember:
        was_asked = False
        while True:
            with trio.move_on_after(SILENCE_SECONDS):
                return decode_from_member(await link.receive())
            if was_asked:
                raise LinkClosed(f"it has been silent for {2 * SILENCE_SECONDS:g} seconds")
            was_asked = conversation.is_waiting and link.post(encode_from_client(Look()))

    def _learn(self, whereabouts: Whereabouts) -> None:
        """Forget who takes part no more, but not the addresses that we were given: members may come back there."""
        known = {*self._given, *whereabouts.members}
        told = (*self._addresses, *whereabouts.members)
        self._addresses = list(dict.fromkeys(address for address in told if address in known))

    def _ask_first(self, address: str) -> None:
        self._addresses = list(dict.fromkeys([address, *self._addresses]))

    def _note(self, trouble: str) -> None:
        """Log what is new; it may become a caller's error."""
        if trouble != self._trouble:
            self._trouble = trouble
            logger.info("client: %s", trouble)

    def close(self) -> None:
        """Let the cluster forget the session, and callers go."""
        self._is_closed = True
        if self._talk is not None:
            link, conversation = self._talk
            farewell = conversation.last_frame()
            if farewell is not None:
                link.post(farewell)
        for call in self._calls:
            call.give_up()


_MISSING: Final = object()


class _Call:
    """Some requests of one caller, and what became of them."""

    def __init__(self, count: int) -> None:
        self.outcomes: list[object] = [_MISSING] * count
        self.is_over = False
        self._missing = count
        self._all_there = trio.Event()

    def settle(self, place: int, outcome: object) -> None:
        """Take the outcome of the request at that place: a result, or the error."""
        self.outcomes[place] = outcome
        self._missing -= 1
        if not self._missing:
            self._all_there.set()

    def give_up(self) -> None:
        """Let the caller have what there is."""
        self._all_there.set()

    async def wait(self) -> None:
        """Return when all outcomes are there."""
        if self._missing:
            await self._all_there.wait()
        else:
            await trio.lowlevel.checkpoint()


def _unwrap(outcome: object) -> object:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
