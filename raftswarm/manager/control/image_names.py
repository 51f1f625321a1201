"""What counts as the name of an image: ``[domain/]path[:tag][@digest]``, in the grammar of Docker's references."""

from __future__ import annotations

import re
from typing import Final

_MAX_NAME: Final = 255
_HOST: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN: Final = re.compile(rf"(?:{_HOST}(?:\.{_HOST})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_BARE_ID: Final = re.compile(r"[a-f0-9]{64}")


def is_image_name(text: str) -> bool:
    """Tell whether Docker would take it for the name of an image."""
    if _BARE_ID.fullmatch(text):
        return False  # It could be a name, but everybody takes it for an image's id.
    name, has_digest, digest = text.partition("@")
    if has_digest and not _DIGEST.fullmatch(digest):
        return False
    name, tag = _cut_tag(name)
    if tag is not None and not _TAG.fullmatch(tag):
        return False
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or first.lower() != first or any(mark in first for mark in ".:[")):
        return len(name) <= _MAX_NAME and bool(_DOMAIN.fullmatch(first) and _PATH.fullmatch(rest))
    return len(name) <= _MAX_NAME and bool(_PATH.fullmatch(name))


def _cut_tag(name: str) -> tuple[str, str | None]:
    head, colon, tag = name.rpartition(":")
    # A colon in front of a slash belongs to a port.
    return (head, tag) if colon and "/" not in tag else (name, None)
