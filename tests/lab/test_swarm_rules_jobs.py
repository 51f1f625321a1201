"""The rules of jobs: their runs, where and how their tasks begin, what is done, and when a job is at rest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from msgspec.structs import replace

from raftswarm.lab.swarm_rules import Violation, check_at_rest
from raftswarm.objects.records import JobStatus, Service, Task, UpdateStatus
from raftswarm.objects.specs import Global, NodeSpec, ReplicatedJob, RestartPolicy, ServiceMode
from raftswarm.objects.states import TaskState, UpdateState
from tests.lab.rules_bench import Bench, make_spec, make_template

READY, RUNNING, COMPLETE = TaskState.READY, TaskState.RUNNING, TaskState.COMPLETE
SHUTDOWN, REMOVE = TaskState.SHUTDOWN, TaskState.REMOVE
GLOBAL_JOB = ServiceMode(global_job=Global())


class Jobs(Bench):
    """A bench whose one service is a job: three completions, two at once, unless a test begins another."""

    def __init__(self) -> None:
        super().__init__()
        self.write(delete=[self.web])
        self.job_id = ""
        self.begin()

    def begin(self, mode: ServiceMode | None = None, restart: RestartPolicy | None = None) -> None:
        """Have such a job in the place of the one that there is."""
        if self.job_id:
            self.write(delete=[self.job])
        self.job_id += "j"
        mode = mode or ServiceMode(replicated_job=ReplicatedJob(max_concurrent=2, total_completions=3))
        spec = make_spec("sum", mode=mode, template=make_template(restart=restart))
        self.write(Service(id=self.job_id, spec=spec, job_status=JobStatus()))

    @property
    def job(self) -> Service:
        service = self.store.get(Service, self.job_id)
        assert service is not None
        return service

    def next_run(self, **fields: object) -> Service:
        """The job as a user writes it once more, not yet written."""
        job = self.job
        assert job.job_status is not None
        written = replace(
            job,
            spec_version=job.version,
            previous_spec=job.spec,
            previous_spec_version=job.spec_version,
            job_status=JobStatus(iteration=job.job_status.iteration + 1),
        )
        return replace(written, **fields)

    def begin_task(self, slot: int = 1, *, node: str = "", desired: TaskState = COMPLETE) -> Task:
        return self.make(slot=slot, node=node, desired=desired, service=self.job_id)

    def work(self, slot: int = 1, *, node: str = "") -> Task:
        """A task that runs."""
        task = self.begin_task(slot, node=node)
        return self.bring(task, RUNNING, task.node_id or "n1")

    def finish(self, slot: int = 1, *, node: str = "") -> Task:
        """A task that is done."""
        return self.move(self.work(slot, node=node), COMPLETE)

    def try_again(self, task: Task) -> Task:
        """A task that failed, and the one after it, which waits."""
        self.move(task, TaskState.FAILED)
        new = self.new(slot=task.slot, service=self.job_id, desired=READY)
        self.write(self.wanted(task, SHUTDOWN), new)
        return self.bring(new, READY)

    def fail_twice(self) -> Task:
        """A task that failed, as did the one before it."""
        again = self.try_again(self.work())
        self.write(self.wanted(again, COMPLETE))
        self.wait(1)
        return self.move(self.bring(again, RUNNING), TaskState.FAILED)


@pytest.fixture
def bench() -> Jobs:
    return Jobs()


def breaks(number: int, words: str = "") -> AbstractContextManager[object]:
    return pytest.raises(Violation, match=rf"^{number} \(.*{words}.*\(command \d+, on m1\)$")


def is_not_at_rest(number: int, words: str) -> AbstractContextManager[object]:
    return pytest.raises(Violation, match=rf"(?m)^(at rest: )?{number} \(.*{words}")


def test_a_lawful_life_of_a_job_breaks_no_rule(bench: Jobs) -> None:
    first, second = bench.work(1), bench.work(2)
    bench.move(first, COMPLETE)
    third = bench.work(3)
    again = bench.try_again(second)
    bench.wait(6)
    bench.write(bench.wanted(again, COMPLETE))
    for task in (bench.bring(again, RUNNING), third):
        bench.move(task, COMPLETE)
    check_at_rest(bench.store)

    bench.write(bench.next_run())
    for slot in (1, 2, 3):
        bench.finish(slot)
    check_at_rest(bench.store)


# What a user writes, and what becomes of it.


@pytest.mark.parametrize("status", [None, JobStatus(iteration=1)])
def test_6_a_job_begins_with_its_first_run(bench: Jobs, status: JobStatus | None) -> None:
    with breaks(6, "not as a user writes it"):
        bench.write(Service(id="mean", spec=make_spec("mean", mode=GLOBAL_JOB), job_status=status))


def test_6_what_runs_for_ever_has_no_runs(bench: Jobs) -> None:
    with breaks(6, "not as a user writes it"):
        bench.write(Service(id="db", spec=make_spec("db"), job_status=JobStatus()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda bench: bench.next_run(job_status=JobStatus()), "from run 0 to 0 instead of 1"),
        (lambda bench: bench.next_run(job_status=JobStatus(iteration=2)), "from run 0 to 2 instead of 1"),
        (lambda bench: replace(bench.job, job_status=JobStatus(iteration=1)), "from run 0 to 1 instead of 0"),
    ],
)
def test_6_a_run_begins_when_a_user_writes(bench: Jobs, change: Callable[[Jobs], Service], words: str) -> None:
    with breaks(6, words):
        bench.write(change(bench))


def test_6_a_job_that_is_rolled_back_begins_another_run(bench: Jobs) -> None:
    before = bench.job
    bench.write(bench.next_run())

    bench.write(bench.next_run(spec=before.spec, spec_version=before.spec_version))


def test_21_a_job_has_no_updates(bench: Jobs) -> None:
    with breaks(21, "is a job, and its update is updating"):
        bench.write(replace(bench.job, update_status=UpdateStatus(state=UpdateState.UPDATING)))


# How its tasks begin, and for what.


def test_7_a_task_stays_in_its_run(bench: Jobs) -> None:
    task = bench.work()

    with breaks(7, "another job_iteration: 0, now 1"):
        bench.write(replace(task, job_iteration=1))


def test_9_a_task_of_a_job_is_not_wanted_for_ever(bench: Jobs) -> None:
    waiting = bench.try_again(bench.work())
    bench.wait(6)

    with breaks(9, "nobody may desire"):
        bench.write(bench.wanted(waiting, RUNNING))


def test_9_what_runs_for_ever_is_not_wanted_to_its_end(bench: Jobs) -> None:
    bench.write(Service(id="db", spec=make_spec("db")))
    task = bench.run(service="db")

    with breaks(9, "nobody may desire"):
        bench.write(bench.wanted(task, COMPLETE))


def test_11_a_task_of_a_job_is_made_to_come_to_its_end(bench: Jobs) -> None:
    with breaks(11, "not to begin"):
        bench.begin_task(desired=RUNNING)


def test_11_a_task_is_made_for_the_present_run(bench: Jobs) -> None:
    before, late = bench.job, bench.new(service=bench.job_id, desired=COMPLETE)
    bench.write(bench.next_run())
    bench.write(bench.next_run(spec=before.spec, spec_version=before.spec_version))

    with breaks(11, "made for run 0, its service is in run 2"):
        bench.write(late)


def test_11_a_global_job_is_made_for_nodes(bench: Jobs) -> None:
    bench.begin(GLOBAL_JOB)

    with breaks(11, "slot 1 and node '' of a global service"):
        bench.begin_task(1)


# What is done.


def test_13_what_is_done_is_not_forgotten_in_its_run(bench: Jobs) -> None:
    done = bench.finish()

    with breaks(13, "its job is still in run 0"):
        bench.write(delete=[done])


def test_14_what_is_done_is_not_done_again(bench: Jobs) -> None:
    bench.finish()

    with breaks(14, "of the same spec"):
        bench.begin_task()


def test_14_what_the_run_before_has_not_finished_is_let_go_first(bench: Jobs) -> None:
    bench.work()
    bench.write(bench.next_run())

    with breaks(14, "which is wanted"):
        bench.begin_task()


def test_14_no_more_run_at_once_than_may(bench: Jobs) -> None:
    bench.begin(ServiceMode(replicated_job=ReplicatedJob(max_concurrent=1, total_completions=3)))
    bench.finish(1)
    bench.work(2)

    with breaks(14, "number 2 at once, 1 at most"):
        bench.begin_task(3)


def test_14_there_are_no_more_completions_than_asked_for(bench: Jobs) -> None:
    with breaks(14, "a job of 3 completions"):
        bench.begin_task(4)


def test_15_what_failed_is_not_forgotten(bench: Jobs) -> None:
    task = bench.move(bench.work(), TaskState.FAILED)

    with breaks(15, "nobody is wanted in its place"):
        bench.write(bench.wanted(task, SHUTDOWN))


def test_15_what_failed_in_an_earlier_run_is_left(bench: Jobs) -> None:
    task = bench.move(bench.work(), TaskState.FAILED)
    bench.write(bench.next_run())

    bench.write(bench.wanted(task, SHUTDOWN))


def test_16_a_run_waits_for_what_the_run_before_has_in_its_slot(bench: Jobs) -> None:
    old = bench.work()
    bench.write(bench.next_run())
    bench.write(bench.wanted(old, REMOVE))

    with breaks(16, "may still run"):
        bench.begin_task()


def test_16_it_begins_when_that_has_stopped(bench: Jobs) -> None:
    old = bench.work()
    bench.write(bench.next_run())
    bench.write(bench.wanted(old, REMOVE))
    bench.move(old, SHUTDOWN)

    bench.begin_task()


def test_17_what_failed_waits_its_delay(bench: Jobs) -> None:
    waiting = bench.try_again(bench.work())
    bench.wait(4)

    with breaks(17, "1 s before its restart delay was over"):
        bench.write(bench.wanted(waiting, COMPLETE))


def test_18_what_is_done_is_not_restarted_whatever_the_policy(bench: Jobs) -> None:
    bench.begin(restart=RestartPolicy(condition="any"))
    done = bench.finish()

    with breaks(18, "replaces .*COMPLETE"):
        bench.write(bench.wanted(done, SHUTDOWN), bench.new(service=bench.job_id, desired=READY))


def test_18_attempts_are_counted_in_each_run(bench: Jobs) -> None:
    bench.begin(restart=RestartPolicy(max_attempts=1, delay=0))
    bench.write(bench.wanted(bench.fail_twice(), SHUTDOWN))
    bench.write(bench.next_run())
    last = bench.fail_twice()

    with breaks(18, "restart 2 of 1"):
        bench.write(bench.wanted(last, SHUTDOWN), bench.new(service=bench.job_id, desired=READY))


def test_19_a_run_that_takes_the_place_of_another_is_no_update(bench: Jobs) -> None:
    for slot in (1, 2):
        bench.work(slot)
    bench.write(bench.next_run())

    for task in list(bench.store.tasks_of_service(bench.job_id)):
        new = bench.new(slot=task.slot, service=bench.job_id, desired=READY)
        bench.write(bench.wanted(task, REMOVE), new)


# At rest.


def test_31_a_job_at_rest_has_done_all_or_does_as_much_as_it_may(bench: Jobs) -> None:
    bench.work(1)
    with is_not_at_rest(31, "wants 3 completions, 2 at once: 0 slots are done or given up, 1 are under way"):
        check_at_rest(bench.store)

    task = bench.work(2)
    check_at_rest(bench.store)

    bench.move(task, COMPLETE)
    with is_not_at_rest(31, "1 slots are done or given up, 1 are under way"):
        check_at_rest(bench.store)


def test_31_what_is_given_up_is_not_missed(bench: Jobs) -> None:
    bench.begin(restart=RestartPolicy(condition="none"))
    bench.finish(1)
    bench.finish(2)
    failed = bench.move(bench.work(3), TaskState.FAILED)
    with is_not_at_rest(34, "neither where it should be"):
        check_at_rest(bench.store)

    bench.write(bench.wanted(failed, SHUTDOWN))
    check_at_rest(bench.store)


def test_31_what_earlier_runs_have_done_does_not_count(bench: Jobs) -> None:
    for slot in (1, 2, 3):
        bench.finish(slot)
    bench.write(bench.next_run())

    with is_not_at_rest(31, "0 slots are done or given up, 0 are under way"):
        check_at_rest(bench.store)


def test_32_a_global_job_has_run_on_every_node_that_is_active(bench: Jobs) -> None:
    bench.begin(GLOBAL_JOB)
    bench.finish(node="n1")
    with is_not_at_rest(32, "wants no task on node n2"):
        check_at_rest(bench.store)

    bench.work(node="n2")
    check_at_rest(bench.store)

    bench.write(replace(bench.node("n2"), spec=NodeSpec(availability="pause")))
    with is_not_at_rest(32, r"wants a task on node n2, which is ready \(pause\)"):
        check_at_rest(bench.store)


def test_32_what_is_done_is_done_although_it_was_told_to_stop(bench: Jobs) -> None:
    """Its node was drained while it was out of reach, and the news came later."""
    bench.begin(GLOBAL_JOB)
    bench.finish(node="n1")
    task = bench.work(node="n2")
    bench.write(replace(bench.node("n2"), spec=NodeSpec(availability="drain")))
    bench.write(bench.wanted(task, SHUTDOWN))
    bench.move(task, COMPLETE)
    bench.write(replace(bench.node("n2"), spec=NodeSpec()))

    check_at_rest(bench.store)


def test_33_what_an_earlier_run_has_not_finished_is_not_wanted(bench: Jobs) -> None:
    bench.work(1)
    bench.write(bench.next_run())

    with is_not_at_rest(33, "is of spec 0"):
        check_at_rest(bench.store)


def test_36_what_is_done_counts_as_history_in_the_next_run(bench: Jobs) -> None:
    orchestration = replace(bench.cluster.spec.orchestration, task_history_retention_limit=1)
    bench.write(replace(bench.cluster, spec=replace(bench.cluster.spec, orchestration=orchestration)))
    bench.wait(1)
    for slot in (1, 2, 3):
        bench.finish(slot)
    check_at_rest(bench.store)

    bench.write(bench.next_run())
    for slot in (1, 2, 3):
        bench.finish(slot)
    with is_not_at_rest(36, "keeps 2 records in slot 1, 1 of them ended, 1 at most"):
        check_at_rest(bench.store)
