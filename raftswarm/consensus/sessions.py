"""Client sessions: each command of a session takes effect once, however often it is proposed (dissertation 6.3).

The one big idea: sessions are part of the replicated state. Commands of a session are numbered and applied in the order
of their numbers; the answers are remembered until the client says that it has them, so a command that comes again is
answered and not applied. A gap is refused and changes nothing: whatever got lost is sent again from there on, so each
session is first in, first out, also with thousands of commands in flight.

Sessions end by being closed, by the time of the log's entries, or when others need their room, never by a local clock:
every member forgets the same session at the same command.
"""

from __future__ import annotations

import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import attrs
import msgspec

from raftswarm.consensus.rules import SessionRule
from raftswarm.errors import Conflict, ForeignState, OutOfOrder, Rejected, ResultLost, SessionExpired, SessionFull
from raftswarm.raft.rules import RuleSink, ignore_rule
from raftswarm.raft.state_machine import (
    CHUNK_BYTES,
    Capture,
    Context,
    Queryable,
    StateMachine,
    prepare_restore,
)
from raftswarm.wire.envelopes import (
    COMMAND_HEADER_BYTES,
    CloseSession,
    EnvelopeKind,
    KeepAlive,
    OpenSession,
    SessionRequest,
    decode_session_request,
    unpack_command_header,
)
from raftswarm.wire.errors import WireError
from raftswarm.wire.values import decode_value, encode_value

FORMAT_VERSION: Final = 1

_PLAIN: Final = int(EnvelopeKind.PLAIN)
_COMMAND: Final = int(EnvelopeKind.COMMAND)

# What a remembered answer begins with; msgpack follows (docs/formats.md).
_DONE: Final = b"\x00"
_REJECTED: Final = b"\x01"
_LOST: Final = b"\x02"
_NOTHING: Final = _DONE + encode_value(None)
"""What most machines answer most commands; one object for all of them."""

_REJECTIONS: Final = {kind.__name__: kind for kind in (Rejected, Conflict)}
"""What a remembered rejection comes back as; a machine's own kinds come back as `Rejected`, with their words."""


@attrs.frozen(kw_only=True)
class SessionLimits:
    """How much is remembered. The same on every member, or their states drift apart."""

    sessions: int = 4096
    """With one more, the one that was used least recently goes."""
    idle_seconds: int = 3600
    """A session that is not used for so long, by the entries' times, expires."""
    answers: int = 4096
    """How many answers a session may leave without saying that it has them."""
    answer_bytes: int = 4 * 1024 * 1024
    """The same in bytes; the last one may exceed it."""
    all_answer_bytes: int = 128 * 1024 * 1024
    """Of all sessions together; beyond that the one that was used least recently goes."""


@attrs.define(eq=False)
class _Session:
    id: int
    nonce: bytes
    used_ns: int
    """The time of its newest entry."""
    acknowledged: int = 0
    """The client has the answers up to this number."""
    last: int = 0
    """Number of the newest command that was applied."""
    answers: deque[bytes] = attrs.field(factory=deque)
    """Those of the numbers after `acknowledged`, up to `last`: without a gap, since commands are applied in order."""
    answer_bytes: int = 0


def name_session(nonce: bytes, command_number: int) -> int:
    """Return the id of the session that this command opens with this nonce.

    The number alone would come again, for another client, after all members were set back to a backup; the nonce alone
    when a late copy of the command opens the session anew that has ended.
    """
    return int.from_bytes(nonce[:8], "big") ^ command_number


class SavedSession(msgspec.Struct, frozen=True, array_like=True):
    """A session in a snapshot (docs/formats.md)."""

    id: int
    nonce: bytes
    used_ns: int
    acknowledged: int
    answers: tuple[bytes, ...]


class Sessions:
    """The table of sessions: plain data, changed by entries of the log alone."""

    def __init__(self, limits: SessionLimits, named: RuleSink = ignore_rule) -> None:
        """`named` hears what was decided for a session, if that is out of the ordinary."""
        self._limits = limits
        self._named = named
        self._by_id: OrderedDict[int, _Session] = OrderedDict()
        """Least recently used first."""
        self._by_nonce: dict[bytes, int] = {}
        self._newest: _Session | None = None
        """The one that was used last, if it is known: most commands are of the session of the command before."""
        self._expired_ns = -1
        """Whatever had expired at this time of the log is gone."""
        self._answer_bytes = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def open(self, nonce: bytes, context: Context) -> int:
        """Return the session of that nonce, a new one if there is none.

        Raises:
            Rejected: its id would be another session's, which one nonce in 2^64 comes to: draw another.
        """
        known = self._by_nonce.get(nonce)
        if known is not None:
            self._named(SessionRule.OPENED_AGAIN, {})
            return self.use(known, context).id
        session_id = name_session(nonce, context.command_number)
        if not session_id or session_id in self._by_id:
            raise Rejected("this session's id is taken: open it with another nonce")
        while len(self._by_id) >= self._limits.sessions:
            self._forget_oldest()
        session = _Session(session_id, nonce, context.time_ns)
        self._by_id[session.id] = self._newest = session
        self._by_nonce[nonce] = session.id
        return session.id

    def use(self, session_id: int, context: Context) -> _Session:
        """Return the session, which is in use now; SessionExpired if it is gone."""
        session = self._newest
        if session is None or session.id != session_id:
            session = self._newest = self._by_id.get(session_id)
            if session is None:
                self._named(SessionRule.UNKNOWN_REFUSED, {})
                raise SessionExpired(f"session {session_id} has ended: open another one")
            self._by_id.move_to_end(session_id)
        session.used_ns = context.time_ns
        return session

    def close(self, session_id: int) -> None:
        """Forget the session, if it is there."""
        session = self._by_id.pop(session_id, None)
        if session is not None:
            del self._by_nonce[session.nonce]
            self._answer_bytes -= session.answer_bytes
            self._newest = None

    def expire(self, now_ns: int) -> None:
        """Forget what was not used for too long."""
        if now_ns == self._expired_ns:
            return  # All commands of an entry have one time.
        self._expired_ns = now_ns
        latest_ns = now_ns - self._limits.idle_seconds * 1_000_000_000
        while self._by_id and next(iter(self._by_id.values())).used_ns < latest_ns:
            self._named(SessionRule.EXPIRED, {})
            self._forget_oldest()

    def acknowledge(self, session: _Session, answered: int) -> None:
        """The client has the answers up to that number.

        One that has more than were given remembers what this cluster does not: all members were set back to a backup.
        To its next commands the session would give the numbers, and so the answers, of others: it ends.
        """
        if answered > session.last:
            self._named(SessionRule.SET_BACK_ENDED, {})
            self.close(session.id)
            raise SessionExpired(
                f"session {session.id} has ended: its client has answers up to {answered}, and {session.last} commands "
                "were applied, as after a backup was restored: open another one"
            )
        for _ in range(answered - session.acknowledged):
            size = len(session.answers.popleft())
            session.answer_bytes -= size
            self._answer_bytes -= size
        session.acknowledged = max(session.acknowledged, answered)

    def find_answer(self, session: _Session, sequence: int) -> bytes | None:
        """Return what the command was answered if it was applied; None if it is to be applied now.

        Raises:
            OutOfOrder: one before it is missing.
            SessionFull: too many answers are kept for the client.
            Rejected: it was applied, and the client said that it had the answer.
        """
        limits, last = self._limits, session.last
        if sequence <= session.acknowledged:
            self._named(SessionRule.ACKNOWLEDGED_REFUSED, {})
            raise Rejected(f"command {sequence} of session {session.id} was answered, and the answer acknowledged")
        if sequence <= last:
            self._named(SessionRule.ANSWERED_AGAIN, {})
            return session.answers[sequence - session.acknowledged - 1]
        if sequence > last + 1:
            self._named(SessionRule.GAP_REFUSED, {})
            raise OutOfOrder(
                f"command {sequence} of session {session.id} came before {last + 1}: send them again in order"
            )
        if last - session.acknowledged >= limits.answers or session.answer_bytes >= limits.answer_bytes:
            raise SessionFull(
                f"session {session.id} has {len(session.answers)} answers ({session.answer_bytes} bytes) that its "
                "client has not acknowledged: acknowledge them, then send the command again"
            )
        return None

    def remember(self, session: _Session, answer: bytes) -> None:
        """Keep the answer of the command that was just applied."""
        size = len(answer)
        session.last += 1
        session.answers.append(answer)
        session.answer_bytes += size
        self._answer_bytes += size
        while self._answer_bytes > self._limits.all_answer_bytes and len(self._by_id) > 1:
            self._forget_oldest()

    def save(self) -> list[SavedSession]:
        """Return a copy, least recently used first."""
        return [
            SavedSession(session.id, session.nonce, session.used_ns, session.acknowledged, tuple(session.answers))
            for session in self._by_id.values()
        ]

    def load(self, saved: Sequence[SavedSession]) -> None:
        """Take the place of whatever is there."""
        self._by_id = OrderedDict(
            (
                one.id,
                _Session(
                    one.id,
                    one.nonce,
                    one.used_ns,
                    one.acknowledged,
                    one.acknowledged + len(one.answers),
                    deque(one.answers),
                    sum(map(len, one.answers)),
                ),
            )
            for one in saved
        )
        self._by_nonce = {session.nonce: session.id for session in self._by_id.values()}
        self._newest = None
        self._expired_ns = -1
        self._answer_bytes = sum(session.answer_bytes for session in self._by_id.values())

    def _forget_oldest(self) -> None:
        self.close(next(iter(self._by_id)))


class SessionMachine:
    """A state machine around the user's: takes commands out of their envelopes and knows which it has had before."""

    def __init__(
        self, machine: StateMachine, limits: SessionLimits | None = None, named: RuleSink = ignore_rule
    ) -> None:
        """`named` hears by which rules the sessions decide."""
        self._machine = machine
        self._machine_apply = machine.apply
        self._limits = limits or SessionLimits()
        self._sessions = Sessions(self._limits, named)

    @property
    def sessions(self) -> Sessions:
        """To look at."""
        return self._sessions

    def apply(self, command: bytes, context: Context) -> object:
        """Apply a command, or answer what it was answered before.

        Raises:
            Rejected: by the user's machine, now or when the command came first; `SessionExpired`, `OutOfOrder` and
                `SessionFull` are the table's own: the command was not applied.
            ResultLost: applied, but its result cannot be remembered.
        """
        if command:
            kind = command[0]
            if kind == _COMMAND:
                return self._apply_in_session(command, context)
            if kind == _PLAIN:
                return self._machine_apply(command[1:], context)
        return self._serve(_decode(command, context), context)

    def _apply_in_session(self, command: bytes, context: Context) -> object:
        try:
            _, session_id, sequence, answered = unpack_command_header(command)
        except struct.error:
            raise Rejected("an envelope of the wrong length") from None
        sessions = self._sessions
        sessions.expire(context.time_ns)
        session = sessions.use(session_id, context)
        if answered != session.acknowledged:
            sessions.acknowledge(session, answered)
        remembered = sessions.find_answer(session, sequence)
        if remembered is not None:
            return _give_again(remembered)
        return self._apply_once(session, command[COMMAND_HEADER_BYTES:], context)

    def _serve(self, request: SessionRequest, context: Context) -> object:
        sessions = self._sessions
        sessions.expire(context.time_ns)
        match request:
            case OpenSession(nonce):
                return sessions.open(nonce, context)
            case KeepAlive(session_id, answered):
                sessions.acknowledge(sessions.use(session_id, context), answered)
            case CloseSession(session_id):
                sessions.close(session_id)
        return None

    def _apply_once(self, session: _Session, payload: bytes, context: Context) -> object:
        try:
            result = self._machine_apply(payload, context)
        except Rejected as rejected:
            said = encode_value((type(rejected).__name__, rejected.message))
            self._sessions.remember(session, _REJECTED + said)
            raise
        if result is None:
            self._sessions.remember(session, _NOTHING)
            return None
        try:
            self._sessions.remember(session, _DONE + encode_value(result))
        except TypeError as error:
            lost = ResultLost(f"the command was applied, but its result is lost: {error}")
            self._sessions.remember(session, _LOST + encode_value(lost.message))
            raise lost from None
        return result

    def query(self, question: bytes) -> object:
        """Ask the user's machine."""
        assert isinstance(self._machine, Queryable), "who asks has checked that it can be asked"
        return self._machine.query(question)

    def capture(self) -> Capture:
        """Take a picture of both."""
        return _CapturedSessions(self._sessions.save(), self._machine.capture())

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace both by a picture's; ForeignState if a newer version took it."""
        rest = iter(chunks)
        self._sessions.load(_read_sessions(rest))
        self._machine.restore(rest)

    def prepare_restore(self, chunks: Iterable[bytes]) -> Callable[[], object]:
        """Read both, beside the present state."""
        rest = iter(chunks)
        saved = _read_sessions(rest)
        put_in_place = prepare_restore(self._machine, rest)

        def restore() -> None:
            self._sessions.load(saved)
            put_in_place()

        return restore


def _decode(command: bytes, context: Context) -> SessionRequest:
    try:
        return decode_session_request(command)
    except WireError as error:
        raise Rejected(str(error)) from None
    except ValueError:
        # To guess what it means would let this member's state drift from that of members which know.
        raise ForeignState(
            f"command {context.command_number} has an envelope of kind {command[0]}, and this version of raftswarm "
            f"knows those up to {max(EnvelopeKind)}: run a newer one"
        ) from None


def _give_again(answer: bytes) -> object:
    what, said = answer[:1], decode_value(memoryview(answer)[1:])
    match said:
        case [str(kind), str(message)] if what == _REJECTED:
            raise _REJECTIONS.get(kind, Rejected)(message)
        case str(message) if what == _LOST:
            raise ResultLost(message)
    assert what == _DONE, "what is remembered was written by this code"
    return said


# In snapshots: a description, then the table cut into chunks, then the machine's own.


class _Description(msgspec.Struct, frozen=True, array_like=True):
    version: int
    size: int


_tables: Final = msgspec.msgpack.Decoder(list[SavedSession])
_descriptions: Final = msgspec.msgpack.Decoder(_Description)


@attrs.frozen
class _CapturedSessions:
    sessions: list[SavedSession]
    machine: Capture

    def chunks(self) -> Iterator[bytes]:
        """The sessions, then the machine's state."""
        table = msgspec.msgpack.encode(self.sessions)
        yield msgspec.msgpack.encode(_Description(FORMAT_VERSION, len(table)))
        for start in range(0, len(table), CHUNK_BYTES):
            yield table[start : start + CHUNK_BYTES]
        yield from self.machine.chunks()


def _read_sessions(chunks: Iterator[bytes]) -> list[SavedSession]:
    description = _descriptions.decode(next(chunks))
    if description.version != FORMAT_VERSION:
        raise ForeignState(
            f"a snapshot has sessions in format {description.version}; this version of raftswarm reads "
            f"{FORMAT_VERSION}: run a newer one"
        )
    table = b"".join(islice(chunks, -(-description.size // CHUNK_BYTES)))
    return _tables.decode(table)
