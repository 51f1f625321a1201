"""Bad input gets a sentence and a status, and the daemon goes on (issue 2, show 8)."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest
import trio

from raftswarm.api.errors import ApiError
from raftswarm.api.swarm import JoinJson
from raftswarm.api.system import InfoJson
from raftswarm.client import EngineClient
from raftswarm.local import LocalNode, LocalSwarm
from tests.daemons import kill_processes_of, raftswarm, sleeping_service, until_ready

PORT = 2377
NOISE = random.Random(1).randbytes(4096)
TLS_HELLO = b"\x16\x03\x01\xff\xff"


@pytest.fixture(scope="module")
def swarm() -> Iterator[LocalSwarm]:
    """Two daemons, the first a swarm of one: what is refused there changes nothing, so all tests share them."""
    directory = Path(mkdtemp(prefix="raftswarm-test-"))

    async def form() -> LocalSwarm:
        made = LocalSwarm.create(directory, managers=2, workers=0, name_prefix="node")
        await made.start(*made.nodes)
        await made.begin()
        await until_ready(made.nodes[0], 1)
        return made

    try:
        made = trio.run(form)
        yield made
        trio.run(made.down)
    finally:
        kill_processes_of(directory)
        rmtree(directory, ignore_errors=True)


async def ask_info(node: LocalNode) -> InfoJson:
    async with EngineClient(node.docker_host) as client:
        return await client.info()


@pytest.fixture
def manager(swarm: LocalSwarm) -> Iterator[LocalNode]:
    """The daemon that is in a swarm; it has to go on whatever a test does to it."""
    node = swarm.nodes[0]
    pid = node.pid
    yield node
    assert node.pid == pid
    assert trio.run(ask_info, node).swarm.local_node_state == "active"
    assert "Traceback" not in Path(node.state_dir, "daemon.log").read_text()


@pytest.fixture
def outsider(swarm: LocalSwarm) -> Iterator[LocalNode]:
    """The daemon that is in no swarm, and stays outside."""
    node = swarm.nodes[1]
    pid = node.pid
    yield node
    assert node.pid == pid
    assert trio.run(ask_info, node).swarm.local_node_state == "inactive"
    assert not Path(node.state_dir, "node.json").exists()
    assert "Traceback" not in Path(node.state_dir, "daemon.log").read_text()


def assert_refused(done: subprocess.CompletedProcess[str], *words: str, status: int = 1) -> None:
    """One line says why, and nothing else is printed."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


# Starting a daemon.


def start_daemon(state: Path, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return raftswarm("daemon", "--state-dir", str(state), "--listen-addr", "127.0.0.1:0", *arguments, prefix=prefix)


def test_a_state_directory_in_use_is_refused(manager: LocalNode) -> None:
    done = start_daemon(Path(manager.state_dir), "--api", f"unix://{manager.state_dir}/other.sock")

    assert_refused(done, "another process uses", manager.state_dir)


def test_an_api_socket_in_use_is_refused(manager: LocalNode, place: Path) -> None:
    done = start_daemon(place, "--api", manager.docker_host)

    assert_refused(done, manager.docker_host, "another process serves it")


def test_a_state_directory_of_a_newer_format_is_refused_and_left_alone(place: Path) -> None:
    place.mkdir()
    (place / "format").write_text("raftswarm state 9\n")

    done = start_daemon(place)

    assert_refused(done, str(place), "format 9", "newer")
    assert (place / "format").read_text() == "raftswarm state 9\n"


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_node_facts_that_cannot_be_read_are_refused_and_nothing_is_cleared(place: Path, content: bytes) -> None:
    (place / "raft" / "log").mkdir(parents=True)
    (place / "raft" / "log" / "precious").touch()
    (place / "node.json").write_bytes(content)

    done = start_daemon(place)

    assert_refused(done, "node.json cannot be read")
    assert (place / "raft" / "log" / "precious").exists()


def test_node_facts_of_a_newer_format_are_refused(place: Path) -> None:
    place.mkdir()
    (place / "node.json").write_text('{"version": 2, "swarm": {}}')

    assert_refused(start_daemon(place), "node.json has format 2")


def test_a_state_directory_that_cannot_be_made_is_refused(place: Path) -> None:
    place.touch()
    try:
        assert_refused(start_daemon(place / "state", "--api", f"unix://{place}.sock"), f"could not use {place}/state")
    finally:
        place.unlink()


def test_a_file_where_another_kind_is_expected_is_refused(place: Path) -> None:
    (place / "node.json").mkdir(parents=True)

    assert_refused(start_daemon(place), "could not read", "node.json")


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_directory_without_permission_is_refused(place: Path, mode: int) -> None:
    place.mkdir(mode=mode)
    # Root may read and write everything, unless it gives that right away.
    unprivileged = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

    done = start_daemon(place, prefix=unprivileged)

    assert_refused(done, f"could not use {place}", "Permission denied")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen-addr", "127.0.0.1:99999"], "--listen-addr 127.0.0.1:99999"),
        (["--advertise-addr", "here:there"], "--advertise-addr here:there"),
        (["--api", "tcp://192.0.2.1:2375"], "needs TLS"),
        (["--api", "gopher://here"], "unix:///path/to/socket"),
    ],
)
def test_an_argument_that_means_nothing_is_refused(place: Path, arguments: list[str], words: str) -> None:
    assert_refused(start_daemon(place, *arguments), words)


def test_an_unknown_flag_is_not_understood() -> None:
    done = raftswarm("daemon", "--no-such-flag")

    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert "Traceback" not in done.stderr


# Asking a daemon.


def test_init_on_a_port_in_use_is_refused_and_works_once_it_is_free(lay_out: Callable[..., LocalSwarm]) -> None:
    swarm = lay_out()
    [node] = swarm.nodes
    with socket.create_server((node.address, PORT)):
        trio.run(swarm.start, node)
        done = raftswarm("swarm", "init", host=node.docker_host)

    assert_refused(done, f"cannot listen on {node.address}:{PORT}", "in use")
    assert trio.run(ask_info, node).swarm.local_node_state == "inactive"
    assert not Path(node.state_dir, "node.json").exists()
    assert raftswarm("swarm", "init", host=node.docker_host).returncode == 0


async def wait_for_error(node: LocalNode) -> str:
    """Return why a node cannot take part, as soon as it says so."""
    with trio.fail_after(10):
        while (info := (await ask_info(node)).swarm).local_node_state != "error":  # noqa: ASYNC110 - it is another process
            await trio.sleep(0.05)
    return info.error


def test_a_daemon_whose_port_is_in_use_when_it_returns_says_so_and_goes_on(lay_out: Callable[..., LocalSwarm]) -> None:
    swarm = lay_out()
    [node] = swarm.nodes
    trio.run(swarm.start, node)
    assert raftswarm("swarm", "init", host=node.docker_host).returncode == 0
    trio.run(swarm.kill, node)
    with socket.create_server((node.address, PORT)):
        trio.run(swarm.start, node)

        error = trio.run(wait_for_error, node)

    assert "in use" in error
    assert Path(node.state_dir, "node.json").exists()


async def test_tokens_that_let_nobody_in_are_refused(manager: LocalNode, outsider: LocalNode) -> None:
    async with EngineClient(manager.docker_host) as client:
        token = (await client.swarm_inspect()).join_tokens.worker
    wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
    address = f"{manager.address}:{PORT}"
    async with EngineClient(outsider.docker_host) as client:
        with pytest.raises(ApiError, match="A valid join token is necessary to join this cluster") as refusal:
            await client.swarm_join(JoinJson(remote_addrs=[address], join_token=wrong))
        assert refusal.value.status == 400
        for malformed in ("", "nonsense", token + "x", token.replace("SWMTKN-1", "SWMTKN-9")):
            with pytest.raises(ApiError, match="invalid join token") as refusal:
                await client.swarm_join(JoinJson(remote_addrs=[address], join_token=malformed))
            assert refusal.value.status == 500


async def test_unlocking_what_is_not_locked_is_refused(manager: LocalNode) -> None:
    async with EngineClient(manager.docker_host) as client:
        with pytest.raises(ApiError, match="swarm is not locked"):
            await client.swarm_unlock("SWMKEY-1-" + "A" * 43)


def exchange(node: LocalNode, request: bytes) -> bytes:
    """Say these bytes to the node's API, and hear it out."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect(node.docker_host.removeprefix("unix://"))
        link.sendall(request)
        link.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: link.recv(65536), b""))


@pytest.mark.parametrize("body", [b"{", b"not json", b'{"Name": 7}', b"[]", b"\xff\xff", b"null", b"{}" * 3])
def test_malformed_json_is_refused_with_a_message(manager: LocalNode, body: bytes) -> None:
    head = "POST /v1.47/services/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    answer = exchange(manager, f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"message":"' in answer


@pytest.mark.parametrize(
    "nonsense", [NOISE, b"\0" * 100, b"GET\r\n\r\n", TLS_HELLO], ids=["noise", "zeros", "half a request", "TLS"]
)
def test_nonsense_on_the_api_is_hung_up_on(manager: LocalNode, nonsense: bytes) -> None:
    assert exchange(manager, nonsense)[:12] in {b"", b"HTTP/1.1 400"}


@pytest.mark.parametrize(
    "nonsense",
    [
        NOISE,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff\xff\xff\xff" + b"\0" * 100,
        TLS_HELLO + b"\x01" * 70_000,
        b"",
    ],
    ids=["noise", "HTTP", "a huge length", "TLS with a huge record", "nothing"],
)
def test_nonsense_on_the_cluster_port_is_hung_up_on(manager: LocalNode, nonsense: bytes) -> None:
    with socket.create_connection((manager.address, PORT), timeout=10) as link:
        try:
            link.sendall(nonsense)
            link.shutdown(socket.SHUT_WR)
            while link.recv(65536):
                pass
        except TimeoutError:
            pytest.fail("it went on listening")
        except OSError:
            pass  # A reset, say: it had heard enough.


def test_a_service_that_cannot_be_is_refused_in_a_line(manager: LocalNode) -> None:
    done = raftswarm("service", "create", "--name", "not a name", "sleep", host=manager.docker_host)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Error response from daemon: ")


async def test_the_daemon_serves_on_after_all_that(manager: LocalNode) -> None:
    async with EngineClient(manager.docker_host) as client:
        await client.create_service(sleeping_service("fine", replicas=0))
        await client.remove_service("fine")


def test_a_daemon_that_does_not_answer_is_named(place: Path) -> None:
    assert_refused(raftswarm("node", "ls", host=f"unix://{place}/none.sock"), f"{place}/none.sock", "Is it running?")
