"""What this machine is, in Docker's words."""

from __future__ import annotations

import os
import platform
from typing import Final

from raftswarm.objects.defaults import SECOND
from raftswarm.objects.records import NodeDescription, Platform

PLUGINS: Final = (("Network", "host"),)
"""A task of the process executor uses the host's network."""


def describe_machine(engine_version: str) -> NodeDescription:
    """Return platform, CPUs and memory; who asks sets the daemon's host name and the certificate's facts."""
    return NodeDescription(
        hostname=platform.node(),
        platform=Platform(architecture=platform.machine(), os=platform.system().lower()),
        nano_cpus=len(os.sched_getaffinity(0)) * SECOND,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        engine_version=engine_version,
        plugins=PLUGINS,
    )
