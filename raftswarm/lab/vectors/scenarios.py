"""A scenario is played: one step after another is done to bare members, and nothing else happens."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import attrs

from raftswarm.errors import InvalidSpec
from raftswarm.lab.vectors.bare_member import SETTINGS, BareMember, make_member
from raftswarm.lab.vectors.changes import describe_members, wish
from raftswarm.lab.vectors.post import Post
from raftswarm.lab.vectors.scenario_form import (
    AddNodes,
    Apply,
    Campaign,
    Compact,
    Crash,
    Deliver,
    Drop,
    Flush,
    Heal,
    Hold,
    KindName,
    LogRecord,
    NodeState,
    NodeStep,
    Options,
    Partition,
    Persist,
    ProposeConfig,
    ProposeData,
    Read,
    Replay,
    ReportUnreachable,
    Restart,
    RoleName,
    Scenario,
    SendSnapshot,
    SetElectionTimeout,
    Settle,
    Step,
    Tick,
    TrafficStep,
    TransferTo,
    WorkStep,
)
from raftswarm.raft.events import (
    Event,
    PeerUnreachable,
    Propose,
    ProposeConfiguration,
    ReadBarrier,
    TransferLeadership,
    Transition,
)
from raftswarm.raft.log_entry import Batch, Entry, EntryKind
from raftswarm.raft.messages import InstallSnapshot
from raftswarm.raft.roles import Candidate, Follower, Leader, PreCandidate, Role
from raftswarm.raft.settings import RaftSettings

KINDS: Final[Mapping[EntryKind, KindName]] = {
    EntryKind.BLANK: "noop",
    EntryKind.COMMANDS: "data",
    EntryKind.CONFIGURATION: "config",
}
ROLES: Final[Mapping[type[Role], RoleName]] = {
    Follower: "follower",
    PreCandidate: "pre_candidate",
    Candidate: "candidate",
    Leader: "leader",
}
MOST_ROUNDS = 1000
"""More than any scenario needs to settle."""


class NeverSettles(Exception):
    """Members that go on talking for ever."""


@attrs.define(eq=False)
class Play:
    """A scenario under way."""

    scenario: Scenario
    post: Post = attrs.field(factory=Post)
    delivered: list[int] = attrs.field(factory=list)
    """How many messages had reached a node after each step."""
    leaders: dict[int, set[int]] = attrs.field(factory=dict)
    """Who ever led a term."""

    def run(self) -> None:
        """Do all steps."""
        self.post.start(*(make_member(node, self._settings) for node in self.scenario.nodes))
        for number, step in enumerate(self.scenario.steps):
            self._do(number, step)
            self._look()
        for node in self.post.running:
            node.hand_out()  # Also what came of the last steps.

    def settle_with_heartbeats(self) -> None:
        """Let leaders speak until everybody has heard what there is to hear."""
        for _ in range(3):
            self._settle()
            for node in self.post.running:
                if node.member.is_leader:
                    node.tick()
            self._settle()

    @property
    def refused(self) -> set[int]:
        """The numbers of the steps whose proposal was refused."""
        return {
            number for node in self.post.nodes.values() for number, outcome in node.proposals.items() if outcome.refused
        }

    def states(self) -> dict[int, NodeState]:
        """Return what all nodes are now."""
        return {number: describe(node) for number, node in self.post.nodes.items()}

    @property
    def _options(self) -> Options:
        return self.scenario.options

    @property
    def _settings(self) -> RaftSettings:
        options = self._options
        return attrs.evolve(
            SETTINGS,
            pre_vote=options.pre_vote,
            check_quorum=options.check_quorum,
            append_window_messages=options.max_inflight or SETTINGS.append_window_messages,
            append_message_bytes=options.max_size_per_msg
            if options.max_size_per_msg is not None
            else SETTINGS.append_message_bytes,
        )

    def _look(self) -> None:
        """Note what a scenario may forbid to happen at any time."""
        self.delivered.append(self.post.delivered)
        for node in self.post.running:
            if node.member.is_leader:
                self.leaders.setdefault(node.member.term, set()).add(node.id)

    # Steps.

    def _do(self, number: int, step: Step) -> None:
        match step:
            case TrafficStep():
                self._direct(step)
            case WorkStep():
                self._work(step)
            case NodeStep():
                self._call(number, step)

    def _direct(self, step: TrafficStep) -> None:
        post = self.post
        match step:
            case Deliver():
                post.deliver(step)
            case Drop():
                post.drop(step)
            case Hold():
                post.hold(step)
            case Replay():
                post.replay()
            case Partition(groups=groups):
                post.partition(groups)
            case Heal():
                post.partition(())

    def _work(self, step: WorkStep) -> None:
        match step:
            case Settle(nodes=nodes):
                self._settle(nodes)
            case AddNodes(new_nodes=new_nodes):
                self.post.start(*(make_member(node, self._settings) for node in new_nodes))
            case Restart(nodes=nodes):
                self.post.start(*self._nodes(nodes))
            case Crash(nodes=nodes):
                for node in self._nodes(nodes):
                    self.post.crash(node)
            case Flush(nodes=nodes):
                for node in self._nodes(nodes):
                    self._flush(node)
            case Persist(nodes=nodes):
                for node in self._nodes(nodes):
                    node.write()
                    node.hand_out()
                    self.post.collect(node)
            case Apply():
                pass  # What is committed is applied when it is handed out.

    def _call(self, number: int, step: NodeStep) -> None:
        [node] = self._nodes([step.node])
        if node.running is None:
            raise InvalidSpec(f"$.steps[{number}]: node {step.node} does not run")
        match step:
            case Tick(n=n):
                for _ in range(n):
                    node.tick()
            case Campaign():
                node.campaign()
            case SetElectionTimeout(n=n):
                node.set_election_timer(n)
            case SendSnapshot(target=target):
                self.post.add(_snapshot_for(target, node))
            case Compact(first_index=first_index):
                if not node.member.snapshot.index < first_index - 1 <= node.member.applied_index:
                    raise InvalidSpec(f"$.steps[{number}]: entry {first_index - 1} cannot be in a new snapshot")
                node.compact(first_index)
            case _:
                node.step(_event(number, node, step))

    def _nodes(self, numbers: Collection[int]) -> list[BareMember]:
        missing = [number for number in numbers if number not in self.post.nodes]
        if missing:
            raise InvalidSpec(f"a step names node {missing[0]}, and there is none")
        return [self.post.nodes[number] for number in numbers]

    def _flush(self, node: BareMember) -> bool:
        """Let a node do its work; with asynchronous storage its writes wait.

        But not one of nothing but term and vote, behind no other: here a candidate asks for votes only after it.
        """
        if node.running is None:
            return False
        if not self._options.async_storage:
            node.work()
            return self.post.collect(node)
        while node.hand_out():
            if len(node.disk.waiting) == 1 and not node.disk.waiting[0][1].entries:
                node.write()
        return self.post.collect(node)

    def _settle(self, numbers: tuple[int, ...] | None = None) -> None:
        nodes = self._nodes(numbers if numbers is not None else self.post.nodes)
        everything = Deliver(to=tuple(node.id for node in nodes))
        for _ in range(MOST_ROUNDS):
            for node in nodes:
                if node.running is not None:
                    node.work()
                    self.post.collect(node)
            if not self.post.deliver(everything):
                return
        raise NeverSettles("the members never settle")


def _event(token: int, node: BareMember, step: NodeStep) -> Event:
    """Return what is asked of a node as one event of its core."""
    match step:
        case ProposeData(data=data):
            return Propose(token, Batch(1, data.encode()), 0)
        case ProposeConfig():
            way = Transition.SINGLE if step.single else Transition(step.transition)
            return ProposeConfiguration(token, wish(node.member.configuration, step.changes), 0, way)
        case TransferTo(target=target):
            return TransferLeadership(target)
        case Read():
            return ReadBarrier(token)
        case ReportUnreachable(target=target):
            return PeerUnreachable(target)
        case _:
            raise AssertionError(f"no event for {step}")


def _snapshot_for(target: int, node: BareMember) -> InstallSnapshot:
    member = node.member
    snapshot = member.describe_snapshot(member.applied_index)
    return InstallSnapshot(sender=node.id, to=target, term=member.term, boot=node.disk.boot, snapshot=snapshot)


def describe(node: BareMember) -> NodeState:
    """Return what a node is now; its log is what it has on disk."""
    log = tuple(map(_record, node.disk.entries))
    if node.running is None:
        state = node.disk.hard_state
        return NodeState("down", state.term, state.voted_for, log)
    member = node.member
    return NodeState(
        role=ROLES[type(member.role)],
        term=member.term,
        vote=member.hard_state.voted_for,
        log=tuple(record for record in log if record.index >= member.first_index),
        commit=member.commit_index,
        config=describe_members(member.configuration),
    )


def _record(entry: Entry) -> LogRecord:
    data = entry.data.decode() if entry.kind is EntryKind.COMMANDS else ""
    return LogRecord(entry.index, entry.term, KINDS[entry.kind], data)
