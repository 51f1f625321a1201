"""Looks on at a world, and counts what it reaches: what its members decide, and what befalls them in which phase.

The one big idea: the engine names every decision anyway (`raft.rules`), so all that is left to do is to count. Nothing
here changes what it looks at: a world that is looked at and one that is not are the same to the byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from raftswarm.lab.coverage import Coverage
from raftswarm.lab.phase import Phase
from raftswarm.lab.triples import MEMBER
from raftswarm.raft.events import Event
from raftswarm.raft.messages import AnyMessage, Opening, Regressed
from raftswarm.raft.progress import Stage
from raftswarm.raft.roles import Candidate, Follower, Leader, PreCandidate, Role
from raftswarm.raft.rules import NamedRule, Rule

if TYPE_CHECKING:
    from raftswarm.lab.host import Host
    from raftswarm.lab.witnesses import WitnessedMember

FAR_BEHIND_ENTRIES: Final = 5
"""Who lacks more of what is committed is catching up; less is on its way all the time."""
TAKEN: Final = "taken"
"""No rule was named: the input was taken in, and nothing had to be decided."""


class Turn:
    """Stands for the end of a turn: all of its events have been taken in, and the work is about to be handed out."""


_Mark: TypeAlias = tuple[NamedRule, object]
_Input: TypeAlias = type[Event | AnyMessage | Turn]
_ASIDE: Final = frozenset({Rule.HEARS_OF_START, Rule.IS_TRUSTED, Rule.COUNTS_STOPPED, Rule.READS_LEFT_OVER})
"""What is noticed on the way, before anything is decided."""
_WITHOUT_CASE: Final = frozenset({Rule.LATE_WRITE, Rule.NOT_HEARD})
_ANY_ROLE: Final = (Opening, Regressed)
_LETTERS: Final[dict[type[Role], str]] = {Follower: "F", PreCandidate: "P", Candidate: "C", Leader: "L"}


class Onlooker:
    """Of one world."""

    def __init__(self, hosts: Mapping[int, Host]) -> None:
        self._hosts = hosts
        self._marks: Counter[_Mark] = Counter()
        self._triples: Counter[tuple[type[Role], _Input, _Mark | None]] = Counter()
        self._pairs: Counter[tuple[str, Phase]] = Counter()
        self._states: Counter[str] = Counter()
        self.role: type[Role] = Follower
        """Of the member that is taking something in."""
        self.input: _Input | None = None
        """What that is; None once it has decided what to do about it. Set for every step, so it is just set."""

    @property
    def coverage(self) -> Coverage:
        """What was reached so far, as that of one seed."""
        states = dict(self._states)
        triples: Counter[str] = Counter()
        for (role, what, mark), count in self._triples.items():
            triples[_name_triple(role, what, mark)] += count
        return Coverage(
            seeds=1,
            marks={_name(mark): count for mark, count in self._marks.items()},
            triples=dict(triples),
            pairs={f"{kind} {phase.value}": count for (kind, phase), count in self._pairs.items()},
            states=states,
            curve={1: len(states)},
        )

    # What members decide.

    def named(self, rule: NamedRule, facts: Mapping[str, object]) -> None:
        """Something happens by that rule."""
        mark = rule, facts.get("case")
        self._marks[mark] += 1
        if self.input is not None and rule not in _ASIDE:
            self._decide(self.role, self.input, mark)

    def _decide(self, role: type[Role], what: _Input, mark: _Mark) -> None:
        rule, _ = mark
        self._triples[role, what, (rule, None) if rule in _WITHOUT_CASE else mark] += 1
        if rule is Rule.LATER_TERM:
            self.role = Follower  # What it decides next it decides as that.
        else:
            self.input = None

    def has_taken(self, role: type[Role], what: _Input) -> None:
        """A member in that role has taken something in, and no rule was named."""
        self._triples[role, what, None] += 1
        self.input = None

    # What befalls them.

    def struck(self, kind: str, phases: list[Phase]) -> None:
        """A fault of that kind struck in these phases."""
        for phase in phases:
            self._pairs[kind, phase] += 1
        self.look()

    def phases(self) -> list[Phase]:
        """Return what the protocol is at."""
        members = self._members()
        leaders = [member for member in members if isinstance(member.role, Leader)]
        asking = any(isinstance(member.role, (PreCandidate, Candidate)) for member in members)
        found = [Phase.ELECTION] if asking or not leaders else []
        if leaders:
            found += self._phases_at(max(leaders, key=_term))
        if any(not member.is_known_whole for member in members):
            found.append(Phase.RECOVERY)
        return found or [Phase.IDLE]

    def _phases_at(self, leader: WitnessedMember) -> Iterator[Phase]:
        role = leader.role
        assert isinstance(role, Leader), "only leaders are asked"
        commit = leader.commit_index
        present = [progress for peer, progress in role.progress.items() if self._runs(peer)]
        if any(
            progress.match_index + (0 if progress.stage is Stage.PROBE else FAR_BEHIND_ENTRIES) < commit
            for progress in present
            if progress.stage is not Stage.SNAPSHOT
        ):
            yield Phase.CATCHING_UP
        if any(progress.stage is Stage.SNAPSHOT for progress in present):
            yield Phase.SNAPSHOT
        if leader.configuration.is_joint:
            yield Phase.JOINT
        if role.transfer is not None:
            yield Phase.TRANSFER

    # What they are.

    def look(self) -> None:
        """See what all members are at this moment, whoever of them is which."""
        members = self._members()
        if not members:
            return
        term = max(map(_term, members))
        log = max(map(_end_of_log, members))
        commit = max(member.commit_index for member in members)
        down = sum(host.process is None and not host.is_lost for host in self._hosts.values())
        seen = sorted(_outline(member, term, log, commit) for member in members)
        self._states[" ".join([*seen, *["-"] * down])] += 1

    def _members(self) -> list[WitnessedMember]:
        return [host.process.member for host in self._hosts.values() if host.process is not None]

    def _runs(self, member: int) -> bool:
        host = self._hosts.get(member)
        return host is not None and host.process is not None


def _outline(member: WitnessedMember, term: int, log: tuple[int, int], commit: int) -> str:
    """Return role, term, log and commit index of a member, beside the highest of all."""
    own = _end_of_log(member)
    shape = "=" if own == log else "<" if own[0] == log[0] else "/"
    return (
        _LETTERS[type(member.role)]
        + ("=" if member.term == term else "<")
        + shape
        + ("+" if member.last_index > member.commit_index else ".")
        + ("=" if member.commit_index == commit else "<")
    )


def _term(member: WitnessedMember) -> int:
    return member.term


def _end_of_log(member: WitnessedMember) -> tuple[int, int]:
    return member.last_term, member.last_index


def _name_triple(role: type[Role], what: _Input, mark: _Mark | None) -> str:
    decision = TAKEN if mark is None else _name(mark)
    is_any = what in _ANY_ROLE or (mark is not None and mark[0] is Rule.NOT_HEARD)
    return f"{MEMBER if is_any else role.__name__} {what.__name__} {decision}"


def _name(mark: _Mark) -> str:
    rule, case = mark
    return rule.name if case is None else f"{rule.name}.{case}"
