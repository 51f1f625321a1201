"""``raftswarm swarm``: begin one, join, leave, lock and unlock."""

from __future__ import annotations

import click
from msgspec.structs import replace

from raftswarm.api.swarm import InitJson, JoinJson
from raftswarm.cli import swarm_status
from raftswarm.cli.parsing import DURATION
from raftswarm.cli.secrets import SOURCES, ask
from raftswarm.cli.session import CommandFailed, with_engine
from raftswarm.cli.swarm_recover import command as recover
from raftswarm.cli.swarm_snapshot import command as snapshot
from raftswarm.client import EngineClient
from raftswarm.objects.specs import CAConfig, DispatcherConfig, EncryptionConfig, SwarmSpec

_LISTEN = "0.0.0.0:2377"  # What docker sends; the daemon takes it for its own address.


@click.group(name="swarm")
def command() -> None:
    """Manage the swarm itself."""


command.add_command(swarm_status.command)
command.add_command(recover)
command.add_command(snapshot)


@command.command()
@click.option("--advertise-addr", default="", help="Advertised address (IP[:port])")
@click.option("--listen-addr", default=_LISTEN, show_default=True, help="Listen address (IP[:port])")
@click.option("--autolock", is_flag=True, help="Lock managers: a restarted one needs the unlock key")
@click.option(
    "--availability", type=click.Choice(["active", "pause", "drain"]), default="active", help="Availability of the node"
)
@click.option("--cert-expiry", type=DURATION, help="Validity period for node certificates")
@click.option("--dispatcher-heartbeat", type=DURATION, help="Dispatcher heartbeat period")
@click.option("--task-history-limit", type=int, help="Task history retention limit")
@click.option("--snapshot-interval", type=int, help="Number of log entries between Raft snapshots")
@click.option("--max-snapshots", type=int, help="Number of additional Raft snapshots to retain")
@click.option("--force-new-cluster", is_flag=True, help="Force create a new cluster from current state")
@click.option("--default-addr-pool", multiple=True, metavar="CIDR", help="Default address pool")
@click.option("--default-addr-pool-mask-length", type=int, default=24, help="Subnet mask length of the pool")
@click.option("--data-path-port", type=int, default=0, help="Port of the data plane (1024 - 49151)")
def init(
    *,
    advertise_addr: str,
    listen_addr: str,
    autolock: bool,
    availability: str,
    force_new_cluster: bool,
    default_addr_pool: tuple[str, ...],
    default_addr_pool_mask_length: int,
    data_path_port: int,
    **settings: int | None,
) -> None:
    """Initialize a swarm."""
    spec = _change_spec(SwarmSpec(), settings, autolock=autolock)
    options = InitJson(
        listen_addr=listen_addr,
        advertise_addr=advertise_addr,
        data_path_port=data_path_port,
        force_new_cluster=force_new_cluster,
        spec=spec,
        auto_lock_managers=autolock,
        availability=availability,
        default_addr_pool=list(default_addr_pool),
        subnet_size=default_addr_pool_mask_length,
    )

    async def work(engine: EngineClient) -> None:
        node_id = await engine.swarm_init(options)
        click.echo(f"Swarm initialized: current node ({node_id}) is now a manager.\n")
        await _print_join_command(engine, "worker")
        click.echo(
            "To add a manager to this swarm, run 'raftswarm swarm join-token manager' and follow the instructions."
        )
        if autolock:
            _print_unlock_key(await engine.swarm_unlock_key())

    with_engine(work)


def _change_spec(spec: SwarmSpec, settings: dict[str, int | None], *, autolock: bool | None) -> SwarmSpec:
    """Change what was said; what was not said stays."""
    given = {name: value for name, value in settings.items() if value is not None}
    if "task_history_limit" in given:
        history = replace(spec.orchestration, task_history_retention_limit=given["task_history_limit"])
        spec = replace(spec, orchestration=history)
    if "cert_expiry" in given:
        ca_config: CAConfig = replace(spec.ca_config, node_cert_expiry=given["cert_expiry"])
        spec = replace(spec, ca_config=ca_config)
    if "dispatcher_heartbeat" in given:
        spec = replace(spec, dispatcher=DispatcherConfig(heartbeat_period=given["dispatcher_heartbeat"]))
    if "snapshot_interval" in given:
        spec = replace(spec, raft=replace(spec.raft, snapshot_interval=given["snapshot_interval"]))
    if "max_snapshots" in given:
        spec = replace(spec, raft=replace(spec.raft, keep_old_snapshots=given["max_snapshots"]))
    if autolock is not None:
        spec = replace(spec, encryption_config=EncryptionConfig(auto_lock_managers=autolock))
    return spec


@command.command()
@click.argument("address")
@click.option("--token", required=True, help="Token for entry into the swarm")
@click.option("--advertise-addr", default="", help="Advertised address (IP[:port])")
@click.option("--listen-addr", default=_LISTEN, show_default=True, help="Listen address (IP[:port])")
@click.option(
    "--availability", type=click.Choice(["active", "pause", "drain"]), default="active", help="Availability of the node"
)
def join(*, address: str, token: str, advertise_addr: str, listen_addr: str, availability: str) -> None:
    """Join a swarm as a node, worker or manager as the token says."""
    options = JoinJson(
        listen_addr=listen_addr,
        advertise_addr=advertise_addr,
        remote_addrs=[address],
        join_token=token,
        availability=availability,
    )

    async def work(engine: EngineClient) -> None:
        await engine.swarm_join(options)
        role = "manager" if (await engine.info()).swarm.control_available else "worker"
        click.echo(f"This node joined a swarm as a {role}.")

    with_engine(work)


@command.command()
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
def rejoin(*, addresses: tuple[str, ...]) -> None:
    """Tell this worker where the managers of its swarm are now: it keeps its place in the swarm, and its tasks."""

    async def work(engine: EngineClient) -> None:
        await engine.swarm_rejoin(addresses)
        click.echo(f"This node looks for the managers of its swarm at {', '.join(addresses)}.")

    with_engine(work)


@command.command("join-token")
@click.argument("role", type=click.Choice(["worker", "manager"]))
@click.option("-q", "--quiet", is_flag=True, help="Only display token")
@click.option("--rotate", is_flag=True, help="Rotate join token")
def join_token(*, role: str, quiet: bool, rotate: bool) -> None:
    """Show, or rotate, what lets nodes in."""

    async def work(engine: EngineClient) -> None:
        if rotate:
            swarm = await engine.swarm_inspect()
            await engine.swarm_update(
                swarm.version.index,
                swarm.spec,
                rotate_worker_token=role == "worker",
                rotate_manager_token=role == "manager",
            )
            if not quiet:
                click.echo(f"Successfully rotated {role} join token.\n")
        if quiet:
            tokens = (await engine.swarm_inspect()).join_tokens
            click.echo(tokens.manager if role == "manager" else tokens.worker)
        else:
            await _print_join_command(engine, role)

    with_engine(work)


async def _print_join_command(engine: EngineClient, role: str) -> None:
    tokens = (await engine.swarm_inspect()).join_tokens
    node = await engine.node((await engine.info()).swarm.node_id)
    if node.manager_status is None:
        return
    token = tokens.manager if role == "manager" else tokens.worker
    click.echo(f"To add a {role} to this swarm, run the following command:\n")
    click.echo(f"    raftswarm swarm join --token {token} {node.manager_status.addr}\n")


@command.command()
@click.option("-f", "--force", is_flag=True, help="Leave although this node is a manager")
def leave(*, force: bool) -> None:
    """Leave the swarm."""

    async def work(engine: EngineClient) -> None:
        await engine.swarm_leave(force=force)
        click.echo("Node left the swarm.")

    with_engine(work)


@command.command()
@click.option("--autolock", type=bool, help="Change manager autolocking setting (true|false)")
@click.option(
    "--unlock-by-peers",
    type=bool,
    help="Let a locked manager ask the others for the key (true|false); docs/operations.md says what that gives away",
)
@click.option("--cert-expiry", type=DURATION, help="Validity period for node certificates")
@click.option("--dispatcher-heartbeat", type=DURATION, help="Dispatcher heartbeat period")
@click.option("--task-history-limit", type=int, help="Task history retention limit")
@click.option("--snapshot-interval", type=int, help="Number of log entries between Raft snapshots")
@click.option("--max-snapshots", type=int, help="Number of additional Raft snapshots to retain")
@click.pass_context
def update(
    context: click.Context, /, *, autolock: bool | None, unlock_by_peers: bool | None, **settings: int | None
) -> None:
    """Update the swarm's settings."""
    if autolock is None and unlock_by_peers is None and all(value is None for value in settings.values()):
        click.echo(context.get_help())
        return

    async def work(engine: EngineClient) -> None:
        swarm = await engine.swarm_inspect()
        was_locking = swarm.spec.encryption_config.auto_lock_managers
        spec = _change_spec(swarm.spec, settings, autolock=autolock)
        await engine.swarm_update(swarm.version.index, spec, unlock_by_peers=unlock_by_peers)
        click.echo("Swarm updated.")
        if autolock and not was_locking:
            _print_unlock_key(await engine.swarm_unlock_key())

    with_engine(work)


@command.command("unlock-key")
@click.option("-q", "--quiet", is_flag=True, help="Only display key")
@click.option("--rotate", is_flag=True, help="Rotate unlock key")
def unlock_key(*, quiet: bool, rotate: bool) -> None:
    """Show, or rotate, what unlocks a restarted manager."""

    async def work(engine: EngineClient) -> None:
        if rotate:
            swarm = await engine.swarm_inspect()
            if not swarm.spec.encryption_config.auto_lock_managers:
                raise CommandFailed("cannot rotate because autolock is not turned on")
            await engine.swarm_update(swarm.version.index, swarm.spec, rotate_unlock_key=True)
            if not quiet:
                click.echo("Successfully rotated manager unlock key.\n")
        key = await engine.swarm_unlock_key()
        if not key:
            raise CommandFailed("no unlock key is set")
        if quiet:
            click.echo(key)
        else:
            _print_unlock_key(key)

    with_engine(work)


def _print_unlock_key(key: str) -> None:
    click.echo("To unlock a swarm manager after it restarts, run the `raftswarm swarm unlock`")
    click.echo(f"command and provide the following key:\n\n    {key}\n")
    click.echo("Remember to store this key in a password manager, since without it you")
    click.echo("will not be able to restart the manager.")


@command.command()
@click.option("--key-from", metavar="SOURCE", help=f"Where the key comes from: {SOURCES}")
def unlock(*, key_from: str | None) -> None:
    """Unlock a manager that was restarted; the key is read from the terminal or from standard input."""

    async def find_state(engine: EngineClient) -> str:
        return (await engine.info()).swarm.local_node_state

    state = with_engine(find_state)
    if state != "locked":
        reason = "This node is not part of a swarm" if state == "inactive" else "swarm is not locked"
        raise CommandFailed(f"Error: {reason}")
    key = ask(key_from, "Enter unlock key")

    async def work(engine: EngineClient) -> None:
        await engine.swarm_unlock(key)

    with_engine(work)
