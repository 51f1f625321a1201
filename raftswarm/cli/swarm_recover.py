"""``raftswarm swarm recover``: after most managers are gone for good, go on from the most advanced one that is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from raftswarm.cli.secrets import SOURCES, ask
from raftswarm.cli.session import CommandFailed
from raftswarm.cli.tables import print_table

if TYPE_CHECKING:
    from raftswarm.node.recovery import Choice, Survivor
    from raftswarm.world.disk import Disk


@click.command("recover")
@click.argument("directories", nargs=-1, required=True, metavar="STATE_DIR...")
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and what may be lost")
@click.option("--yes", is_flag=True, help="Do it")
@click.option(
    "--listen-addr", default="", metavar="HOST:PORT", help="Where the manager is reached now, if that changed"
)
@click.option("--unlock-key-from", metavar="SOURCE", help=f"Where the unlock key comes from: {SOURCES}")
@click.option("--json", "as_json", is_flag=True, help="Print JSON")
def command(
    *,
    directories: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    listen_addr: str,
    unlock_key_from: str | None,
    as_json: bool,
) -> None:
    """Recover a swarm that has lost most of its managers for good.

    Name the state directories of all managers that are left, with their daemons stopped. The most advanced one becomes
    the only manager of a new epoch of the swarm: its services, workers and tasks stay. Managers that are given up and
    come back are workers then; they leave and join again.
    """
    from raftswarm.node.recovery import choose, recover, survey
    from raftswarm.world.chance import SystemEntropy
    from raftswarm.world.clock import SystemWallClock
    from raftswarm.world.real_disk import RealDisk

    if dry_run == yes:
        raise click.UsageError("say --dry-run to see what would be done, or --yes to do it")
    if listen_addr:
        check_address("--listen-addr", listen_addr)
    disk, entropy = RealDisk(), SystemEntropy()
    known: list[str] = []

    def unlock() -> str:
        if not known:
            known.append(ask(unlock_key_from, "Unlock key"))
        return known[0]

    with _held(disk, directories):
        survivors = [survey(disk, entropy, path, unlock) for path in directories]
        choice = choose(survivors)
        epoch = None
        if yes and not choice.has_majority:
            now = SystemWallClock().now_ns()
            epoch = recover(disk, entropy, now, choice.best.path, unlock, listen_addr)
    if as_json:
        _print_json(survivors, choice, epoch)
    else:
        _print_survivors(survivors)
        for sentence in [*explain_choice(choice), *_explain_outcome(choice, epoch, yes=yes)]:
            click.echo(sentence)
    if yes and epoch is None:
        raise CommandFailed("")


def check_address(option: str, address: str) -> None:
    """UsageError unless it is one."""
    from raftswarm.node.settings import split_address

    try:
        split_address(address)
    except ValueError:
        raise click.UsageError(f"{option} {address} is not HOST:PORT, with a port below 65536") from None


@contextmanager
def _held(disk: Disk, directories: Sequence[str]) -> Iterator[None]:
    """Keep daemons out of the directories; nothing is put into one that is not a node's."""
    from raftswarm.node.facts import read_facts
    from raftswarm.storage.state_directory import lock_state

    with ExitStack() as held:
        for path in directories:
            if read_facts(disk, path) is None:
                raise CommandFailed(f"{path} is not the state directory of a node in a swarm")
            held.callback(lock_state(disk, path).close)
        yield


def _explain_outcome(choice: Choice, epoch: int | None, *, yes: bool) -> list[str]:
    from raftswarm.storage.epoch import show_epoch

    if epoch is not None:
        return [
            f"Epoch {show_epoch(epoch)} has begun in {choice.best.path}. Start its daemon.",
            "The others are workers when they come back: let those that are to be managers leave and join again.",
        ]
    if yes or choice.has_majority:
        return ["Nothing was changed."]
    return ["Nothing was changed; --yes instead of --dry-run begins a new epoch there."]


def explain_choice(choice: Choice) -> list[str]:
    """Say in sentences what going on from the chosen survivor means."""
    from raftswarm.storage.epoch import show_epoch

    best, end = choice.best, choice.best.end
    voters = len(end.configuration.voters)
    said = [
        (
            f"The most advanced is node {best.facts.node_id} in {best.path}: epoch {show_epoch(best.epoch)}, "
            f"last entry {end.index} of term {best.last_term}, last command {end.commands}."
        )
    ]
    if choice.has_majority:
        said.append(
            f"{voters - len(choice.missing)} of its {voters} managers are here, a majority: nothing is lost, and "
            f"nothing needs to be recovered. Start them, and they go on by themselves."
        )
    elif choice.missing:
        names = ", ".join(f"{info.name} ({info.address})" for info in choice.missing)
        said.append(
            f"{len(choice.missing)} of its {voters} managers are not here: {names}. What was acknowledged after "
            f"command {end.commands}, which they may have and this one has not, is lost."
        )
    return said


def _print_survivors(survivors: list[Survivor]) -> None:
    from raftswarm.storage.epoch import show_epoch

    rows = [
        [
            survivor.facts.node_id,
            show_epoch(survivor.epoch),
            str(survivor.last_term),
            str(survivor.end.index),
            str(survivor.end.commands),
            show_time(survivor.end.time_ns),
            survivor.path,
        ]
        for survivor in survivors
    ]
    headings = ["NODE", "EPOCH", "LAST TERM", "LAST ENTRY", "LAST COMMAND", "WRITTEN", "STATE DIRECTORY"]
    print_table([headings, *rows])
    click.echo()


def _print_json(survivors: list[Survivor], choice: Choice, epoch: int | None) -> None:
    import json

    from raftswarm.storage.epoch import show_epoch

    described = [
        {
            "StateDirectory": survivor.path,
            "NodeID": survivor.facts.node_id,
            "Epoch": show_epoch(survivor.epoch),
            "Boot": survivor.boot,
            "LastTerm": survivor.last_term,
            "LastEntry": survivor.end.index,
            "LastCommand": survivor.end.commands,
            "Written": show_time(survivor.end.time_ns),
            "TornBytes": survivor.torn_bytes,
        }
        for survivor in survivors
    ]
    answer = {
        "Managers": described,
        "Best": choice.best.path,
        "Missing": [{"NodeID": info.name, "Address": info.address} for info in choice.missing],
        "HasMajority": choice.has_majority,
        "NewEpoch": None if epoch is None else show_epoch(epoch),
    }
    click.echo(json.dumps(answer, indent=2))


def show_time(time_ns: int) -> str:
    """Write a time to the second, in UTC; a dash for none."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time_ns else "-"
