"""Lists of any length."""

from __future__ import annotations

import msgspec
import pytest

from raftswarm.api.tasks import show_task
from raftswarm.engine.lists import encode_list, list_response
from raftswarm.http.messages import json_response
from raftswarm.objects.records import Task
from raftswarm.objects.specs import ContainerSpec, TaskSpec
from tests.slicing import measure_slices


@pytest.mark.parametrize("items", [[], [1], [{"a": None}, "ü", 2.5]])
async def test_a_list_is_answered_as_if_it_had_been_encoded_at_once(items: list[object]) -> None:
    assert await list_response(items, lambda item: item) == json_response(items)


def test_ten_thousand_tasks_are_encoded_in_slices() -> None:
    spec = TaskSpec(container_spec=ContainerSpec(image="nginx"))
    tasks = [Task(id=f"t{number:05}", spec=spec) for number in range(10_000)]

    text, calls = measure_slices(encode_list(tasks, show_task))

    assert [shown["ID"] for shown in msgspec.json.decode(text)] == [task.id for task in tasks]
    assert calls < 10_000
