"""A client of a cluster over the network: finds the leader, follows it, and has each command take effect once.

The one big idea: one link at a time, to the leader. Members say who leads, first thing and whenever that changes; the
client goes there and sends again whatever has no answer (`requests`). Callers only wait (`callers`): whatever they ask
for in one pass of the loop leaves as one frame, and what one frame answers wakes them all at once.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from random import Random
from typing import Final

import trio

from raftswarm.ca.identity import WORKER, Credentials, Identity
from raftswarm.consensus.callers import MISSING, Caller, LoneRequest, ManyRequests
from raftswarm.consensus.requests import BATCH_REQUESTS, Conversation, PlainQueue, Queue, Request, SessionQueue
from raftswarm.errors import (
    InvalidSpec,
    LinkClosed,
    NotAuthentic,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    RaftSwarmError,
)
from raftswarm.transport.helpers import open_helpers, require_trio
from raftswarm.transport.plain import open_plain_network
from raftswarm.transport.redial import Backoff
from raftswarm.transport.sockets import parse_address
from raftswarm.transport.tls import open_tls_network
from raftswarm.wire.client_codec import (
    Failures,
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
REFUSED_SECONDS: Final = 10.0
"""Who says that we are of another cluster is asked again after so long: it warns its operator each time."""
KEEP_ALIVE_SECONDS: Final = 300.0
MIN_TIMER_SECONDS: Final = 0.01


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
        self._left_alone: dict[str, float] = {}
        """By address: until when, on trio's clock."""
        self._commands = commands
        self._questions = PlainQueue(bytes, may_repeat=True)
        self._chance = chance
        self._timeout_seconds = timeout_seconds
        self._calls: dict[Caller, None] = {}
        """Oldest first; all have the same patience."""
        self._waiting_count = 0
        """Requests of these calls, answered ones too as long as others of their call are not."""
        self._waiting_bytes = 0
        self._troubles: dict[str, str] = {}
        """By address: why there is no link to a leader, as far as it was asked since there was one."""
        self._leader = ""
        self._talk: tuple[Link, Conversation] | None = None
        """With the leader."""
        self._was_heard = False
        """Since `_watch_silence` looked last."""
        self._heard_at = 0.0
        self._is_closed = False
        self._to_send = trio.lowlevel.ParkingLot()
        self._sender_waits = False

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
        outcome = await self._ask(self._commands, command)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def propose_many(self, commands: Sequence[bytes]) -> list[object]:
        """Replicate commands, in order; return for each its result, or the exception that `propose` would raise.

        PayloadTooLarge, Overloaded and TypeError are raised at once, before any of them is sent.
        """
        commands = list(commands)
        for command in commands:
            check_payload(command)
        size = sum(map(len, commands))
        self._check_room(len(commands), size)
        call = ManyRequests(commands, trio.current_time() + self._timeout_seconds)
        self._calls[call] = None
        self._waiting_count += len(commands)
        self._waiting_bytes += size
        try:
            for request in call.requests:
                self._commands.add(request)
            self._call_sender()
            await call.wait()
        finally:
            del self._calls[call]
            self._waiting_count -= len(commands)
            self._waiting_bytes -= size
        return [
            self._no_answer(request) if outcome is MISSING else outcome
            for request, outcome in zip(call.requests, call.outcomes, strict=True)
        ]

    async def query(self, question: bytes) -> object:
        """Return what the state machine's `query` answers, linearizably.

        Raises:
            NotLeader: nobody could answer in time.
            Rejected: by the state machine.
            InvalidSpec: the state machine cannot be asked.
            PayloadTooLarge, Overloaded, TypeError: as of `propose`; PayloadTooLarge also for an answer above 3 MiB.
        """
        check_payload(question, "question")
        outcome = await self._ask(self._questions, question)
        if isinstance(outcome, OutcomeUnknown):
            raise NotLeader(f"no answer within {self._timeout_seconds:g} seconds: {self._say_troubles()}")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @trio.lowlevel.enable_ki_protection  # For `LoneRequest.wait`.
    async def _ask(self, queue: Queue, body: bytes) -> object:
        """Return the outcome: a result, or the error."""
        size = len(body)
        self._check_room(1, size)
        request = LoneRequest(body, trio.current_time() + self._timeout_seconds)
        self._calls[request] = None
        self._waiting_count += 1
        self._waiting_bytes += size
        try:
            queue.add(request)
            if self._sender_waits:
                self._call_sender()
            outcome = await request.wait()
        finally:
            del self._calls[request]
            self._waiting_count -= 1
            self._waiting_bytes -= size
        return self._no_answer(request) if outcome is MISSING else outcome

    def _call_sender(self) -> None:
        """Let what waits be sent: when everybody in this pass has had their say, or at once if nobody else waits."""
        if not self._sender_waits:
            return
        if self._waiting_count == 1 and self._talk is not None and not self._talk[1].should_pause:
            link, conversation = self._talk
            frame = conversation.next_frame()
            if frame is None or self._post(link, conversation, frame):
                return
        self._sender_waits = False
        self._to_send.unpark()

    def _post(self, link: Link, conversation: Conversation, frame: bytes) -> bool:
        """Send a frame now; False if the link has no room: then it is the next one."""
        if not link.hold(frame):
            conversation.put_back(frame)
            return False
        link.flush()
        return True

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
        return NotLeader(f"no leader was reached {when}, and nothing was sent: {self._say_troubles()}")

    def _say_troubles(self) -> str:
        """Say what was tried since there was a leader."""
        told = [
            trouble if address in trouble else f"{address}: {trouble}" for address, trouble in self._troubles.items()
        ]
        return "; ".join(told) or "nobody was asked yet"

    async def _watch_time(self) -> None:
        """Let calls go whose time is over."""
        while True:
            now = trio.current_time()
            oldest = None
            for call in self._calls:
                if call.deadline > now:
                    oldest = call
                    break
                call.give_up()
            self._commands.forget_abandoned()
            self._questions.forget_abandoned()
            # Who begins to wait while this sleeps has as much time as this sleeps.
            due = now + max(self._timeout_seconds, MIN_TIMER_SECONDS) if oldest is None else oldest.deadline
            await trio.sleep_until(due)

    # The link.

    async def run(self) -> None:
        """Keep a link to the leader, until cancelled."""
        async with open_helpers() as helpers:
            helpers.start_soon(self._watch_time)
            await self._keep_link()

    async def _keep_link(self) -> None:
        backoff = Backoff(self._chance)
        left = ""
        """Who was just found not to lead: members that still name it have yet to notice."""
        while True:
            await backoff.wait()
            address = await self._choose_address()
            began = trio.current_time()
            try:
                leader = await self._visit(address, left)
            except RaftSwarmError as error:
                self._note(address, str(error))
                if isinstance(error, NotAuthentic):
                    self._left_alone[address] = trio.current_time() + REFUSED_SECONDS
                leader = ""
            backoff.succeeded(trio.current_time() - began)
            left = address
            self._ask_last(address)
            if leader:
                self._ask_first(leader)
                backoff.hurry()

    async def _choose_address(self) -> str:
        while True:
            now = trio.current_time()
            for address in self._addresses:
                if self._left_alone.get(address, now) <= now:
                    return address
            await trio.sleep_until(min(self._left_alone[address] for address in self._addresses))

    async def _visit(self, address: str, left: str) -> str:
        """Hear from a member who leads, and stay if it does; return who leads by now, if that is known."""
        async with self._dial(address) as link:
            leader = await self._hear_of_leader(link, address, left)
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

    async def _hear_of_leader(self, link: Link, address: str, left: str) -> str | None:
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
                    case Failures(error=refusal):
                        raise decode_failure(refusal)
                    case _:
                        raise WireError("a member answered before it was asked")
        self._note(address, "it knows of no leader")
        return ""

    async def _stay(self, link: Link, address: str) -> str:
        """Talk to the leader as long as it is one; return who is next, if it says so."""
        conversation = Conversation(self._commands, self._questions)
        self._leader, self._talk = address, (link, conversation)
        self._was_heard = False
        self._troubles.clear()
        listening = trio.CancelScope()
        try:
            async with open_helpers() as helpers:
                helpers.start_soon(self._send, link, conversation)
                helpers.start_soon(self._keep_alive)
                helpers.start_soon(self._watch_silence, link, conversation, listening)
                with listening:
                    return await self._receive(link, conversation, address)
                raise LinkClosed(f"it has been silent for {2 * SILENCE_SECONDS:g} seconds")
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
                    self._sender_waits = True
                    await self._to_send.park()
                elif not self._post(link, conversation, frame):
                    await link.wait_room()

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(KEEP_ALIVE_SECONDS)
            self._commands.keep_alive()
            self._call_sender()

    async def _receive(self, link: Link, conversation: Conversation, address: str) -> str:
        woken = 0
        while True:
            match decode_from_member(await link.receive()):
                case Whereabouts() as whereabouts:
                    self._learn(whereabouts)
                    if not whereabouts.leads:
                        self._note(address, "it leads no more")
                        return whereabouts.leader
                case outcomes:
                    woken += conversation.take(outcomes)
                    if conversation.has_more:
                        self._call_sender()
            self._was_heard, self._heard_at = True, trio.current_time()
            if woken >= BATCH_REQUESTS:
                woken = 0
                await trio.lowlevel.checkpoint()  # Those who were woken come before the next ones.

    async def _watch_silence(self, link: Link, conversation: Conversation, listening: trio.CancelScope) -> None:
        """Ask who owes us an answer and is silent whether it lives; stop listening if it goes on being silent."""
        due, was_asked = trio.current_time() + SILENCE_SECONDS, False
        while True:
            await trio.sleep_until(due)
            if self._was_heard:
                due, self._was_heard, was_asked = self._heard_at + SILENCE_SECONDS, False, False
            elif was_asked:
                listening.cancel()
                return
            else:
                was_asked = conversation.is_waiting and link.post(encode_from_client(Look()))
                due += SILENCE_SECONDS

    def _learn(self, whereabouts: Whereabouts) -> None:
        """Forget who takes part no more, but not the addresses that we were given: members may come back there."""
        known = {*self._given, *whereabouts.members}
        told = (*self._addresses, *whereabouts.members)
        self._addresses = list(dict.fromkeys(address for address in told if address in known))

    def _ask_first(self, address: str) -> None:
        self._addresses = list(dict.fromkeys([address, *self._addresses]))

    def _ask_last(self, address: str) -> None:
        if address in self._addresses:
            self._addresses.remove(address)
            self._addresses.append(address)

    def _note(self, address: str, trouble: str) -> None:
        """Log what is new; it may become a caller's error."""
        if self._troubles.get(address) != trouble:
            self._troubles[address] = trouble
            logger.info("client: %s: %s", address, trouble)

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
