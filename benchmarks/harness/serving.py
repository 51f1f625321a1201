"""The other end of `processes.Process.ask`: a Python process that takes requests and gives reports."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import trio


async def requests() -> AsyncIterator[dict[str, Any]]:
    """Give each request, until the parent ends."""
    async for line in trio.wrap_file(sys.stdin):
        yield json.loads(line)


def answer(report: dict[str, Any]) -> None:
    """Report to the parent."""
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
