"""Docker's JSON of our fields: ``published_port`` is ``PublishedPort``, ``nano_cpus`` is ``NanoCPUs``.

Fields at their defaults are left out, as Go's ``omitempty`` does; the few that Docker always writes are `shown`.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

_WORDS: Final = {
    "id": "ID",
    "ids": "IDs",
    "cpus": "CPUs",
    "ca": "CA",
    "cas": "CAs",
    "ip": "IP",
    "os": "OS",
    "pid": "PID",
    "tls": "TLS",
    "tty": "TTY",
    "dns": "DNS",
    "url": "URL",
    "uid": "UID",
    "gid": "GID",
    "vip": "VIP",
    "ipam": "IPAM",
    "se": "SE",
    "nocopy": "NoCopy",
}


def docker_name(field: str) -> str:
    """Return the JSON name of a field."""
    return "".join(_WORDS.get(word) or word.capitalize() for word in field.split("_"))


def shown(default: T, *, name: str | None = None) -> T:
    """Give a field a default that is written out nevertheless. It must be immutable, or never changed."""
    # msgspec leaves out plain defaults and empty lists and dicts, but cannot know what a factory would return.
    return msgspec.field(default_factory=lambda: default, name=name)


class DockerStruct(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=docker_name, repr_omit_defaults=True
):
    """A record that has the same shape in Docker's JSON and in our log. Unknown fields are ignored, as Docker does."""
