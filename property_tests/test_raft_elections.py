"""Election safety (5.2): whatever is lost, repeated or forgotten, a term has at most one leader.

Three members; the bundle is the network: what is never drawn from it is lost, what is drawn twice is repeated. A crash
loses the writes that were not done; messages that left before stay in the network.
"""

from __future__ import annotations

from collections import deque
from random import Random

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, invariant, multiple, rule

from raftswarm.raft.events import Receive, TimePassed, Written
from raftswarm.raft.log_entry import Configuration, Entry, HardState, MemberInfo, SnapshotMeta
from raftswarm.raft.member import Member, StartingState
from raftswarm.raft.messages import AnyMessage, RequestVote, VoteReply
from raftswarm.raft.ready import Write
from raftswarm.raft.settings import RaftSettings

MEMBERS = (1, 2, 3)
GENESIS = SnapshotMeta(configuration=Configuration(voters=tuple(MemberInfo(id=member) for member in MEMBERS)))
ELECTION_TRAFFIC = ("PreVote", "PreVoteReply", "RequestVote", "VoteReply", "Opening")


@attrs.define(eq=False)
class Participant:
    id: int
    member: Member
    boot: int = 1
    now: float = 0.0
    hard_state: HardState = HardState()
    entries: list[Entry] = attrs.field(factory=list)
    waiting: deque[Write] = attrs.field(factory=deque)
    votes: dict[int, int] = attrs.field(factory=dict)
    """What was ever durable here: term to candidate."""


def start(member_id: int, boot: int, hard_state: HardState, entries: list[Entry], now: float) -> Member:
    state = StartingState(
        member_id=member_id,
        cluster="test",
        boot=boot,
        hard_state=hard_state,
        snapshot=GENESIS,
        entries=tuple(entries),
    )
    return Member(state, settings=RaftSettings(), chance=Random(100 * member_id + boot), now=now)


members = st.sampled_from(MEMBERS)


class Elections(RuleBasedStateMachine):
    """Three members. The bundle is the network: what is never drawn from it is lost."""

    in_flight: Bundle[AnyMessage] = Bundle("in_flight")

    @initialize()
    def begin(self) -> None:
        self.members = {member: Participant(member, start(member, 1, HardState(), [], 0.0)) for member in MEMBERS}
        self.leader_of: dict[int, int] = {}

    @rule(target=in_flight, member=members)
    def time_out(self, member: int) -> MultipleResults[AnyMessage]:
        """Its timer is due; its last leader was heard long ago."""
        participant = self.members[member]
        participant.now = max(participant.now + 1.0, participant.member.role.deadline)
        participant.member.step(TimePassed(), participant.now)
        return self.carry_out_work(participant)

    @rule(target=in_flight, message=in_flight)
    def deliver(self, message: AnyMessage) -> MultipleResults[AnyMessage]:
        participant = self.members[message.to]
        participant.member.step(Receive(message), participant.now)
        return self.carry_out_work(participant)

    @rule(target=in_flight, member=members)
    def write(self, member: int) -> MultipleResults[AnyMessage]:
        participant = self.members[member]
        if not participant.waiting:
            return multiple()
        write = participant.waiting.popleft()
        if write.hard_state is not None:
            participant.hard_state = write.hard_state
            if write.hard_state.voted_for:
                participant.votes[write.hard_state.term] = write.hard_state.voted_for
        if write.truncate_after is not None:
            del participant.entries[write.truncate_after :]
        participant.entries += write.entries
        participant.member.step(Written(write.number, write.last_term, write.last_index), participant.now)
        return self.carry_out_work(participant)

    @rule(target=in_flight, member=members)
    def crash_and_start(self, member: int) -> MultipleResults[AnyMessage]:
        participant = self.members[member]
        participant.waiting.clear()
        participant.boot += 1
        participant.member = start(
            member, participant.boot, participant.hard_state, participant.entries, participant.now
        )
        participant.now += 0.2
        participant.member.step(TimePassed(), participant.now)  # It asks who knows it.
        return self.carry_out_work(participant)

    def carry_out_work(self, participant: Participant) -> MultipleResults[AnyMessage]:
        ready = participant.member.take_ready()
        if ready.write is not None:
            participant.waiting.append(ready.write)
        for message in ready.messages:
            self.check_claim(participant, message)
        if participant.member.is_leader:
            leader = self.leader_of.setdefault(participant.member.term, participant.id)
            assert leader == participant.id, f"two leaders in term {participant.member.term}"
        return multiple(*(m for m in ready.messages if type(m).__name__ in ELECTION_TRAFFIC))

    def check_claim(self, participant: Participant, message: AnyMessage) -> None:
        """Durable before claim: votes are on disk when they are told (Figure 2)."""
        if isinstance(message, VoteReply) and message.granted:
            assert participant.votes.get(message.term) == message.to
        if isinstance(message, RequestVote):
            assert participant.votes.get(message.term) == participant.id

    @invariant()
    def terms_on_disk_never_lead(self) -> None:
        for participant in getattr(self, "members", {}).values():
            assert participant.hard_state.term <= participant.member.term


Elections.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestElections = Elections.TestCase
