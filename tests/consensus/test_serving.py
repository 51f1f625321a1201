"""A member serves clients on its own port: whatever they send, it answers or hangs up, and goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from raftswarm.ca.identity import WORKER, Identity
from raftswarm.consensus.memory_cluster import MemoryCluster, open_cluster
from raftswarm.errors import LinkClosed, NotLeader, Rejected
from raftswarm.wire.client_codec import (
    Answers,
    Commands,
    Failures,
    FromClient,
    FromMember,
    Hello,
    Look,
    Questions,
    Whereabouts,
    decode_from_member,
    encode_from_client,
)
from raftswarm.wire.envelopes import encode_plain
from raftswarm.wire.failures import decode_failure
from raftswarm.wire.greetings import Lane, encode_purpose
from raftswarm.world.network import Link
from tests.consensus.conftest import Journal

Cluster = MemoryCluster[Journal]
Dial = Callable[[str], Awaitable[Link]]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with open_cluster(Journal) as opened:
        yield opened


@pytest.fixture
def dial(cluster: Cluster) -> Dial:
    network = cluster._cable.plug_plain("stranger", Identity("stranger", WORKER, "memory"))

    async def call(name: str) -> Link:
        link = await network.connect(cluster.address(name))
        link.post(encode_purpose(Lane.CLIENTS))
        return link

    return call


def say(link: Link, *frames: FromClient) -> None:
    for frame in frames:
        assert link.post(encode_from_client(frame))


async def hear(link: Link) -> FromMember:
    """Return the next frame that is no news."""
    while isinstance(frame := decode_from_member(await link.receive()), Whereabouts):
        pass
    return frame


async def hear_all(link: Link) -> None:
    while True:
        await link.receive()


async def test_a_member_says_first_who_leads(autojump_clock: MockClock, cluster: Cluster, dial: Dial) -> None:
    leader = await cluster.leader()
    for name in cluster.members:
        link = await dial(name)
        say(link, Hello("memory"))
        with trio.fail_after(1):
            while True:
                news = decode_from_member(await link.receive())
                assert isinstance(news, Whereabouts)
                if name == leader.name and news.leads:
                    break
                if news.leader == cluster.address(leader.name):
                    break
        assert sorted(news.members) == ["a:7000", "b:7000", "c:7000"]


async def test_requests_of_a_frame_are_answered_by_their_numbers(
    autojump_clock: MockClock, cluster: Cluster, dial: Dial
) -> None:
    link = await dial((await cluster.leader()).name)
    say(link, Hello("memory"), Commands(1, [encode_plain(b"x"), encode_plain(b"refuse"), encode_plain(b"y")]))

    answers, failures = await hear(link), await hear(link)
    assert answers == Answers([1, 3], [1, 2])
    assert isinstance(failures, Failures)
    assert failures.numbers == [2]
    assert isinstance(decode_failure(failures.errors[0]), Rejected)


async def test_any_member_answers_questions(autojump_clock: MockClock, cluster: Cluster, dial: Dial) -> None:
    leader = await cluster.leader()
    await leader.propose(b"x")
    for name in cluster.members:
        link = await dial(name)
        say(link, Hello("memory"), Questions(1, [b"?", b"?"]))
        assert await hear(link) == Answers([1, 2], [[b"x"], [b"x"]])


async def test_a_follower_refuses_commands_and_names_the_leader(
    autojump_clock: MockClock, cluster: Cluster, dial: Dial
) -> None:
    leader = await cluster.leader()
    link = await dial(next(name for name in cluster.members if name != leader.name))
    say(link, Hello("memory"), Commands(1, [encode_plain(b"x")]))

    failures = await hear(link)
    assert isinstance(failures, Failures)
    error = decode_failure(failures.errors[0])
    assert isinstance(error, NotLeader)
    assert error.address == cluster.address(leader.name)


async def test_without_a_majority_no_question_is_answered(
    autojump_clock: MockClock, cluster: Cluster, dial: Dial
) -> None:
    leader = await cluster.leader()
    link = await dial(leader.name)
    for name in [name for name in cluster.members if name != leader.name]:
        await cluster.kill(name)
    say(link, Hello("memory"), Questions(1, [b"?"]))

    assert isinstance(await hear(link), Failures)


async def test_what_became_of_commands_is_told_before_the_loss_of_leadership(
    autojump_clock: MockClock, cluster: Cluster, dial: Dial
) -> None:
    leader = await cluster.leader()
    link = await dial(leader.name)
    say(link, Hello("memory"))
    for name in [name for name in cluster.members if name != leader.name]:
        await cluster.kill(name)
    say(link, Commands(1, [encode_plain(b"x")]))

    frames = [decode_from_member(await link.receive())]
    while isinstance(frames[-1], Whereabouts) and frames[-1].leads:
        frames.append(decode_from_member(await link.receive()))
    assert isinstance(frames[-1], Failures)


async def test_who_takes_no_answers_is_read_from_no_more(
    autojump_clock: MockClock, cluster: Cluster, dial: Dial
) -> None:
    leader = await cluster.leader()
    cluster._cable.queue_bytes = 10_000
    link = await dial(leader.name)
    say(link, Hello("memory"))
    commands = [encode_plain(b"x")] * 1000
    sent = 0
    while link.post(encode_from_client(Commands(1 + sent, commands))):
        sent += len(commands)
        assert sent < 30_000, "there is no end to what is taken in"
        await trio.sleep(0.01)


async def test_an_envelope_of_a_newer_version_is_refused_before_it_reaches_the_log(
    autojump_clock: MockClock, cluster: Cluster, dial: Dial
) -> None:
    leader = await cluster.leader()
    link = await dial(leader.name)
    say(link, Hello("memory"), Commands(1, [b"\xff from the future", b"", encode_plain(b"x")]))

    outcomes = [await hear(link), await hear(link)]
    assert {type(outcome) for outcome in outcomes} <= {Answers, Failures}
    assert await leader.query(b"all") == [b"x"]


async def test_a_member_that_is_asked_whether_it_is_there_says_so(
    autojump_clock: MockClock, cluster: Cluster, dial: Dial
) -> None:
    link = await dial("a")
    say(link, Hello("memory"))
    first = decode_from_member(await link.receive())
    say(link, Look())

    assert isinstance(first, Whereabouts)
    assert isinstance(decode_from_member(await link.receive()), Whereabouts)


@pytest.mark.parametrize(
    "frames",
    [
        [b"\xc1"],
        [encode_from_client(Commands(1, [encode_plain(b"x")]))],
        [encode_from_client(Hello("memory")), encode_from_client(Hello("memory"))],
        [encode_from_client(Hello("memory")), b"\x93\x00\x01\xa1x"],
        [encode_from_client(Hello("nowhere"))],
    ],
    ids=["nonsense", "no hello", "two hellos", "text for commands", "a group that is not here"],
)
async def test_whoever_does_not_keep_to_the_protocol_is_hung_up_on(
    autojump_clock: MockClock, cluster: Cluster, dial: Dial, frames: list[bytes]
) -> None:
    leader = await cluster.leader()
    link = await dial(leader.name)
    for frame in frames:
        link.post(frame)

    with trio.fail_after(10), pytest.raises(LinkClosed):
        await hear_all(link)
    assert await leader.propose(b"goes on") == 1


async def test_a_client_that_says_nothing_is_hung_up_on(
    autojump_clock: MockClock, cluster: Cluster, dial: Dial
) -> None:
    link = await dial("a")

    with trio.fail_after(10), pytest.raises(LinkClosed):
        await link.receive()
