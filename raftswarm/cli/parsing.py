"""What is typed behind flags: key=value, filters, durations, sizes, ports and mounts, in Docker's notation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import click

from raftswarm.api.filters import Filters
from raftswarm.api.times import read_duration
from raftswarm.objects.specs import Labels, Mount, PortConfig, TmpfsOptions, VolumeOptions

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_SIZE_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class DurationType(click.ParamType[int]):
    """``1h30m``, in nanoseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        try:
            return read_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class SizeType(click.ParamType[int]):
    """``64m``, in bytes."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(value)
        if found is None:
            self.fail(f"invalid size: '{value}'", param, ctx)
        return int(float(found[1]) * _SIZE_UNITS[found[2].lower()])


class CpusType(click.ParamType[int]):
    """``0.5``, in billionths of a processor."""

    name = "decimal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        try:
            nano = Decimal(value) * 1_000_000_000
        except InvalidOperation:
            self.fail(f"failed to parse {value} as a rational number", param, ctx)
        if nano != nano.to_integral_value():
            self.fail("value is too precise", param, ctx)
        return int(nano)


DURATION: Final = DurationType()
SIZE: Final = SizeType()
CPUS: Final = CpusType()


def parse_pairs(given: Iterable[str]) -> Labels:
    """Read ``key=value``; a bare key has an empty value."""
    return {key: value for key, _, value in (pair.partition("=") for pair in given)}


def parse_filter_options(given: Iterable[str]) -> Filters:
    """Read ``--filter key=value``, any number of times."""
    filters: Filters = {}
    for pair in given:
        key, separator, value = pair.partition("=")
        if not separator:
            raise click.UsageError(f"bad format of filter (expected name=value): {pair}")
        filters.setdefault(key.strip().lower(), []).append(value.strip())
    return filters


def parse_port(given: str) -> PortConfig:
    """Read ``8080:80/udp`` or ``published=8080,target=80,protocol=udp,mode=host``."""
    if "=" in given:
        return _parse_long_port(given)
    ports, _, protocol = given.partition("/")
    published, separator, target = ports.rpartition(":")
    return PortConfig(
        protocol=protocol or "tcp",
        target_port=_port_number(target, given),
        published_port=_port_number(published, given) if separator else 0,
    )


def _parse_long_port(given: str) -> PortConfig:
    port: dict[str, Any] = {}
    for part in given.split(","):
        key, _, value = part.partition("=")
        match key.strip().lower():
            case "published":
                port["published_port"] = _port_number(value, given)
            case "target":
                port["target_port"] = _port_number(value, given)
            case "protocol":
                port["protocol"] = value
            case "mode":
                port["publish_mode"] = value
            case _:
                raise click.UsageError(f"invalid field key {key} in --publish {given}")
    if "target_port" not in port:
        raise click.UsageError("missing mandatory field 'target' in --publish " + given)
    return PortConfig(**port)


def _port_number(text: str, given: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise click.UsageError(f"invalid port in --publish {given}: '{text}'")
    return int(text)


def parse_mount(given: str) -> Mount:
    """Read ``type=bind,source=/a,target=/b,readonly``."""
    mount: dict[str, Any] = {"type": "volume"}
    for part in given.split(","):
        key, separator, value = part.partition("=")
        match key.strip().lower():
            case "type":
                mount["type"] = value.lower()
            case "source" | "src":
                mount["source"] = value
            case "target" | "dst" | "destination":
                mount["target"] = value
            case "readonly" | "ro":
                mount["read_only"] = not separator or value.lower() in ("1", "true")
            case "volume-nocopy":
                mount["volume_options"] = VolumeOptions(no_copy=not separator or value.lower() in ("1", "true"))
            case "tmpfs-size":
                mount["tmpfs_options"] = TmpfsOptions(size_bytes=SIZE.convert(value, None, None))
            case _:
                raise click.UsageError(f"unexpected key '{key}' in '{part}' of --mount {given}")
    if not mount.get("target"):
        raise click.UsageError(f"target is required in --mount {given}")
    return Mount(**mount)


def with_tag(image: str) -> str:
    """Append ``:latest`` to an image without tag or digest, as docker does."""
    name = image.rpartition("/")[2]
    return image if "@" in image or ":" in name else f"{image}:latest"
