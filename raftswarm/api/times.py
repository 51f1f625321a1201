"""Times as Go writes them: RFC 3339 in UTC, with as many digits of a second as it takes; durations like ``1h30m0s``.

Nanoseconds since the epoch everywhere else; Go's zero time stands for "never".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

ZERO_TIME: Final = "0001-01-01T00:00:00Z"
SECOND: Final = 1_000_000_000
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)")
_UNIX_TIME: Final = re.compile(r"(\d{1,12})(?:\.(\d{1,18}))?")
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def write_time(time_ns: int) -> str:
    """Write a time; 0 is Go's zero time."""
    if not time_ns:
        return ZERO_TIME
    seconds, fraction = divmod(time_ns, SECOND)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def read_time(text: str) -> int:
    """Read what `write_time`, or Go, wrote; 0 for the zero time and for what is none."""
    found = _TIME.fullmatch(text)
    if found is None or text.startswith("0001-"):
        return 0
    date, time, fraction, zone = found.groups()
    whole = datetime.fromisoformat(f"{date}T{time}{'+00:00' if zone == 'Z' else zone}")
    return int(whole.timestamp()) * SECOND + int((fraction or "").ljust(9, "0"))


def read_unix_time(text: str) -> int | None:
    """Read seconds since the epoch such as ``1795247398`` or ``1795247398.5``; None for nothing; else ValueError."""
    if not text:
        return None
    found = _UNIX_TIME.fullmatch(text)
    if found is None:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(found[1]) * SECOND + int((found[2] or "").ljust(9, "0")[:9])


def write_duration(duration_ns: int) -> str:
    """Write a duration as Go's ``Duration.String`` does: ``5s``, ``1m0s``, ``2160h0m0s``, ``1.5s``, ``20ms``."""
    if duration_ns < 0:
        return "-" + write_duration(-duration_ns)
    if duration_ns < SECOND:
        for unit in ("ms", "µs", "ns"):
            if duration_ns >= _UNITS[unit]:
                return _plain(duration_ns, _UNITS[unit]) + unit
        return "0s"
    minutes, rest = divmod(duration_ns, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = _plain(rest, SECOND) + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _plain(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    digits = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def read_duration(text: str) -> int:
    """Read a duration such as ``1h30m`` or ``0``; ValueError in Go's words."""
    if text == "0":
        return 0
    total = 0.0
    place = 0
    while place < len(text):
        found = _DURATION_PART.match(text, place)
        if found is None:
            break
        number, unit = found.groups()
        total += round(float(number) * _UNITS[unit])
        place = found.end()
    if not text or place < len(text):
        hint = "missing unit in duration" if re.fullmatch(r"\d+(\.\d*)?", text) else "invalid duration"
        raise ValueError(f'time: {hint} "{text}"')
    return int(total)
