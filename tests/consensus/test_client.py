"""A client has each command take effect once, whatever happens to links and leaders (P 8, D 6.3)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from random import Random

import pytest
import trio
from trio.testing import MockClock

import raftswarm
from raftswarm.ca.identity import MANAGER, WORKER, Identity
from raftswarm.consensus.client import MAX_WAITING, Client, open_client
from raftswarm.consensus.memory_cluster import MemoryCluster, open_cluster
from raftswarm.consensus.requests import BATCH_REQUESTS
from raftswarm.errors import (
    InvalidSpec,
    LinkClosed,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    PayloadTooLarge,
    Rejected,
    ResultLost,
    SessionExpired,
)
from raftswarm.transport.memory import MemoryCable
from raftswarm.wire.client_codec import (
    Answers,
    Commands,
    Failures,
    Hello,
    Whereabouts,
    decode_from_client,
    encode_from_member,
)
from raftswarm.wire.envelopes import encode_close
from raftswarm.wire.failures import encode_failure
from raftswarm.world.network import Link
from tests.consensus.conftest import Journal

Cluster = MemoryCluster[Journal]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with open_cluster(Journal) as opened:
        yield opened


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with cluster.client() as opened:
        yield opened


def name_of(cluster: Cluster, address: str) -> str:
    return next(name for name in cluster.members if cluster.address(name) == address)


def cut_links(cluster: Cluster, client: str = "client-1") -> None:
    """Break the client's links; it can dial again at once."""
    cluster._cable.kill(client)


async def test_a_client_finds_the_leader_and_is_answered(
    autojump_clock: MockClock, cluster: Cluster, client: Client
) -> None:
    assert await client.propose(b"one") == 1
    assert await client.propose_many([b"two", b"three"]) == [2, 3]
    assert await client.query(b"all") == [b"one", b"two", b"three"]
    leader = await cluster.leader()
    assert client.leader == cluster.address(leader.name)


async def test_commands_of_many_tasks_share_frames_and_are_each_answered(
    autojump_clock: MockClock, cluster: Cluster, client: Client
) -> None:
    results: dict[int, object] = {}

    async def propose(number: int) -> None:
        results[number] = await client.propose(b"%d" % number)

    async with trio.open_nursery() as nursery:
        for number in range(500):
            nursery.start_soon(propose, number)

    lines = (await cluster.leader()).query
    assert await lines(b"all") == [line for _, line in sorted((results[n], b"%d" % n) for n in range(500))]


async def test_a_client_follows_the_leader(autojump_clock: MockClock, cluster: Cluster, client: Client) -> None:
    await client.propose(b"one")
    first = client.leader

    await cluster.kill(name_of(cluster, first))

    assert await client.propose(b"two") == 2
    assert client.leader != first


async def test_it_follows_a_transfer(autojump_clock: MockClock, cluster: Cluster, client: Client) -> None:
    await client.propose(b"one")
    first = client.leader

    await (await cluster.leader()).transfer_leadership()

    assert await client.propose(b"two") == 2
    assert client.leader != first


async def test_commands_in_flight_when_the_leader_dies_take_effect_once_and_in_order(
    autojump_clock: MockClock, cluster: Cluster, client: Client
) -> None:
    await client.propose(b"first")
    commands = [b"%d" % number for number in range(10_000)]
    results: list[object] = []

    async def propose() -> None:
        results.extend(await client.propose_many(commands))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(propose)
        await cluster[name_of(cluster, client.leader)].applied.wait_until(lambda commands: commands > 1000)
        await cluster.kill(name_of(cluster, client.leader))

    assert results == list(range(2, 10_002))
    assert await client.query(b"all") == [b"first", *commands]


async def test_a_lost_link_loses_and_repeats_nothing(
    autojump_clock: MockClock, cluster: Cluster, client: Client
) -> None:
    await client.propose(b"first")
    commands = [b"%d" % number for number in range(3000)]
    results: list[object] = []

    async def propose() -> None:
        results.extend(await client.propose_many(commands))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(propose)
        for _ in range(10):
            await trio.sleep(0.001)
            cut_links(cluster)

    assert results == list(range(2, 3002))
    assert await client.query(b"all") == [b"first", *commands]


async def test_a_client_learns_of_members_it_was_not_told_of(
    autojump_clock: MockClock, cluster: Cluster, client: Client
) -> None:
    await client.propose(b"one")
    await cluster.start("d")
    await (await cluster.leader()).add_member("d", cluster.address("d"))
    await (await cluster.leader()).configuration.wait_until(lambda now: len(now.voters) == 4)
    await (await cluster.leader()).transfer_leadership("d")

    assert await client.propose(b"two") == 2
    assert client.leader == cluster.address("d")


async def test_a_refusal_comes_as_what_it_is(autojump_clock: MockClock, cluster: Cluster, client: Client) -> None:
    with pytest.raises(Rejected, match="as it was told to"):
        await client.propose(b"refuse")
    with pytest.raises(ResultLost, match="set"):
        await client.propose(b"a set")
    with pytest.raises(Rejected, match="as it was told to"):
        await client.query(b"refuse")
    with pytest.raises(PayloadTooLarge):
        await client.propose(bytes(2 * 1024 * 1024))
    with pytest.raises(TypeError, match="bytes, not str"):
        await client.propose("text")  # type: ignore[arg-type]
    assert await client.propose(b"goes on") == 2


async def test_long_commands_go_through(autojump_clock: MockClock, cluster: Cluster, client: Client) -> None:
    command = bytes(1536 * 1024 - 100)

    assert await client.propose_many([command] * 5) == [1, 2, 3, 4, 5]


async def test_too_much_at_a_time_is_refused_before_anything_is_sent(
    autojump_clock: MockClock, cluster: Cluster, client: Client
) -> None:
    await client.propose(b"one")
    for name in list(cluster.members):
        await cluster.kill(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.propose_many, [b"x"] * MAX_WAITING)
        await trio.sleep(0.1)
        with pytest.raises(Overloaded, match="wait for some"):
            await client.propose(b"one too many")
        nursery.cancel_scope.cancel()


async def test_what_is_not_bytes_is_named(autojump_clock: MockClock, client: Client) -> None:
    with pytest.raises(TypeError, match="a command is bytes, not str"):
        await client.propose_many(["text"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="a question is bytes, not str"):
        await client.query("text")  # type: ignore[arg-type]


async def test_nobody_there_is_said_and_nothing_was_sent(
    autojump_clock: MockClock, cluster: Cluster, client: Client
) -> None:
    for name in list(cluster.members):
        await cluster.kill(name)

    with pytest.raises(NotLeader, match=r"within 30 seconds, and nothing was sent: .*nothing listens"):
        await client.propose(b"one")
    with pytest.raises(NotLeader, match="no leader was reached"):
        await client.query(b"all")


async def test_a_time_out_says_of_every_member_why_it_was_of_no_use(
    autojump_clock: MockClock, cluster: Cluster, client: Client
) -> None:
    await cluster.leader()
    await cluster.kill("a")
    await cluster.kill("b")

    with pytest.raises(NotLeader) as caught:
        await client.propose(b"one")

    assert "nothing listens on a:7000" in str(caught.value)
    assert "nothing listens on b:7000" in str(caught.value)
    assert "c:7000: it knows of no leader" in str(caught.value)


async def test_without_an_answer_in_time_nobody_knows_and_it_may_happen_later(
    autojump_clock: MockClock, cluster: Cluster
) -> None:
    await cluster.leader()
    async with cluster.client(timeout_seconds=1.0) as client:
        await client.propose(b"one")
        leader = name_of(cluster, client.leader)
        others = [name for name in cluster.members if name != leader]
        for name in others:
            await cluster.kill(name)

        with pytest.raises(OutcomeUnknown, match="no answer came within 1 seconds"):
            await client.propose(b"two")

        for name in others:
            await cluster.start(name)
        await cluster.leader()
        assert await client.propose(b"three") == 3


async def test_a_cancelled_command_does_not_hold_up_later_ones(
    autojump_clock: MockClock, cluster: Cluster, client: Client
) -> None:
    await client.propose(b"one")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.propose, b"two")
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    result = await client.propose(b"last")
    assert (await client.query(b"all"))[-1:] == [b"last"]  # type: ignore[index]
    assert result in {2, 3}


async def test_a_session_that_has_expired_is_said_and_another_one_is_opened(
    autojump_clock: MockClock, cluster: Cluster, client: Client
) -> None:
    assert await client.propose(b"one") == 1
    leader = await cluster.leader()
    [session] = leader.driver.replica._applier.machine.sessions.save()  # type: ignore[attr-defined]
    await leader.driver.propose(encode_close(session.id))

    with pytest.raises(SessionExpired):
        await client.propose(b"two")

    assert await client.propose(b"three") == 2


async def test_a_session_ends_with_its_client(autojump_clock: MockClock, cluster: Cluster) -> None:
    async with cluster.client() as client:
        await client.propose(b"one")
        leader = await cluster.leader()
        sessions = leader.driver.replica._applier.machine.sessions  # type: ignore[attr-defined]
        assert len(sessions) == 1
    await leader.applied.wait_until(lambda commands: commands == 3)

    assert len(sessions) == 0


async def test_calls_that_outlive_the_block_are_told(autojump_clock: MockClock, cluster: Cluster) -> None:
    outcomes: list[BaseException] = []

    async def propose(client: Client) -> None:
        try:
            await client.propose(b"late")
        except (NotLeader, OutcomeUnknown) as error:
            outcomes.append(error)

    for name in list(cluster.members):
        await cluster.kill(name)
    async with trio.open_nursery() as nursery, cluster.client() as client:
        nursery.start_soon(propose, client)
        await trio.sleep(0.1)

    assert "before the client was closed" in str(outcomes[0])
    with pytest.raises(NotLeader, match="closed"):
        await client.propose(b"after it")


async def test_without_a_session_a_lost_answer_is_an_unknown_outcome(
    autojump_clock: MockClock, cluster: Cluster
) -> None:
    async with cluster.client(exactly_once=False) as client:
        assert await client.propose(b"one") == 1

        async def cut_soon() -> None:
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            cut_links(cluster)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut_soon)
            results = await client.propose_many([b"%d" % number for number in range(3000)])

        assert any(isinstance(result, OutcomeUnknown) for result in results)
        assert await client.query(b"all") is not None


async def test_a_member_gives_a_client(autojump_clock: MockClock, cluster: Cluster) -> None:
    for member in cluster.members.values():
        async with member.client() as client:
            await client.propose(member.name.encode())

    assert await (await cluster.leader()).query(b"all") == [b"a", b"b", b"c"]


async def test_a_client_of_a_group_that_is_not_there_is_told(autojump_clock: MockClock, cluster: Cluster) -> None:
    network = cluster._cable.plug_plain("stranger", Identity("stranger", WORKER, "memory"))
    async with open_client(network, "memory/elsewhere", ["a:7000"], Random(1)) as client:
        with pytest.raises(NotLeader, match="no member of 'memory/elsewhere' runs here"):
            await client.propose(b"one")


async def test_who_refuses_a_client_is_left_alone_for_a_while(autojump_clock: MockClock, cluster: Cluster) -> None:
    await cluster.leader()
    network = cluster._cable.plug_plain("stranger", Identity("stranger", WORKER, "another"))
    asked: list[str] = []

    class Counting:
        async def connect(self, address: str, *, expect_node: str | None = None) -> Link:
            asked.append(address)
            return await network.connect(address, expect_node=expect_node)

        serve = network.serve

    async with open_client(Counting(), "memory", ["a:7000", "b:7000"], Random(1)) as client:
        with pytest.raises(NotLeader, match=r"a:7000.*cluster.*b:7000.*cluster"):
            await client.propose(b"one")

    assert 3 <= asked.count("a:7000") <= 4, "in 30 seconds"
    assert 3 <= asked.count("b:7000") <= 4, "in 30 seconds"


# What members may do to a client.


Script = Callable[[Link], Awaitable[None]]
LEADING = encode_from_member(Whereabouts(leads=True, leader="", members=[]))


async def play(nursery: trio.Nursery, cable: MemoryCable, host: str, script: Script) -> None:
    """Put somebody on the cable who speaks as the script says, after the client has said what it wants."""
    network = cable.plug_plain(host, Identity(host, MANAGER, "memory"))

    async def handle(link: Link) -> None:
        await link.receive()
        assert decode_from_client(await link.receive()) == Hello("memory")
        await script(link)
        await trio.sleep_forever()

    async def run(*, task_status: trio.TaskStatus[str]) -> None:
        await network.serve(f"{host}:7000", handle, started=task_status.started)

    await nursery.start(run)


async def lead(link: Link) -> None:
    """Lead a cluster of one that forgets everything: sessions are called 7, commands answered with their number."""
    link.post(LEADING)
    while True:
        match decode_from_client(await link.receive()):
            case Commands(first, envelopes):
                answers = [7 if envelope[0] == 1 else number for number, envelope in enumerate(envelopes, first)]
                frame = encode_from_member(Answers(first, answers, {}))
                link.post(frame)
                link.post(frame)  # Whatever comes twice is dropped.
            case _:
                link.post(LEADING)


@pytest.fixture
async def stage(nursery: trio.Nursery) -> AsyncIterator[tuple[trio.Nursery, MemoryCable]]:
    yield nursery, MemoryCable()
    nursery.cancel_scope.cancel()


def dial(cable: MemoryCable, *hosts: str) -> AbstractAsyncContextManager[Client]:
    network = cable.plug_plain("client", Identity("client", WORKER, "memory"))
    return open_client(network, "memory", [f"{host}:7000" for host in hosts], Random(1))


async def silent(link: Link) -> None:
    link.post(LEADING)


async def silent_later(link: Link) -> None:
    link.post(LEADING)
    await link.receive()
    link.post(encode_from_member(Answers(1, [7], {})))


async def not_leading(link: Link) -> None:
    link.post(encode_from_member(Whereabouts(leads=False, leader="gone:7000", members=["b:7000"])))


async def nonsense(link: Link) -> None:
    link.post(b"\xc1 nonsense")


async def early_answers(link: Link) -> None:
    link.post(encode_from_member(Answers(1, [1], {})))


async def strange_answers(link: Link) -> None:
    link.post(LEADING)
    await link.receive()
    link.post(encode_from_member(Answers(99, ["what?"], {})))
    link.post(encode_from_member(Answers(1, ["a session called so"], {})))


async def of_another_group(link: Link) -> None:
    link.post(encode_from_member(Failures(0, 1, encode_failure(InvalidSpec("no member of it runs here")))))


async def hung_up(link: Link) -> None:
    await link.aclose()


@pytest.mark.parametrize(
    "script",
    [silent, silent_later, not_leading, nonsense, early_answers, strange_answers, of_another_group, hung_up],
)
async def test_whoever_is_of_no_use_is_left_for_another(
    autojump_clock: MockClock, stage: tuple[trio.Nursery, MemoryCable], script: Script
) -> None:
    nursery, cable = stage
    await play(nursery, cable, "a", script)
    await play(nursery, cable, "b", lead)

    async with dial(cable, "a", "b") as client:
        began = trio.current_time()
        assert isinstance(await client.propose(b"one"), int)
        assert client.leader == "b:7000"
        assert trio.current_time() - began < 5


async def test_a_leader_that_takes_its_time_and_says_that_it_lives_is_not_left(
    autojump_clock: MockClock, stage: tuple[trio.Nursery, MemoryCable]
) -> None:
    nursery, cable = stage

    async def take_time(link: Link) -> None:
        link.post(LEADING)
        async with trio.open_nursery() as background:
            with suppress(LinkClosed):
                while True:
                    match decode_from_client(await link.receive()):
                        case Commands(first, _):
                            background.start_soon(answer_late, link, first)
                        case _:
                            link.post(LEADING)

    async def answer_late(link: Link, number: int) -> None:
        await trio.sleep(10)
        link.post(encode_from_member(Answers(number, [7], {})))

    await play(nursery, cable, "a", take_time)
    async with dial(cable, "a") as client:
        began = trio.current_time()
        assert await client.propose(b"one") == 7
        assert 20 <= trio.current_time() - began < 21


class Passes(trio.abc.Instrument):
    """Counts the passes of the loop."""

    count = 0

    def before_io_wait(self, timeout: float) -> None:
        del timeout
        self.count += 1


class PromptLink:
    """To a leader that answers all of 2,000 commands at once; what has come is received without a pass of the loop."""

    peer = None
    remote_address = "a:7000"

    def __init__(self) -> None:
        self.inbox = deque([LEADING])
        self.asked: list[Commands] = []
        self.something_came = trio.Event()

    def hold(self, frame: bytes) -> bool:
        commands = decode_from_client(frame)
        assert isinstance(commands, Commands)
        self.asked.append(commands)
        if sum(len(one.envelopes) for one in self.asked) == 2000:
            for one in self.asked:
                self.inbox.append(encode_from_member(Answers(one.first, [None] * len(one.envelopes), {})))
            self.something_came.set()
        return True

    def post(self, frame: bytes) -> bool:
        del frame  # Who we are, and what group we want.
        return True

    def flush(self) -> None:
        pass

    async def receive(self) -> bytes:
        if not self.inbox:
            await self.something_came.wait()
        if not self.inbox:
            await trio.sleep_forever()
        return self.inbox.popleft()

    async def receive_many(self) -> list[bytes]:
        return [await self.receive()]

    async def wait_room(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class PromptNetwork:
    async def connect(self, address: str, *, expect_node: str | None = None) -> Link:
        del address, expect_node
        await trio.lowlevel.checkpoint()
        return PromptLink()

    async def serve(
        self, address: str, handler: Callable[[Link], Awaitable[None]], *, started: Callable[[str], None]
    ) -> None:
        raise NotImplementedError


async def test_answers_that_come_together_do_not_wake_everybody_in_one_pass(autojump_clock: MockClock) -> None:
    passes = Passes()
    woken: Counter[int] = Counter()

    async def propose(client: Client) -> None:
        await client.propose(b"x")
        woken[passes.count] += 1

    async with open_client(PromptNetwork(), "memory", ["a:7000"], Random(1), exactly_once=False) as client:
        trio.lowlevel.add_instrument(passes)
        async with trio.open_nursery() as callers:
            for _ in range(2000):
                callers.start_soon(propose, client)
        trio.lowlevel.remove_instrument(passes)

    assert woken.total() == 2000
    assert max(woken.values()) <= BATCH_REQUESTS


async def test_of_many_commands_those_that_were_answered_in_time_have_their_results(
    autojump_clock: MockClock, stage: tuple[trio.Nursery, MemoryCable]
) -> None:
    nursery, cable = stage

    async def answer_two(link: Link) -> None:
        link.post(LEADING)
        await link.receive()
        link.post(encode_from_member(Answers(1, ["one", "two"], {})))
        while True:
            await link.receive()
            link.post(LEADING)

    await play(nursery, cable, "a", answer_two)
    network = cable.plug_plain("client", Identity("client", WORKER, "memory"))
    async with open_client(network, "memory", ["a:7000"], Random(1), timeout_seconds=5.0, exactly_once=False) as client:
        began = trio.current_time()
        results = await client.propose_many([b"1", b"2", b"3"])

        assert results[:2] == ["one", "two"]
        assert isinstance(results[2], OutcomeUnknown)
        assert 5 <= trio.current_time() - began < 5.1


async def test_each_call_waits_its_own_time(autojump_clock: MockClock, stage: tuple[trio.Nursery, MemoryCable]) -> None:
    nursery, cable = stage
    await play(nursery, cable, "a", silent)
    waited: list[float] = []

    async def propose(client: Client, begin: float) -> None:
        await trio.sleep(begin)
        began = trio.current_time()
        with pytest.raises((NotLeader, OutcomeUnknown, Overloaded)):
            await client.propose(b"x")
        waited.append(trio.current_time() - began)

    async with dial(cable, "a") as client, trio.open_nursery() as callers:
        for begin in (0, 1, 7, 29, 31, 100):
            callers.start_soon(propose, client, begin)

    assert waited == pytest.approx([30.0] * 6, abs=0.1)


async def test_after_a_refusal_for_the_moment_a_lone_caller_does_not_storm_the_leader(
    autojump_clock: MockClock, stage: tuple[trio.Nursery, MemoryCable]
) -> None:
    nursery, cable = stage
    refusals = 0

    async def overloaded(link: Link) -> None:
        nonlocal refusals
        link.post(LEADING)
        while True:
            match decode_from_client(await link.receive()):
                case Commands(first, envelopes):
                    refusals += 1
                    link.post(encode_from_member(Failures(first, len(envelopes), encode_failure(Overloaded("busy")))))
                case _:
                    link.post(LEADING)

    await play(nursery, cable, "a", overloaded)
    network = cable.plug_plain("client", Identity("client", WORKER, "memory"))
    async with open_client(network, "memory", ["a:7000"], Random(1), timeout_seconds=1.0) as client:
        with pytest.raises((NotLeader, Overloaded, OutcomeUnknown)):
            await client.propose(b"x")

    assert 10 < refusals <= 51


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        ([], "at least one"),
        ("127.0.0.1:7001", "in brackets"),
        (["nonsense"], "nonsense"),
        (["10.0.0.1:7000"], "pass `credentials`"),
    ],
)
async def test_addresses_that_cannot_be_right_are_refused(addresses: list[str], reason: str) -> None:
    with pytest.raises(InvalidSpec, match=reason):
        async with raftswarm.connect(addresses):
            pass
