"""What is typed behind flags, in docker's notation."""

from __future__ import annotations

from typing import Any

import click
import pytest

from raftswarm.cli.parsing import (
    CPUS,
    DURATION,
    SIZE,
    parse_filter_options,
    parse_mount,
    parse_pairs,
    parse_port,
    with_tag,
)
from raftswarm.objects.specs import Mount, PortConfig, TmpfsOptions


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("8080:80", PortConfig(published_port=8080, target_port=80)),
        ("80", PortConfig(target_port=80)),
        ("53:53/udp", PortConfig(published_port=53, target_port=53, protocol="udp")),
        (
            "published=8080,target=80,protocol=tcp,mode=host",
            PortConfig(published_port=8080, target_port=80, publish_mode="host"),
        ),
    ],
)
def test_a_port_is_read_in_both_forms(text: str, port: PortConfig) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize("text", ["", "http", "0:80", "80:", "99999:80", "published=80", "target=80,nosuch=1", ":80"])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="--publish"):
        parse_port(text)


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("type=bind,source=/a,target=/b,readonly", Mount(type="bind", source="/a", target="/b", read_only=True)),
        ("src=v,dst=/b", Mount(type="volume", source="v", target="/b")),
        (
            "type=tmpfs,target=/t,tmpfs-size=1m",
            Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=1 << 20)),
        ),
    ],
)
def test_a_mount_is_read(text: str, mount: Mount) -> None:
    assert parse_mount(text) == mount


@pytest.mark.parametrize("text", ["type=bind", "target=/a,nosuch=1"])
def test_a_mount_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="--mount"):
        parse_mount(text)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (SIZE, "64m", 64 << 20),
        (SIZE, "1.5GiB", 3 << 29),
        (SIZE, "100", 100),
        (CPUS, "0.5", 500_000_000),
        (CPUS, "2", 2_000_000_000),
        (DURATION, "1h30m", 5_400_000_000_000),
    ],
)
def test_amounts_are_read(kind: click.ParamType[int], text: str, value: int) -> None:
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(("kind", "text"), [(SIZE, "much"), (CPUS, "x"), (CPUS, "0.0000000001"), (DURATION, "5")])
def test_amounts_that_are_none_are_refused(kind: click.ParamType[Any], text: str) -> None:
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


def test_pairs_and_filters_are_read() -> None:
    assert parse_pairs(["a=b=c", "bare"]) == {"a": "b=c", "bare": ""}
    assert parse_filter_options(["Role=manager", "role=worker"]) == {"role": ["manager", "worker"]}
    with pytest.raises(click.UsageError, match="bad format of filter"):
        parse_filter_options(["role"])


@pytest.mark.parametrize(
    ("image", "tagged"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:v1", "nginx:v1"),
        ("host:5000/nginx", "host:5000/nginx:latest"),
        ("nginx@sha256:0", "nginx@sha256:0"),
    ],
)
def test_an_image_without_a_tag_is_the_latest(image: str, tagged: str) -> None:
    assert with_tag(image) == tagged
