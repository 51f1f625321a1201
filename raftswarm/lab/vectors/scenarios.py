"""A scenario is played: one step after another is done to bare members, and nothing else happens."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from raftswarm.lab.vectors.bare_member import SETTINGS, BareMember, configuration_of, make_member
from raftswarm.lab.vectors.formats import (
    AddNodes,
    AnyStep,
    Apply,
    Campaign,
    Compact,
    ConfigState,
    Crash,
    Deliver,
    Drop,
    Flush,
    ForgetLeader,
    Heal,
    Hold,
    LogRecord,
    MemberChange,
    NodeState,
    Options,
    Partition,
    Persist,
    ProposeConfig,
    ProposeData,
    Read,
    Replay,
    ReportUnreachable,
    Restart,
    Scenario,
    SendSnapshot,
    SetElectionTimeout,
    Settle,
    Tick,
    TransferTo,
)
from raftswarm.lab.vectors.post import Post
from raftswarm.raft.events import PeerUnreachable, ProposeConfiguration, ReadBarrier, SnapshotSaved, TransferLeadership
from raftswarm.raft.log_entry import Configuration, Entry, EntryKind
from raftswarm.raft.messages import InstallSnapshot
from raftswarm.raft.roles import Candidate, Follower, Leader, PreCandidate, Role
from raftswarm.raft.settings import RaftSettings

KINDS = {EntryKind.BLANK: "noop", EntryKind.COMMANDS: "data", EntryKind.CONFIGURATION: "config"}
ROLES: dict[type[Role], str] = {
    Follower: "follower",
    PreCandidate: "pre_candidate",
    Candidate: "candidate",
    Leader: "leader",
}
MOST_ROUNDS = 1000
"""More than any scenario needs to settle."""


class NeverSettles(Exception):
    """Members that go on talking for ever."""


class NeedsSpecialCall(Exception):
    """A step asks for something that only another engine has; its name is the message."""


@attrs.define(eq=False)
class Play:
    """A scenario under way."""

    scenario: Scenario
    post: Post = attrs.field(factory=Post)
    refused: dict[int, str] = attrs.field(factory=dict)
    """Why, by the number of the step that was refused."""
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

    def settle_with_heartbeats(self) -> None:
        """Let leaders speak until everybody has heard what there is to hear."""
        for _ in range(3):
            self._settle()
            for node in self.post.running:
                if node.member.is_leader:
                    node.tick()
            self._settle()

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

    def _do(self, number: int, step: AnyStep) -> None:
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
            case Settle(nodes=nodes):
                self._settle(nodes)
            case Partition(groups=groups):
                post.partition(groups)
            case Heal():
                post.partition(())
            case AddNodes(new_nodes=new_nodes):
                post.start(*(make_member(node, self._settings) for node in new_nodes))
            case Crash(nodes=nodes):
                for node in self._nodes(nodes):
                    post.crash(node)
            case Restart(nodes=nodes):
                post.start(*self._nodes(nodes))
            case Flush(nodes=nodes):
                for node in self._nodes(nodes):
                    self._flush(node)
            case Persist(nodes=nodes):
                for node in self._nodes(nodes):
                    node.write()
                    node.hand_out()
                    post.collect(node)
            case Apply():
                pass  # What is committed is applied when it is handed out.
            case _:
                self._call(number, step)

    def _call(self, number: int, step: AnyStep) -> None:
        """Something happens to one node."""
        match step:
            case Campaign(node=node):
                self._node(node).campaign()
            case Tick(node=node, n=n):
                for _ in range(n):
                    self._node(node).tick()
            case SetElectionTimeout(node=node, n=n):
                self._node(node).set_election_timer(n)
            case ProposeData(node=node, data=data):
                self._node(node).propose(number, data)
            case ProposeConfig(node=node, changes=changes):
                member = self._node(node)
                wished = change(member.member.configuration, changes)
                member.step(ProposeConfiguration(number, wished, 0))
            case TransferTo(node=node, target=target):
                self._node(node).step(TransferLeadership(target))
            case Read(node=node):
                self._node(node).step(ReadBarrier(number))
            case ReportUnreachable(node=node, target=target):
                self._node(node).step(PeerUnreachable(target))
            case SendSnapshot(node=node, target=target):
                self._send_snapshot(self._node(node), target)
            case Compact(node=node, first_index=first_index):
                member = self._node(node)
                member.disk.snapshot = member.member.describe_snapshot(first_index - 1)
                member.step(SnapshotSaved(member.disk.snapshot))
            case ForgetLeader():
                raise NeedsSpecialCall("forget_leader")

    def _node(self, number: int) -> BareMember:
        return self.post.nodes[number]

    def _nodes(self, numbers: Iterable[int]) -> list[BareMember]:
        return [self._node(number) for number in numbers]

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

    def _send_snapshot(self, node: BareMember, target: int) -> None:
        member = node.member
        self.post.add(
            InstallSnapshot(
                sender=node.id,
                to=target,
                term=member.term,
                boot=node.disk.boot,
                snapshot=member.describe_snapshot(member.applied_index),
            )
        )


def change(configuration: Configuration, changes: Iterable[MemberChange]) -> Configuration:
    """Return the members that those changes, one after another, lead to."""
    voters = {info.id for info in configuration.voters}
    learners = {info.id for info in configuration.learners}
    for wish in changes:
        voters.discard(wish.node)
        learners.discard(wish.node)
        match wish.type:
            case "add_voter":
                voters.add(wish.node)
            case "add_learner":
                learners.add(wish.node)
            case "remove":
                pass
    return configuration_of(voters, learners)


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
        config=_config(member.configuration),
    )


def _record(entry: Entry) -> LogRecord:
    data = entry.data.decode() if entry.kind is EntryKind.COMMANDS else ""
    return LogRecord(entry.index, entry.term, KINDS[entry.kind], data)


def _config(configuration: Configuration) -> ConfigState:
    return ConfigState(
        voters=tuple(info.id for info in configuration.voters),
        voters_outgoing=tuple(info.id for info in configuration.outgoing),
        learners=tuple(info.id for info in configuration.learners),
    )
