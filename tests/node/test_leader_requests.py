"""Requests find the leader, wait while an election is possible, and are never made twice (SWARM 12.8)."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.consensus.watched import Watched
from raftswarm.errors import ConnectionRefused, LinkClosed, NotLeader, OutcomeUnknown, RequestRefused
from raftswarm.manager.control.requests import (
    Accepted,
    AnyControlAnswer,
    AnyControlRequest,
    CreateService,
    GetService,
    ListServices,
    ServicesAnswer,
    decode_request,
    encode_answer,
)
from raftswarm.node.leader_requests import LOST_LEADERSHIP, NO_LEADER, REQUEST_SECONDS, LeaderRequests
from raftswarm.objects.specs import ServiceSpec
from raftswarm.raft.log_entry import Configuration, MemberInfo
from raftswarm.raft.ready import Leadership
from raftswarm.wire.requests import AnyAnswer, AnyRequest, Control, Controlled, IssueCertificate, IssuedCertificate
from raftswarm.world.slices import in_one_piece

US, BOB, CAROL = 1, 2, 3
ADDRESSES = {US: "us:1", BOB: "bob:1", CAROL: "carol:1"}
ELECTION_SECONDS = 1.0
WRITE = CreateService(spec=ServiceSpec(name="web"))
READ = ListServices()
NOTHING = ServicesAnswer(services=())


@attrs.define
class FakeMember:
    leadership: Watched[Leadership] = attrs.field(
        factory=lambda: Watched(Leadership(term=0, leader=0, is_leader=False))
    )
    configuration: Watched[Configuration] = Watched(
        Configuration(voters=tuple(MemberInfo(id=number, address=ADDRESSES[number]) for number in ADDRESSES))
    )
    leaderless_since: float | None = attrs.field(factory=trio.current_time)
    member_id: int = US
    barriers: int = 0

    def follow(self, leader: int) -> None:
        self.leaderless_since = None if leader else trio.current_time()
        term = self.leadership.value.term + 1
        self.leadership.set(Leadership(term=term, leader=leader, is_leader=leader == US))

    async def read_barrier(self) -> None:
        await trio.lowlevel.checkpoint()
        self.barriers += 1


@attrs.define
class FakeCalls:
    """Every manager answers as told; remembers who was asked."""

    answers: dict[str, AnyAnswer | Exception] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    on_call: Callable[[], None] = lambda: None

    async def call(self, address: str, request: AnyRequest) -> AnyAnswer:
        await trio.lowlevel.checkpoint()
        self.asked.append(address)
        self.on_call()
        answer = self.answers[address]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(request, Control):
            decode_request(request.body)  # It has to be one.
        return answer


@attrs.define
class FakeHandler:
    handled: list[AnyControlRequest] = attrs.field(factory=list)
    failure: Exception | None = None

    async def handle(self, request: AnyControlRequest) -> AnyControlAnswer:
        await trio.lowlevel.checkpoint()
        self.handled.append(request)
        if self.failure is not None:
            raise self.failure
        return Accepted()


@attrs.define
class Scene:
    member: FakeMember = attrs.field(factory=FakeMember)
    calls: FakeCalls = attrs.field(factory=FakeCalls)
    handler: FakeHandler = attrs.field(factory=FakeHandler)
    requests: LeaderRequests = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.requests = LeaderRequests(self.member, self.calls, self.handler, election_seconds=ELECTION_SECONDS)


def answered(answer: AnyControlAnswer = NOTHING) -> Controlled:
    return Controlled(body=in_one_piece(encode_answer(answer)))


async def test_the_leader_answers_itself_and_reads_behind_a_barrier(autojump_clock: MockClock) -> None:
    scene = Scene()
    scene.member.follow(US)

    await scene.requests.control(WRITE)
    assert scene.member.barriers == 0
    await scene.requests.control(READ)

    assert scene.member.barriers == 1
    assert scene.handler.handled == [WRITE, READ]
    assert scene.calls.asked == []


async def test_a_follower_asks_the_leader(autojump_clock: MockClock) -> None:
    scene = Scene(calls=FakeCalls({"bob:1": answered()}))
    scene.member.follow(BOB)

    assert await scene.requests.control(READ) == NOTHING
    assert scene.calls.asked == ["bob:1"]
    assert scene.handler.handled == []


@pytest.mark.parametrize("request_", [WRITE, READ])
@pytest.mark.parametrize("failure", [NotLeader("no"), ConnectionRefused("down")])
async def test_where_nothing_happened_the_next_leader_is_asked(
    autojump_clock: MockClock, request_: AnyControlRequest, failure: Exception
) -> None:
    scene = Scene(calls=FakeCalls({"bob:1": failure, "carol:1": answered(Accepted())}))
    scene.member.follow(BOB)
    scene.calls.on_call = lambda: scene.member.follow(CAROL)

    assert await scene.requests.control(request_) == Accepted()
    assert scene.calls.asked == ["bob:1", "carol:1"]


@pytest.mark.parametrize("failure", [LinkClosed("gone"), OutcomeUnknown("who knows")])
async def test_a_write_whose_answer_was_lost_is_not_made_again(autojump_clock: MockClock, failure: Exception) -> None:
    scene = Scene(calls=FakeCalls({"bob:1": failure, "carol:1": answered(Accepted())}))
    scene.member.follow(BOB)
    scene.calls.on_call = lambda: scene.member.follow(CAROL)

    with pytest.raises(RequestRefused, match=LOST_LEADERSHIP) as refusal:
        await scene.requests.control(WRITE)

    assert refusal.value.code == "Unknown"
    assert scene.calls.asked == ["bob:1"]


async def test_our_own_write_is_not_made_again_either(autojump_clock: MockClock) -> None:
    scene = Scene(handler=FakeHandler(failure=OutcomeUnknown("deposed")))
    scene.member.follow(US)

    with pytest.raises(RequestRefused, match=LOST_LEADERSHIP):
        await scene.requests.control(WRITE)

    assert scene.handler.handled == [WRITE]


@pytest.mark.parametrize("failure", [LinkClosed("gone"), OutcomeUnknown("who knows")])
async def test_a_read_whose_answer_was_lost_is_made_again(autojump_clock: MockClock, failure: Exception) -> None:
    scene = Scene(calls=FakeCalls({"bob:1": failure, "carol:1": answered()}))
    scene.member.follow(BOB)
    scene.calls.on_call = lambda: scene.member.follow(CAROL)

    assert await scene.requests.control(READ) == NOTHING
    assert scene.calls.asked == ["bob:1", "carol:1"]


async def test_a_refusal_comes_back_as_it_is(autojump_clock: MockClock) -> None:
    scene = Scene(calls=FakeCalls({"bob:1": RequestRefused("service web not found", code="NotFound")}))
    scene.member.follow(BOB)

    with pytest.raises(RequestRefused, match="service web not found") as refusal:
        await scene.requests.control(GetService(reference="web"))

    assert refusal.value.code == "NotFound"
    assert scene.calls.asked == ["bob:1"]


async def test_a_request_waits_out_an_election(autojump_clock: MockClock) -> None:
    scene = Scene(calls=FakeCalls({"bob:1": answered(Accepted())}))
    answers: list[AnyControlAnswer] = []
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(await scene.requests.control(WRITE))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await trio.sleep(2 * ELECTION_SECONDS)
        assert scene.requests.why_no_leader() == ""
        scene.member.follow(BOB)

    assert answers == [Accepted()]


async def test_without_a_leader_for_longer_it_is_said_at_once(autojump_clock: MockClock) -> None:
    scene = Scene()
    begin = trio.current_time()

    for _ in range(2):
        with pytest.raises(RequestRefused, match="The swarm does not have a leader"):
            await scene.requests.control(READ)
        assert trio.current_time() - begin == pytest.approx(2.5 * ELECTION_SECONDS)

    await trio.sleep(0.1)
    assert scene.requests.why_no_leader() == NO_LEADER
    scene.member.follow(BOB)
    assert scene.requests.why_no_leader() == ""


async def test_a_leader_that_never_answers_ends_in_a_deadline(autojump_clock: MockClock) -> None:
    scene = Scene(calls=FakeCalls({"bob:1": NotLeader("not yet")}))
    scene.member.follow(BOB)
    begin = trio.current_time()

    with pytest.raises(RequestRefused, match="context deadline exceeded") as refusal:
        await scene.requests.control(WRITE)

    assert refusal.value.code == "DeadlineExceeded"
    assert trio.current_time() - begin == pytest.approx(REQUEST_SECONDS)


async def test_what_only_a_leader_may_do_names_it(autojump_clock: MockClock) -> None:
    scene = Scene()
    scene.member.follow(CAROL)

    with pytest.raises(NotLeader) as refusal:
        await scene.requests.answer_here(READ)

    assert (refusal.value.leader, refusal.value.address) == (CAROL, "carol:1")


async def test_a_write_of_a_caller_is_passed_on_or_served_where_leadership_moved(autojump_clock: MockClock) -> None:
    issued = IssuedCertificate(
        node_id="dave", cluster_id="c", role="swarm-worker", certificate="ours", root_certificate="r"
    )

    async def here() -> AnyAnswer:
        await trio.lowlevel.checkpoint()
        return issued

    scene = Scene(calls=FakeCalls({"bob:1": NotLeader("it is you now")}))
    scene.member.follow(BOB)
    scene.calls.on_call = lambda: scene.member.follow(US)

    assert await scene.requests.by_leader(IssueCertificate(csr="c", token="t"), here) == issued
    assert scene.calls.asked == ["bob:1"]


async def test_a_write_of_a_caller_is_not_passed_on_twice(autojump_clock: MockClock) -> None:
    async def here() -> AnyAnswer:
        raise NotLeader("not here")

    scene = Scene(calls=FakeCalls({"bob:1": LinkClosed("gone"), "carol:1": answered()}))
    scene.member.follow(BOB)
    scene.calls.on_call = lambda: scene.member.follow(CAROL)

    with pytest.raises(RequestRefused, match=LOST_LEADERSHIP):
        await scene.requests.by_leader(IssueCertificate(csr="c", token="t"), here)

    assert scene.calls.asked == ["bob:1"]
