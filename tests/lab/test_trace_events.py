"""Traces of random worlds, followed by a specification of Raft that shares no code with the engine (docs/formats.md).

Every event of a trace has to be a step that Figure 2 of the paper allows, and what is committed never differs. That
the specification sees something is shown by traces in which one line was changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import pytest

from raftswarm.lab import CoreWorld
from raftswarm.lab.clients import Clients
from raftswarm.lab.nemesis import Nemesis
from raftswarm.lab.seeds import draw_world, run_phases
from raftswarm.raft.tracing import json_lines

SEEDS = int(os.environ.get("RAFTSWARM_SEEDS", "12"))

Line = dict[str, Any]


class NotAllowed(Exception):
    """An event that is no step of Raft."""


def require(allowed: object, complaint: str) -> None:
    if not allowed:
        raise NotAllowed(complaint)


@attrs.define(eq=False)
class Log:
    """Terms by index; what a snapshot replaced is unknown, but for the last of it."""

    base: int = 0
    terms: list[int] = attrs.field(factory=list)
    base_term: int | None = 0

    @property
    def last(self) -> int:
        return self.base + len(self.terms)

    def term_at(self, index: int) -> int | None:
        if index == self.base:
            return self.base_term
        return self.terms[index - self.base - 1] if self.base < index <= self.last else None

    def up_to(self, index: int) -> Log:
        return Log(self.base, self.terms[: index - self.base], self.base_term)

    def after(self, message: Line, terms: list[int], commit: int) -> Log:
        """What is there after an accepted AppendEntries: cut only at a conflict (5.3)."""
        result = Log(self.base, list(self.terms), self.base_term)
        for index, term in enumerate(terms, start=message["index"] + 1):
            if index <= max(result.base, commit) or result.term_at(index) == term:
                continue
            if index <= result.last:
                result = result.up_to(index - 1)
            result.terms.append(term)
        return result


@attrs.define(eq=False)
class Told:
    """What others have received from a member."""

    term: int = 0
    vote_term: int = 0
    vote: str = "0"


@attrs.define(eq=False)
class Node:
    """What one member has said of itself."""

    term: int = 0
    vote: str = "0"
    commit: int = 0
    role: str = "StateFollower"
    conf: list[list[str]] = attrs.field(factory=list)
    log: Log = attrs.field(factory=Log)
    heard: Line | None = None
    """The message that is being taken in: until it is answered, its entries and commit index may be."""
    asked: dict[str, Line] = attrs.field(factory=dict)
    granted: set[str] = attrs.field(factory=set)
    match: dict[str, int] = attrs.field(factory=dict)
    told: Told = attrs.field(factory=Told)


@attrs.define(eq=False)
class Specification:
    """All members, the messages that were ever sent, and what is committed."""

    nodes: dict[str, Node] = attrs.field(factory=dict)
    sent: set[str] = attrs.field(factory=set)
    leaders: dict[int, str] = attrs.field(factory=dict)
    committed: dict[int, int] = attrs.field(factory=dict)
    newest_term: int = 0

    def follow(self, lines: Iterable[bytes]) -> int:
        """Take every step; return how many."""
        number = 0
        for number, line in enumerate(lines, start=1):
            event = json.loads(line)
            try:
                self._step(event)
            except NotAllowed as complaint:
                raise NotAllowed(f"line {number}, {event['name']} of {event['nid']}: {complaint}") from None
        return number

    def _step(self, event: Line) -> None:
        node = self.nodes.setdefault(event["nid"], Node())
        if event["name"] == "InitState":
            self._start(event, node)
            node = self.nodes[event["nid"]]
        else:
            self._hard_state(event, node)
            self._log(event, node)
            self._act(event, node)
            self._commit(event, node)
        require(event["conf"] == node.conf, "the members changed by themselves")
        require(node.log.last == event["log"], f"the log should end at {node.log.last}")

    def _start(self, event: Line, node: Node) -> None:
        """A start knows at least what others have been told: all of that was durable."""
        state, first = event["state"], event["prop"]["first"]
        log = Log(first - 1, event["prop"]["terms"], 0 if first == 1 else None)
        told = node.told
        require(state["term"] >= told.term, f"forgot term {told.term}")
        require(state["term"] > told.vote_term or state["vote"] == told.vote, "forgot its vote")
        self.newest_term = max(self.newest_term, state["term"])
        node = Node(state["term"], state["vote"], state["commit"], event["role"], event["conf"], log, told=told)
        self.nodes[event["nid"]] = node

    def _hard_state(self, event: Line, node: Node) -> None:
        state, name = event["state"], event["name"]
        require(state["term"] >= node.term, "the term went back")
        if state["term"] > node.term:
            require(name in {"BecomeFollower", "BecomeCandidate"}, "a term begins with a change of the role")
            require(state["term"] <= self.newest_term + (name == "BecomeCandidate"), "nobody was in that term")
            self.newest_term = max(self.newest_term, state["term"])
            node.vote, node.granted, node.match = "0", set(), {}
        require(node.vote in {"0", state["vote"]}, "a second vote in the term")
        if state["vote"] != node.vote:
            own = name == "BecomeCandidate" and state["vote"] == event["nid"]
            asked = node.asked.get(state["vote"])
            require(own or (asked and asked["term"] == state["term"]), "a vote that nobody asked for")
            if asked and not own:
                ours = node.log.term_at(node.log.last)
                require(ours is None or (asked["logTerm"], asked["index"]) >= (ours, node.log.last), "a better log")
        node.term, node.vote = state["term"], state["vote"]

    def _log(self, event: Line, node: Node) -> None:
        """Between a message and its answer a follower's log becomes what the message says; otherwise it stays."""
        name, last = event["name"], event["log"]
        if name in {"Replicate", "ChangeConf"}:
            require(event["role"] == "StateLeader" and last == node.log.last + 1, "only leaders append, one by one")
            node.log.terms.append(node.term)
            node.conf = event["conf"] if name == "ChangeConf" else node.conf
        elif node.heard and node.heard["type"] == "MsgApp" and node.heard["term"] == node.term:
            heard = node.heard
            target = node.log.after(heard, heard["terms"], node.commit)
            known = node.log.term_at(heard["index"])
            matches = known == heard["logTerm"] or known is None or heard["index"] < node.commit
            if name == "SendAppendEntriesResponse":
                if not event["msg"]["reject"] and event["msg"]["type"] == "MsgAppResp":
                    require(matches and heard["index"] <= node.log.last, "accepted what does not fit")
                    node.log = target
            elif name == "ApplyConfChange":
                require(last <= target.last, "more entries than were sent")
                node.log = target.up_to(last)
        elif node.heard and node.heard["type"] == "MsgSnap" and name == "ApplyConfChange":
            node.log = Log(node.heard["entries"], [], node.heard["snapshotTerm"])
        if name == "ApplyConfChange":
            require(event["conf"][0] == event["prop"]["cc"]["newconf"], "other members than said")
            node.conf = event["conf"]

    def _commit(self, event: Line, node: Node) -> None:
        commit = event["state"]["commit"]
        require(commit >= node.commit, "the commit index went back")
        if commit > node.commit and event["name"] != "Commit":
            heard = node.heard
            require(heard and heard["term"] == node.term, "committed without a leader's word")
            assert heard is not None
            told = heard["entries"] if heard["type"] == "MsgSnap" else heard["commit"]
            require(commit <= min(told, node.log.last), "committed more than the leader says")
        for index in range(max(node.commit, node.log.base) + 1, commit + 1):
            term = node.log.term_at(index)
            require(term is None or self.committed.setdefault(index, term) == term, f"entry {index} differs")
        node.commit = commit

    def _act(self, event: Line, node: Node) -> None:
        message = event.get("msg")
        name, role = event["name"], event["role"]
        quietly = role in {node.role, "StatePreCandidate"}  # Which a specification of Raft knows nothing of.
        require(quietly or name.startswith("Become"), "another role without a word")
        if message is not None:
            message = message | event.get("prop", {})
        if name.startswith("Send"):
            assert message is not None
            self._send(event, node, message)
        elif name.startswith("Receive"):
            assert message is not None
            self._receive(node, message)
        elif name == "BecomeCandidate":
            require(node.vote == event["nid"], "a candidate votes for itself")
        elif name == "BecomeLeader":
            require(node.role == "StateCandidate", "only candidates win")
            require(self._is_quorum(node.granted, event["conf"]), f"only {sorted(node.granted)} voted for it")
            require(self.leaders.setdefault(node.term, event["nid"]) == event["nid"], "a second leader of the term")
        elif name == "Commit":
            commit = event["state"]["commit"]
            have = {peer for peer, index in node.match.items() if index >= commit} | {event["nid"]}
            require(role == "StateLeader" and node.log.term_at(commit) == node.term, "not an entry of its term (5.4.2)")
            require(self._is_quorum(have, event["conf"]), f"only {sorted(have)} have it")
        node.role = role

    def _send(self, event: Line, node: Node, message: Line) -> None:
        require(message["from"] == event["nid"] and message["term"] == node.term, "speaks for another")
        self.sent.add(json.dumps(event["msg"], sort_keys=True))
        match message["type"]:
            case "MsgVote":
                ends = (node.log.term_at(node.log.last), node.log.last)
                require(node.vote == event["nid"], "asks without a vote for itself")
                require(ends[0] is None or (message["logTerm"], message["index"]) == ends, "boasts of its log")
            case "MsgVoteResp":
                require(message["reject"] or node.vote == message["to"], "grants a vote that it has not given")
            case "MsgApp":
                require(event["role"] == "StateLeader", "only leaders send entries")
                ours = [node.log.term_at(index) for index in range(message["index"], event["log"] + 1)]
                said = [message["logTerm"], *message["terms"]]
                same = all(own in {None, term} for own, term in zip(ours, said, strict=False))
                require(same and len(said) <= len(ours), "sends what is not in its log")
            case "MsgAppResp":
                require(message["reject"] or message["index"] <= node.log.last, "acknowledges what it does not have")

    def _receive(self, node: Node, message: Line) -> None:
        sent = {key: value for key, value in message.items() if key not in {"terms", "snapshotTerm"}}
        require(json.dumps(sent, sort_keys=True) in self.sent, "nobody sent that")
        node.heard = message
        told = self.nodes[message["from"]].told
        told.term = max(told.term, message["term"])
        if message["type"] == "MsgVoteResp" and not message["reject"] and message["term"] >= told.vote_term:
            told.vote_term, told.vote = message["term"], message["to"]
        match message["type"]:
            case "MsgVote":
                node.asked[message["from"]] = message
            case "MsgVoteResp" if not message["reject"] and message["term"] == node.term:
                node.granted.add(message["from"])
            case "MsgAppResp" if not message["reject"] and message["term"] == node.term:
                node.match[message["from"]] = max(message["index"], node.match.get(message["from"], 0))

    @staticmethod
    def _is_quorum(have: set[str], conf: list[list[str]]) -> bool:
        return all(2 * len(have & set(voters)) > len(voters) for voters in conf if voters)


def trace_of(seed: int, seconds: float = 10.0) -> list[bytes]:
    lines: list[bytes] = []
    drawn = draw_world(seed)
    # A specification knows of no message that nobody sent, and of no disk that is set back.
    mix = attrs.evolve(drawn.faults, nonsense_every=0.0, set_back_every=0.0)
    world = CoreWorld(seed, members=len(drawn.hosts), faults=mix, events=json_lines(lines.append))
    run_phases(world, Clients(world), Nemesis(world), seconds)
    return lines


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_every_step_of_a_random_world_is_one_that_raft_allows(seed: int) -> None:
    lines = trace_of(seed)

    assert Specification().follow(lines) == len(lines) > 100


@pytest.fixture(scope="module")
def calm_trace() -> list[bytes]:
    """Three members elect a leader, which is then cut off; another replaces it, and it comes back."""
    lines: list[bytes] = []
    world = CoreWorld(1, events=json_lines(lines.append))
    world.run_until(lambda: world.leader is not None, within_seconds=10)
    first = world.leader
    assert first is not None
    for _ in range(3):
        world.propose(b"x")
        world.run_for(0.2)
    world.isolate(first)
    world.propose(b"lost", member=first)
    world.run_until(lambda: world.leader not in {None, first}, within_seconds=10)
    world.propose(b"y")
    world.run_for(0.5)
    world.heal()
    world.run_for(2.0)
    assert Specification().follow(lines) == len(lines)
    return lines


def tamper(lines: list[bytes], name: str, change: Callable[[Line], None], where: Callable[[Line], bool]) -> list[bytes]:
    """Change the last line of that name for which `where` holds."""
    events = [json.loads(line) for line in lines]
    [*_, found] = (event for event in events if event["name"] == name and where(event))
    change(found)
    return [json.dumps(event).encode() for event in events]


def raise_term(event: Line) -> None:
    event["state"]["term"] += 1


def lower_commit(event: Line) -> None:
    event["state"]["commit"] -= 1


def raise_commit(event: Line) -> None:
    event["state"]["commit"] += 1


def forget_vote(event: Line) -> None:
    event["state"]["vote"] = "9"


def lengthen_log(event: Line) -> None:
    event["log"] += 1


def grow_match(event: Line) -> None:
    event["msg"]["index"] += 1


def change_terms(event: Line) -> None:
    event["prop"]["terms"] = [term + 1 for term in event["prop"]["terms"]]


def change_members(event: Line) -> None:
    event["conf"][0].pop()


def lead(event: Line) -> None:
    event["name"] = "BecomeLeader"


def is_full(event: Line) -> bool:
    return bool(event.get("prop", {}).get("terms"))


def is_accepted(event: Line) -> bool:
    return event["msg"]["type"] == "MsgAppResp" and not event["msg"]["reject"]


def is_any(event: Line) -> bool:
    return True


@pytest.mark.parametrize(
    ("name", "change", "where"),
    [
        ("Ready", raise_term, is_any),
        ("Ready", lower_commit, is_any),
        ("Ready", raise_commit, is_any),
        ("Ready", forget_vote, is_any),
        ("Ready", lengthen_log, is_any),
        ("Ready", change_members, is_any),
        ("Commit", raise_commit, is_any),
        ("BecomeCandidate", forget_vote, is_any),
        ("BecomeCandidate", lead, is_any),
        ("BecomeFollower", raise_term, is_any),
        ("SendAppendEntriesRequest", change_terms, is_full),
        ("SendAppendEntriesResponse", grow_match, is_accepted),
        ("ReceiveAppendEntriesResponse", grow_match, is_accepted),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_trace_with_one_changed_line_is_refuted(
    calm_trace: list[bytes], name: str, change: Callable[[Line], None], where: Callable[[Line], bool]
) -> None:
    tampered = tamper(calm_trace, name, change, where)

    with pytest.raises(NotAllowed):
        Specification().follow(tampered)


@pytest.mark.parametrize("name", ["Replicate", "BecomeLeader", "BecomeCandidate", "SendRequestVoteResponse"])
def test_a_trace_that_lacks_a_line_is_refuted(calm_trace: list[bytes], name: str) -> None:
    lacking = [line for line in calm_trace if json.loads(line)["name"] == name][-1]

    with pytest.raises(NotAllowed):
        Specification().follow(line for line in calm_trace if line is not lacking)
