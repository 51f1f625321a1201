"""What the docker CLI printed, made comparable: our swarm against the recorded one.

Left out is what names a particular swarm or moment: ids, keys, times, addresses, the engine's version, which node
leads and which runs a task. How often a line of progress is repeated depends on the machine's speed.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

_PARTICULARS: Final = (
    (r"image \S+ could not be accessed on a registry to record\n.*\n.*\nversions of the image\.\n", ""),
    (r"-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----", "CERTIFICATE"),
    (r"(Issuer (?:Subject|Public Key):\s+)\S+", r"\1NAMED"),
    (r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}", "TOKEN"),
    (r"SWMKEY-1-[0-9A-Za-z+/]{43}", "KEY"),
    (r"\b[0-9a-z]{25}\b( \*)?", "ID"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+0000 utc", "TIME"),
    (r"(?:\d+|[Aa]bout an?|[Ll]ess than a) \w+ ago", "AGO"),
    (r"192\.168\.79\.1(\d)\b|127\.\d+\.\d+\.(\d)\b", r"ADDRESS\1\2"),
    (r"20\.10\.24\+dfsg1|\b0\.1\.0\b", "VERSION"),
    (r"(?m)^ (?:Log|Volume|Network):\t.*\n", ""),
    (r"(?m)^( CPUs:| Memory:)\s+\S+", r"\1 MANY"),
    (r"(?m)^(ID .*)\b(?:Leader|Reachable)\b", r"\1MANAGER"),
    (r"(?m)^[0-9a-z]{12}(?= )", "ID"),
    (r"\bdocker\d(?= +(?:Running|Ready|Shutdown|Remove) +(?!Active|Pause|Drain))", "NODE"),
)
_TERMINAL: Final = re.compile(r"\x1b\[\d+A\x1b\[2K|\x1b\[\d+B|\r")
_WAITING: Final = re.compile(r"verify: Waiting \d+ seconds")
_UNDER_WAY: Final = re.compile(r"(overall progress: .*?)(\d+)( out of )(\d+)( tasks)")
_SLOT: Final = re.compile(r"(\d+)/(\d+): +(\w*) *(?:\[.*\])?")


@attrs.frozen
class Finished:
    """What a command printed, and its status."""

    stdout: str
    stderr: str
    status: int


def without_particulars(text: str) -> str:
    """Put a word in the place of everything that is of one swarm, and one space for any run of them."""
    for pattern, word in _PARTICULARS:
        text = re.sub(pattern, word, text)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def course(text: str) -> list[str]:
    """Return the course of a command that follows tasks: each thing it says once, in order, on a terminal or not.

    Which states a slot was seen in, and which slot runs first, is a matter of luck: of those only the end counts.
    """
    said: list[str] = []
    running: set[str] = set()
    lines = _WAITING.sub("verify: Waiting N seconds", _TERMINAL.sub("\n", text.replace("\r\n", "\n")))
    for line in without_particulars(lines).splitlines():
        if (counted := _UNDER_WAY.fullmatch(line)) and counted[2] not in {"0", counted[4]}:
            continue
        if (slot := _SLOT.fullmatch(line)) and slot[3]:
            if slot[3] == "running":
                running.add(line)
        elif line and line not in said:
            said.append(line)
    return said + sorted(running)


def states_seen(text: str) -> set[str]:
    """Return the states that the bars on a terminal went through, with their bars."""
    found = re.findall(r"\d+/\d+: (\w+ *\[[=> ]+\])", text)
    return set(found)
