"""Messages between bare members move only when they are told to."""

from __future__ import annotations

import pytest

from raftswarm.lab.vectors.bare_member import BareMember, make_member
from raftswarm.lab.vectors.post import Post
from raftswarm.lab.vectors.scenario_form import Deliver, Drop, Hold, InitialNode, SnapshotPoint
from raftswarm.raft.roles import Leader


@pytest.fixture
def post() -> Post:
    """Three members with empty logs, who know each other; the first has asked for pre-votes."""
    post = Post()
    nothing = SnapshotPoint(0, 0)
    post.start(*(make_member(InitialNode(number, 0, 0, nothing, (), (1, 2, 3), ())) for number in (1, 2, 3)))
    post.nodes[1].campaign()
    work(post, post.nodes[1])
    return post


def work(post: Post, node: BareMember) -> None:
    node.work()
    post.collect(node)


def settle(post: Post) -> None:
    for _ in range(20):
        for node in post.running:
            work(post, node)
        post.deliver(Deliver())


def test_members_know_each_other_before_anything_is_delivered(post: Post) -> None:
    assert post.delivered == 0
    assert all(node.member.may_vote for node in post.nodes.values())


def test_nothing_arrives_by_itself_and_everything_when_told(post: Post) -> None:
    work(post, post.nodes[2])
    assert post.nodes[2].outbox == []

    settle(post)

    assert isinstance(post.nodes[1].member.role, Leader)


def test_only_what_is_selected_arrives(post: Post) -> None:
    assert not post.deliver(Deliver(to=(2,), type="append"))
    assert not post.deliver(Deliver(to=(2,), sender=(3,)))
    assert post.deliver(Deliver(to=(2,), sender=(1,), type="pre_vote"))
    assert post.delivered == 1


def test_what_is_dropped_never_arrives(post: Post) -> None:
    post.drop(Drop(to=(2, 3)))

    assert not post.deliver(Deliver())


def test_what_is_held_arrives_once_more(post: Post) -> None:
    post.hold(Hold(to=(2,)))
    assert post.deliver(Deliver(to=(2,)))
    assert not post.deliver(Deliver(to=(2,)))

    post.replay()

    assert post.deliver(Deliver(to=(2,)))
    assert not post.deliver(Deliver(to=(2,)))


def test_a_partition_loses_messages_when_they_arrive(post: Post) -> None:
    post.partition([(1, 2), (3,)])
    assert post.deliver(Deliver(to=(3,)))
    assert post.delivered == 0

    post.partition(())
    settle(post)

    assert post.nodes[1].member.is_leader, "node 2 has voted for it"


def test_a_crash_loses_what_is_on_its_way_and_keeps_what_is_on_disk(post: Post) -> None:
    settle(post)
    node = post.nodes[1]
    node.tick()
    work(post, node)

    post.crash(node)

    assert not post.deliver(Deliver(to=(2, 3)))
    post.start(node)
    assert node.member.term == 1
    assert node.member.last_index == 1
