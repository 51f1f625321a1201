"""The flags that make a service's spec, and how they change one: what is not said stays as it is.

`create` starts from an empty spec, `update` from the present one; both go through the same functions.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click
from msgspec.structs import replace

from raftswarm.cli.parsing import CPUS, DURATION, SIZE, parse_mount, parse_pairs, parse_port, with_tag
from raftswarm.cli.session import CommandFailed
from raftswarm.objects import defaults
from raftswarm.objects.specs import (
    ContainerSpec,
    Driver,
    EndpointSpec,
    Global,
    Healthcheck,
    Labels,
    Limits,
    Placement,
    PlacementPreference,
    Replicated,
    ReplicatedJob,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    SpreadOver,
    TaskSpec,
    UpdateConfig,
)

Given = Mapping[str, Any]
"""Only the options that were given, by name."""

Function = Callable[..., Any]
T = TypeVar("T")

_SHARED: Final = (
    click.option("--replicas", type=click.IntRange(min=0), help="Number of tasks"),
    click.option(
        "--max-concurrent", type=click.IntRange(min=0), help="Tasks of a job at a time (default: all of --replicas)"
    ),
    click.option("--replicas-max-per-node", type=click.IntRange(min=0), help="Maximum number of tasks per node"),
    click.option("--limit-cpu", type=CPUS, help="Limit CPUs"),
    click.option("--limit-memory", type=SIZE, help="Limit memory"),
    click.option("--limit-pids", type=int, help="Limit maximum number of processes"),
    click.option("--reserve-cpu", type=CPUS, help="Reserve CPUs"),
    click.option("--reserve-memory", type=SIZE, help="Reserve memory"),
    click.option("--restart-condition", metavar="none|on-failure|any", help="Restart when condition is met"),
    click.option("--restart-delay", type=DURATION, help="Delay between restart attempts"),
    click.option("--restart-max-attempts", type=int, help="Maximum number of restarts before giving up"),
    click.option("--restart-window", type=DURATION, help="Window used to evaluate the restart policy"),
    click.option("--update-parallelism", type=int, help="Maximum number of tasks updated at once (0: all)"),
    click.option("--update-delay", type=DURATION, help="Delay between updates"),
    click.option("--update-monitor", type=DURATION, help="Duration after each update to monitor for failure"),
    click.option("--update-failure-action", metavar="pause|continue|rollback", help="Action on update failure"),
    click.option("--update-max-failure-ratio", type=float, help="Failure rate to tolerate during an update"),
    click.option("--update-order", metavar="start-first|stop-first", help="Update order"),
    click.option("--rollback-parallelism", type=int, help="Maximum number of tasks rolled back at once (0: all)"),
    click.option("--rollback-delay", type=DURATION, help="Delay between task rollbacks"),
    click.option("--rollback-monitor", type=DURATION, help="Duration after each rollback to monitor for failure"),
    click.option("--rollback-failure-action", metavar="pause|continue", help="Action on rollback failure"),
    click.option("--rollback-max-failure-ratio", type=float, help="Failure rate to tolerate during a rollback"),
    click.option("--rollback-order", metavar="start-first|stop-first", help="Rollback order"),
    click.option("--stop-grace-period", type=DURATION, help="Time to wait before force killing"),
    click.option("--stop-signal", help="Signal to stop with"),
    click.option("--hostname", help="Host name of the tasks"),
    click.option("-u", "--user", help="User name or UID"),
    click.option("-w", "--workdir", "dir", help="Working directory"),
    click.option("--entrypoint", help="Overwrite the default command of the image"),
    click.option("--init/--no-init", default=None, help="Use an init that forwards signals and reaps processes"),
    click.option("--read-only/--no-read-only", default=None, help="Mount the root file system as read only"),
    click.option("-t", "--tty/--no-tty", default=None, help="Allocate a pseudo-TTY"),
    click.option("--endpoint-mode", metavar="vip|dnsrr", help="Endpoint mode"),
    click.option("--log-driver", help="Logging driver"),
    click.option("--log-opt", multiple=True, metavar="KEY=VALUE", help="Logging driver options"),
    click.option("--health-cmd", help="Command to run to check health"),
    click.option("--health-interval", type=DURATION, help="Time between running the check"),
    click.option("--health-timeout", type=DURATION, help="Maximum time to allow one check to run"),
    click.option("--health-retries", type=int, help="Consecutive failures needed to report unhealthy"),
    click.option("--health-start-period", type=DURATION, help="Start period before counting failures"),
    click.option("-d", "--detach/--no-detach", default=False, help="Exit immediately instead of waiting"),
    click.option("-q", "--quiet", is_flag=True, help="Suppress progress output"),
    click.option("--no-resolve-image", is_flag=True, help="Accepted; images are never resolved at a registry"),
)
MODES: Final = ("replicated", "global", "replicated-job", "global-job")
_CREATE: Final = (
    click.option("--name", default="", help="Service name"),
    click.option("--mode", type=click.Choice(MODES), default="replicated", help="Service mode"),
    click.option("-e", "--env", multiple=True, metavar="KEY=VALUE", help="Set environment variables"),
    click.option("-l", "--label", multiple=True, metavar="KEY=VALUE", help="Service labels"),
    click.option("--container-label", multiple=True, metavar="KEY=VALUE", help="Labels of the tasks' containers"),
    click.option("--constraint", multiple=True, help="Placement constraints"),
    click.option("--placement-pref", multiple=True, metavar="spread=LABEL", help="Add a placement preference"),
    click.option("-p", "--publish", multiple=True, metavar="PORT", help="Publish a port"),
    click.option("--mount", multiple=True, help="Attach a file system mount"),
)
_UPDATE: Final = (
    click.option("--image", help="Image"),
    click.option("--args", help="Arguments of the command"),
    click.option("--force", is_flag=True, help="Replace the tasks even if nothing changed"),
    click.option("--rollback", is_flag=True, help="Go back to the previous specification"),
    click.option("--env-add", multiple=True, metavar="KEY=VALUE", help="Add or update an environment variable"),
    click.option("--env-rm", multiple=True, metavar="KEY", help="Remove an environment variable"),
    click.option("--label-add", multiple=True, metavar="KEY=VALUE", help="Add or update a service label"),
    click.option("--label-rm", multiple=True, metavar="KEY", help="Remove a label by its key"),
    click.option("--container-label-add", multiple=True, metavar="KEY=VALUE", help="Add or update a container label"),
    click.option("--container-label-rm", multiple=True, metavar="KEY", help="Remove a container label by its key"),
    click.option("--constraint-add", multiple=True, help="Add or update a placement constraint"),
    click.option("--constraint-rm", multiple=True, help="Remove a constraint"),
    click.option("--placement-pref-add", multiple=True, metavar="spread=LABEL", help="Add a placement preference"),
    click.option("--placement-pref-rm", multiple=True, metavar="spread=LABEL", help="Remove a placement preference"),
    click.option("--publish-add", multiple=True, metavar="PORT", help="Add or update a published port"),
    click.option("--publish-rm", multiple=True, metavar="PORT", help="Remove a published port by its target port"),
    click.option("--mount-add", multiple=True, help="Add or update a mount"),
    click.option("--mount-rm", multiple=True, metavar="TARGET", help="Remove a mount by its target path"),
)


def create_options(function: Function) -> Function:
    """Give a command the flags of ``service create``."""
    return _with_options(function, (*_CREATE, *_SHARED))


def update_options(function: Function) -> Function:
    """Give a command the flags of ``service update``."""
    return _with_options(function, (*_UPDATE, *_SHARED))


def _with_options(function: Function, options: Sequence[Callable[[Function], Function]]) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


def only_given(options: Given) -> dict[str, Any]:
    """Drop the options that were not given."""
    return {name: value for name, value in options.items() if value is not None and value != () and value is not False}


def new_spec(image: str, arguments: Sequence[str], options: Given) -> ServiceSpec:
    """Make the spec of a new service."""
    given: Given = only_given(options) | _falsehoods(options)
    container = ContainerSpec(
        image=with_tag(image),
        args=list(arguments) or None,
        env=list(given.get("env", ())) or None,
        labels=parse_pairs(given.get("container_label", ())),
        mounts=[parse_mount(mount) for mount in given.get("mount", ())] or None,
    )
    placement = Placement(
        constraints=list(given.get("constraint", ())) or None,
        preferences=[_parse_preference(wish) for wish in given.get("placement_pref", ())] or None,
    )
    spec = ServiceSpec(
        name=given.get("name", ""),
        labels=parse_pairs(given.get("label", ())),
        task_template=TaskSpec(container_spec=container, placement=placement),
        mode=_new_mode(given),
        endpoint_spec=EndpointSpec(mode="vip", ports=[parse_port(port) for port in given.get("publish", ())] or None),
    )
    return _change_shared(spec, given)


def _new_mode(given: Given) -> ServiceMode:
    mode = given.get("mode", "replicated")
    if "replicas" in given and mode in {"global", "global-job"}:
        raise click.UsageError("replicas can only be used with replicated or replicated-job mode")
    if "max_concurrent" in given and mode != "replicated-job":
        raise click.UsageError("max-concurrent can only be used with replicated-job mode")
    replicas = given.get("replicas", 1)
    if mode == "replicated-job":
        concurrent = given.get("max_concurrent", replicas)
        return ServiceMode(replicated_job=ReplicatedJob(max_concurrent=concurrent, total_completions=replicas))
    if mode == "global-job":
        return ServiceMode(global_job=Global())
    return ServiceMode(global_=Global()) if mode == "global" else ServiceMode(replicated=Replicated(replicas=replicas))


def changed_spec(spec: ServiceSpec, options: Given) -> ServiceSpec:
    """Make the spec of an updated service."""
    given: Given = only_given(options) | _falsehoods(options)
    if "replicas" in given:
        spec = scaled_spec(spec, given["replicas"])
    if "max_concurrent" in given:
        spec = _with_concurrency(spec, given["max_concurrent"])
    template = spec.task_template
    template = replace(
        template,
        container_spec=_change_container(template.container_spec or ContainerSpec(), given),
        placement=_change_placement(template.placement, given),
        force_update=template.force_update + (1 if "force" in given else 0),
    )
    spec = replace(
        spec,
        task_template=template,
        labels=_change_labels(spec.labels, given, "label"),
        endpoint_spec=_change_ports(spec.endpoint_spec, given),
    )
    return _change_shared(spec, given)


def scaled_spec(spec: ServiceSpec, replicas: int) -> ServiceSpec:
    """Change how many tasks a service should have."""
    if spec.mode.replicated_job is not None:
        return replace(
            spec, mode=ServiceMode(replicated_job=replace(spec.mode.replicated_job, total_completions=replicas))
        )
    if spec.mode.replicated is None:
        raise CommandFailed("replicas can only be used with replicated or replicated-job mode")
    return replace(spec, mode=ServiceMode(replicated=Replicated(replicas=replicas)))


def _with_concurrency(spec: ServiceSpec, concurrent: int) -> ServiceSpec:
    if spec.mode.replicated_job is None:
        raise CommandFailed("max-concurrent can only be used with replicated-job mode")
    return replace(spec, mode=ServiceMode(replicated_job=replace(spec.mode.replicated_job, max_concurrent=concurrent)))


def _falsehoods(options: Given) -> dict[str, bool]:
    """Keep a ``--no-…`` that was typed: it is the one false that says something."""
    return {name: False for name in ("init", "read_only", "tty") if options.get(name) is False}


def _change_container(container: ContainerSpec, given: Given) -> ContainerSpec:
    changes: dict[str, Any] = {"labels": _change_labels(container.labels, given, "container_label")}
    if "image" in given:
        changes["image"] = with_tag(given["image"])
    if "args" in given:
        changes["args"] = shlex.split(given["args"]) or None
    variables = _merge(container.env or (), given, "env", lambda variable: variable.partition("=")[0], str)
    mounts = _merge(container.mounts or (), given, "mount", lambda mount: mount.target, parse_mount)
    return replace(container, env=variables or None, mounts=mounts or None, **changes)


def _change_placement(placement: Placement | None, given: Given) -> Placement | None:
    names = ("constraint_add", "constraint_rm", "placement_pref_add", "placement_pref_rm")
    if not any(name in given for name in names):
        return placement
    placement = placement or Placement()
    constraints = _merge(placement.constraints or (), given, "constraint", lambda constraint: constraint, str)
    preferences = _merge(
        placement.preferences or (),
        given,
        "placement_pref",
        lambda wish: f"spread={wish.spread.spread_descriptor if wish.spread else ''}",
        _parse_preference,
    )
    return replace(placement, constraints=constraints or None, preferences=preferences or None)


def _change_ports(endpoint: EndpointSpec | None, given: Given) -> EndpointSpec | None:
    if "publish_add" not in given and "publish_rm" not in given:
        return endpoint
    endpoint = endpoint or EndpointSpec(mode="vip")
    ports = _merge(
        endpoint.ports or (), given, "publish", lambda port: f"{port.target_port}/{port.protocol}", parse_port
    )
    gone = {port if "/" in port else f"{port}/tcp" for port in given.get("publish_rm", ())}
    ports = [port for port in ports if f"{port.target_port}/{port.protocol}" not in gone]
    return replace(endpoint, ports=ports or None)


def _merge(
    present: Iterable[T], given: Given, name: str, key: Callable[[T], str], parse: Callable[[str], T]
) -> list[T]:
    """Take out what ``--<name>-rm`` names by its key, replace or append what ``--<name>-add`` brings."""
    merged = {key(item): item for item in present}
    for gone in given.get(f"{name}_rm", ()):
        merged.pop(gone, None)
    merged |= {key(item): item for item in map(parse, given.get(f"{name}_add", ()))}
    return list(merged.values())


def _change_labels(labels: Labels, given: Given, name: str) -> Labels:
    gone = given.get(f"{name}_rm", ())
    kept = {key: value for key, value in labels.items() if key not in gone}
    return kept | parse_pairs(given.get(f"{name}_add", ()))


def _parse_preference(wish: str) -> PlacementPreference:
    kind, _, descriptor = wish.partition("=")
    if kind != "spread" or not descriptor:
        raise click.UsageError(f"invalid placement preference: {wish}: only spread=LABEL is known")
    return PlacementPreference(spread=SpreadOver(spread_descriptor=descriptor))


def _change_shared(spec: ServiceSpec, given: Given) -> ServiceSpec:
    template = spec.task_template
    assert template.container_spec is not None, "both callers have made one"
    container = _change_process(template.container_spec, given)
    if "replicas_max_per_node" in given:
        placement = replace(template.placement or Placement(), max_replicas=given["replicas_max_per_node"])
        template = replace(template, placement=placement)
    template = replace(
        template,
        container_spec=container,
        resources=_change_resources(template.resources, given),
        restart_policy=_change_restart(template.restart_policy, given),
    )
    if "log_driver" in given:
        driver = Driver(name=given["log_driver"], options=parse_pairs(given.get("log_opt", ())))
        template = replace(template, log_driver=driver)
    if "endpoint_mode" in given:
        spec = replace(spec, endpoint_spec=replace(spec.endpoint_spec or EndpointSpec(), mode=given["endpoint_mode"]))
    return replace(
        spec,
        task_template=template,
        update_config=_change_update_config(spec.update_config, given, "update_"),
        rollback_config=_change_update_config(spec.rollback_config, given, "rollback_"),
    )


def _change_process(container: ContainerSpec, given: Given) -> ContainerSpec:
    plain = ("stop_grace_period", "stop_signal", "hostname", "user", "dir", "init", "read_only", "tty")
    changes = {name: given[name] for name in plain if name in given}
    if "entrypoint" in given:
        changes["command"] = shlex.split(given["entrypoint"]) or None
    health = _named(
        given,
        interval="health_interval",
        timeout="health_timeout",
        retries="health_retries",
        start_period="health_start_period",
    )
    if "health_cmd" in given:
        health["test"] = ["CMD-SHELL", given["health_cmd"]]
    if health:
        changes["healthcheck"] = replace(container.healthcheck or Healthcheck(), **health)
    return replace(container, **changes)


def _change_resources(resources: Resources | None, given: Given) -> Resources | None:
    limits = _named(given, nano_cpus="limit_cpu", memory_bytes="limit_memory", pids="limit_pids")
    reservations = _named(given, nano_cpus="reserve_cpu", memory_bytes="reserve_memory")
    if not limits and not reservations:
        return resources
    resources = resources or Resources()
    return Resources(
        limits=replace(resources.limits or Limits(), **limits),
        reservations=replace(resources.reservations or Reservations(), **reservations),
    )


def _change_restart(policy: RestartPolicy | None, given: Given) -> RestartPolicy | None:
    changes = _named(
        given,
        condition="restart_condition",
        delay="restart_delay",
        max_attempts="restart_max_attempts",
        window="restart_window",
    )
    start = policy or RestartPolicy(delay=defaults.RESTART_DELAY, max_attempts=0)
    return replace(start, **changes) if changes else policy


def _change_update_config(config: UpdateConfig | None, given: Given, prefix: str) -> UpdateConfig | None:
    fields = ("parallelism", "delay", "monitor", "failure_action", "max_failure_ratio", "order")
    changes = {field: given[prefix + field] for field in fields if prefix + field in given}
    start = config or UpdateConfig(
        parallelism=defaults.UPDATE_PARALLELISM,
        monitor=defaults.UPDATE_MONITOR,
        failure_action=defaults.UPDATE_FAILURE_ACTION,
        order=defaults.UPDATE_ORDER,
    )
    return replace(start, **changes) if changes else config


def _named(given: Given, **names: str) -> dict[str, Any]:
    return {field: given[option] for field, option in names.items() if option in given}
