"""Where the trace of a running member goes: to a file that is added to, or to a function of the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike, fspath
from pathlib import Path

from raftswarm.errors import InvalidSpec
from raftswarm.raft.tracing import TraceSink, json_lines


@contextmanager
def open_trace(trace: str | PathLike[str] | TraceSink | None) -> Iterator[TraceSink | None]:
    """Give the sink that `trace` stands for; a file is complete when the block ends. InvalidSpec if it cannot be."""
    if trace is None or callable(trace):
        yield trace
        return
    with ExitStack() as opened:
        try:
            lines = opened.enter_context(Path(trace).open("ab"))
        except OSError as error:
            raise InvalidSpec(f"the trace cannot be written to {fspath(trace)}: {error.strerror}") from None
        yield json_lines(lines.write)
