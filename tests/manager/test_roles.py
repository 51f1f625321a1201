"""The role manager: nodes become what the user wants them to be (SWARM 12.9)."""

from __future__ import annotations

import math

import attrs
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from raftswarm.errors import NotLeader, Overloaded
from raftswarm.manager.roles import Plan, RoleManager, SetRole, plan_roles, quorum_survives
from raftswarm.objects.records import Node
from raftswarm.objects.specs import NodeSpec
from raftswarm.raft.log_entry import MemberInfo
from raftswarm.store.alone import LoneProposer
from raftswarm.store.change_set import encode
from raftswarm.store.store import Store
from raftswarm.store.writes import StoreWrites


def node(name: str, role: str, wanted: str = "") -> Node:
    return Node(id=name, role=role, spec=NodeSpec(role=wanted or role), member_id=7 if role == "manager" else 0)


def member(number: int, name: str) -> MemberInfo:
    return MemberInfo(id=number, name=name)


A, B, C = member(1, "a"), member(2, "b"), member(3, "c")


class TestPlan:
    def test_where_all_is_as_it_should_be_nothing_is_done(self) -> None:
        assert plan_roles([node("a", "manager"), node("w", "worker")], [A]) == Plan((), ())

    def test_a_worker_that_is_to_manage_may_do_so_at_once(self) -> None:
        plan = plan_roles([node("a", "manager"), node("w", "worker", "manager")], [A])

        assert plan == Plan((SetRole("w", "manager"),), ())

    def test_a_manager_leaves_the_group_before_it_becomes_a_worker(self) -> None:
        nodes = [node("a", "manager"), node("b", "manager", "worker")]

        assert plan_roles(nodes, [A, B]) == Plan((), (B,))
        assert plan_roles(nodes, [A]) == Plan((SetRole("b", "worker"),), ())

    def test_a_member_without_a_node_has_to_go(self) -> None:
        assert plan_roles([node("a", "manager")], [A, B]) == Plan((), (B,))

    def test_a_manager_that_has_yet_to_join_the_group_is_left_alone(self) -> None:
        assert plan_roles([node("a", "manager"), node("b", "manager")], [A]) == Plan((), ())


@pytest.mark.parametrize(
    ("reachable", "without", "survives"),
    [((1, 2, 3), 3, True), ((1, 3), 3, False), ((1, 2), 3, True), ((2, 3), 1, True), ((1,), 2, False)],
)
def test_of_those_who_would_be_left_a_majority_has_to_answer(
    reachable: tuple[int, ...], without: int, *, survives: bool
) -> None:
    assert quorum_survives([A, B, C], reachable, without=without) is survives


def test_a_role_is_written_only_while_it_is_wanted() -> None:
    store = Store()
    log = LoneProposer(store)
    transaction = store.begin()
    transaction.create(node("w", "worker"))
    log.apply(encode(transaction.change_set()))

    transaction = store.begin()
    SetRole("w", "manager").write(transaction)
    SetRole("gone", "manager").write(transaction)

    assert not transaction.changes


@attrs.define
class Group:
    """A Raft group that does as it is told, unless `refusals` says otherwise."""

    infos: list[MemberInfo]
    silent: set[int] = attrs.field(factory=set)
    refusals: list[Exception] = attrs.field(factory=list)
    handed_over: int = 0
    asked_at: list[float] = attrs.field(factory=list)
    answers_after: float = 0.0

    def members(self) -> list[MemberInfo]:
        return list(self.infos)

    def is_reachable(self, member_id: int) -> bool:
        return member_id not in self.silent

    def is_own(self, member_id: int) -> bool:
        return member_id == 1

    async def hand_over(self) -> None:
        self.handed_over += 1

    async def remove_member(self, member_id: int) -> None:
        self.asked_at.append(trio.current_time())
        await trio.sleep(self.answers_after)
        if self.refusals:
            raise self.refusals.pop(0)
        self.infos = [info for info in self.infos if info.id != member_id]


class Leader:
    """The loop on a leader, over a store."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.store = Store()
        self.log = LoneProposer(self.store)
        self.loop = RoleManager(self.store, StoreWrites(self.store, self.log), self.group)

    def put(self, *nodes: Node) -> None:
        transaction = self.store.begin()
        for one in nodes:
            transaction.create(one)
        self.log.apply(encode(transaction.change_set()))

    def want(self, name: str, role: str) -> None:
        transaction = self.store.begin()
        found = transaction.get(Node, name)
        assert found is not None
        transaction.update(replace(found, spec=NodeSpec(role=role)))
        self.log.apply(encode(transaction.change_set()))

    def role_of(self, name: str) -> str:
        found = self.store.get(Node, name)
        assert found is not None
        return found.role


@pytest.fixture
def leader() -> Leader:
    leader = Leader(Group([A, B, C]))
    leader.put(node("a", "manager"), node("b", "manager"), node("c", "manager"), node("w", "worker"))
    return leader


async def test_a_promotion_is_carried_out_when_it_is_wished(leader: Leader, nursery: trio.Nursery) -> None:
    nursery.start_soon(leader.loop.run)
    await wait_all_tasks_blocked()

    leader.want("w", "manager")
    await wait_all_tasks_blocked()

    assert leader.role_of("w") == "manager"


async def test_a_demotion_ends_with_a_worker_that_is_no_member(leader: Leader, nursery: trio.Nursery) -> None:
    nursery.start_soon(leader.loop.run)
    await wait_all_tasks_blocked()

    leader.want("b", "worker")
    await wait_all_tasks_blocked()

    assert leader.role_of("b") == "worker"
    assert leader.group.members() == [A, C]
    demoted = leader.store.get(Node, "b")
    assert demoted is not None
    assert (demoted.member_id, demoted.manager_address) == (0, "")


async def test_two_demotions_at_once_come_one_after_the_other(leader: Leader, nursery: trio.Nursery) -> None:
    leader.want("b", "worker")
    leader.want("c", "worker")

    nursery.start_soon(leader.loop.run)
    await wait_all_tasks_blocked()

    assert [leader.role_of(name) for name in "abc"] == ["manager", "worker", "worker"]


async def test_nobody_is_taken_out_whom_the_quorum_needs(
    leader: Leader, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    leader.group.silent = {3}
    leader.want("b", "worker")

    nursery.start_soon(leader.loop.run)
    await trio.sleep(20)
    assert leader.role_of("b") == "manager"
    assert leader.group.asked_at == []
    leader.group.silent = set()
    await trio.sleep(6)

    assert leader.role_of("b") == "worker"


@pytest.mark.parametrize("refusal", [Overloaded("another change is under way"), NotLeader("not any more")])
async def test_what_did_not_work_is_tried_again_after_5_s(
    leader: Leader, nursery: trio.Nursery, autojump_clock: MockClock, refusal: Exception
) -> None:
    leader.group.refusals = [refusal]
    leader.want("b", "worker")

    nursery.start_soon(leader.loop.run)
    await trio.sleep(6)

    assert leader.role_of("b") == "worker"
    assert math.isclose(leader.group.asked_at[1] - leader.group.asked_at[0], 5)


async def test_a_removal_that_is_not_decided_in_time_does_not_hold_the_loop(
    leader: Leader, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    leader.group.answers_after = 60
    leader.want("b", "worker")

    nursery.start_soon(leader.loop.run)
    await trio.sleep(6)
    leader.want("w", "manager")
    await trio.sleep(6)

    assert leader.role_of("w") == "manager"


async def test_a_leader_that_demotes_itself_hands_over_and_removes_nobody(
    leader: Leader, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    leader.want("a", "worker")

    nursery.start_soon(leader.loop.run)
    await trio.sleep(1)

    assert leader.group.handed_over == 1
    assert leader.group.members() == [A, B, C]
    assert leader.role_of("a") == "manager"
