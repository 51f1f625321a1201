"""What `docker info` and `docker version` say about the machine. Read once, when the daemon starts."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class HostFacts:
    """The machine and the interpreter."""

    kernel_version: str = ""
    operating_system: str = ""
    os_version: str = ""
    architecture: str = ""
    interpreter: str = ""


def read_host_facts() -> HostFacts:
    """Ask the machine."""
    system = os.uname()
    release = _read_os_release(Path("/etc/os-release"))
    return HostFacts(
        kernel_version=system.release,
        operating_system=release.get("PRETTY_NAME", system.sysname),
        os_version=release.get("VERSION_ID", ""),
        architecture=system.machine,
        interpreter=f"{platform.python_implementation().lower()}{platform.python_version()}",
    )


def _read_os_release(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name: value.strip("\"'") for name, _, value in pairs}
