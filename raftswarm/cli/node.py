"""``raftswarm node``: list, inspect and change the nodes of a swarm."""

from __future__ import annotations

from typing import Final

import click
from msgspec.structs import replace

from raftswarm.api.errors import ApiError
from raftswarm.api.nodes import NodeJson
from raftswarm.api.system import SwarmInfoJson
from raftswarm.cli.parsing import parse_filter_options, parse_pairs
from raftswarm.cli.pretty import print_node
from raftswarm.cli.session import CommandFailed, ItemsFailed, explain, for_each, with_engine
from raftswarm.cli.tables import print_inspected, print_rows
from raftswarm.cli.task_table import Names, print_tasks
from raftswarm.cli.words import capitalize, natural
from raftswarm.client import EngineClient
from raftswarm.objects.specs import NodeSpec

COLUMNS: Final = {
    "ID": "ID",
    "Hostname": "HOSTNAME",
    "Status": "STATUS",
    "Availability": "AVAILABILITY",
    "ManagerStatus": "MANAGER STATUS",
    "EngineVersion": "ENGINE VERSION",
}


@click.group(name="node")
def command() -> None:
    """Manage the nodes of a swarm."""


@command.command("ls")
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Filter output")
@click.option("--format", "format_", help="'table', 'json' or a template")
@click.option("-q", "--quiet", is_flag=True, help="Only display IDs")
def list_nodes(*, filters: tuple[str, ...], format_: str | None, quiet: bool) -> None:
    """List the nodes of the swarm."""

    async def work(engine: EngineClient) -> None:
        nodes = await engine.nodes(parse_filter_options(filters))
        own = SwarmInfoJson() if quiet else (await engine.info()).swarm
        rows = [_row(node, own) for node in sorted(nodes, key=lambda node: natural(node.hostname))]
        if format_ is None and not quiet:
            rows = [row | {"ID": f"{row['ID']} {'*' if row['Self'] else ' '}"} for row in rows]
        print_rows(rows, COLUMNS, format_=format_, quiet="ID" if quiet else None)

    with_engine(work)


def _row(node: NodeJson, own: SwarmInfoJson) -> dict[str, str | bool]:
    status = node.manager_status
    return {
        "ID": node.id,
        "Hostname": node.hostname,
        "Status": capitalize(node.status.state),
        "Availability": capitalize(node.spec.availability),
        "ManagerStatus": "" if status is None else "Leader" if status.leader else capitalize(status.reachability),
        "EngineVersion": node.description.engine.engine_version,
        "Self": node.id == own.node_id,
        "TLSStatus": _tls_word(node, own),
    }


def _tls_word(node: NodeJson, own: SwarmInfoJson) -> str:
    if own.cluster is None or not node.description.tls_info.trust_root:
        return "Unknown"
    return "Ready" if node.description.tls_info == own.cluster.tls_info else "Needs Rotation"


async def _resolve(engine: EngineClient, reference: str) -> str:
    if reference != "self":
        return reference
    swarm = (await engine.info()).swarm
    if not swarm.node_id:
        # Asking for it brings the refusal of the engine, which knows why.
        await engine.nodes()
    return swarm.node_id


@command.command()
@click.argument("nodes", nargs=-1, required=True)
@click.option("--pretty", is_flag=True, help="Print the information in a human friendly format")
@click.option("-f", "--format", "format_", help="'json' or a template")
def inspect(*, nodes: tuple[str, ...], pretty: bool, format_: str | None) -> None:
    """Display everything about nodes."""

    async def work(engine: EngineClient) -> bool:
        bodies, missing = [], []
        for reference in nodes:
            try:
                node_id = await _resolve(engine, reference)
                if pretty:
                    print_node(await engine.node(node_id))
                else:
                    bodies.append(await engine.request("GET", f"/nodes/{node_id}"))
            except ApiError as error:
                if error.status != 404:
                    raise
                missing.append(explain(error))
        if not pretty:
            print_inspected(bodies, format_)
        for message in missing:
            click.echo(message, err=True)
        return bool(missing)

    if with_engine(work):
        raise ItemsFailed


@command.command("ps")
@click.argument("nodes", nargs=-1)
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Filter output")
@click.option("--format", "format_", help="'table', 'json' or a template")
@click.option("--no-resolve", is_flag=True, help="Do not map IDs to names")
@click.option("--no-trunc", is_flag=True, help="Do not truncate output")
@click.option("-q", "--quiet", is_flag=True, help="Only display task IDs")
def list_tasks(
    *,
    nodes: tuple[str, ...],
    filters: tuple[str, ...],
    format_: str | None,
    no_resolve: bool,
    no_trunc: bool,
    quiet: bool,
) -> None:
    """List the tasks on nodes; on this one if none is named."""

    async def work(engine: EngineClient) -> None:
        tasks = []
        for reference in nodes or ("self",):
            node = await engine.node(await _resolve(engine, reference))
            tasks += await engine.tasks(parse_filter_options(filters) | {"node": [node.id]})
        names = Names(engine, resolve=not no_resolve)
        await print_tasks(tasks, names, no_trunc=no_trunc, quiet=quiet, format_=format_)

    with_engine(work)


@command.command()
@click.argument("node")
@click.option("--availability", metavar="active|pause|drain", help="Availability of the node")
@click.option("--role", metavar="worker|manager", help="Role of the node")
@click.option("--label-add", multiple=True, metavar="KEY=VALUE", help="Add or update a node label")
@click.option("--label-rm", multiple=True, metavar="KEY", help="Remove a node label")
def update(
    *, node: str, availability: str | None, role: str | None, label_add: tuple[str, ...], label_rm: tuple[str, ...]
) -> None:
    """Update a node."""

    async def work(engine: EngineClient) -> None:
        found = await engine.node(node)
        labels = dict(found.spec.labels)
        for key in label_rm:
            if key not in labels:
                raise CommandFailed(f"key {key} doesn't exist in node's labels")
            del labels[key]
        labels |= parse_pairs(label_add)
        spec = replace(
            found.spec,
            labels=labels,
            availability=availability or found.spec.availability,
            role=role or found.spec.role,
        )
        await engine.update_node(found.id, found.version.index, spec)
        click.echo(node)

    with_engine(work)


@command.command("rm")
@click.argument("nodes", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Remove a node although it is not down")
def remove(*, nodes: tuple[str, ...], force: bool) -> None:
    """Remove nodes from the swarm."""

    async def work(engine: EngineClient, reference: str) -> str:
        await engine.remove_node(reference, force=force)
        return reference

    for_each(nodes, work)


@command.command()
@click.argument("nodes", nargs=-1, required=True)
def promote(nodes: tuple[str, ...]) -> None:
    """Make workers managers."""
    for_each(nodes, _promote)


async def _promote(engine: EngineClient, reference: str) -> str:
    node = await engine.node(reference)
    if node.spec.role == "manager":
        return f"Node {node.id} is already a manager."
    await _set_role(engine, node, "manager")
    return f"Node {reference} promoted to a manager in the swarm."


@command.command()
@click.argument("nodes", nargs=-1, required=True)
def demote(nodes: tuple[str, ...]) -> None:
    """Make managers workers."""
    for_each(nodes, _demote)


async def _demote(engine: EngineClient, reference: str) -> str:
    node = await engine.node(reference)
    if node.spec.role == "worker":
        return f"Node {node.id} is already a worker."
    await _set_role(engine, node, "worker")
    return f"Manager {reference} demoted in the swarm."


async def _set_role(engine: EngineClient, node: NodeJson, role: str) -> None:
    spec: NodeSpec = replace(node.spec, role=role)
    await engine.update_node(node.id, node.version.index, spec)
