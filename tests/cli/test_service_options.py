"""How ``service update`` changes a spec: what is not said stays as it is."""

from __future__ import annotations

from typing import Any

import pytest

from raftswarm.cli.service_options import changed_spec, new_spec
from raftswarm.objects.specs import ContainerSpec, PortConfig, ServiceSpec


def spec(**options: Any) -> ServiceSpec:
    return new_spec("web", ["serve"], {"name": "web"} | options)


def container(changed: ServiceSpec) -> ContainerSpec:
    found = changed.task_template.container_spec
    assert found is not None
    return found


def test_an_update_without_flags_changes_nothing() -> None:
    full = spec(
        env=("A=1",), publish=("80:80",), label=("l=1",), mount=("src=v,dst=/v",), constraint=("node.role==worker",)
    )

    assert changed_spec(full, {}) == full


def test_variables_are_added_replaced_and_removed() -> None:
    changed = changed_spec(spec(env=("A=1", "B=2", "C=3")), {"env_add": ("B=9", "D=4"), "env_rm": ("C", "nosuch")})

    assert container(changed).env == ["A=1", "B=9", "D=4"]


def test_ports_are_known_by_their_target() -> None:
    changed = changed_spec(
        spec(publish=("80:80", "81:81", "53:53/udp")),
        {"publish_add": ("8080:80",), "publish_rm": ("81", "53/udp")},
    )

    assert changed.endpoint_spec is not None
    assert changed.endpoint_spec.ports == [PortConfig(published_port=8080, target_port=80)]


def test_labels_and_mounts_are_changed_by_their_keys() -> None:
    changed = changed_spec(
        spec(label=("a=1", "b=2"), mount=("src=v,dst=/v", "src=w,dst=/w")),
        {"label_add": ("c=3",), "label_rm": ("a",), "mount_rm": ("/v",)},
    )

    assert changed.labels == {"b": "2", "c": "3"}
    assert [mount.target for mount in container(changed).mounts or ()] == ["/w"]


def test_force_changes_only_the_counter() -> None:
    changed = changed_spec(spec(), {"force": True})

    assert changed.task_template.force_update == 1
    assert changed_spec(changed, {"force": True}).task_template.force_update == 2


@pytest.mark.parametrize(("typed", "init"), [(True, True), (False, False), (None, None)])
def test_no_init_is_said_and_not_left_out(typed: bool | None, init: bool | None) -> None:
    assert container(changed_spec(spec(), {"init": typed})).init is init


def test_zero_is_a_value() -> None:
    changed = changed_spec(spec(replicas=3), {"replicas": 0, "update_parallelism": 0, "restart_max_attempts": 0})

    assert changed.mode.replicated is not None
    assert changed.mode.replicated.replicas == 0
    assert changed.update_config is not None
    assert changed.update_config.parallelism == 0
    assert changed.task_template.restart_policy is not None
    assert changed.task_template.restart_policy.max_attempts == 0
