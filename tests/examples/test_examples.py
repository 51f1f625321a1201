"""Every example runs as it stands, twice: what it keeps, it finds again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(name: str, argument: Path | str) -> list[str]:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, argument],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_counter_goes_on_where_it_was(tmp_path: Path) -> None:
    first = run("replicated_counter.py", tmp_path)
    second = run("replicated_counter.py", tmp_path)

    assert first[-3:] == ["total: 1", "total: 2", "total: 3"]
    assert second[-3:] == ["total: 4", "total: 5", "total: 6"]


def ask(port: int, question: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(question.encode())
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile().read().strip()


def test_a_key_value_store_answers_on_every_member_and_survives_one(tmp_path: Path) -> None:
    script = ROOT / "examples" / "key_value_store.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) < 60
    ports = {name: 8001 + number for number, name in enumerate("abc")}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with ExitStack() as stack:
        processes = {}
        for name in ports:
            process = subprocess.Popen([sys.executable, script, name], cwd=tmp_path, env=environment)
            processes[name] = stack.enter_context(process)
            stack.callback(process.kill)

        def set_colour(value: str) -> str:
            """Ask all that run until one of them leads."""
            gives_up_at = time.monotonic() + 30
            while time.monotonic() < gives_up_at:
                for name in processes:
                    with suppress(OSError):
                        if ask(ports[name], f"set colour {value}") == "ok":
                            return name
                time.sleep(0.05)
            pytest.fail("nobody leads")

        leader = set_colour("blue")
        assert {name: ask(port, "get colour") for name, port in ports.items()} == dict.fromkeys(ports, "blue")
        follower = next(name for name in ports if name != leader)
        assert f"ask {leader} at 127.0.0.1:" in ask(ports[follower], "set colour red")
        assert ask(ports[leader], "what") == "say: set KEY VALUE, or get KEY"

        processes.pop(leader).kill()

        set_colour("green")
        assert {name: ask(ports[name], "get colour") for name in processes} == dict.fromkeys(processes, "green")

        process = processes[follower]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0, "Ctrl-C ends it without complaint"


def test_members_come_and_go_while_the_cluster_works(tmp_path: Path) -> None:
    assert run("changing_members.py", tmp_path) == [
        "total: 1",
        "d has joined: 4 vote",
        "the first leader has left: 3 vote, d leads",
        "total: 2",
    ]


def test_workers_count_under_a_lock_one_after_the_other(tmp_path: Path) -> None:
    lines = run("lock_service.py", tmp_path)

    assert [line.rpartition(" ")[2] for line in lines] == ["1", "2", "3", "4"]
    tokens = [int(line.split()[6]) for line in lines]
    assert tokens == sorted(set(tokens)), "tokens grow"


def test_a_cache_serves_http_from_asyncio(tmp_path: Path) -> None:
    assert run("replicated_cache.py", tmp_path) == ["PUT /colour: 200 ", "GET /colour: 200 blue"]


def test_a_service_of_ones_own_runs_in_the_lab() -> None:
    before, after, outcome = run("service_in_the_lab.py", "1")

    assert len(before.split("runs on")[1].split()) == len(after.split("runs on")[1].split()) == 4
    assert "worker-1" in before
    assert "worker-1" not in after
    assert outcome == run("service_in_the_lab.py", "1")[2], "the same seed is the same run"
    assert outcome != run("service_in_the_lab.py", "2")[2]


def test_a_state_machine_of_ones_own_runs_in_the_lab() -> None:
    lines = run("state_machine_in_the_lab.py", "3")

    assert len(lines) == 3
    assert all(line.endswith(": held") for line in lines)
    assert all(int(line.split()[2]) > 0 for line in lines), "faults strike"


def test_what_a_machine_keeps_to_itself_is_found(tmp_path: Path) -> None:
    """A bank whose accounts depend on who serves: planted in a copy of the example."""
    text = (ROOT / "examples" / "state_machine_in_the_lab.py").read_text(encoding="utf-8")
    careless = tmp_path / "careless.py"
    careless.write_text(text.replace("return self.accounts[payer]\n", "return id(self)\n"), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, careless, "1"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert "Violation: 5: after command" in done.stderr
