"""Numbers and states as people read them: ages, sizes, ports, names in natural order. The words are Docker's."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Final

from raftswarm.api.times import SECOND, read_time
from raftswarm.objects.specs import PortConfig

_AGES: Final = (
    (60, "second", 1),
    (60 * 60, "minute", 60),
    (48 * 60 * 60, "hour", 60 * 60),
    (14 * 24 * 60 * 60, "day", 24 * 60 * 60),
    (60 * 24 * 60 * 60, "week", 7 * 24 * 60 * 60),
    (2 * 365 * 24 * 60 * 60, "month", 30 * 24 * 60 * 60),
)
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def describe_age(timestamp: str) -> str:
    """Say how long ago a time was."""
    return describe_duration((time.time_ns() - read_time(timestamp)) // SECOND) + " ago"


def describe_duration(seconds: int) -> str:
    """Say how long something takes: ``5 seconds``, ``About a minute``, ``3 hours``."""
    if seconds < 1:
        return "Less than a second"
    for limit, unit, size in _AGES:
        if seconds < limit:
            count = seconds // size
            if count == 1 and unit != "second":
                return "About an hour" if unit == "hour" else f"About a {unit}" if unit == "minute" else f"1 {unit}"
            return f"{count} {unit}" + ("" if count == 1 else "s")
    return f"{seconds // (365 * 24 * 60 * 60)} years"


def describe_size(count: int) -> str:
    """Write bytes with four digits: ``23.54GiB``."""
    size = float(count)
    unit = 0
    while size >= 1024 and unit < len(_SIZES) - 1:
        size /= 1024
        unit += 1
    return f"{size:.4g}{_SIZES[unit]}"


def describe_ports(ports: Sequence[PortConfig]) -> str:
    """Write published ports as lists show them: ``*:80->80/tcp``, neighbours joined."""
    runs: list[list[PortConfig]] = []
    for port in sorted(ports, key=lambda port: (port.protocol, port.target_port, port.published_port)):
        if runs and _follows(runs[-1][-1], port):
            runs[-1].append(port)
        else:
            runs.append([port])
    return ", ".join(_describe_run(run) for run in runs)


def _follows(last: PortConfig, port: PortConfig) -> bool:
    return (
        port.protocol == last.protocol
        and port.target_port == last.target_port + 1
        and port.published_port == last.published_port + 1
    )


def _describe_run(run: list[PortConfig]) -> str:
    first, last = run[0], run[-1]
    if first is last:
        return f"*:{first.published_port}->{first.target_port}/{first.protocol}"
    published = f"{first.published_port}-{last.published_port}"
    return f"*:{published}->{first.target_port}-{last.target_port}/{first.protocol}"


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Order names so that ``docker10`` follows ``docker9``."""
    parts = re.split(r"(\d+)", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts if part]


def capitalize(word: str) -> str:
    """Write a state with a capital, and leave the rest as it is."""
    return word[:1].upper() + word[1:]
