"""The allocator's loop (SWARM 6.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from raftswarm.manager.allocator.loop import Allocator
from raftswarm.manager.allocator.ports import FIRST
from raftswarm.objects.specs import PortConfig
from raftswarm.objects.states import TaskState

if TYPE_CHECKING:
    from tests.manager.allocator.conftest import Dock

HTTP = PortConfig(target_port=80, published_port=80)
ANY = PortConfig(target_port=80)


class Wall:
    def now_ns(self) -> int:
        return 7_000


@pytest.fixture
async def serving(dock: Dock) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Allocator(dock.store, dock.writes, Wall()).run)
        await trio.testing.wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def test_new_tasks_become_pending_at_once(
    dock: Dock, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    dock.service("web", HTTP)
    dock.task("t", "web")

    await trio.testing.wait_all_tasks_blocked()

    assert dock.stored_task("t").status.state is TaskState.PENDING
    assert dock.ports("web") == [80]
    assert trio.current_time() == 0


async def test_a_service_gets_a_port_of_its_own_and_keeps_it(
    dock: Dock, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    dock.service("a", ANY)
    dock.service("b", ANY)
    await trio.testing.wait_all_tasks_blocked()
    given = dock.ports("a"), dock.ports("b")

    dock.service("a", HTTP, ANY)
    await trio.testing.wait_all_tasks_blocked()

    assert given == ([FIRST], [FIRST + 1])
    assert dock.ports("a") == [80, FIRST]


async def test_a_service_that_publishes_no_more_gives_its_ports_back(
    dock: Dock, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    dock.service("web", HTTP)
    await trio.testing.wait_all_tasks_blocked()

    dock.service("web")
    await trio.testing.wait_all_tasks_blocked()

    assert dock.ports("web") is None


async def test_who_waits_for_a_port_gets_it_when_it_is_free(
    dock: Dock, serving: None, autojump_clock: trio.testing.MockClock
) -> None:
    dock.service("first", HTTP)
    dock.service("second", HTTP)
    dock.task("t", "second")
    await trio.testing.wait_all_tasks_blocked()
    assert (dock.ports("second"), dock.stored_task("t").status.state) == (None, TaskState.NEW)

    dock.remove("first")
    await trio.testing.wait_all_tasks_blocked()

    assert (dock.ports("second"), dock.stored_task("t").status.state) == ([80], TaskState.PENDING)


async def test_a_new_leader_knows_which_ports_are_taken(
    dock: Dock, serving: None, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dock.service("a", ANY)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(Allocator(dock.store, dock.writes, Wall()).run)
    await trio.testing.wait_all_tasks_blocked()

    dock.service("b", ANY)
    await trio.testing.wait_all_tasks_blocked()

    assert (dock.ports("a"), dock.ports("b")) == ([FIRST], [FIRST + 1])
    nursery.cancel_scope.cancel()
