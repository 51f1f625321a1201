"""Whether a rival can be had on this machine, and getting it."""

from __future__ import annotations

import os
import shutil
import subprocess


class Unavailable(Exception):
    """It cannot be had here; says why."""


def install(*packages: str) -> None:
    """Install packages of the distribution; Unavailable where that cannot be done."""
    needed = f"it needs the packages {', '.join(packages)}"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Unavailable(f"{needed}, and only root on Debian can install them")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{needed}, and `apt-get {command[0]}` failed: {done.stderr.strip()[-300:]}")
