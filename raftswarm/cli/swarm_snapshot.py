"""``raftswarm swarm snapshot``: backups of a swarm in one sealed file, and a swarm from a backup."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raftswarm.api.swarm import SnapshotJson
from raftswarm.cli.secrets import SOURCES, ask, ask_new_passphrase
from raftswarm.cli.session import CommandFailed, with_engine
from raftswarm.cli.swarm_recover import check_address, show_time
from raftswarm.client import EngineClient

if TYPE_CHECKING:
    from raftswarm.storage.backup import BackupDescription, BackupFile, BackupKey
    from raftswarm.store.store import Store

_key_option = click.option(
    "--key-from", metavar="SOURCE", help=f"Where the passphrase, or the unlock key, comes from: {SOURCES}"
)
_file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group("snapshot")
def command() -> None:
    """Back a swarm up, look at backups, and restore one."""


@command.command("save")
@_file_argument
@click.option("--passphrase-from", metavar="SOURCE", help=f"Where the passphrase comes from: {SOURCES}")
@click.option("--with-unlock-key", is_flag=True, help="Seal it with the swarm's unlock key instead")
def save(*, file: Path, passphrase_from: str | None, with_unlock_key: bool) -> None:
    """Write the swarm's state, as it is now, to a new sealed file.

    The swarm goes on meanwhile. The file holds all that a manager knows, the root's key and join tokens too: whoever
    can open it can be the swarm.
    """
    from raftswarm.storage.backup import SCRYPT_SALT_BYTES, key_from_passphrase
    from raftswarm.world.chance import SystemEntropy

    if file.exists():
        raise CommandFailed(f"{file} is there already: choose another name")
    if not file.absolute().parent.is_dir():
        raise CommandFailed(f"there is no directory {file.absolute().parent}")
    key: BackupKey | None = None
    options = SnapshotJson()
    if not with_unlock_key:
        passphrase = ask_new_passphrase(passphrase_from)
        key = key_from_passphrase(passphrase, SystemEntropy().token_bytes(SCRYPT_SALT_BYTES))
        options = SnapshotJson(key=base64.b64encode(key.key).decode(), salt=base64.b64encode(key.scrypt_salt).decode())

    async def work(engine: EngineClient) -> str:
        with _written_aside(file) as write:
            await engine.swarm_snapshot(options, write)
        return await engine.swarm_unlock_key() if with_unlock_key else ""

    unlock_key = with_engine(work)
    try:
        with _open_backup(file) as backup:
            description, store = _read(backup, key or _unlock_key(unlock_key))
    except Exception:
        file.unlink()  # What cannot be read back is no backup.
        raise
    click.echo(f"Saved {file}: {file.stat().st_size} bytes, {_contents(store)}, up to command", nl=False)
    click.echo(f" {description.snapshot.commands}.")


@command.command("inspect")
@_file_argument
@_key_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON")
def inspect(*, file: Path, key_from: str | None, as_json: bool) -> None:
    """Show what a backup is: of which swarm, from when, and what is in it."""
    with _open_backup(file) as backup:
        description, store = _read(backup, _ask_key(backup, key_from))
    answer = _describe(file, description, store)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    width = max(map(len, answer)) + 2
    for name, value in answer.items():
        click.echo(f"{name + ':':{width}}{value}")


@command.command("verify")
@_file_argument
@_key_option
def verify(*, file: Path, key_from: str | None) -> None:
    """Read a backup to its end and build its state; exit status 0 only if it can be restored."""
    with _open_backup(file) as backup:
        description, store = _read(backup, _ask_key(backup, key_from))
    click.echo(f"{file} is whole: {_contents(store)}, up to command {description.snapshot.commands}.")


@command.command("restore")
@_file_argument
@_key_option
@click.option("--state-dir", required=True, help="Empty directory of the new manager, whose daemon does not run yet")
@click.option("--listen-addr", required=True, metavar="HOST:PORT", help="Where the new manager will listen")
@click.option("--advertise-addr", default="", metavar="HOST:PORT", help="Where others reach it  [default: the same]")
@click.option("--hostname", default=None, help="Its name in the swarm  [default: the machine's]")
def restore(
    *, file: Path, key_from: str | None, state_dir: str, listen_addr: str, advertise_addr: str, hostname: str | None
) -> None:
    """Make a new manager that begins with the state in a backup, alone, in a new epoch of the swarm.

    Start its daemon with the same state directory and listen address; if the swarm was autolocked, unlock it with the
    key of that time. Managers of the old swarm are refused; nodes at other addresses join again.
    """
    from raftswarm.node.recovery import restore as restore_backup
    from raftswarm.node.settings import WILDCARD_HOSTS, split_address
    from raftswarm.storage.state_directory import lock_state
    from raftswarm.world.chance import SystemEntropy
    from raftswarm.world.clock import SystemWallClock
    from raftswarm.world.real_disk import RealDisk

    check_address("--listen-addr", listen_addr)
    if advertise_addr:
        check_address("--advertise-addr", advertise_addr)
    advertise = advertise_addr or listen_addr
    if split_address(advertise)[0] in WILDCARD_HOSTS:
        raise click.UsageError("others cannot reach a wildcard: say --advertise-addr HOST:PORT")
    disk = RealDisk()
    place = str(Path(state_dir).absolute())
    with _open_backup(file) as backup:
        key = _ask_key(backup, key_from)
        lock = lock_state(disk, place)
        try:
            facts = restore_backup(
                disk,
                SystemEntropy(),
                SystemWallClock().now_ns(),
                place,
                backup.open(key),
                listen=listen_addr,
                advertise=advertise,
                hostname=hostname or socket.gethostname(),
            )
        finally:
            lock.close()
    click.echo(f"Restored to {place} as node {facts.node_id}. Start its daemon:\n")
    click.echo(f"    raftswarm daemon --state-dir {place} --listen-addr {listen_addr}", nl=False)
    click.echo(f" --advertise-addr {advertise}\n" if advertise != listen_addr else "\n")


@contextmanager
def _written_aside(file: Path) -> Iterator[Callable[[bytes], object]]:
    """Write beside the file, for its owner only; it has its name when all of it is on the disk."""
    aside = file.with_name(file.name + ".part")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream.write
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    directory = os.open(file.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _open_backup(file: Path) -> Iterator[BackupFile]:
    from raftswarm.storage.backup import BackupFile
    from raftswarm.world.real_disk import RealFile

    try:
        opened = RealFile(os.open(file, os.O_RDONLY | os.O_CLOEXEC), str(file))
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror}") from None
    try:
        yield BackupFile(opened, str(file))
    finally:
        opened.close()


def _ask_key(backup: BackupFile, source: str | None) -> BackupKey:
    from raftswarm.storage.backup import SealedBy, key_from_passphrase

    if backup.sealed_by is SealedBy.UNLOCK_KEY:
        return _unlock_key(ask(source, "Unlock key of the time of the backup"))
    return key_from_passphrase(ask(source, "Passphrase"), backup.scrypt_salt)


def _unlock_key(text: str) -> BackupKey:
    from raftswarm.storage.backup import key_from_unlock_key

    return key_from_unlock_key(text)


def _read(backup: BackupFile, key: BackupKey) -> tuple[BackupDescription, Store]:
    """Read all of it, and build the state that it holds."""
    from raftswarm.store.store import Store

    description, chunks = backup.open(key)
    store = Store()
    store.restore(chunks)
    return description, store


def _contents(store: Store) -> str:
    from raftswarm.objects.records import Node, Service, Task

    kinds = (Service, "services"), (Node, "nodes"), (Task, "tasks")
    return ", ".join(f"{sum(1 for _ in store.find(kind))} {name}" for kind, name in kinds)


def _describe(file: Path, description: BackupDescription, store: Store) -> dict[str, str | int]:
    from raftswarm.storage.epoch import show_epoch

    return {
        "File": str(file),
        "Swarm": description.cluster_id,
        "Epoch": show_epoch(description.epoch),
        "Saved": show_time(description.saved_at_ns),
        "Saved by": description.saved_by,
        "Release": description.release,
        "Last entry": description.snapshot.index,
        "Last command": description.snapshot.commands,
        "Written": show_time(description.snapshot.time_ns),
        "Managers": ", ".join(f"{info.name} ({info.address})" for info in description.snapshot.configuration.voters),
        "Contents": _contents(store),
    }
