"""Blocks of loopback addresses, one per local swarm, so that two of them can run side by side.

Linux answers on all of 127.0.0.0/8 without set-up. Nodes live in 127.20.0.0/16, a block being one /24 of it; tasks
live elsewhere (127.64.0.0/10). A small file per block, made under a lock of the whole machine, says which directory
holds it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raftswarm.errors import RaftSwarmError
from raftswarm.world.runtime_directory import runtime_directory, tidy_runtime_directory

BLOCKS = range(1, 255)


def take_block(holder: Path) -> int:
    """Reserve a block for the local swarm in `holder`; it stays reserved while that directory says so."""
    with _lock() as blocks:
        for block in BLOCKS:
            claim = blocks / str(block)
            if claim.exists() and (Path(claim.read_text()) / "swarm.json").exists():
                continue
            claim.write_text(str(holder))
            return block
    raise RaftSwarmError(f"all {len(BLOCKS)} address blocks are taken; `raftswarm local down` frees one")


def give_back_block(block: int, holder: Path) -> None:
    """Free a block, if `holder` still has it."""
    with _lock() as blocks:
        claim = blocks / str(block)
        if claim.exists() and claim.read_text() == str(holder):
            claim.unlink()


def node_address(block: int, position: int) -> str:
    """Return the host part of a node's address: 127.20.<block>.<position>."""
    return f"127.20.{block}.{position}"


@contextmanager
def _lock() -> Iterator[Path]:
    """Hold the directory of claims; it goes with the last of them."""
    blocks, descriptor = _open_locked()
    try:
        yield blocks
        tidy_runtime_directory()
    finally:
        os.close(descriptor)


def _open_locked() -> tuple[Path, int]:
    while True:
        blocks = runtime_directory() / "blocks"
        try:
            blocks.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(blocks, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # Somebody tidied up between two steps.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if blocks.exists() and blocks.stat().st_ino == os.fstat(descriptor).st_ino:
            return blocks, descriptor
        os.close(descriptor)
