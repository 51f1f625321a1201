"""Names of images, in the grammar of Docker's references."""

from __future__ import annotations

import pytest

from raftswarm.manager.control.image_names import is_image_name


@pytest.mark.parametrize(
    "name",
    [
        "busybox",
        "nginx:1.25",
        "library/nginx",
        "user/some__name--x.y:Tag_1.2-3",
        "localhost/app",
        "localhost:5000/app:v1",
        "registry.example.com:5000/team/app@sha256:" + "0" * 64,
        "[2001:db8::1]:5000/app",
        "app:latest@sha256:" + "a" * 64,
        "REGISTRY/app",
    ],
)
def test_what_docker_takes_is_taken(name: str) -> None:
    assert is_image_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "UPPER/Case",
        "Upper",
        ":tag",
        "nginx:",
        "nginx:.tag",
        "nginx:" + "x" * 129,
        "a//b",
        "a/",
        "-a",
        "a_.b",
        "nginx@sha256:short",
        "nginx@",
        "a b",
        "nginx\n",
        "a" * 256,
        "0123456789abcdef" * 4,
        "host:port/app",
    ],
)
def test_what_docker_refuses_is_refused(name: str) -> None:
    assert not is_image_name(name)
