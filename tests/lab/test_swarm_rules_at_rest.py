"""Rules 31 to 41: a swarm that has what its users want is at rest, and each breach of that is told."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from raftswarm.lab.swarm_rules import Facts, Violation, check_at_rest
from raftswarm.objects.records import AnyObject, Service, Task
from raftswarm.objects.specs import Global, NodeSpec, PortConfig, RestartPolicy, ServiceMode
from raftswarm.objects.states import NodeState, TaskState, UpdateState
from tests.lab.rules_bench import Bench, given, make_node, make_spec, make_template

READY, RUNNING, SHUTDOWN, REMOVE = TaskState.READY, TaskState.RUNNING, TaskState.SHUTDOWN, TaskState.REMOVE


@pytest.fixture
def bench() -> Bench:
    """The service web runs its three replicas."""
    bench = Bench()
    for slot, node in ((1, "n1"), (2, "n2"), (3, "n1")):
        bench.run(slot=slot, on=node)
    return bench


@pytest.fixture
def tasks(bench: Bench) -> list[Task]:
    return list(bench.store.find(Task))


def assert_broken(bench: Bench, number: int, words: str, **facts: Any) -> None:
    with pytest.raises(Violation, match=rf"(?m)^(at rest: )?{number} \(.*{words}"):
        check_at_rest(bench.store, Facts(**facts))


def place(bench: Bench, *things: AnyObject) -> None:
    """Write things as they are: how they came there is no matter at rest."""
    bench.rules.observe = lambda *_: None  # type: ignore[method-assign]  # Nobody looks.
    bench.write(*things)


def seen(task: Task, state: TaskState, **fields: Any) -> Task:
    return replace(task, status=replace(task.status, state=state), **fields)


def test_a_swarm_that_has_what_its_users_want_is_at_rest(bench: Bench) -> None:
    check_at_rest(bench.store)


def test_facts_that_agree_break_nothing(bench: Bench, tasks: list[Task]) -> None:
    processes = {node: [task.id for task in tasks if task.node_id == node] for node in ("n1", "n2")}

    check_at_rest(bench.store, Facts(reachable=["n1", "n2"], processes=processes))


def test_31_a_slot_is_missing(bench: Bench) -> None:
    bench.user_writes(mode=make_spec(replicas=4).mode)

    assert_broken(bench, 31, "wants 4 replicas and fills 3 slots")


def test_31_an_ended_task_fills_its_slot_if_nobody_restarts_it(bench: Bench) -> None:
    template = make_template(restart=RestartPolicy(condition="none"))
    bench.write(Service(id="once", spec=make_spec("once", template=template)))
    task = bench.move(bench.run(service="once"), TaskState.COMPLETE)
    assert_broken(bench, 34, "neither where it should be")

    bench.write(bench.wanted(task, SHUTDOWN))
    check_at_rest(bench.store)


def test_31_a_slot_is_filled_twice(bench: Bench, tasks: list[Task]) -> None:
    place(bench, replace(tasks[0], id="double"))

    assert_broken(bench, 31, "2 wanted tasks in slot 1")


def test_32_a_node_lacks_its_global_task(bench: Bench) -> None:
    bench.write(Service(id="agents", spec=make_spec("agents", mode=ServiceMode(global_=Global()))))
    bench.run(service="agents", node="n1")
    assert_broken(bench, 32, "wants no task on node n2")

    bench.run(service="agents", node="n2", on="n2")
    check_at_rest(bench.store)

    bench.write(replace(bench.node("n2"), spec=NodeSpec(availability="drain")))
    assert_broken(bench, 32, r"wants a task on node n2, which is ready \(drain\)")


def test_33_a_task_is_of_an_old_spec_unless_the_update_stands_still(bench: Bench) -> None:
    bench.user_writes(task_template=make_template("v2"))
    assert_broken(bench, 33, "is of spec 0")

    place(bench)
    bench.write(bench.update_is(UpdateState.PAUSED))
    check_at_rest(bench.store)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": NodeState.DOWN}, "which is down"),
        ({"spec": NodeSpec(availability="drain")}, "drain"),
    ],
)
def test_34_a_task_runs_where_none_should(bench: Bench, fields: dict[str, Any], words: str) -> None:
    bench.write(replace(bench.node("n2"), **fields))

    assert_broken(bench, 34, f"runs on node n2, .*{words}")


def test_34_a_task_runs_where_its_constraints_forbid(bench: Bench) -> None:
    template = make_template(constraints=["node.labels.disk==ssd"])
    bench.write(replace(bench.node("n1"), spec=NodeSpec(labels={"disk": "ssd"})))
    bench.write(Service(id="db", spec=make_spec("db", template=template)))
    bench.run(service="db")
    check_at_rest(bench.store)

    bench.write(replace(bench.node("n1"), spec=NodeSpec(labels={"disk": "hdd"})))
    assert_broken(bench, 34, "does not meet its constraints")


def test_34_a_task_waits_that_could_be_placed(bench: Bench) -> None:
    template = make_template(cpus=3)
    bench.write(Service(id="db", spec=make_spec("db", template=template, replicas=3)))
    bench.run(service="db", on="n1")
    waiting = bench.bring(bench.make(service="db", slot=2), TaskState.PENDING)
    assert_broken(bench, 34, "waits, though node n2 could take it")

    bench.bring(waiting, RUNNING, "n2")
    last = bench.bring(bench.make(service="db", slot=3), TaskState.PENDING)
    assert_broken(bench, 34, "nobody says why")

    bench.write(replace(last, status=replace(last.status, error="no suitable node")))
    check_at_rest(bench.store)


def test_35_what_nobody_wants_has_stopped_and_is_gone(bench: Bench, tasks: list[Task]) -> None:
    place(bench, seen(replace(tasks[0], id="old"), RUNNING, desired_state=SHUTDOWN))
    assert_broken(bench, 35, "has not stopped")

    bench.write(seen(replace(tasks[0], id="old"), SHUTDOWN, desired_state=REMOVE))
    assert_broken(bench, 35, "has stopped and is still there")


def test_35_what_runs_on_a_node_that_is_down_is_left(bench: Bench, tasks: list[Task]) -> None:
    left = seen(replace(tasks[0], id="old"), RUNNING, desired_state=SHUTDOWN, node_id="n3")
    place(bench, make_node("n3", state=NodeState.DOWN), left)

    check_at_rest(bench.store)


def test_36_histories_are_cut(bench: Bench, tasks: list[Task]) -> None:
    old = [seen(replace(tasks[0], id=f"old{number}"), SHUTDOWN, desired_state=SHUTDOWN) for number in range(5)]
    bench.wait(1)
    place(bench, *old)

    assert_broken(bench, 36, "keeps 6 records in slot 1, 5 of them ended, 5 at most")


def test_37_what_a_record_refers_to_is_there(bench: Bench, tasks: list[Task]) -> None:
    bench.write(delete=[bench.web])
    assert_broken(bench, 37, "its service is gone")

    place(bench, replace(tasks[0], node_id="n9"))
    assert_broken(bench, 37, "its node is gone")


def test_38_updates_end(bench: Bench) -> None:
    bench.write(bench.update_is(UpdateState.UPDATING))

    assert_broken(bench, 38, "still on its way to spec 0")


def test_39_ports_are_given_and_taken_back(bench: Bench) -> None:
    port = PortConfig(target_port=80, published_port=80)
    for name in ("db", "cache"):
        bench.write(Service(id=name, spec=make_spec(name, replicas=0, ports=[port])))
    db = bench.store.get(Service, "db")
    assert db is not None
    assert_broken(bench, 39, "waits for ports that nobody has")

    bench.write(given(db, port))
    check_at_rest(bench.store)

    place(bench)
    db = bench.store.get(Service, "db")
    assert db is not None
    bench.write(replace(db, spec=make_spec("db", replicas=0)))
    assert_broken(bench, 39, "asks for no ports and has 1")


def test_40_nodes_are_as_the_tables_say(bench: Bench) -> None:
    assert_broken(bench, 40, "node n2 is ready, and should be down", reachable=["n1"])


def test_40_processes_are_as_the_tables_say(bench: Bench, tasks: list[Task]) -> None:
    on_n1 = [task.id for task in tasks if task.node_id == "n1"]
    assert_broken(bench, 40, "node n2 has no process of tasks t02", processes={"n1": on_n1})

    assert_broken(bench, 40, "node n2 has processes of tasks ghost", processes={"n1": on_n1, "n2": ["t02", "ghost"]})


def test_41_two_tasks_have_not_one_address(bench: Bench, tasks: list[Task]) -> None:
    place(bench, *(replace(task, status=replace(task.status, address="127.64.0.1")) for task in tasks))

    assert_broken(bench, 41, "has the address 127.64.0.1, and so has task t01")


def test_what_keeps_failing_is_left_out(bench: Bench) -> None:
    bench.user_writes(task_template=make_template("v2"), mode=make_spec(replicas=9).mode)

    check_at_rest(bench.store, Facts(failing=["web"]))
