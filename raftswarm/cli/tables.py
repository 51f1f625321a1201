"""Rows for terminals and for programs: Docker's columns, one JSON object per line, or a template.

Templates are the part of Go's that people use with ``--format``: fields, ``json``, ``upper``, ``lower``, and a
``table`` in front for columns with headings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
import msgspec

_ACTION: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_EXPRESSION: Final = re.compile(r"(?:(json|upper|lower|title)\s+)?((?:\.\w*)+)")
_MIN_WIDTH: Final = 10
_GAP: Final = 3


def print_rows(
    rows: Sequence[Mapping[str, str | bool]],
    columns: Mapping[str, str],
    *,
    format_: str | None,
    quiet: str | None = None,
) -> None:
    """Print rows as columns, unless `format_` or `quiet` (the field to print alone) say otherwise.

    `columns` maps fields to headings, in order.
    """
    rows = [dict(sorted(row.items())) for row in rows]
    if quiet is not None and format_ is None:
        for row in rows:
            click.echo(row[quiet])
    elif format_ is None or format_ == "table":
        print_table([list(columns.values()), *([str(row[field]) for field in columns] for row in rows)])
    elif format_ == "json":
        for row in rows:
            click.echo(render("{{json .}}", row))
    elif format_.startswith("table "):
        template = format_.removeprefix("table ").strip()
        cells = [render(template, row).split("\t") for row in rows]
        print_table([render(template, columns).split("\t"), *cells])
    else:
        for row in rows:
            click.echo(render(format_, row))


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """Print cells in columns at least ten wide, three spaces apart."""
    count = max(len(line) for line in lines)
    widths = [max((len(line[column]) for line in lines if column < len(line)), default=0) for column in range(count)]
    for line in lines:
        *cells, last = line
        padded = (cell.ljust(max(_MIN_WIDTH, width + _GAP)) for cell, width in zip(cells, widths, strict=False))
        click.echo("".join(padded) + last)


def render(template: str, value: Any) -> str:
    """Fill in a template."""
    text = template.replace(r"\t", "\t").replace(r"\n", "\n")
    return _ACTION.sub(lambda found: _evaluate(found[1], value), text)


def _evaluate(expression: str, value: Any) -> str:
    found = _EXPRESSION.fullmatch(expression)
    if found is None:
        raise click.UsageError(
            f"template parsing error: cannot read {{{{{expression}}}}}: use fields, json, upper and lower"
        )
    function, path = found.groups()
    for part in path.split("."):
        if part:
            value = value.get(part) if isinstance(value, Mapping) else None
    if function == "json":
        return msgspec.json.encode(value).decode()
    text = "<no value>" if value is None else _plain(value)
    match function:
        case "upper":
            return text.upper()
        case "lower":
            return text.lower()
        case "title":
            return text.title()
        case _:
            return text


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + " ".join(_plain(part) for part in value) + "]"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_plain(part)}" for key, part in sorted(value.items())) + "]"
    return str(value)


def print_inspected(bodies: Sequence[bytes], format_: str | None) -> None:
    """Print objects as the engine sent them, indented, or each through a template."""
    if format_ and format_ != "json":
        for body in bodies:
            click.echo(render(format_, msgspec.json.decode(body)))
        return
    array = b"[" + b",".join(body.strip() for body in bodies) + b"]"
    click.echo(msgspec.json.format(array, indent=0 if format_ else 4).decode())
