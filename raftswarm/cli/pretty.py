"""``inspect --pretty``: a node or a service in words, line for line as docker prints it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from raftswarm.api.nodes import NodeJson
from raftswarm.api.services import ServiceJson
from raftswarm.api.times import SECOND, read_time, write_duration
from raftswarm.cli.words import capitalize, describe_age, describe_size
from raftswarm.objects.specs import ContainerSpec, EndpointSpec, Labels, Resources, ServiceMode, UpdateConfig


def print_node(node: NodeJson) -> None:
    """Print a node."""
    click.echo("\n".join(_node_lines(node)))


def _node_lines(node: NodeJson) -> Iterator[str]:
    description = node.description
    yield f"ID:\t\t\t{node.id}"
    yield from _labels(node.spec.labels)
    yield f"Hostname:              \t{node.hostname}"
    joined = node.created_at.rstrip("Z").replace("T", " ")
    yield f"Joined at:             \t{joined} +0000 utc"
    yield "Status:"
    yield f" State:\t\t\t{capitalize(node.status.state)}"
    if node.status.message:
        yield f" Message:\t\t{capitalize(node.status.message)}"
    yield f" Availability:         \t{capitalize(node.spec.availability)}"
    if node.status.addr:
        yield f" Address:\t\t{node.status.addr}"
    if node.manager_status is not None:
        yield "Manager Status:"
        yield f" Address:\t\t{node.manager_status.addr}"
        yield f" Raft Status:\t\t{capitalize(node.manager_status.reachability)}"
        yield f" Leader:\t\t{'Yes' if node.manager_status.leader else 'No'}"
    yield "Platform:"
    yield f" Operating System:\t{description.platform.os}"
    yield f" Architecture:\t\t{description.platform.architecture}"
    yield "Resources:"
    yield f" CPUs:\t\t\t{description.resources.nano_cpus // SECOND}"
    yield f" Memory:\t\t{describe_size(description.resources.memory_bytes)}"
    plugins: dict[str, list[str]] = {}
    for plugin in description.engine.plugins:
        plugins.setdefault(plugin.type, []).append(plugin.name)
    if plugins:
        yield "Plugins:"
        for type_, names in sorted(plugins.items()):
            yield f" {type_}:\t\t{', '.join(names)}"
    yield f"Engine Version:\t\t{description.engine.engine_version}"
    if description.engine.labels:
        yield "Engine Labels:"
        yield from (f" - {key}={value}" for key, value in sorted(description.engine.labels.items()))
    if description.tls_info.trust_root:
        yield "TLS Info:"
        yield " TrustRoot:"
        yield description.tls_info.trust_root
        yield f" Issuer Subject:\t{description.tls_info.cert_issuer_subject}"
        yield f" Issuer Public Key:\t{description.tls_info.cert_issuer_public_key}"


def _labels(labels: Labels) -> Iterator[str]:
    if labels:
        yield "Labels:"
        yield from (f" - {key}={value}" for key, value in sorted(labels.items()))


def print_service(service: ServiceJson) -> None:
    """Print a service that was read with its defaults filled in."""
    click.echo("\n".join(_service_lines(service)) + "\n")


def _service_lines(service: ServiceJson) -> Iterator[str]:
    spec = service.spec
    template = spec.task_template
    yield ""
    yield f"ID:\t\t{service.id}"
    yield f"Name:\t\t{spec.name}"
    if spec.labels:
        yield "Labels:"
        yield from (f" {key}={value}" for key, value in sorted(spec.labels.items()))
    yield from _mode_lines(spec.mode)
    yield from _update_status_lines(service)
    yield "Placement:"
    placement = template.placement
    if placement is not None:
        if placement.constraints:
            yield f" Constraints:\t[{' '.join(placement.constraints)}]"
        spreads = [preference.spread for preference in placement.preferences or () if preference.spread]
        if spreads:
            yield f" Preferences:   [{' '.join(f'spread={spread.spread_descriptor}' for spread in spreads)}]"
        if placement.max_replicas:
            yield f" Max Replicas Per Node:   {placement.max_replicas}"
    yield from _update_config_lines("UpdateConfig", "Update", spec.update_config)
    yield from _update_config_lines("RollbackConfig", "Rollback", spec.rollback_config)
    if template.container_spec is not None:
        yield from _container_lines(template.container_spec)
    if template.log_driver is not None:
        yield "Log Driver:"
        yield f" Name:\t\t{template.log_driver.name}"
        if template.log_driver.options:
            yield " LogOpts:"
            yield from (f"  {key}:       {value}" for key, value in sorted(template.log_driver.options.items()))
        yield ""
    yield from _resources_lines(template.resources)
    if template.networks:
        yield f"Networks: {' '.join(network.target for network in template.networks)} "
    if spec.endpoint_spec is not None:
        yield f"Endpoint Mode:\t{spec.endpoint_spec.mode}"
    yield from _port_lines(service.endpoint.spec)
    if template.container_spec is not None and template.container_spec.healthcheck is not None:
        yield from _health_lines(template.container_spec)


def _mode_lines(mode: ServiceMode) -> Iterator[str]:
    if mode.global_ is not None:
        yield "Service Mode:\tGlobal"
    elif mode.replicated is not None:
        yield "Service Mode:\tReplicated"
        yield f" Replicas:\t{mode.replicated.replicas or 0}"
    elif mode.replicated_job is not None:
        yield "Service Mode:\tReplicatedJob"
        yield f" Max Concurrent:\t{mode.replicated_job.max_concurrent or 0}"
        yield f" Total Completions:\t{mode.replicated_job.total_completions or 0}"
    else:
        yield "Service Mode:\tGlobalJob"


def _update_status_lines(service: ServiceJson) -> Iterator[str]:
    status = service.update_status
    if status is None or not status.state:
        return
    yield "UpdateStatus:"
    yield f" State:\t\t{status.state}"
    if read_time(status.started_at):
        yield f" Started:\t{describe_age(status.started_at)}"
    if status.state == "completed" and read_time(status.completed_at):
        yield f" Completed:\t{describe_age(status.completed_at)}"
    yield f" Message:\t{status.message}"


def _update_config_lines(heading: str, verb: str, config: UpdateConfig | None) -> Iterator[str]:
    if config is None:
        return
    yield f"{heading}:"
    yield f" Parallelism:\t{config.parallelism}"
    if config.delay:
        yield f" Delay:\t\t{write_duration(config.delay)}"
    yield f" On failure:\t{config.failure_action}"
    if config.monitor:
        yield f" Monitoring Period: {write_duration(config.monitor)}"
    yield f" Max failure ratio: {config.max_failure_ratio:g}"
    yield f" {verb} order:".ljust(20) + config.order


def _container_lines(container: ContainerSpec) -> Iterator[str]:
    yield "ContainerSpec:"
    yield f" Image:\t\t{container.image}"
    if container.args:
        yield f" Args:\t\t{' '.join(container.args)} "
    if container.env:
        yield f" Env:\t\t{' '.join(container.env)} "
    if container.dir:
        yield f" Dir:\t\t{container.dir}"
    if container.init is not None:
        yield f" Init:\t\t{'true' if container.init else 'false'}"
    if container.user:
        yield f" User: {container.user}"
    yield from _privilege_lines(container)
    if container.mounts:
        yield "Mounts:"
    for mount in container.mounts or ():
        yield f" Target:\t{mount.target}"
        yield f"  Source:\t{mount.source}"
        yield f"  ReadOnly:\t{'true' if mount.read_only else 'false'}"
        yield f"  Type:\t\t{mount.type}"


def _privilege_lines(container: ContainerSpec) -> Iterator[str]:
    if container.capability_add or container.capability_drop:
        yield "Capabilities:"
        if container.capability_add:
            yield f" Add: {' '.join(container.capability_add)}"
        if container.capability_drop:
            yield f" Drop: {' '.join(container.capability_drop)}"
    if container.sysctls:
        yield "SysCtls:"
        yield from (f" {key}: {value}" for key, value in sorted(container.sysctls.items()))
    if container.ulimits:
        yield "Ulimits:"
        yield from (f" {limit.name}: {limit.soft}:{limit.hard}" for limit in container.ulimits)


def _resources_lines(resources: Resources | None) -> Iterator[str]:
    if resources is None:
        return
    yield "Resources:"
    for heading, part in (("Reservations", resources.reservations), ("Limits", resources.limits)):
        if part is not None and (part.nano_cpus or part.memory_bytes):
            yield f" {heading}:"
            if part.nano_cpus:
                yield f"  CPU:\t\t{part.nano_cpus / SECOND:g}"
            if part.memory_bytes:
                yield f"  Memory:\t{describe_size(part.memory_bytes)}"


def _port_lines(endpoint: EndpointSpec) -> Iterator[str]:
    if not endpoint.ports:
        return
    yield "Ports:"
    for port in endpoint.ports:
        yield f" PublishedPort = {port.published_port}"
        yield f"  Protocol = {port.protocol}"
        yield f"  TargetPort = {port.target_port}"
        yield f"  PublishMode = {port.publish_mode} "


def _health_lines(container: ContainerSpec) -> Iterator[str]:
    health = container.healthcheck
    if health is None:
        return
    yield " Healthcheck:"
    yield f"  Interval = {write_duration(health.interval)}"
    yield f"  Retries = {health.retries}"
    yield f"  StartPeriod =\t{write_duration(health.start_period)}"
    yield f"  Timeout =\t{write_duration(health.timeout)}"
    if health.test:
        yield "  Tests:"
        yield from (f"\t Test = {word}" for word in health.test)
