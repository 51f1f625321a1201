"""The contract of whatever is replicated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Final, Protocol, runtime_checkable

import attrs
import msgspec

from raftswarm.errors import MachineFailed, StorageError

CHUNK_BYTES: Final = 256 * 1024


class Context(msgspec.Struct, frozen=True, gc=False):
    """Where in the log a command stands; the same on every member."""

    command_number: int
    """Counts all commands of the log from 1; never reused. Versions, ids and cursors come from it."""
    time_ns: int
    """The leader's wall clock when it took the command in; monotone along the log. Use it instead of a clock."""
    index: int
    term: int


class Capture(Protocol):
    """A consistent picture of the state, taken quickly and read later, off the loop or in slices."""

    def chunks(self) -> Iterator[bytes]:
        """The state as bytes, in pieces of at most 256 KiB; the same state gives the same bytes."""
        ...


@attrs.frozen
class Captured:
    """The simplest capture: the whole state as bytes."""

    state: bytes

    def chunks(self) -> Iterator[bytes]:
        """The state in pieces."""
        for start in range(0, len(self.state), CHUNK_BYTES):
            yield self.state[start : start + CHUNK_BYTES]


class StateMachine(Protocol):
    """Deterministic: no clock, no chance, no I/O; the same commands give the same state everywhere."""

    def apply(self, command: bytes, context: Context, /) -> object:
        """Change the state; return the proposer's result. `Rejected` is a result too, and must change nothing."""
        ...

    def capture(self) -> Capture:
        """Take a picture; must be quick."""
        ...

    def restore(self, chunks: Iterable[bytes], /) -> None:
        """Replace the state by a picture's, in one piece, where `apply` runs; reading the chunks does not block."""
        ...


@runtime_checkable
class RestoredAside(StateMachine, Protocol):
    """A machine whose state may be too large to be built in one piece where `apply` runs."""

    def prepare_restore(self, chunks: Iterable[bytes], /) -> Callable[[], object]:
        """Build a picture's state beside the present one; the returned call puts it in its place, quickly.

        Runs in another thread than `apply` and all else, so it must touch nothing of the present state. Chunks come
        from the disk as they are asked for.
        """
        ...


@runtime_checkable
class Queryable(StateMachine, Protocol):
    """A state machine that can be asked, too."""

    def query(self, question: bytes, /) -> object:
        """Answer from the state as it is; must change nothing. `Rejected` goes to whoever asks."""
        ...


def check_machine(machine: StateMachine) -> None:
    """TypeError unless the machine has the methods of the contract, as plain functions of an object."""
    if isinstance(machine, type):
        raise TypeError(f"the state machine is an object, not a class: pass {machine.__name__}()")
    for name in ("apply", "capture", "restore", "query", "prepare_restore"):
        method = getattr(machine, name, None)
        if method is None and name in StateMachine.__dict__:
            raise TypeError(f"a state machine has a method {name}, and {type(machine).__name__} has none")
        if iscoroutinefunction(method):
            raise TypeError(
                f"{type(machine).__name__}.{name} is async: a state machine waits for nothing, use plain def"
            )


@contextmanager
def machine_errors(when: str) -> Iterator[None]:
    """MachineFailed, saying when, for what the state machine raises; the disk's errors come through as they are."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise MachineFailed(f"the state machine failed {when}: {type(error).__name__}: {error}") from error


def prepare_restore(machine: StateMachine, chunks: Iterator[bytes]) -> Callable[[], object]:
    """Read a snapshot, off the loop; return what puts it in the machine's place, on the loop."""
    if isinstance(machine, RestoredAside):
        return machine.prepare_restore(chunks)
    read = deque(chunks)

    def handed_over() -> Iterator[bytes]:
        while read:
            yield read.popleft()  # Nobody else holds it: bytes that were taken in are free.

    return lambda: machine.restore(handed_over())
