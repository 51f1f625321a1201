"""Defaults of the restart and update sections (SWARM 4.5, 4.9, 17)."""

from __future__ import annotations

from raftswarm.objects.policies import ALL_AT_ONCE, restart_rule, update_rule
from raftswarm.objects.records import Service, UpdateStatus
from raftswarm.objects.specs import RestartPolicy, ServiceSpec, TaskSpec, UpdateConfig
from raftswarm.objects.states import UpdateState

SECOND = 1_000_000_000


def make_service(
    *, update: UpdateConfig | None = None, rollback: UpdateConfig | None = None, state: UpdateState | None = None
) -> Service:
    status = UpdateStatus(state=state) if state is not None else None
    return Service(id="s", spec=ServiceSpec(update_config=update, rollback_config=rollback), update_status=status)


def test_without_a_policy_tasks_restart_always_after_five_seconds() -> None:
    rule = restart_rule(TaskSpec())

    assert (rule.condition, rule.delay, rule.max_attempts, rule.window) == ("any", 5 * SECOND, 0, 0)


def test_a_policy_is_filled_up_where_it_is_silent() -> None:
    rule = restart_rule(TaskSpec(restart_policy=RestartPolicy(condition="on-failure", max_attempts=2)))

    assert (rule.condition, rule.delay, rule.max_attempts) == ("on-failure", 5 * SECOND, 2)


def test_a_delay_of_zero_is_a_delay() -> None:
    assert restart_rule(TaskSpec(restart_policy=RestartPolicy(delay=0))).delay == 0


def test_without_a_section_updates_go_one_by_one_and_pause_on_failure() -> None:
    rule = update_rule(make_service())

    assert (rule.parallelism, rule.failure_action, rule.monitor, rule.order) == (1, "pause", 5 * SECOND, "stop-first")


def test_a_section_with_parallelism_zero_means_all_at_once() -> None:
    assert update_rule(make_service(update=UpdateConfig(parallelism=0))).parallelism == ALL_AT_ONCE


def test_a_rollback_follows_its_own_section() -> None:
    forward, back = UpdateConfig(parallelism=2), UpdateConfig(parallelism=3)

    assert update_rule(make_service(update=forward, rollback=back)).parallelism == 2
    rolling_back = make_service(update=forward, rollback=back, state=UpdateState.ROLLBACK_STARTED)
    assert update_rule(rolling_back).parallelism == 3


def test_an_update_settles_for_the_monitor_time_or_a_second_beyond_a_longer_delay() -> None:
    quick = update_rule(make_service(update=UpdateConfig(delay=SECOND, monitor=3 * SECOND)))
    slow = update_rule(make_service(update=UpdateConfig(delay=3 * SECOND, monitor=3 * SECOND)))

    assert (quick.settling, slow.settling) == (3 * SECOND, 4 * SECOND)
