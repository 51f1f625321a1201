"""Rules 1 to 13 and 24 to 30: a lawful life breaks none of them, and each is seen to catch what it is for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pytest
from msgspec.structs import replace

from raftswarm.lab.swarm_rules import RULES, RULES_AT_REST, SwarmRules, Violation
from raftswarm.lab.swarm_rules.picture import Rule
from raftswarm.objects.records import Node, Service
from raftswarm.objects.specs import Global, NodeSpec, Platform, PortConfig, ServiceMode
from raftswarm.objects.states import NodeState, TaskState
from raftswarm.store.contracts import Change
from tests.lab.rules_bench import Bench, given, make_node, make_spec, make_template

GLOBAL = ServiceMode(global_=Global())


@pytest.fixture
def bench() -> Bench:
    return Bench()


def breaks(number: int, words: str = "") -> AbstractContextManager[object]:
    return pytest.raises(Violation, match=rf"^{number} \(.*{words}.*\(command \d+, on m1\)$")


def test_rules_are_numbered_in_order_and_explained() -> None:
    rules: list[Rule[Any]] = [*RULES, *RULES_AT_REST]

    assert [rule.number for rule in rules] == list(range(1, len(rules) + 1))
    assert all("SWARM" in (rule.check.__doc__ or "") or rule.number == 41 for rule in rules)


def test_a_lawful_life_breaks_no_rule(bench: Bench) -> None:
    task = bench.run()
    bench.move(task, TaskState.FAILED)
    replacement = bench.new(desired=TaskState.READY)
    bench.write(bench.wanted(task, TaskState.SHUTDOWN), replacement)
    bench.bring(replacement, TaskState.READY)
    bench.wait(6)
    bench.write(bench.wanted(replacement, TaskState.RUNNING))
    bench.bring(replacement, TaskState.RUNNING)
    bench.write(delete=[bench.web])
    bench.write(bench.wanted(replacement, TaskState.REMOVE))
    bench.move(replacement, TaskState.SHUTDOWN)
    bench.write(bench.wanted(task, TaskState.REMOVE))
    bench.write(delete=[task, replacement])


def test_a_command_that_several_managers_apply_counts_once(bench: Bench) -> None:
    task = bench.make()
    change = Change(None, task, bench.index)

    bench.rules.observe("m2", bench.index, [change], bench.store)


def test_rules_begin_in_the_middle_of_a_life_and_behind_gaps(bench: Bench) -> None:
    task = bench.run()
    bench.rules = SwarmRules()

    bench.move(task, TaskState.FAILED)
    replacement = bench.new(desired=TaskState.READY)
    skipped, bench.rules = bench.rules, SwarmRules()
    bench.write(bench.wanted(task, TaskState.SHUTDOWN), replacement)
    bench.rules = skipped
    bench.bring(replacement, TaskState.READY)

    with breaks(9):
        bench.write(replace(bench.task(task), desired_state=TaskState.RUNNING))


# 1 to 6.


def test_1_a_version_is_the_number_of_its_command(bench: Bench) -> None:
    task = bench.make()
    wrong = replace(task, version=bench.index, updated_at=task.updated_at + 1)

    with breaks(1, "version"):
        bench.rules.observe("m1", bench.index + 1, [Change(task, wrong, bench.index + 1)], bench.store)


def test_1_time_does_not_go_back(bench: Bench) -> None:
    task = bench.make()
    bench.now -= 1

    with breaks(1, "updated at"):
        bench.move(task, TaskState.PENDING)


def test_2_an_id_is_not_given_again(bench: Bench) -> None:
    service = Service(id="db", spec=make_spec("db"))
    bench.write(service)
    bench.write(delete=[service])

    with breaks(2, "db was deleted once"):
        bench.write(Service(id="db", spec=make_spec("other")))


def test_2_a_removed_node_is_barred_and_stays_out(bench: Bench) -> None:
    with breaks(2, "n2 was removed, but its certificate was not barred"):
        bench.write(delete=[bench.node("n2")])

    bench.write(replace(bench.cluster, removed_nodes={"n9": 5}))
    with breaks(2, "n9 is there"):
        bench.write(make_node("n9"))


def test_2_two_nodes_have_not_one_member(bench: Bench) -> None:
    bench.write(replace(bench.node("n1"), member_id=7))

    with breaks(2, "one Raft member, 7"):
        bench.write(replace(bench.node("n2"), member_id=7))


def test_3_names_differ_by_more_than_case(bench: Bench) -> None:
    other = Service(
        id="other", spec=make_spec("WEB"), version=bench.index + 1, created_at=bench.now, updated_at=bench.now
    )

    with breaks(3, "both called WEB"):
        bench.rules.observe("m1", bench.index + 1, [Change(None, other, bench.index + 1)], bench.store)


def test_4_there_is_no_second_cluster(bench: Bench) -> None:
    other = replace(bench.cluster, id="c2", version=bench.index + 1, created_at=bench.now, updated_at=bench.now)

    with breaks(4, "2 clusters: c1, c2"):
        bench.rules.observe("m1", bench.index + 1, [Change(None, other, bench.index + 1)], bench.store)


def test_4_the_cluster_stays(bench: Bench) -> None:
    with breaks(4, "c1 was deleted"):
        bench.write(delete=[bench.cluster])


def test_5_agents_are_not_sent_the_swarms_secrets(bench: Bench) -> None:
    with breaks(5, "n1 holds the join token of managers"):
        bench.write(replace(bench.node("n1"), message="joined with SWMTKN-1-manager"))


def test_6_the_system_does_not_edit_a_spec(bench: Bench) -> None:
    with breaks(6, "neither by an update nor back"):
        bench.write(replace(bench.web, spec=make_spec(replicas=7)))


def test_6_name_and_mode_stay(bench: Bench) -> None:
    with breaks(6, "from mode replicated to global"):
        bench.user_writes(mode=GLOBAL)


# 7 to 13.


def test_7_a_task_stays_in_its_slot_and_on_its_node(bench: Bench) -> None:
    task = bench.run()

    with breaks(7, "another slot: 1, now 2"):
        bench.write(replace(task, slot=2))


def test_7_a_task_never_moves(bench: Bench) -> None:
    task = bench.run()

    with breaks(7, "was on node n1"):
        bench.write(replace(task, node_id="n2"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (TaskState.RUNNING, TaskState.STARTING),
        (TaskState.NEW, TaskState.ASSIGNED),
        (TaskState.PENDING, TaskState.RUNNING),
        (TaskState.RUNNING, TaskState.REMOVE),
        (TaskState.PENDING, TaskState.SHUTDOWN),
    ],
)
def test_8_nobody_moves_a_task_so(bench: Bench, before: TaskState, after: TaskState) -> None:
    task = bench.bring(bench.make(), before)

    with breaks(8, f"observed {after.name}, came from {before.name}"):
        bench.move(task, after)


def test_8_an_end_is_the_end(bench: Bench) -> None:
    task = bench.move(bench.run(), TaskState.COMPLETE)

    with breaks(8, "came from COMPLETE"):
        bench.move(task, TaskState.FAILED)


def test_9_desired_states_do_not_fall(bench: Bench) -> None:
    task = bench.run()
    bench.write(bench.wanted(task, TaskState.REMOVE))

    with breaks(9, "was desired REMOVE"):
        bench.write(bench.wanted(task, TaskState.SHUTDOWN))


def test_10_who_observes_does_not_want(bench: Bench) -> None:
    task = bench.run()

    with breaks(10, "desired_state, status at once"):
        bench.write(replace(bench.moved(task, TaskState.COMPLETE), desired_state=TaskState.REMOVE))


def test_11_a_task_is_made_from_the_present_template(bench: Bench) -> None:
    old = bench.new()
    bench.user_writes(task_template=make_template("v2"))

    with breaks(11, "made from spec 0"):
        bench.write(old)


def test_11_a_task_is_made_for_a_service_and_a_node_that_are_there(bench: Bench) -> None:
    bench.write(Service(id="agents", spec=make_spec("agents", mode=GLOBAL)))

    with breaks(11, "a node that does not exist"):
        bench.make(service="agents", node="n9")


def test_11_no_task_is_made_for_a_node_that_is_drained(bench: Bench) -> None:
    bench.write(Service(id="agents", spec=make_spec("agents", mode=GLOBAL)))
    bench.write(replace(bench.node("n1"), spec=NodeSpec(availability="drain")))
    bench.pass_commands()

    with breaks(11, "ready and drain"):
        bench.make(service="agents", node="n1")


def test_12_a_task_that_may_run_is_not_forgotten(bench: Bench) -> None:
    task = bench.run()
    bench.write(bench.wanted(task, TaskState.REMOVE))

    with breaks(12, "forgotten although it may run"):
        bench.write(delete=[task])


def test_13_history_is_not_cut_too_short(bench: Bench) -> None:
    task = bench.run()
    bench.move(task, TaskState.FAILED)
    bench.write(bench.wanted(task, TaskState.SHUTDOWN), bench.new(desired=TaskState.READY))

    with breaks(13, "only 1 records of its slot are left of at least 5"):
        bench.write(delete=[task])


# 24 to 30.


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (make_node("n1", state=NodeState.DOWN), "down, active"),
        (make_node("n1", availability="pause"), "ready, pause"),
        (make_node("n1", availability="drain"), "ready, drain"),
    ],
)
def test_24_nothing_goes_to_a_node_that_is_not_available(bench: Bench, node: Node, words: str) -> None:
    task = bench.bring(bench.make(), TaskState.PENDING)
    bench.write(node)

    with breaks(24, words):
        bench.move(task, TaskState.ASSIGNED)


def test_24_nothing_goes_to_a_node_that_is_gone(bench: Bench) -> None:
    task = bench.bring(bench.make(), TaskState.PENDING)

    with breaks(24, "does not exist"):
        bench.move(task, TaskState.ASSIGNED, "n9")


def test_24_what_nobody_wants_goes_nowhere(bench: Bench) -> None:
    task = bench.bring(bench.make(), TaskState.PENDING)
    bench.write(bench.wanted(task, TaskState.REMOVE))

    with breaks(24, "nobody wants it"):
        bench.move(task, TaskState.ASSIGNED)


def test_25_constraints_hold(bench: Bench) -> None:
    bench.user_writes(task_template=make_template(constraints=["node.hostname==n2"]))
    task = bench.bring(bench.make(), TaskState.PENDING)

    with breaks(25, "does not meet"):
        bench.move(task, TaskState.ASSIGNED, "n1")


def test_26_nobody_reserves_what_is_taken(bench: Bench) -> None:
    bench.user_writes(task_template=make_template(cpus=3))
    bench.run(slot=1)
    task = bench.bring(bench.make(slot=2), TaskState.PENDING)

    with breaks(26, "6000000000 nano CPUs reserved of 4000000000"):
        bench.move(task, TaskState.ASSIGNED)


def test_27_platforms_fit(bench: Bench) -> None:
    bench.user_writes(task_template=make_template(platforms=[Platform(os="plan9")]))
    task = bench.bring(bench.make(), TaskState.PENDING)

    with breaks(27, "platform"):
        bench.move(task, TaskState.ASSIGNED)


def test_28_a_node_has_no_more_replicas_than_it_may(bench: Bench) -> None:
    bench.user_writes(task_template=make_template(max_replicas=1))
    bench.run(slot=1)
    task = bench.bring(bench.make(slot=2), TaskState.PENDING)

    with breaks(28, "number 2 of its service on node n1, 1 at most"):
        bench.move(task, TaskState.ASSIGNED)


def test_29_a_host_port_is_taken_once(bench: Bench) -> None:
    port = PortConfig(target_port=80, published_port=80, publish_mode="host")
    for name in ("db", "cache"):
        bench.write(Service(id=name, spec=make_spec(name, ports=[port])))
        service = bench.store.get(Service, name)
        assert service is not None
        bench.write(given(service, port))
    bench.run(service="db")
    task = bench.bring(bench.make(service="cache"), TaskState.PENDING)

    with breaks(29, r"has its port \('tcp', 80\)"):
        bench.move(task, TaskState.ASSIGNED)


def test_30_a_published_port_has_one_owner(bench: Bench) -> None:
    port = PortConfig(target_port=80, published_port=80)
    for name in ("db", "cache"):
        bench.write(Service(id=name, spec=make_spec(name, ports=[port])))
    db, cache = bench.store.get(Service, "db"), bench.store.get(Service, "cache")
    assert db is not None
    assert cache is not None
    bench.write(given(db, port))

    with breaks(30, "both have port 80/tcp"):
        bench.write(given(cache, port))


@pytest.mark.parametrize(
    ("asked", "given_port", "words"),
    [(80, 81, "asked for port 80 and was given 81"), (0, 1024, "none of the automatic ones")],
)
def test_30_ports_are_as_asked(bench: Bench, asked: int, given_port: int, words: str) -> None:
    wanted = PortConfig(target_port=80, published_port=asked)
    bench.write(Service(id="db", spec=make_spec("db", ports=[wanted])))
    db = bench.store.get(Service, "db")
    assert db is not None

    with breaks(30, words):
        bench.write(given(db, replace(wanted, published_port=given_port)))


def test_30_a_task_goes_on_with_the_ports_of_its_service(bench: Bench) -> None:
    port = PortConfig(target_port=80, published_port=80)
    bench.write(Service(id="db", spec=make_spec("db", ports=[port])))
    task = bench.make(service="db")

    with breaks(30, "before its service had its ports"):
        bench.move(task, TaskState.PENDING)
