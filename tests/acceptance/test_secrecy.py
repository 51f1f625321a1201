"""What managers leave on disks, in logs, command lines, backups and error texts tells nobody anything (SWARM 11)."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftswarm.api.errors import ApiError
from raftswarm.api.swarm import InitJson
from raftswarm.client import EngineClient
from raftswarm.local import LocalSwarm
from tests.daemons import LOCKED, command_lines, raftswarm, sleeping_service, until_ready, until_running

PRIVATE_KEYS = ("BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY")


def places_of(swarm: LocalSwarm, markers: list[str]) -> Iterator[str]:
    """Where any of them can be read: files of the swarm, and what every process was started with."""
    for path in swarm.directory.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            yield from (f"{marker} in {path}" for marker in markers if marker.encode() in content)
    for line in command_lines():
        yield from (f"{marker} in the command line {line}" for marker in markers if marker in line)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All that a command printed, which has to be a refusal."""
    assert done.returncode != 0
    assert done.stderr
    return done.stdout + done.stderr


def write_passphrase(directory: Path, text: str) -> Path:
    """Put it where only we may read it."""
    file = directory / "passphrase"
    file.write_text(f"{text}\n")
    file.chmod(0o600)
    return file


def modes_below(directory: Path) -> dict[str, int]:
    """Who may do what with each file and directory there."""
    return {str(path.relative_to(directory)): path.stat().st_mode & 0o777 for path in directory.rglob("*")}


async def test_nothing_secret_is_in_the_clear_anywhere(lay_out: Callable[..., LocalSwarm], tmp_path: Path) -> None:
    swarm = lay_out(managers=3)
    first, second, third = swarm.nodes
    await swarm.start(*swarm.nodes)
    await swarm.begin(InitJson(spec=LOCKED))
    await swarm.join_others()
    marker = f"marker-{secrets.token_hex(8)}"
    async with EngineClient(first.docker_host) as client:
        await client.create_service(sleeping_service("web", replicas=3, env=[f"PASSWORD={marker}"]))
        old_key = await client.swarm_unlock_key()
        tokens = (await client.swarm_inspect()).join_tokens
        found = await client.swarm_inspect()
        await client.swarm_update(found.version.index, found.spec, rotate_unlock_key=True, unlock_by_peers=True)
        key = await client.swarm_unlock_key()
    await until_running(first, 3)
    # What an operator gets wrong, he may paste into a ticket.
    wrong_token = tokens.manager[:-1] + ("a" if tokens.manager[-1] != "a" else "b")
    wrong_key = key[:-4] + ("AAAA" if key[-4:] != "AAAA" else "BBBB")
    texts = []
    for name, key_from in (
        ("with-passphrase", ["--passphrase-from", f"file:{write_passphrase(tmp_path, marker)}"]),
        ("with-key", ["--with-unlock-key"]),
    ):
        saved = raftswarm("swarm", "snapshot", "save", *key_from, str(swarm.directory / name), host=second.docker_host)
        assert saved.returncode == 0, saved.stderr
        texts.append(saved.stdout + saved.stderr)
    texts.append(said(raftswarm("swarm", "join", "--token", wrong_token, first.address, host=second.docker_host)))
    texts.append(said(raftswarm("swarm", "unlock", "--key-from", key, host=second.docker_host)))
    texts.append(said(raftswarm("storage", "verify", third.state_dir)))
    await swarm.kill(third)
    texts.append(said(raftswarm("swarm", "recover", "--dry-run", "--unlock-key-from", key, third.state_dir)))
    texts.append(said(raftswarm("daemon", "--state-dir", f"{swarm.directory}/x", "--unlock", key)))
    await swarm.start(third)
    async with EngineClient(third.docker_host) as client:
        for given in (wrong_key, old_key + "x"):
            try:
                await client.swarm_unlock(given)
            except ApiError as refusal:
                texts.append(str(refusal))

    files = [path for path in swarm.directory.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {
        "daemon.log", "keys", "node.json", "peer-credential", "with-passphrase", "with-key"
    }  # fmt: skip
    assert {path.suffix for path in files} >= {".segment", ".record"}
    assert any(path.parent.parent.name == "tasks" for path in files), "no task was started here"
    markers = [marker, *PRIVATE_KEYS]
    for secret in (key, old_key, wrong_key, wrong_token, tokens.manager, tokens.worker):
        markers += [secret, secret.rpartition("-")[2]]
    assert list(places_of(swarm, markers)) == []
    assert [(secret, text) for text in texts for secret in markers if secret in text] == []


async def test_who_may_read_what_a_manager_keeps(lay_out: Callable[..., LocalSwarm]) -> None:
    """Without autolock the key lies beside what it opens: then it is the modes that keep others out."""
    [node] = (swarm := lay_out()).nodes
    await swarm.start(node)
    await swarm.begin(InitJson())
    await until_ready(node, 1)

    modes = modes_below(Path(node.state_dir))

    files = {"certificates/keys", "certificates/kek", "raft/log/00000000000000000001.segment"}
    assert set(modes) >= files
    private = {name: mode for name, mode in modes.items() if name in files or name.startswith(("raft/", "tasks/"))}
    assert {name: mode for name, mode in private.items() if mode & 0o077} == {}
    assert modes["certificates"] & 0o077 == 0


async def test_a_copied_state_directory_stays_locked_without_its_key(lay_out: Callable[..., LocalSwarm]) -> None:
    swarm = lay_out(managers=2)
    locked, thief = swarm.nodes
    await swarm.start(locked)
    await swarm.begin(InitJson(spec=LOCKED))
    async with EngineClient(locked.docker_host) as client:
        key = await client.swarm_unlock_key()
    await until_ready(locked, 1)
    await swarm.kill(locked)
    shutil.copytree(
        locked.state_dir, thief.state_dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock", "daemon.log")
    )

    await swarm.start(thief)

    async with EngineClient(thief.docker_host) as client:
        wrong = key[:-4] + ("AAAA" if key[-4:] != "AAAA" else "BBBB")
        with pytest.raises(ApiError, match="invalid key") as refusal:
            await client.swarm_unlock(wrong)
        assert refusal.value.status == 401
        with pytest.raises(ApiError, match="Swarm is encrypted and needs to be unlocked"):
            await client.services()
        info = (await client.info()).swarm
        assert info.local_node_state == "locked"
        assert info.cluster is None or info.cluster.id == ""
        await client.swarm_unlock(key)
        assert (await client.info()).swarm.local_node_state == "active"
