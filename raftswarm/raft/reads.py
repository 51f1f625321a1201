"""Linearizable reads without writing to the log, on any member: ReadIndex (6.4 of the dissertation).

The one big idea: reads that come in the same turn share one request to the leader, and requests one round of
heartbeats; once a quorum has answered a round, its leader was the leader when the round began, so the commit index of
that moment is safe to read at. A read changes nothing, so it is asked again until it is answered or too late.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from raftswarm.raft import leases
from raftswarm.raft.core import Core
from raftswarm.raft.messages import ReadIndex, ReadIndexReply
from raftswarm.raft.read_queue import Read
from raftswarm.raft.ready import ReadOutcome
from raftswarm.raft.roles import Leader
from raftswarm.raft.rules import Rule

MAX_PENDING_READS = 65_536
PATIENCE_TIMEOUTS = 3
"""A read that no leader has answered for so many election timeouts is refused: an election that goes well is over."""
RETRY_HEARTBEATS = 2
"""A request that was not answered for so long is sent again."""


def ask(core: Core, token: int) -> None:
    """Take in a read: a leader answers it when its round is confirmed, others when the leader has told them."""
    pending = core.role.reads if isinstance(core.role, Leader) else core.read_requests
    if pending.count < MAX_PENDING_READS:
        pending.add(Read(core.id, token, core.now))
    else:
        refused = f"{MAX_PENDING_READS} reads wait already; retry later"
        core.work.reads.append(ReadOutcome(token, refused=refused, leader=core.leader))


# At a leader.


def take_request(core: Core, role: Leader, message: ReadIndex) -> None:
    """Another member asks for its reads; what is too much is left unanswered, and asked again."""
    if role.reads.count < MAX_PENDING_READS:
        role.reads.add(Read(message.sender, message.number, core.now))


def begin_round(core: Core, role: Leader) -> None:
    """Heartbeats are about to leave: let them confirm the reads that wait.

    A leader that has committed nothing in its term does not know yet what is committed: reads wait for that.
    """
    knows_commit = core.commit_index >= role.first_index
    if not knows_commit and role.reads.has_waiting:
        core.because(Rule.READS_WAIT_FOR_COMMIT, term=core.term)
    role.reads.begin_round(core.now, core.commit_index, role.reads.take_waiting() if knows_commit else ())


def needs_round(core: Core, role: Leader) -> bool:
    """Tell whether reads wait that only a new round can confirm; those that the lease covers are answered."""
    if core.read_requests.count:
        core.because(Rule.READS_FROM_BEFORE)
        for read in core.read_requests.take_all():
            role.reads.add(read)  # From before it led.
    if not role.reads.has_waiting or core.commit_index < role.first_index:
        return False
    if not leases.holds(core, role):
        return True
    if core.named is not None:
        has_lease = core.settings.lease_reads and not role.gave_up_lease
        left = leases.ends_at(core, role) - core.now if has_lease else 0.0
        core.because(Rule.READS_BY_LEASE, index=core.commit_index, left_seconds=round(left, 6))
    _answer(core, role.reads.take_waiting(), core.commit_index)
    return False


def confirm(core: Core, role: Leader) -> None:
    """Answer the reads of all rounds that a quorum has confirmed."""
    if not role.reads.has_rounds:
        return

    def confirmed_by(member: int) -> int:
        if member == core.id:
            return role.reads.newest_round
        progress = role.progress.get(member)
        return progress.confirmed_round if progress else 0

    for round_ in role.reads.take_confirmed(core.quorum.reached(confirmed_by) or 0):
        leases.renew(core, role, round_.began_at)
        if core.named is not None and round_.reads:
            core.because(Rule.READS_CONFIRMED, index=round_.index, term=core.term)
        _answer(core, round_.reads, round_.index)


def refuse_late(core: Core, role: Leader) -> None:
    """Give up what no quorum confirms, or what waits for a first commit in this term for too long."""
    for read in role.reads.take_late(core.now, _patience_seconds(core)):
        if read.member == core.id:
            _refuse_late(core, read)


def _answer(core: Core, reads: Iterable[Read], index: int) -> None:
    for read in reads:
        if read.member == core.id:
            core.work.reads.append(ReadOutcome(read.token, index))
        else:
            core.send(
                ReadIndexReply(
                    sender=core.id, to=read.member, term=core.term, boot=core.boot, number=read.token, index=index
                )
            )


# Elsewhere.


def go_on(core: Core) -> None:
    """Ask the leader for what waits; hand on what it has answered, as far as that is committed here."""
    requests = core.read_requests
    if not requests.count:
        return
    for read, index in requests.take_answered(core.commit_index):
        core.work.reads.append(ReadOutcome(read.token, index))
    for read in requests.take_late(core.now, _patience_seconds(core)):
        _refuse_late(core, read)
    leader = core.leader
    if leader and requests.is_due(leader, core.term, core.now, _retry_seconds(core)):
        if core.named is not None and not requests.has_waiting:
            core.because(Rule.READ_ASKED_AGAIN, leader=leader)
        number = requests.begin_request(leader, core.term, core.now)
        core.send(ReadIndex(sender=core.id, to=leader, term=core.term, boot=core.boot, number=number))


def take_answer(core: Core, message: ReadIndexReply) -> None:
    """The leader has answered a request of this start, or of an earlier one."""
    if message.number <= core.read_requests.newest:
        core.read_requests.answer(message.number, message.index)
    else:
        core.drop(message, "this start of the member has asked no such thing")


def next_due(core: Core) -> float:
    """When to look at the reads that wait for a leader."""
    if not core.read_requests.count:
        return inf
    return core.read_requests.next_due(_patience_seconds(core), _retry_seconds(core) if core.leader else inf)


def _refuse_late(core: Core, read: Read) -> None:
    core.because(Rule.READ_TOO_LATE)
    refused = f"no leader could answer this read for {_patience_seconds(core):g} s; retry"
    core.work.reads.append(ReadOutcome(read.token, refused=refused, leader=core.leader))


def _patience_seconds(core: Core) -> float:
    return PATIENCE_TIMEOUTS * core.settings.election_seconds


def _retry_seconds(core: Core) -> float:
    return RETRY_HEARTBEATS * core.settings.heartbeat_seconds
