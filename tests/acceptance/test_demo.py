"""The demo holds what it says, and leaves nothing behind: neither at its end nor after Ctrl-C at any moment."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemons import PATIENCE_SECONDS, remains_of

DEMO_SECONDS = 100


def start_demo(place: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "raftswarm", "demo", "--dir", str(place)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_every_step_of_the_demo_holds_and_nothing_is_left(place: Path) -> None:
    with start_demo(place) as demo:
        output, _ = demo.communicate(timeout=DEMO_SECONDS)

    assert demo.returncode == 0, output
    assert "12 of 12 steps held" in output
    assert remains_of(place) == []


@pytest.mark.parametrize("moment", ["start five daemons", "join by token", "kill the leader"])
def test_after_ctrl_c_the_demo_leaves_nothing(place: Path, moment: str) -> None:
    with start_demo(place) as demo:
        assert demo.stdout is not None
        seen = next(line for line in demo.stdout if line.startswith(moment))

        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate(timeout=PATIENCE_SECONDS)

    assert demo.returncode == 130, seen + rest
    assert "Traceback" not in rest
    assert remains_of(place) == []


def test_ctrl_c_while_the_daemons_start_leaves_nothing(place: Path) -> None:
    with start_demo(place) as demo:
        while not list(place.glob("*/daemon.log")):
            assert demo.poll() is None

        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=PATIENCE_SECONDS)

    assert demo.returncode == 130, output
    assert "Traceback" not in output
    assert remains_of(place) == []
