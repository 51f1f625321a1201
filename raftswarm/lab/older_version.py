"""A version of the software that is too old for a disk: each format is checked before anything is changed.

There has been one version of every format so far. So the older one is this one, which takes a format for one that came
later: what it does before it looks at the version, and what it does then, is what later versions will do to us.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType, ModuleType
from typing import Final

from raftswarm.storage import keys, segment, snapshot_file

FORMATS: Final[Mapping[str, ModuleType]] = MappingProxyType(
    {"log": segment, "snapshots": snapshot_file, "keys": keys},
)
"""By their names in docs/formats.md: the modules that know them."""

_CONSTANT: Final = "FORMAT_VERSION"


@contextmanager
def older_version(format_name: str) -> Iterator[None]:
    """Be the version before this format's present one."""
    module = FORMATS[format_name]
    version: int = getattr(module, _CONSTANT)
    setattr(module, _CONSTANT, version - 1)
    try:
        yield
    finally:
        setattr(module, _CONSTANT, version)
