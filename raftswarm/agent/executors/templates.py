"""The templates that a spec may use for what is known only where the task runs (SWARM 8.4).

The part of Go's template language that Swarm documents: ``{{.Task.Slot}}``, ``{{ .Service.Labels.zone }}`` and
``{{index .Service.Labels "com.example.zone"}}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from raftswarm.objects.records import Platform, Task


@attrs.frozen(kw_only=True)
class Host:
    """The node as its tasks see it."""

    node_id: str
    hostname: str
    platform: Platform = Platform()


class UnknownName(ValueError):
    """A template asks for what there is not."""


_ACTION = re.compile(r"\{\{\s*(?P<body>.*?)\s*\}\}")
_INDEX = re.compile(r'index\s+\.Service\.Labels\s+"(?P<key>[^"]*)"')


def expand(text: str, values: Mapping[str, str], *, strict: bool = True) -> str:
    """Replace every action; UnknownName for one that has no value, unless not `strict`: then it stays as it is."""

    def replace(action: re.Match[str]) -> str:
        index = _INDEX.fullmatch(action["body"])
        name = f".Service.Labels.{index['key']}" if index else action["body"]
        if name in values:
            return values[name]
        if strict:
            raise UnknownName(f"template {action[0]!r}: there is no {action['body']}")
        return action[0]

    return _ACTION.sub(replace, text)


def template_values(task: Task, host: Host, address: str, port: int | None) -> dict[str, str]:
    """Return what templates may name; the task's address and port are ours."""
    return {
        ".Service.ID": task.service_id,
        ".Service.Name": task.service_name,
        **{f".Service.Labels.{key}": value for key, value in task.service_labels.items()},
        ".Node.ID": host.node_id,
        ".Node.Hostname": host.hostname,
        ".Node.Platform.OS": host.platform.os,
        ".Node.Platform.Architecture": host.platform.architecture,
        ".Task.ID": task.id,
        ".Task.Name": task.name,
        ".Task.Slot": str(task.slot or host.node_id),
        ".Task.Address": address,
        ".Task.Port": "" if port is None else str(port),
    }
