"""Members and clients for programs that are not async: real disks and links, the loop in a thread of its own."""

from __future__ import annotations

import inspect
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import raftswarm
from raftswarm import aio, blocking
from raftswarm.consensus.client import Client
from raftswarm.consensus.member import RaftMember
from raftswarm.errors import InvalidSpec, MachineFailed, NotLeader, OutcomeUnknown, Rejected
from raftswarm.raft.settings import RaftSettings
from tests.consensus.conftest import Journal

QUICK = RaftSettings(heartbeat_seconds=0.05, election_seconds=0.4)


@pytest.fixture
def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def member(tmp_path: Path, address: str) -> Iterator[blocking.BlockingMember]:
    with blocking.open_member(tmp_path, Journal(), name="a", members={"a": address}, settings=QUICK) as opened:
        opened.wait_gained()
        yield opened


def trio_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("raftswarm")]


def test_a_member_is_used_without_async(member: blocking.BlockingMember) -> None:
    assert member.propose(b"one") == 1
    assert member.propose_many([b"two", b"refuse"])[0] == 2
    assert member.query(b"all") == [b"one", b"two"]
    member.read_barrier()
    assert member.name == "a"
    assert member.leadership.value.leader == member.member_id
    assert [info.name for info in member.configuration.wait_until(lambda now: bool(now.voters)).voters] == ["a"]
    assert member.applied.wait_until(lambda commands: commands >= 3) == 3
    with pytest.raises(Rejected, match="as it was told to"):
        member.propose(b"refuse")
    with pytest.raises(TypeError, match="bytes"):
        member.propose("text")  # type: ignore[arg-type]


def test_a_client_is_used_without_async(member: blocking.BlockingMember, address: str) -> None:
    with blocking.connect([address]) as client:
        assert client.propose(b"one") == 1
        assert client.propose_many([b"two"]) == [2]
        assert client.query(b"all") == [b"one", b"two"]
        assert client.leader == address


def test_calls_may_come_from_many_threads(member: blocking.BlockingMember, address: str) -> None:
    with blocking.connect([address]) as client:
        threads = [threading.Thread(target=client.propose, args=[b"%d" % number]) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    lines = member.query(b"all")
    assert isinstance(lines, list)
    assert sorted(lines) == sorted(b"%d" % number for number in range(20))


def test_no_thread_outlives_the_block(tmp_path: Path, address: str) -> None:
    with blocking.open_member(tmp_path, Journal(), name="a", members={"a": address}):
        assert trio_threads()

    assert trio_threads() == []


def test_what_the_block_raises_comes_out_and_everything_is_closed(tmp_path: Path, address: str) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        blocking.open_member(tmp_path, Journal(), name="a", members={"a": address}),
    ):
        raise ZeroDivisionError

    assert trio_threads() == []


def test_bad_arguments_are_refused_as_by_the_async_call(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="at least one"), blocking.connect([]):
        pass
    with pytest.raises(InvalidSpec, match="needs a name"), blocking.open_member(tmp_path, Journal(), name=""):
        pass
    assert trio_threads() == []


def test_a_member_that_fails_ends_the_block_with_the_reason(tmp_path: Path, address: str) -> None:
    def use_it() -> None:
        with blocking.open_member(tmp_path, Journal(), name="a", members={"a": address}, settings=QUICK) as member:
            member.wait_gained()
            member.propose(b"fail")

    with pytest.raises(MachineFailed, match="ZeroDivisionError"):
        use_it()
    assert trio_threads() == []


def test_use_after_the_block_is_an_error_that_says_so(address: str) -> None:
    with blocking.connect([address]) as client:
        pass
    with pytest.raises(RuntimeError, match="within its `with` block"):
        client.propose(b"late")


def test_a_call_that_waits_when_the_block_ends_is_told(address: str) -> None:
    outcomes: list[Exception] = []

    def propose(client: blocking.BlockingClient) -> None:
        try:
            client.propose(b"to nobody")
        except (NotLeader, OutcomeUnknown) as error:
            outcomes.append(error)

    with blocking.connect([address]) as client:
        thread = threading.Thread(target=propose, args=[client])
        thread.start()
        with pytest.raises(NotLeader):
            blocking_probe(address)
    thread.join()
    assert len(outcomes) == 1


def blocking_probe(address: str) -> None:
    """Take as long as an answer that does not come."""
    with blocking.connect([address], timeout_seconds=0.2) as client:
        client.propose(b"to nobody")


def test_an_interrupted_call_is_cancelled(address: str) -> None:
    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def wait_for_nobody() -> None:
        with blocking.connect([address]) as client:
            threading.Timer(0.2, interrupt).start()
            client.propose(b"to nobody")

    with pytest.raises(KeyboardInterrupt):
        wait_for_nobody()
    assert trio_threads() == []


@pytest.mark.parametrize(
    ("inner", "fronts", "left_out"),
    [
        (Client, (blocking.BlockingClient, aio.AioClient), {"run", "close"}),
        (RaftMember, (blocking.BlockingMember, aio.AioMember), {"client", "driver"}),
    ],
)
def test_the_fronts_have_all_that_the_trio_classes_have(
    inner: type, fronts: tuple[type, ...], left_out: set[str]
) -> None:
    public = {name for name, _ in inspect.getmembers(inner) if not name.startswith("_")} - left_out
    for front in fronts:
        assert public <= set(dir(front))
        for name in public:
            assert getattr(front, name).__doc__


def test_the_fronts_say_what_the_trio_calls_say() -> None:
    same: list[Callable[..., object]] = [blocking.connect, aio.connect]
    assert {call.__doc__ for call in same} == {raftswarm.connect.__doc__}
