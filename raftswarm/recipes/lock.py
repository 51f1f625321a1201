"""A replicated lock: held for a time and renewed, with a token that fences off who has lost it without noticing.

The one big idea: time proves nothing between two machines, order does. The lock's time is that of the log's entries, on
which all members agree; a holder can only guess it by its own clock, and stops early. What a guess cannot protect, the
token can: it is the number of the command that acquired the lock, so each holder's is higher than all before, and
whatever the lock protects can refuse lower ones (docs/recipes.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Final

import attrs
import msgspec
import trio

from raftswarm.consensus.replicated import Replicated
from raftswarm.errors import LockLost, OutcomeUnknown, RaftSwarmError
from raftswarm.raft.state_machine import Context
from raftswarm.recipes.handles import ReplicatedObject
from raftswarm.recipes.requests import Request
from raftswarm.recipes.times import TimeToLive, to_nanoseconds
from raftswarm.world.chance import Entropy, SystemEntropy

OWNER_BYTES: Final = 16
SAFE_SHARE: Final = 0.9
"""Of its time to live, as its own clock shows it, a holder trusts so much: the rest is for clocks that run slow."""
RENEWALS: Final = 3
"""In one time to live."""
FIRST_PAUSE_SECONDS: Final = 0.01
LAST_PAUSE_SECONDS: Final = 1.0
GIVE_BACK_SECONDS: Final = 1.0
"""How long the end of a block may take."""

Owner = Annotated[bytes, msgspec.Meta(min_length=1, max_length=64)]


class AcquireLock(Request, frozen=True, tag=40):
    """Get the lock if it is free, or keep it if this owner has it."""

    owner: Owner
    holder: Annotated[str, msgspec.Meta(max_length=256)]
    ttl_ns: TimeToLive


class RenewLock(Request, frozen=True, tag=41):
    """Keep the lock for longer."""

    token: int
    ttl_ns: TimeToLive


class ReleaseLock(Request, frozen=True, tag=42):
    """Give the lock back."""

    token: int


class GetHolder(Request, frozen=True, tag=40):
    """Look at who has it."""


class LockState(msgspec.Struct, array_like=True, tag="lock"):
    """The lock as the machine has it."""

    commands: ClassVar = (AcquireLock, RenewLock, ReleaseLock)
    questions: ClassVar = (GetHolder,)

    token: int = 0
    """Of the holder; 0 while it is free. It may be forgotten then, since command numbers are never used again."""
    owner: bytes = b""
    holder: str = ""
    expires_ns: int = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to remember."""
        return self.token == 0

    def copy(self) -> LockState:
        """Return one that stays as this one is now."""
        return msgspec.structs.replace(self)

    def apply(self, command: AcquireLock | RenewLock | ReleaseLock, context: Context) -> object:
        """Change who has it, after a holder whose time is over has lost it."""
        if context.time_ns >= self.expires_ns:
            self._free()
        match command:
            case AcquireLock():
                return self._acquire(command, context)
            case RenewLock():
                return self._renew(command, context)
            case ReleaseLock():
                return self._release(command)

    def query(self, question: GetHolder, time_ns: int) -> tuple[int, str, int, int] | None:
        """Return the holder's token, what it calls itself, when its time ends, and what time it is; None if free."""
        del question
        return (self.token, self.holder, self.expires_ns, time_ns) if time_ns < self.expires_ns else None

    def _acquire(self, command: AcquireLock, context: Context) -> tuple[int, int, int]:
        """Return the token, or 0 if another has the lock; when the holder's time ends, and what time it is."""
        if self.token and self.owner != command.owner:
            return 0, self.expires_ns, context.time_ns
        if not self.token:
            self.token, self.owner, self.holder = context.command_number, command.owner, command.holder
        self.expires_ns = context.time_ns + command.ttl_ns
        return self.token, self.expires_ns, context.time_ns

    def _renew(self, command: RenewLock, context: Context) -> bool:
        if not self.token or self.token != command.token:
            return False
        self.expires_ns = context.time_ns + command.ttl_ns
        return True

    def _release(self, command: ReleaseLock) -> bool:
        if not self.token or self.token != command.token:
            return False
        self._free()
        return True

    def _free(self) -> None:
        self.token, self.owner, self.holder, self.expires_ns = 0, b"", "", 0


@attrs.frozen
class Holder:
    """Who has the lock, as of the cluster's last command."""

    token: int
    name: str
    seconds_left: float


class ReplicatedLock(ReplicatedObject):
    """A lock that at most one holds, as long as it renews it in time.

        async with lock.hold(ttl_seconds=10) as token:
            await jobs.set("nightly", "running", fence=token)

    Several may wait; who gets it next is not said.
    """

    def __init__(self, cluster: Replicated, name: str, *, entropy: Entropy | None = None) -> None:
        """`entropy` tells one attempt to get the lock from all others."""
        super().__init__(cluster, name)
        self._entropy = entropy or SystemEntropy()

    @asynccontextmanager
    async def hold(self, *, ttl_seconds: float = 10.0, name: str = "") -> AsyncIterator[int]:
        """Wait for the lock, keep it while the block lasts, and give it back. Yields the fencing token.

        If the lock cannot be renewed in time, or somebody else got it, the block is cancelled and LockLost raised. A
        holder that dies loses the lock after `ttl_seconds` at most, by the time of the log.

        Args:
            ttl_seconds: longer rides over longer failures, shorter frees the lock of a dead holder sooner. It should be
                several election timeouts.
            name: what others see as the holder.

        Raises:
            InvalidSpec: a time to live that is none.
            LockLost: the block was cancelled for it; what it did may be incomplete.
            NotLeader: from a member that does not lead; a client finds the one that does.
        """
        lease = await self._wait_for(ttl_seconds, name)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep, lease, nursery.cancel_scope)
            try:
                yield lease.token
            except Exception as error:  # noqa: BLE001 - raised again below, where no nursery wraps it
                failure = error
            finally:
                nursery.cancel_scope.cancel()
                if not lease.is_lost:
                    await self._give_back(lease)
        if failure is not None:
            raise failure
        if lease.is_lost:
            lost = f"lock {self.name!r} was lost while token {lease.token} held it; its block was cancelled"
            raise LockLost(lost) from None

    async def acquire(self, *, ttl_seconds: float, owner: bytes, name: str = "") -> int | None:
        """Try once: return the fencing token, or None if another holder has the lock.

        `owner` is one attempt's, drawn at random: after OutcomeUnknown the same one may try again, and gets the same
        token if the first try came through.
        """
        token, _, _ = await self._change(AcquireLock(self.name, owner, name, to_nanoseconds(ttl_seconds)))
        return token or None

    async def renew(self, token: int, *, ttl_seconds: float) -> bool:
        """Keep the lock for so long from now; False if it was lost."""
        return bool(await self._change(RenewLock(self.name, token, to_nanoseconds(ttl_seconds))))

    async def release(self, token: int) -> bool:
        """Give the lock back; False if it was lost before."""
        return bool(await self._change(ReleaseLock(self.name, token)))

    async def holder(self) -> Holder | None:
        """Return who has the lock.

        A question writes nothing to the log, so no time has passed for it since the last command of anybody: a holder
        whose time is over is shown until then.
        """
        answer = await self._look(GetHolder(self.name))
        if answer is None:
            return None
        token, name, expires_ns, time_ns = answer
        return Holder(token, name, (expires_ns - time_ns) / 1e9)

    async def _wait_for(self, ttl_seconds: float, name: str) -> _Lease:
        """Try until it works, with pauses that grow."""
        command = AcquireLock(self.name, self._entropy.token_bytes(OWNER_BYTES), name, to_nanoseconds(ttl_seconds))
        pause = FIRST_PAUSE_SECONDS
        while True:
            asked_at = trio.current_time()
            try:
                token, expires_ns, time_ns = await self._change(command)
            except OutcomeUnknown:
                await trio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
            else:
                if token:
                    return _Lease(token, ttl_seconds, asked_at)
                await self._wait_until_free(expires_ns, time_ns)
                pause = FIRST_PAUSE_SECONDS

    async def _wait_until_free(self, expires_ns: int, time_ns: int) -> None:
        """Return when the lock is free, or its holder's time must be over. Asking writes nothing to the log.

        The time that the log tells stands still between commands, so this clock takes over from when it last moved.
        """
        pause = FIRST_PAUSE_SECONDS
        ends_at = trio.current_time() + (expires_ns - time_ns) / 1e9
        while (left := ends_at - trio.current_time()) > 0:
            await trio.sleep(min(pause, left))
            pause = min(2 * pause, LAST_PAUSE_SECONDS)
            answer = await self._look(GetHolder(self.name))
            if answer is None:
                return
            if answer[2] != expires_ns:
                _, _, expires_ns, time_ns = answer
                ends_at = trio.current_time() + (expires_ns - time_ns) / 1e9

    async def _keep(self, lease: _Lease, block: trio.CancelScope) -> None:
        """Renew until that fails; then end the block."""
        with trio.CancelScope(deadline=lease.ends_at) as time_left:
            while True:
                await trio.sleep(lease.ttl_seconds / RENEWALS)
                asked_at = trio.current_time()
                if not await self._renew_in_time(lease):
                    break
                time_left.deadline = lease.renewed(asked_at)
        lease.is_lost = True
        block.cancel()

    async def _renew_in_time(self, lease: _Lease) -> bool:
        """Renewing twice does no harm, so whatever went wrong is tried again, while there is time."""
        while True:
            try:
                return await self.renew(lease.token, ttl_seconds=lease.ttl_seconds)
            except RaftSwarmError:
                await trio.sleep(lease.ttl_seconds / 50)

    async def _give_back(self, lease: _Lease) -> None:
        """So that nobody has to wait until its time is over; if it fails, they do."""
        with trio.move_on_after(GIVE_BACK_SECONDS, shield=True):
            try:
                await self.release(lease.token)
            except RaftSwarmError:
                return


@attrs.define(eq=False)
class _Lease:
    """What a holder knows of its time, by its own clock."""

    token: int
    ttl_seconds: float
    asked_at: float
    is_lost: bool = False

    @property
    def ends_at(self) -> float:
        """When to stop. The log's time to live runs from a moment after it was asked for."""
        return self.asked_at + SAFE_SHARE * self.ttl_seconds

    def renewed(self, asked_at: float) -> float:
        """It lasts on; returns when to stop now."""
        self.asked_at = asked_at
        return self.ends_at
