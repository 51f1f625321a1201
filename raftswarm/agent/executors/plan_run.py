"""From a task's spec to a command and an environment of this machine: a pure decision.

An image is the name of an executable here. What a container would give a task and a plain process cannot have is
refused rather than left out: a task without its mounts, or run as another user, is worse than one that does not run.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from raftswarm.agent.executors.executor import TaskRejected
from raftswarm.agent.executors.templates import Host, UnknownName, expand, template_values
from raftswarm.objects.defaults import SECOND, STOP_GRACE_PERIOD, STOP_SIGNAL
from raftswarm.objects.records import Task
from raftswarm.objects.specs import ContainerSpec

INHERITED: Final = ("PATH", "HOME", "LANG")
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIBRARY: Final = ("docker.io/library/", "docker.io/", "library/")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_CANNOT: Final[dict[str, Callable[[ContainerSpec], object]]] = {
    "another user (User)": lambda spec: spec.user or spec.groups,
    "mounts (Mounts)": lambda spec: spec.mounts,
    "secrets (Secrets)": lambda spec: spec.secrets,
    "configs (Configs)": lambda spec: spec.configs,
    "a read-only root file system (ReadOnly)": lambda spec: spec.read_only,
    "capabilities (CapabilityAdd)": lambda spec: spec.capability_add,
    "sysctls (Sysctls)": lambda spec: spec.sysctls,
}


@attrs.frozen(kw_only=True)
class Machine:
    """What this node offers its tasks."""

    host: Host
    images: Mapping[str, Sequence[str]]
    """Commands for images that are no executable's name."""
    environment: Mapping[str, str]
    """What every task inherits."""
    has_program: Callable[[str], bool]
    """Tells whether an executable of that name is on the search path."""


@attrs.frozen(kw_only=True)
class Run:
    """How a task is run and ended."""

    command: tuple[str, ...]
    environment: dict[str, str]
    working_directory: str
    """Empty: the task's own."""


def plan_run(task: Task, address: str, machine: Machine) -> Run:
    """Decide what to run; TaskRejected, in words for the user, when it cannot be run here."""
    spec = task.spec.container_spec
    if spec is None:
        raise TaskRejected("this node runs container specs only")
    for what, asked in _CANNOT.items():
        if asked(spec):
            raise TaskRejected(f"the process executor cannot give a task {what}")
    values = template_values(task, machine.host, address, target_port(task))
    try:
        environment = _environment(spec, machine, values)
    except UnknownName as error:
        raise TaskRejected(f"expanding env failed: {error}") from error
    arguments = choose_command(spec, machine)
    if any("\0" in text for text in (*arguments, spec.dir, *environment.values())):
        raise TaskRejected("a command, its arguments and its environment cannot hold a zero byte")
    return Run(
        # Arguments are not templates in Swarm: what is not one of our names belongs to the program.
        command=tuple(expand(argument, values, strict=False) for argument in arguments),
        environment=environment,
        working_directory=spec.dir,
    )


def choose_command(spec: ContainerSpec, machine: Machine) -> list[str]:
    """Return command and arguments: those of the spec, or else what the image stands for."""
    arguments = list(spec.args or ())
    if spec.command:
        return [*spec.command, *arguments]
    name = image_name(spec.image)
    if name in machine.images:
        return [*machine.images[name], *arguments]
    if name and "/" not in name and machine.has_program(name):
        # `python python3 -m http.server`: for most images the arguments are the whole command.
        whole = bool(arguments) and re.fullmatch(re.escape(name) + r"[\d.]*", arguments[0]) is not None
        return arguments if whole else [name, *arguments]
    if arguments:
        return arguments  # `alpine ping docker.com`: an image without an entry point.
    raise TaskRejected(
        f"No such image: {spec.image} (no executable of that name on this node: give the service a command, or name "
        "the image in the daemon's settings)"
    )


def image_name(reference: str) -> str:
    """Strip digest, tag and Docker's own registry: ``docker.io/library/web:2@sha256:…`` is ``web``."""
    name = reference.partition("@")[0]
    directory, slash, last = name.rpartition("/")
    name = directory + slash + last.partition(":")[0]
    for prefix in _LIBRARY:
        name = name.removeprefix(prefix)
    return name


def target_port(task: Task) -> int | None:
    """Return the port the task should listen on: the target of its first published one."""
    ports = task.endpoint.ports or task.endpoint.spec.ports if task.endpoint is not None else None
    return ports[0].target_port if ports else None


def stop_signal(spec: ContainerSpec) -> int:
    """Return the number of the spec's stop signal, written ``SIGINT``, ``INT`` or ``2``."""
    text = (spec.stop_signal or STOP_SIGNAL).upper()
    try:
        return signal.Signals(int(text)) if text.isdigit() else signal.Signals["SIG" + text.removeprefix("SIG")]
    except (KeyError, ValueError):
        raise TaskRejected(f"Invalid signal: {spec.stop_signal}") from None


def stop_grace_seconds(spec: ContainerSpec) -> float:
    """Return how long a task may take to stop before it is killed."""
    period = STOP_GRACE_PERIOD if spec.stop_grace_period is None else spec.stop_grace_period
    return max(period, 0) / SECOND


def minimal_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the little of a daemon's environment that its tasks inherit."""
    return {"PATH": DEFAULT_PATH} | {name: environment[name] for name in INHERITED if name in environment}


def _environment(spec: ContainerSpec, machine: Machine, values: Mapping[str, str]) -> dict[str, str]:
    result = {
        **machine.environment,
        "HOSTNAME": expand(spec.hostname, values) or machine.host.hostname,
        "RAFTSWARM_TASK_ADDRESS": values[".Task.Address"],
    }
    if values[".Task.Port"]:
        result["PORT"] = values[".Task.Port"]
    for setting in spec.env or ():
        name, equals, value = setting.partition("=")
        if not _VARIABLE.fullmatch(name):
            # The shell that watches over the task hands on no others.
            raise TaskRejected(f"the process executor cannot set a variable named {name!r}: use letters, digits and _")
        if equals:
            result[name] = expand(value, values)
        else:
            result.pop(name, None)  # Docker: a name alone unsets.
    return result
