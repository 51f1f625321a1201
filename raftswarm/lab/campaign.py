"""A campaign: worlds by their seeds, in as many processes as there are cores, put down so that it can go on later.

Its file has a line of JSON that says what is asked, then one for each world that has ended, in any order. Whoever
stops in the middle of a line loses that line (docs/formats.md, "Campaigns").
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import Final

import attrs
import msgspec

from raftswarm.errors import InvalidSpec
from raftswarm.lab.running import Order, Row, run_order
from raftswarm.lab.seed_workers import open_workers

FORMAT: Final = "raftswarm campaign"
VERSION: Final = 1
HASH_SEEDS: Final = (1, 2)
"""Of the processes that have to agree."""


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    format: str
    version: int
    seconds: float
    members: int | None = None


@attrs.frozen
class CampaignFile:
    """Where rows are put down."""

    path: Path
    rows: Mapping[int, Row]
    """Those that were there, by seed."""

    def append(self, row: Row) -> None:
        """Put down one more; whoever reads the file meanwhile finds whole lines."""
        try:
            with self.path.open("ab") as file:
                file.write(msgspec.json.encode(row) + b"\n")
        except OSError as error:
            raise InvalidSpec(f"cannot write {self.path}: {error.strerror}") from None


def open_campaign(path: Path, *, seconds: float, members: int | None) -> CampaignFile:
    """Go on with the campaign in that file, or begin it.

    Raises:
        InvalidSpec: it is none, or one of other worlds.
    """
    head = _Head(format=FORMAT, version=VERSION, seconds=seconds, members=members)
    try:
        if not path.exists():
            path.write_bytes(msgspec.json.encode(head) + b"\n")
        content = path.read_bytes()
    except OSError as error:
        raise InvalidSpec(f"cannot use {path}: {error.strerror}") from None
    whole, torn = content[: content.rfind(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
    first, *lines = whole.splitlines() or [b""]
    try:
        known = msgspec.json.decode(first, type=_Head)
        rows = [msgspec.json.decode(line, type=Row) for line in lines]
    except msgspec.MsgspecError as error:
        raise InvalidSpec(f"{path} is no campaign: {error}; name a file that is not there yet") from None
    if known != head:
        raise InvalidSpec(
            f"{path} is {_describe(known)}, this is {_describe(head)}; ask for the same, or name another file"
        )
    if torn:
        path.write_bytes(whole)
    return CampaignFile(path, {row.seed: row for row in rows})


def _describe(head: _Head) -> str:
    members = "a drawn number of" if head.members is None else str(head.members)
    return f"{head.format!r} {head.version} with {members} members for {head.seconds:g} s"


def run_campaign(
    orders: Sequence[Order],
    *,
    jobs: int = 1,
    known: Mapping[int, Row] | None = None,
    ended: Callable[[Row], object] = lambda _: None,
) -> Generator[Row, None, None]:
    """Run worlds, and yield what came of them in the order in which they were asked for.

    Args:
        orders: of different seeds.
        jobs: so many at a time, each in a process of its own; 1 is this process.
        known: what came of some of them already.
        ended: hears of every other one as soon as it has ended, in any order.
    """
    rows = known or {}
    todo = [order for order in orders if order.seed not in rows]
    with closing(_run(todo, min(jobs, len(todo)))) as running:
        already = (rows[order.seed] for order in orders if order.seed in rows)
        yield from _in_order(orders, chain(already, _tell(running, ended)))


def _tell(rows: Iterable[Row], ended: Callable[[Row], object]) -> Iterator[Row]:
    for row in rows:
        ended(row)
        yield row


def _run(orders: Iterable[Order], jobs: int) -> Generator[Row, None, None]:
    if jobs <= 1:
        yield from map(run_order, orders)
        return
    with open_workers(jobs) as workers:
        yield from workers.run(orders)


def run_pairs(orders: Sequence[Order], *, jobs: int = 1) -> Generator[tuple[Row, Row], None, None]:
    """Run every world in two processes that hash strings differently, and yield both rows of each."""
    traced = [msgspec.structs.replace(order, is_traced=True) for order in orders]
    with ExitStack() as ending:
        lanes = [
            _in_order(traced, ending.enter_context(open_workers(max(1, jobs // 2), hash_seed=seed)).run(traced))
            for seed in HASH_SEEDS
        ]
        one, other = lanes
        yield from zip(one, other, strict=True)


def _in_order(orders: Iterable[Order], ended: Iterator[Row]) -> Iterator[Row]:
    rows: dict[int, Row] = {}
    for order in orders:
        while order.seed not in rows:
            row = next(ended)
            rows[row.seed] = row
        yield rows.pop(order.seed)
