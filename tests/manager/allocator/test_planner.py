"""One pass of the allocator (SWARM 6.1, 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftswarm.manager.allocator.actions import PublishService, QueueTask
from raftswarm.manager.allocator.planner import plan_allocation
from raftswarm.objects.specs import PortConfig
from raftswarm.world.slices import in_one_piece

if TYPE_CHECKING:
    from tests.manager.allocator.conftest import Dock

HTTP = PortConfig(target_port=80, published_port=80)


def test_a_service_that_publishes_nothing_needs_nothing(dock: Dock) -> None:
    service = dock.service("quiet")
    task = dock.task("t", "quiet")

    assert in_one_piece(plan_allocation([service], [task], {}, now=5)).actions == (QueueTask("t", 5),)


def test_ports_come_before_the_tasks_that_use_them(dock: Dock) -> None:
    service = dock.service("web", HTTP)
    task = dock.task("t", "web")

    publish, queue = in_one_piece(plan_allocation([service], [task], {}, now=5)).actions

    assert isinstance(publish, PublishService)
    assert publish.endpoint is not None
    assert publish.endpoint.ports == (HTTP,)
    assert queue == QueueTask("t", 5)


def test_of_two_services_that_want_one_port_the_earlier_gets_it(dock: Dock) -> None:
    early, late = dock.service("z-early", HTTP), dock.service("a-late", HTTP)
    tasks = [dock.task("t1", "z-early"), dock.task("t2", "a-late")]

    plan = in_one_piece(plan_allocation([late, early], tasks, {}, now=5))

    assert plan.refused == {"a-late": "port '80' is already in use by service z-early"}
    assert [action.service_id for action in plan.actions if isinstance(action, PublishService)] == ["z-early"]
    assert [action.task_id for action in plan.actions if isinstance(action, QueueTask)] == ["t1"]


def test_the_search_for_automatic_ports_goes_on_where_it_stopped(dock: Dock) -> None:
    service = dock.service("web", PortConfig(target_port=80))

    plan = in_one_piece(plan_allocation([service], [], {"tcp": 30010}, now=5))

    assert plan.latest_ports == {"tcp": 30011}
