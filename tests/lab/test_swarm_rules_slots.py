"""Rules 14 to 23: slots, restarts and updates. Each lets what is lawful pass, and catches what it is for."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
from msgspec.structs import replace

from raftswarm.lab.swarm_rules import Violation
from raftswarm.objects.records import Service, Task
from raftswarm.objects.specs import NodeSpec, RestartPolicy, UpdateConfig
from raftswarm.objects.states import NodeState, TaskState, UpdateState
from tests.lab.rules_bench import SECOND, Bench, make_template

READY, RUNNING, SHUTDOWN = TaskState.READY, TaskState.RUNNING, TaskState.SHUTDOWN


@pytest.fixture
def bench() -> Bench:
    return Bench()


def breaks(number: int, words: str = "") -> AbstractContextManager[object]:
    return pytest.raises(Violation, match=rf"^{number} \(.*{words}.*\(command \d+, on m1\)$")


def updating(bench: Bench, **config: object) -> None:
    """The user wants another image; slots 1 to 3 ran the old one."""
    update = UpdateConfig(**{"parallelism": 1, **config})  # type: ignore[arg-type]  # Fields by name.
    bench.user_writes(task_template=make_template("v2"), update_config=update)
    bench.write(bench.update_is(UpdateState.UPDATING))


def stop_first(bench: Bench, old: Task) -> Task:
    """An update takes on a slot."""
    new = bench.new(slot=old.slot, desired=READY)
    bench.write(bench.wanted(old, SHUTDOWN), new)
    return bench.task(new)


def change_over(bench: Bench, old: Task) -> Task:
    """The whole way of a slot."""
    new = stop_first(bench, old)
    bench.move(old, SHUTDOWN)
    bench.bring(new, READY)
    bench.write(bench.wanted(new, RUNNING))
    return bench.bring(new, RUNNING)


# 14 and 15.


def test_14_a_slot_has_no_two_tasks_of_one_spec(bench: Bench) -> None:
    bench.run()

    with breaks(14, "wanted and of the same spec"):
        bench.make()


def test_14_stop_first_means_one_after_the_other(bench: Bench) -> None:
    bench.run()
    updating(bench)

    with breaks(14, "updates here stop first"):
        bench.make()


def test_14_a_third_is_one_too_many(bench: Bench) -> None:
    bench.run()
    updating(bench, order="start-first")
    bench.make()
    updating(bench, order="start-first")

    with breaks(14, "beside 2 others"):
        bench.make()


def test_14_what_takes_the_place_of_its_like_doubles_nothing(bench: Bench) -> None:
    """A rollback that starts first has paused; what it made failed, and is restarted beside what it was to replace."""
    bench.user_writes(update_config=UpdateConfig(), rollback_config=UpdateConfig(order="start-first"))
    old = bench.run()
    updating(bench)
    change_over(bench, old)
    forward = bench.web
    back = rolled_back(bench.update_is(UpdateState.ROLLBACK_STARTED))
    bench.write(replace(back, previous_spec=forward.spec, previous_spec_version=forward.spec_version))
    new = bench.move(bench.run(), TaskState.FAILED)
    bench.write(bench.update_is(UpdateState.ROLLBACK_PAUSED))

    bench.write(bench.wanted(new, SHUTDOWN), bench.new(desired=READY))


def test_14_there_are_no_more_slots_than_replicas(bench: Bench) -> None:
    for slot in (1, 2, 3):
        bench.run(slot=slot)

    with breaks(14, "slot 4 of 3"):
        bench.make(slot=4)


def test_15_who_lets_go_of_a_task_makes_the_next(bench: Bench) -> None:
    task = bench.move(bench.run(), TaskState.FAILED)

    with breaks(15, "nobody is wanted in its place"):
        bench.write(bench.wanted(task, SHUTDOWN))


@pytest.mark.parametrize(
    ("policy", "end"),
    [
        (RestartPolicy(condition="none"), TaskState.FAILED),
        (RestartPolicy(condition="on-failure"), TaskState.COMPLETE),
    ],
)
def test_15_what_is_not_restarted_ends_for_good(bench: Bench, policy: RestartPolicy, end: TaskState) -> None:
    bench.user_writes(task_template=make_template(restart=policy))
    task = bench.move(bench.run(), end)

    bench.write(bench.wanted(task, SHUTDOWN))


# 16 to 18.


def drained(bench: Bench) -> tuple[Task, Task]:
    """A task whose node is drained, and its replacement, which is ready on another."""
    old = bench.run()
    bench.write(replace(bench.node("n1"), spec=NodeSpec(availability="drain")))
    new = stop_first(bench, old)
    return old, bench.bring(new, READY, "n2")


def test_16_a_replacement_does_not_start_beside_what_it_replaces(bench: Bench) -> None:
    _, new = drained(bench)

    with breaks(16, "may still run"):
        bench.write(bench.wanted(new, RUNNING))


def test_16_it_starts_when_that_has_stopped(bench: Bench) -> None:
    old, new = drained(bench)
    bench.move(old, SHUTDOWN)

    bench.write(bench.wanted(new, RUNNING))


def test_16_nobody_waits_longer_than_a_minute(bench: Bench) -> None:
    _, new = drained(bench)
    bench.wait(61)

    bench.write(bench.wanted(new, RUNNING))


def test_16_nobody_waits_for_a_node_that_is_down(bench: Bench) -> None:
    _, new = drained(bench)
    bench.write(replace(bench.node("n1"), state=NodeState.DOWN))
    bench.write(replace(bench.node("n1"), state=NodeState.READY))

    bench.write(bench.wanted(new, RUNNING))


def test_16_a_slot_is_not_filled_again_beside_what_is_to_stop(bench: Bench) -> None:
    old = bench.run()
    bench.write(bench.wanted(old, TaskState.REMOVE))

    with breaks(16, "may still run"):
        bench.make()


def failed(bench: Bench) -> Task:
    """The replacement of a task that failed, ready and waiting."""
    task = bench.move(bench.run(), TaskState.FAILED)
    new = bench.new(desired=READY)
    bench.write(bench.wanted(task, SHUTDOWN), new)
    return bench.bring(new, READY)


def test_17_a_restart_is_delayed(bench: Bench) -> None:
    new = failed(bench)
    bench.wait(4.5)

    with breaks(17, "0.5 s before its restart delay was over"):
        bench.write(bench.wanted(new, RUNNING))


def test_17_where_clocks_jump_times_prove_nothing(bench: Bench) -> None:
    bench.rules.distrust_clocks()
    new = failed(bench)

    bench.write(bench.wanted(new, RUNNING))


def test_18_what_is_not_restarted_is_not_replaced(bench: Bench) -> None:
    bench.user_writes(task_template=make_template(restart=RestartPolicy(condition="on-failure")))
    task = bench.move(bench.run(), TaskState.COMPLETE)

    with breaks(18, "COMPLETE, which is restarted on-failure"):
        bench.write(bench.wanted(task, SHUTDOWN), bench.new(desired=READY))


def test_18_attempts_are_counted(bench: Bench) -> None:
    bench.user_writes(task_template=make_template(restart=RestartPolicy(max_attempts=1, delay=0)))
    new = failed(bench)
    bench.write(bench.wanted(new, RUNNING))
    bench.wait(1)
    bench.move(bench.bring(new, RUNNING), TaskState.FAILED)

    with breaks(18, "restart 2 of 1"):
        bench.write(bench.wanted(new, SHUTDOWN), bench.new(desired=READY))


# 19 to 23.


def test_19_an_update_takes_on_few_slots_at_once(bench: Bench) -> None:
    first, second = bench.run(slot=1), bench.run(slot=2)
    updating(bench)
    stop_first(bench, first)

    with breaks(19, r"slots \[1, 2\] at once, 1 at most"):
        stop_first(bench, second)


def test_19_the_next_comes_when_the_last_has_run_for_the_delay(bench: Bench) -> None:
    first, second, third = bench.run(slot=1), bench.run(slot=2), bench.run(slot=3)
    updating(bench, delay=2 * SECOND)
    change_over(bench, first)
    bench.wait(2)
    change_over(bench, second)
    bench.wait(1)

    with breaks(19, r"slots \[2, 3\]"):
        stop_first(bench, third)


def test_19_what_is_lost_anyway_does_not_count(bench: Bench) -> None:
    first, second = bench.run(slot=1), bench.run(slot=2)
    updating(bench)
    stop_first(bench, first)
    bench.move(second, TaskState.FAILED)

    stop_first(bench, second)


def test_19_a_paused_update_stands_still(bench: Bench) -> None:
    first, second = bench.run(slot=1), bench.run(slot=2)
    updating(bench)
    bench.move(change_over(bench, first), TaskState.FAILED)
    bench.write(bench.update_is(UpdateState.PAUSED))

    with breaks(19, "while its update is paused"):
        stop_first(bench, second)


def test_20_start_first_keeps_the_old_task_until_the_new_one_runs(bench: Bench) -> None:
    old = bench.run()
    bench.pass_commands()
    updating(bench, order="start-first")
    new = bench.make()

    with breaks(20, "before any task of the new spec has run"):
        bench.write(bench.wanted(old, SHUTDOWN))

    bench.bring(new, RUNNING)
    bench.write(bench.wanted(bench.task(old), SHUTDOWN))


@pytest.mark.parametrize("state", [UpdateState.PAUSED, UpdateState.ROLLBACK_STARTED, UpdateState.ROLLBACK_COMPLETED])
def test_21_no_update_ends_that_has_not_begun(bench: Bench, state: UpdateState) -> None:
    with breaks(21, f"from nothing to {state.value}"):
        bench.write(bench.update_is(state))


def test_22_an_update_pauses_when_something_failed(bench: Bench) -> None:
    old = bench.run()
    updating(bench)
    change_over(bench, old)

    with breaks(22, "no task of its spec has ended by itself"):
        bench.write(bench.update_is(UpdateState.PAUSED))


def test_22_an_update_that_is_to_continue_does_not_pause(bench: Bench) -> None:
    old = bench.run()
    updating(bench, failure_action="continue")
    bench.move(change_over(bench, old), TaskState.FAILED)

    with breaks(22, "with the failure action continue"):
        bench.write(bench.update_is(UpdateState.PAUSED))


def rolled_back(service: Service) -> Service:
    assert service.previous_spec is not None
    return replace(
        service,
        spec=service.previous_spec,
        spec_version=service.previous_spec_version,
        previous_spec=None,
        previous_spec_version=0,
    )


def test_22_an_update_rolls_back_only_if_its_user_wants_that(bench: Bench) -> None:
    old = bench.run()
    updating(bench, failure_action="pause")
    bench.move(change_over(bench, old), TaskState.FAILED)

    with breaks(22, "is rollback_started, with the failure action pause"):
        bench.write(rolled_back(bench.update_is(UpdateState.ROLLBACK_STARTED)))


def test_23_completed_means_that_all_is_new(bench: Bench) -> None:
    first = bench.run(slot=1)
    bench.run(slot=2)
    updating(bench)
    change_over(bench, first)
    bench.wait(60)

    with breaks(23, "is of spec 0"):
        bench.write(bench.update_is(UpdateState.COMPLETED))


def test_23_the_last_slot_is_watched_for_a_while(bench: Bench) -> None:
    updating_from = bench.run()
    updating(bench, monitor=3 * SECOND)
    change_over(bench, updating_from)
    bench.wait(2)

    with breaks(23, "completed 1 s before slot 1 had been watched"):
        bench.write(bench.update_is(UpdateState.COMPLETED))
