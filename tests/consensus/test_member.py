"""A member as programs see it: commands, reads, watches, changes of the members; all on virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from raftswarm.consensus.member import RaftMember
from raftswarm.consensus.memory_cluster import MemoryCluster, open_cluster
from raftswarm.errors import InvalidSpec, LinkError, NotLeader, PayloadTooLarge, Rejected, TransferFailed
from raftswarm.raft.log_entry import Configuration
from raftswarm.raft.state_machine import Captured
from raftswarm.wire.envelopes import MAX_PAYLOAD_BYTES
from tests.consensus.conftest import Journal


@pytest.fixture
async def cluster(autojump_clock: MockClock) -> AsyncIterator[MemoryCluster[Journal]]:
    async with open_cluster(Journal) as opened:
        yield opened


Cluster = MemoryCluster[Journal]


async def follower_of(cluster: Cluster) -> RaftMember:
    leader = await cluster.leader()
    return next(member for member in cluster.members.values() if member is not leader)


def voters(configuration: Configuration) -> list[str]:
    return sorted(info.name for info in configuration.voters)


# Commands.


async def test_a_command_returns_what_the_machine_answered_and_reaches_all_members(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    leader = await cluster.leader()

    assert await leader.propose(b"one") == 1
    assert await leader.propose(b"two") == 2

    for name, member in cluster.members.items():
        await member.applied.wait_until(lambda applied: applied == 2)
        assert cluster.machine(name).lines == [b"one", b"two"]


async def test_a_rejection_changes_nothing(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()

    with pytest.raises(Rejected, match="as it was told to"):
        await leader.propose(b"refuse")
    assert await leader.query(b"") == []


async def test_any_result_is_returned_to_a_proposer_in_the_same_program(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    assert await (await cluster.leader()).propose(b"a set") == {1}


async def test_a_follower_says_who_leads_and_where(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader, follower = await cluster.leader(), await follower_of(cluster)

    with pytest.raises(NotLeader, match=f"ask {leader.name} at {leader.name}:7000") as caught:
        await follower.propose(b"x")
    assert (caught.value.leader, caught.value.name) == (leader.member_id, leader.name)
    assert caught.value.address == cluster.address(leader.name)


async def test_each_of_many_commands_has_its_own_outcome_in_its_place(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    leader = await cluster.leader()

    first, refused, last = await leader.propose_many([b"x", b"refuse", b"y"])

    assert (first, type(refused), last) == (1, Rejected, 2)
    assert await leader.propose_many([]) == []


async def test_on_a_follower_each_of_many_commands_says_who_leads(cluster: Cluster, autojump_clock: MockClock) -> None:
    outcomes = await (await follower_of(cluster)).propose_many([b"x", b"y"])

    assert [type(outcome) for outcome in outcomes] == [NotLeader, NotLeader]


async def test_many_commands_span_entries_and_stay_in_order(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()

    assert await leader.propose_many([b"%d" % number for number in range(10_000)]) == list(range(1, 10_001))


async def test_what_is_not_bytes_is_refused_before_anything_is_proposed(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    leader = await cluster.leader()
    text: bytes = "text"  # type: ignore[assignment]

    with pytest.raises(TypeError, match="a command is bytes, not str"):
        await leader.propose(text)
    with pytest.raises(TypeError, match="a command is bytes"):
        await leader.propose_many([b"x", text])
    with pytest.raises(TypeError, match="a question is bytes"):
        await leader.query(text)
    assert await leader.query(b"") == []


async def test_the_longest_command_passes_and_a_longer_one_is_refused(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    leader = await cluster.leader()

    assert await leader.propose(bytes(MAX_PAYLOAD_BYTES)) == 1
    with pytest.raises(PayloadTooLarge, match=f"{MAX_PAYLOAD_BYTES + 1} bytes; the most is {MAX_PAYLOAD_BYTES}"):
        await leader.propose(bytes(MAX_PAYLOAD_BYTES + 1))


# Reads.


async def test_any_member_answers_a_query_no_older_than_what_was_answered_before(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    leader = await cluster.leader()
    await leader.propose(b"x")

    for member in cluster.members.values():
        assert await member.query(b"") == [b"x"]


async def test_a_query_may_be_refused(cluster: Cluster, autojump_clock: MockClock) -> None:
    with pytest.raises(Rejected, match="as it was told to"):
        await (await cluster.leader()).query(b"refuse")


async def test_without_a_quorum_nothing_is_read(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()
    for name in [name for name in cluster.members if name != leader.name]:
        await cluster.kill(name)

    with pytest.raises(NotLeader):
        await leader.query(b"")


async def test_a_machine_without_a_query_says_what_it_lacks(autojump_clock: MockClock) -> None:
    class Silent:
        def apply(self, _command: bytes, _context: object) -> None: ...
        def capture(self) -> Captured:
            return Captured(b"")

        def restore(self, _chunks: object) -> None: ...

    async with open_cluster(Silent, members=1) as cluster:
        with pytest.raises(TypeError, match="Silent cannot be asked: give it a method query"):
            await (await cluster.leader()).query(b"")


# Watching.


async def test_leadership_is_watched_over_a_failover(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader, follower = await cluster.leader(), await follower_of(cluster)
    seen: list[int] = []

    async def watch() -> None:
        async for leadership in follower.leadership:
            seen.append(leadership.leader)
            if leadership.leader not in (0, leader.member_id):
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        await cluster.kill(leader.name)

    assert seen[0] == leader.member_id
    assert seen[-1] in {member.member_id for member in cluster.members.values()}


async def test_a_member_that_stops_leads_no_more(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()

    await cluster.kill(leader.name)

    await leader.wait_lost()
    with pytest.raises(NotLeader, match="stopped"):
        await leader.propose(b"x")
    with pytest.raises(NotLeader, match="stopped"):
        await leader.read_barrier()


# Leadership.


async def test_whoever_waits_for_a_member_to_lead_is_told_when_it_stops(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    leader = await cluster.leader()
    follower = next(member for member in cluster.members.values() if member is not leader)

    async def wait() -> None:
        with pytest.raises(NotLeader, match="this member has stopped"):
            await follower.wait_gained()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await cluster.kill(follower.name)
    await wait()


async def test_whoever_watches_a_member_is_told_when_it_stops(cluster: Cluster, autojump_clock: MockClock) -> None:
    follower = await follower_of(cluster)
    terms: list[int] = []

    async def wait_applied() -> None:
        with pytest.raises(NotLeader, match="this member has stopped"):
            await follower.applied.wait_until(lambda count: count > 1000)

    async def wait_joint() -> None:
        with pytest.raises(NotLeader, match="this member has stopped"):
            await follower.configuration.wait_until(lambda now: now.is_joint)

    async def watch() -> None:
        terms.extend([now.term async for now in follower.leadership])

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for wait in (wait_applied, wait_joint, watch):
                nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await cluster.kill(follower.name)

    assert terms


async def test_leadership_goes_to_the_one_that_is_named(cluster: Cluster, autojump_clock: MockClock) -> None:
    follower = await follower_of(cluster)

    await (await cluster.leader()).transfer_leadership(to=follower.name)

    assert await cluster.leader() is follower


async def test_leadership_goes_to_nobody_else(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader, follower = await cluster.leader(), await follower_of(cluster)

    with pytest.raises(InvalidSpec, match="no member is called zoe"):
        await leader.transfer_leadership(to="zoe")
    with pytest.raises(TransferFailed):
        await follower.transfer_leadership(to=follower.name)
    await cluster.kill(follower.name)
    with pytest.raises(TransferFailed):
        await leader.transfer_leadership(to=follower.name)


# Members (dissertation 4).


async def test_a_member_that_joins_catches_up_and_votes(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()
    await leader.propose(b"x")
    joined = await cluster.start("d")

    await leader.add_member("d", cluster.address("d"))

    await joined.configuration.wait_until(lambda now: voters(now) == ["a", "b", "c", "d"])
    assert await joined.query(b"") == [b"x"]


async def test_a_learner_learns_until_it_is_promoted(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()
    joined = await cluster.start("d")
    await leader.add_member("d", cluster.address("d"), vote=False)
    await leader.propose(b"x")
    await joined.applied.wait_until(lambda applied: applied == 1)
    await trio.sleep(60)
    assert voters(joined.configuration.value) == ["a", "b", "c"]

    await leader.promote("d")

    await joined.configuration.wait_until(lambda now: "d" in voters(now))


async def test_a_voter_that_is_demoted_follows_on(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader, follower = await cluster.leader(), await follower_of(cluster)

    await leader.demote(follower.name)

    assert follower.name not in voters(leader.configuration.value)
    await leader.propose(b"x")
    await follower.applied.wait_until(lambda applied: applied == 1)


async def test_members_are_exchanged_in_one_step(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()
    for name in "de":
        await cluster.start(name)
        await leader.add_member(name, cluster.address(name), vote=False)

    await leader.change_members([leader.name, "d", "e"])

    await cluster["d"].configuration.wait_until(lambda now: not now.is_joint and voters(now) == [leader.name, "d", "e"])
    for name in [name for name in "abc" if name != leader.name]:
        await cluster.kill(name)
    assert await (await cluster.leader()).propose(b"x") == 1


async def test_a_name_may_come_back_with_an_empty_disk(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader, follower = await cluster.leader(), await follower_of(cluster)
    name, ids = follower.name, {follower.member_id}
    await leader.propose(b"x")
    for times in (1, 2):
        await cluster.kill(name)
        await leader.remove_member(name)
        cluster.forget(name)

        again = await cluster.start(name)
        await leader.add_member(name, cluster.address(name))

        ids.add(again.member_id)
        assert len(ids) == times + 1, "an id came back"
        await again.configuration.wait_until(lambda now: len(now.voters) == 3)
        assert await again.query(b"") == [b"x"]


async def test_a_leader_may_remove_itself(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()

    await leader.remove_member(leader.name)

    await leader.wait_lost()
    successor = await cluster.leader()
    assert successor is not leader
    assert await successor.propose(b"x") == 1


async def test_to_ask_again_for_what_is_so_does_no_harm(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()
    await cluster.start("d")
    for _ in range(2):
        await leader.add_member("d", cluster.address("d"))

    await leader.configuration.wait_until(lambda now: voters(now) == ["a", "b", "c", "d"])
    await leader.promote("d")
    await leader.demote("d")
    await leader.demote("d")
    assert [info.name for info in leader.configuration.value.learners] == ["d"]


async def test_changes_that_make_no_sense_are_refused_with_a_sentence(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
    leader = await cluster.leader()
    await cluster.start("d")

    with pytest.raises(InvalidSpec, match="no member is called zoe: there are"):
        await leader.remove_member("zoe")
    with pytest.raises(InvalidSpec, match="a cluster needs a voter"):
        await leader.change_members([])
    with pytest.raises(InvalidSpec, match="listed twice"):
        await leader.change_members(["a", "a"])
    with pytest.raises(LinkError):
        await leader.add_member("zoe", cluster.address("zoe"))
    with pytest.raises(LinkError, match="is node d, not zoe"):
        await leader.add_member("zoe", cluster.address("d"))


async def test_what_names_no_members_is_told(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()
    with pytest.raises(TypeError, match="lists of names, not one: put it in brackets"):
        await leader.change_members("abc")
    with pytest.raises(TypeError, match="a name and an address are str, not int"):
        await leader.add_member("d", 7000)  # type: ignore[arg-type]


async def test_only_the_leader_changes_members(cluster: Cluster, autojump_clock: MockClock) -> None:
    follower = await follower_of(cluster)
    await cluster.start("d")

    for change in (follower.add_member("d", cluster.address("d")), follower.remove_member("a"), follower.promote("a")):
        with pytest.raises(NotLeader, match="ask"):
            await change


async def test_a_name_that_is_taken_has_to_be_removed_first(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader, follower = await cluster.leader(), await follower_of(cluster)
    await cluster.kill(follower.name)
    cluster.forget(follower.name)
    await cluster.start(follower.name)

    with pytest.raises(InvalidSpec, match="is a member already: remove it first"):
        await leader.add_member(follower.name, cluster.address(follower.name))


async def test_a_change_waits_for_the_one_before_it(cluster: Cluster, autojump_clock: MockClock) -> None:
    leader = await cluster.leader()
    async with trio.open_nursery() as nursery:
        for name in "def":
            await cluster.start(name)
            nursery.start_soon(leader.add_member, name, cluster.address(name))

    await leader.configuration.wait_until(lambda now: voters(now) == ["a", "b", "c", "d", "e", "f"])
