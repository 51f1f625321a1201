"""Client sessions: exactly once, in order, for as long as they last (dissertation 6.3)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from raftswarm.consensus.sessions import SessionLimits, SessionMachine
from raftswarm.errors import Conflict, ForeignState, OutOfOrder, Rejected, ResultLost, SessionExpired, SessionFull
from raftswarm.raft.state_machine import Captured, Context
from raftswarm.wire.envelopes import encode_close, encode_command, encode_keep_alive, encode_open, encode_plain

SECOND = 1_000_000_000


class Register:
    """Remembers every command that it applied."""

    def __init__(self) -> None:
        self.applied: list[bytes] = []

    def apply(self, command: bytes, context: Context) -> object:
        if command == b"refuse":
            raise Conflict("somebody was faster")
        self.applied.append(command)
        return {1, 2} if command == b"set" else [len(self.applied), context.command_number]

    def capture(self) -> Captured:
        return Captured(msgspec.msgpack.encode(self.applied))

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.applied = msgspec.msgpack.decode(b"".join(chunks), type=list[bytes])


class Bench:
    """A log of one: commands are numbered, and time passes when it is told to."""

    def __init__(self, **limits: int) -> None:
        self.register = Register()
        self.limits = SessionLimits(**limits)
        self.machine = SessionMachine(self.register, self.limits)
        self.number = 0
        self.now = 0.0

    def apply(self, envelope: bytes) -> object:
        self.number += 1
        context = Context(command_number=self.number, time_ns=int(self.now * SECOND), index=self.number, term=1)
        return self.machine.apply(envelope, context)

    def open(self, nonce: int = 0) -> int:
        session = self.apply(encode_open(nonce.to_bytes(16, "big")))
        assert isinstance(session, int)
        return session

    def command(self, session: int, sequence: int, payload: bytes = b"x", *, answered: int = 0) -> object:
        return self.apply(encode_command(session, sequence, answered, payload))

    def restart(self) -> None:
        """Go on with what a snapshot says."""
        chunks = list(self.machine.capture().chunks())
        self.register = Register()
        self.machine = SessionMachine(self.register, self.limits)
        self.machine.restore(chunks)


def test_a_plain_command_is_the_machines_own() -> None:
    bench = Bench()

    assert bench.apply(encode_plain(b"x")) == [1, 1]
    assert bench.apply(encode_plain(b"x")) == [2, 2]


def test_a_session_is_named_by_its_nonce_and_by_the_number_of_the_command_that_opened_it() -> None:
    bench = Bench()
    bench.apply(encode_plain(b"x"))

    assert bench.open() == 2
    assert bench.open(nonce=0x0500_0000_0000_0000 << 64) == 0x0500_0000_0000_0003


def test_a_late_copy_of_what_opened_a_session_that_ended_opens_another_one() -> None:
    bench = Bench()
    ended = bench.open(nonce=7 << 64)
    bench.command(ended, 1)
    bench.apply(encode_close(ended))

    assert bench.open(nonce=7 << 64) != ended
    with pytest.raises(SessionExpired):
        bench.command(ended, 1)
    assert bench.register.applied == [b"x"]


def test_no_session_takes_the_id_of_another() -> None:
    bench = Bench()
    session = bench.open(nonce=6 << 64)  # 6 ^ 1

    with pytest.raises(Rejected, match="taken: open it with another nonce"):
        bench.open(nonce=(session ^ 2) << 64)
    with pytest.raises(Rejected, match="taken"):
        bench.open(nonce=3 << 64)  # 3 ^ 3: no session is called 0.

    assert len(bench.machine.sessions) == 1


def test_a_session_from_before_a_restored_backup_gets_no_answers_of_another() -> None:
    bench = Bench()
    backup = list(bench.machine.capture().chunks())
    before = bench.open(nonce=0x10 << 64)
    bench.command(before, 1, b"given up with the backup")

    bench.machine.restore(backup)
    bench.number = 0
    after = bench.open(nonce=0x20 << 64)
    bench.command(after, 1, b"kept")

    with pytest.raises(SessionExpired):
        bench.command(before, 1, b"given up with the backup")
    assert bench.register.applied == [b"kept"]


def test_a_session_whose_client_remembers_more_than_a_restored_backup_ends() -> None:
    bench = Bench()
    session = bench.open()
    bench.command(session, 1)
    backup = list(bench.machine.capture().chunks())
    bench.command(session, 2)
    bench.command(session, 3, answered=2)

    bench.machine.restore(backup)

    with pytest.raises(SessionExpired, match="as after a backup was restored: open another one"):
        bench.command(session, 4, b"late", answered=3)
    with pytest.raises(SessionExpired):
        bench.command(session, 2, b"another", answered=1)
    assert b"late" not in bench.register.applied


def test_opening_again_with_the_same_nonce_is_the_same_session() -> None:
    bench = Bench()

    assert bench.open(nonce=5) == bench.open(nonce=5) == 1


def test_a_command_that_comes_again_is_answered_and_not_applied() -> None:
    bench = Bench()
    session = bench.open()

    first = bench.command(session, 1)

    assert bench.command(session, 1) == first == [1, 2]
    assert bench.register.applied == [b"x"]


def test_a_rejection_is_remembered_with_its_kind() -> None:
    bench = Bench()
    session = bench.open()

    for _ in range(2):
        with pytest.raises(Conflict, match="somebody was faster"):
            bench.command(session, 1, b"refuse")
    bench.command(session, 2)


def test_after_a_gap_nothing_is_applied() -> None:
    bench = Bench()
    session = bench.open()

    with pytest.raises(OutOfOrder, match="command 2 of session 1 came before 1"):
        bench.command(session, 2, b"second")
    bench.command(session, 1, b"first")
    bench.command(session, 2, b"second")

    assert bench.register.applied == [b"first", b"second"]


def test_answers_are_kept_until_they_are_acknowledged() -> None:
    bench = Bench()
    session = bench.open()
    bench.command(session, 1)
    second = bench.command(session, 2)

    bench.command(session, 3, answered=1)

    assert bench.command(session, 2) == second
    with pytest.raises(Rejected, match="the answer acknowledged"):
        bench.command(session, 1)
    assert len(bench.register.applied) == 3


def test_nobody_can_have_an_answer_that_was_not_given() -> None:
    bench = Bench()
    session = bench.open()

    with pytest.raises(SessionExpired, match="answers up to 1, and 0 commands were applied"):
        bench.command(session, 1, answered=1)
    assert bench.register.applied == []


def test_a_session_that_never_acknowledges_is_stopped_and_can_go_on_when_it_does() -> None:
    bench = Bench(answers=2)
    session = bench.open()
    bench.command(session, 1)
    bench.command(session, 2)

    with pytest.raises(SessionFull, match="acknowledge"):
        bench.command(session, 3)
    bench.command(session, 3, answered=1)

    assert len(bench.register.applied) == 3


def test_answers_are_bounded_in_bytes_too() -> None:
    bench = Bench(answer_bytes=4)
    session = bench.open()
    bench.command(session, 1)

    with pytest.raises(SessionFull):
        bench.command(session, 2)


def test_sessions_that_remember_too_much_together_lose_the_one_that_was_used_least_recently() -> None:
    bench = Bench(all_answer_bytes=8)
    first, second = bench.open(1), bench.open(2)
    bench.command(first, 1)

    bench.command(second, 1)
    bench.command(second, 2)

    with pytest.raises(SessionExpired):
        bench.command(first, 1)
    bench.command(second, 3)


def test_what_is_acknowledged_or_came_by_a_snapshot_is_weighed_too() -> None:
    bench = Bench(all_answer_bytes=8)
    first, second = bench.open(1), bench.open(2)
    for sequence in range(1, 10):
        bench.command(first, sequence, answered=sequence - 1)
        bench.command(second, sequence, answered=sequence - 1)

    bench.restart()
    bench.command(second, 10)

    with pytest.raises(SessionExpired):
        bench.command(first, 10)


def test_a_result_that_cannot_travel_is_told_as_lost_each_time_though_it_was_applied() -> None:
    bench = Bench()
    session = bench.open()

    for _ in range(2):
        with pytest.raises(ResultLost, match="applied, but its result is lost: a set"):
            bench.command(session, 1, b"set")
    assert bench.register.applied == [b"set"]
    assert bench.apply(encode_plain(b"set")) == {1, 2}


def test_a_session_expires_by_the_time_of_the_log() -> None:
    bench = Bench(idle_seconds=10)
    session = bench.open()
    bench.now = 10.0
    bench.command(session, 1)

    bench.now = 20.1

    with pytest.raises(SessionExpired, match="open another"):
        bench.command(session, 1)
    assert bench.register.applied == [b"x"]


def test_a_keep_alive_keeps_it_and_acknowledges() -> None:
    bench = Bench(idle_seconds=10, answers=1)
    session = bench.open()
    bench.command(session, 1)
    bench.now = 9.0

    assert bench.apply(encode_keep_alive(session, 1)) is None
    bench.now = 18.0

    bench.command(session, 2)


def test_a_closed_session_is_gone_and_may_be_closed_again() -> None:
    bench = Bench()
    session = bench.open()

    assert bench.apply(encode_close(session)) is None
    assert bench.apply(encode_close(session)) is None

    with pytest.raises(SessionExpired):
        bench.command(session, 1)
    with pytest.raises(SessionExpired):
        bench.apply(encode_keep_alive(session, 0))
    assert bench.open() != session


def test_one_session_too_many_ends_the_one_that_was_used_least_recently() -> None:
    bench = Bench(sessions=2)
    first, second = bench.open(1), bench.open(2)
    bench.command(first, 1)

    third = bench.open(3)

    with pytest.raises(SessionExpired):
        bench.command(second, 1)
    bench.command(first, 2)
    bench.command(third, 1)


def test_a_snapshot_carries_the_sessions_and_their_order() -> None:
    bench = Bench(sessions=2)
    first, second = bench.open(1), bench.open(2)
    answer = bench.command(first, 1)
    bench.command(first, 2)
    bench.command(first, 3, answered=1)

    bench.restart()

    bench.open(3)  # In the place of the second, which was used least recently.
    assert bench.register.applied == [b"x"] * 3
    assert bench.command(first, 2, answered=1) != answer
    with pytest.raises(SessionExpired):
        bench.command(second, 1)
    bench.command(first, 4)


def test_a_large_table_is_cut_into_chunks() -> None:
    bench = Bench()
    session = bench.open()
    for sequence in range(1, 40):
        bench.command(session, sequence, b"x" * 10_000)
    big = bench.open(1)
    for sequence in range(1, 4000):
        bench.command(big, sequence, b"")
    for nonce in range(2, 4000):
        bench.open(nonce)
    chunks = list(bench.machine.capture().chunks())

    assert max(map(len, chunks)) <= 256 * 1024
    assert len(chunks) == 4  # A description, two of sessions, one of the machine.
    before = bench.machine.sessions.save()
    bench.restart()
    assert bench.machine.sessions.save() == before


def test_a_snapshot_is_restored_beside_the_present_state() -> None:
    bench = Bench()
    session = bench.open()
    bench.command(session, 1)
    chunks = list(bench.machine.capture().chunks())
    bench.command(session, 2)

    put_in_place = bench.machine.prepare_restore(iter(chunks))

    assert len(bench.register.applied) == 2
    put_in_place()
    assert len(bench.register.applied) == 1
    bench.command(session, 2)
    assert len(bench.register.applied) == 2


def test_sessions_in_a_format_of_a_newer_version_are_refused() -> None:
    machine = SessionMachine(Register())

    with pytest.raises(ForeignState, match="run a newer one"):
        machine.restore([msgspec.msgpack.encode([2, 0])])


def test_an_envelope_of_a_newer_version_is_refused_and_not_guessed() -> None:
    with pytest.raises(ForeignState, match="kind 9"):
        Bench().apply(b"\x09")


def test_a_malformed_envelope_is_rejected() -> None:
    for envelope in (b"", b"\x02\x00", b"\x01short"):
        with pytest.raises(Rejected):
            Bench().apply(envelope)
