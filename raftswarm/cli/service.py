"""``raftswarm service``: create, watch, change and remove services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from raftswarm.api.errors import ApiError
from raftswarm.api.services import ServiceJson
from raftswarm.cli.explanations import print_service_explanation
from raftswarm.cli.parsing import parse_filter_options
from raftswarm.cli.pretty import print_service
from raftswarm.cli.progress import follow_service
from raftswarm.cli.service_options import changed_spec, create_options, new_spec, scaled_spec, update_options
from raftswarm.cli.session import CommandFailed, ItemsFailed, explain, for_each, with_engine
from raftswarm.cli.tables import print_inspected, print_rows
from raftswarm.cli.task_table import Names, print_tasks
from raftswarm.cli.words import describe_ports, natural
from raftswarm.client import EngineClient
from raftswarm.objects.specs import ServiceMode

COLUMNS: Final = {
    "ID": "ID",
    "Name": "NAME",
    "Mode": "MODE",
    "Replicas": "REPLICAS",
    "Image": "IMAGE",
    "Ports": "PORTS",
}
_MODES: Final = {
    "replicated": "replicated",
    "global_": "global",
    "replicated_job": "replicated job",
    "global_job": "global job",
}


@click.group(name="service")
def command() -> None:
    """Manage services."""


@command.command(context_settings={"allow_interspersed_args": False})
@create_options
@click.argument("image")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def create(*, image: str, arguments: tuple[str, ...], detach: bool, quiet: bool, **options: Any) -> None:
    """Create a service from an image: the name of a program, with its arguments behind it."""
    spec = new_spec(image, arguments, options)

    async def work(engine: EngineClient) -> str:
        service_id = await engine.create_service(spec)
        click.echo(service_id)
        return service_id

    service_id = with_engine(work)
    if not detach:
        _follow([service_id], [service_id], quiet=quiet)


def _follow(service_ids: Sequence[str], labels: Sequence[str], *, quiet: bool) -> None:
    """Follow services to the end of their change; an interrupt leaves them to it."""

    async def work(engine: EngineClient) -> None:
        for service_id, label in zip(service_ids, labels, strict=True):
            await follow_service(engine, service_id, label, quiet=quiet)

    try:
        with_engine(work)
    except KeyboardInterrupt:
        click.echo("Operation continuing in background.")
        click.echo(f"Use `raftswarm service ps {labels[-1]}` to check progress.")


@command.command("ls")
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Filter output")
@click.option("--format", "format_", help="'table', 'json' or a template")
@click.option("-q", "--quiet", is_flag=True, help="Only display IDs")
def list_services(*, filters: tuple[str, ...], format_: str | None, quiet: bool) -> None:
    """List services."""

    async def work(engine: EngineClient) -> None:
        services = await engine.services(parse_filter_options(filters), status=True)
        services.sort(key=lambda service: natural(service.spec.name))
        print_rows([_row(service) for service in services], COLUMNS, format_=format_, quiet="ID" if quiet else None)

    with_engine(work)


def _row(service: ServiceJson) -> dict[str, str]:
    container = service.spec.task_template.container_spec
    return {
        "ID": service.id[:12],
        "Name": service.spec.name,
        "Mode": _mode_word(service.spec.mode),
        "Replicas": _count_replicas(service),
        "Image": container.image.partition("@")[0] if container else "",
        "Ports": describe_ports([port for port in service.endpoint.ports if port.publish_mode == "ingress"]),
    }


def _mode_word(mode: ServiceMode) -> str:
    return next((word for field, word in _MODES.items() if getattr(mode, field) is not None), "")


def _count_replicas(service: ServiceJson) -> str:
    status = service.service_status
    if status is None:
        return ""
    counts = f"{status.running_tasks}/{status.desired_tasks}"
    job = service.spec.mode.replicated_job
    if job is not None:
        return f"{counts} ({status.completed_tasks}/{job.total_completions or 0} completed)"
    if service.spec.mode.global_job is not None:
        begun = status.desired_tasks + status.completed_tasks
        return f"{counts} ({status.completed_tasks}/{begun} completed)"
    placement = service.spec.task_template.placement
    if service.spec.mode.replicated is not None and placement is not None and placement.max_replicas:
        return f"{counts} (max {placement.max_replicas} per node)"
    return counts


@command.command("ps")
@click.argument("services", nargs=-1, required=True)
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Filter output")
@click.option("--format", "format_", help="'table', 'json' or a template")
@click.option("--no-resolve", is_flag=True, help="Do not map IDs to names")
@click.option("--no-trunc", is_flag=True, help="Do not truncate output")
@click.option("-q", "--quiet", is_flag=True, help="Only display task IDs")
def list_tasks(
    *,
    services: tuple[str, ...],
    filters: tuple[str, ...],
    format_: str | None,
    no_resolve: bool,
    no_trunc: bool,
    quiet: bool,
) -> None:
    """List the tasks of services."""

    async def work(engine: EngineClient) -> bool:
        found, missing = [], []
        for reference in services:
            try:
                found.append((await engine.service(reference)).id)
            except ApiError as error:
                if error.status != 404:
                    raise
                missing.append(reference)
        if found:
            tasks = await engine.tasks(parse_filter_options(filters) | {"service": found})
            names = Names(engine, resolve=not no_resolve)
            await print_tasks(tasks, names, no_trunc=no_trunc, quiet=quiet, format_=format_)
        for reference in missing:
            click.echo(f"no such service: {reference}", err=True)
        return bool(missing)

    if with_engine(work):
        raise ItemsFailed


@command.command()
@click.argument("services", nargs=-1, required=True)
@click.option("--pretty", is_flag=True, help="Print the information in a human friendly format")
@click.option("-f", "--format", "format_", help="'json' or a template")
def inspect(*, services: tuple[str, ...], pretty: bool, format_: str | None) -> None:
    """Display everything about services."""

    async def work(engine: EngineClient) -> bool:
        bodies, missing = [], []
        for reference in services:
            try:
                if pretty:
                    print_service(await engine.service(reference, insert_defaults=True))
                else:
                    bodies.append(await engine.request("GET", f"/services/{reference}", insertDefaults="true"))
            except ApiError as error:
                if error.status != 404:
                    raise
                missing.append(reference)
        if not pretty:
            print_inspected(bodies, format_)
        for reference in missing:
            click.echo(f"Error: no such service: {reference}", err=True)
        return bool(missing)

    if with_engine(work):
        raise ItemsFailed


@command.command("explain")
@click.argument("service")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain_service(*, service: str, as_json: bool) -> None:
    """Say why a service is not as it should be: each task, each reason, and what would have to change."""

    async def work(engine: EngineClient) -> None:
        explanation = await engine.explain_service(service)
        if as_json:
            click.echo(msgspec.json.encode(explanation).decode())
        else:
            print_service_explanation(explanation)

    with_engine(work)


@command.command()
@click.argument("targets", nargs=-1, required=True, metavar="SERVICE=REPLICAS...")
@click.option("-d", "--detach/--no-detach", default=False, help="Exit immediately instead of waiting")
def scale(*, targets: tuple[str, ...], detach: bool) -> None:
    """Change how many tasks services have."""
    wanted = [_parse_target(target) for target in targets]

    async def work(engine: EngineClient) -> tuple[list[str], list[str]]:
        ids, names = [], []
        for name, replicas in wanted:
            try:
                ids.append(await _scale(engine, name, replicas))
                names.append(name)
                click.echo(f"{name} scaled to {replicas}")
            except (ApiError, CommandFailed) as error:
                click.echo(f"{name}: {explain(error) or error}", err=True)
        return ids, names

    ids, names = with_engine(work)
    if not detach:
        _follow(ids, names, quiet=False)
    if len(ids) < len(wanted):
        raise ItemsFailed


def _parse_target(target: str) -> tuple[str, int]:
    name, separator, replicas = target.partition("=")
    if not separator:
        raise click.UsageError(f"invalid scale specifier '{target}'.")
    if not (replicas.isascii() and replicas.isdigit()):
        reason = f'strconv.ParseUint: parsing "{replicas}": invalid syntax'
        raise CommandFailed(f"{name}: invalid replicas value {replicas}: {reason}")
    return name, int(replicas)


async def _scale(engine: EngineClient, name: str, replicas: int) -> str:
    service = await engine.service(name)
    if service.spec.mode.replicated is None and service.spec.mode.replicated_job is None:
        raise CommandFailed("scale can only be used with replicated or replicated-job mode")
    await engine.update_service(service.id, service.version.index, scaled_spec(service.spec, replicas))
    return service.id


@command.command()
@update_options
@click.argument("service")
def update(*, service: str, detach: bool, quiet: bool, rollback: bool, **options: Any) -> None:
    """Update a service; its tasks are replaced if what they run has changed."""

    async def work(engine: EngineClient) -> str:
        found = await engine.service(service)
        spec = found.spec if rollback else changed_spec(found.spec, options)
        await engine.update_service(found.id, found.version.index, spec, rollback=rollback)
        click.echo(service)
        return found.id

    service_id = with_engine(work)
    if not detach:
        _follow([service_id], [service], quiet=quiet)


@command.command()
@click.argument("service")
@click.option("-d", "--detach/--no-detach", default=False, help="Exit immediately instead of waiting")
@click.option("-q", "--quiet", is_flag=True, help="Suppress progress output")
def rollback(*, service: str, detach: bool, quiet: bool) -> None:
    """Go back to a service's previous specification."""

    async def work(engine: EngineClient) -> str:
        found = await engine.service(service)
        await engine.update_service(found.id, found.version.index, found.spec, rollback=True)
        click.echo(service)
        return found.id

    service_id = with_engine(work)
    if not detach:
        _follow([service_id], [service], quiet=quiet)


@command.command("rm")
@click.argument("services", nargs=-1, required=True)
def remove(*, services: tuple[str, ...]) -> None:
    """Remove services and their tasks."""

    async def work(engine: EngineClient, reference: str) -> str:
        await engine.remove_service(reference)
        return reference

    for_each(services, work)
