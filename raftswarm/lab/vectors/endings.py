"""Where a scenario ends, compared with where the reference ended, and what it says must be so or must not.

What is compared is what every engine has: role, term, vote, commit index, members, and the log that is on disk. Where
the reference's state cannot be ours, `DEPARTURES` says what is compared instead, and why; it is never silent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal

import attrs
from msgspec.structs import replace

from raftswarm.errors import InvalidSpec
from raftswarm.lab.vectors.outcomes import Outcome, attempt, judge
from raftswarm.lab.vectors.scenario_form import (
    ForgetLeader,
    InitialNode,
    NodeState,
    ProposeConfig,
    ProposeData,
    Scenario,
)
from raftswarm.lab.vectors.scenarios import NeverSettles, Play


@attrs.frozen(kw_only=True)
class Departure:
    """How a scenario is compared when not as it asks for."""

    reason: str
    end: Literal["final", "settled", ""] = ""
    """Compare the state after the last step, or after three heartbeats more."""
    loosely: tuple[int, ...] = ()
    """Of these nodes only that one log, ours or the reference's, is the beginning of the other."""


HEARTBEATS: Final = "what was lost is sent again after two heartbeats without an answer, not after one"
DEPARTURES: Final[Mapping[str, Departure]] = {
    "compact-then-catch-up": Departure(end="settled", reason=HEARTBEATS),
    "prevote-rejoin-no-disruption": Departure(end="settled", reason=HEARTBEATS),
    "stale-append-reply": Departure(end="settled", reason=HEARTBEATS),
    "fig8-d": Departure(
        end="settled", reason="a leader writes to a member that was restarted at once, not at its next heartbeat"
    ),
    "script-confchange_v1_remove_leader": Departure(
        loosely=(1, 2, 3), reason="a leader that is removed hands over and steps down when that is committed"
    ),
}

Claim = Callable[[Play, Mapping[int, NodeState]], bool]


def _never_led(node: int) -> Claim:
    return lambda play, _: all(node not in leaders for leaders in play.leaders.values())


def _never_applied(*terms: int) -> Claim:
    return lambda play, _: all(entry.term not in terms for node in play.post.nodes.values() for entry in node.applied)


def _refused(data: str) -> Claim:
    def holds(play: Play, _: Mapping[int, NodeState]) -> bool:
        numbers = [
            n for n, step in enumerate(play.scenario.steps) if isinstance(step, ProposeData) and step.data == data
        ]
        return all(number in play.refused for number in numbers)

    return holds


def _unread(play: Play, _: Mapping[int, NodeState]) -> bool:
    return not any(outcome.index for node in play.post.nodes.values() for outcome in node.reads.values())


def _is_nowhere_committed(data: str) -> Claim:
    def holds(_: Play, states: Mapping[int, NodeState]) -> bool:
        return all(
            record.index > state.commit for state in states.values() for record in state.log if record.data == data
        )

    return holds


def _committed(state: NodeState) -> set[str]:
    return {record.data for record in state.log if record.index <= state.commit}


CLAIMS: Final[Mapping[str, Mapping[str, Claim]]] = {
    "elect-one-vote-per-term": {"node 2 never leads": _never_led(2)},
    "late-vote-reply": {"node 1 never leads": _never_led(1)},
    "fig8-d": {"an entry of term 2 is never applied": _never_applied(2)},
    "majority-even": {"x is not committed": _is_nowhere_committed("x")},
    "member-joint-needs-both": {
        "x is not committed": _is_nowhere_committed("x"),
        "node 2 never leads": _never_led(2),
    },
    "prevote-rejoin-no-disruption": {"node 3 never leads": _never_led(3)},
    "read-index-partitioned": {"r1 is not answered": _unread},
    "script-confchange_v1_remove_leader": {
        "the members are 2 and 3": lambda _, states: {state.config.voters for state in states.values()} == {(2, 3)},
        "foo and bar are committed": lambda _, states: _committed(states[2]) >= {"foo", "bar"},
        "node 1 leads no more": lambda _, states: states[1].role == "follower",
    },
    "transfer-blocks-proposals": {"late is refused": _refused("late")},
}
"""What must or must not be that the last state does not show."""


def check_scenario(scenario: Scenario) -> Outcome:
    """Play a scenario and compare its end. InvalidSpec if its steps make no sense."""
    return attempt(scenario.id, lambda: _check(scenario))


def _check(scenario: Scenario) -> Outcome:
    if any(isinstance(step, ForgetLeader) for step in scenario.steps):
        reason = "needs forget_leader, which is special to another engine"
        return Outcome(name=scenario.id, verdict="skipped", details=(reason,))
    for number, checkpoint in enumerate(scenario.checkpoints):
        if checkpoint.step >= len(scenario.steps):
            raise InvalidSpec(f"$.checkpoints[{number}]: there is no step {checkpoint.step}")
    play = Play(scenario)
    try:
        play.run()
    except NeverSettles as never:
        return judge(scenario.id, [str(never)])
    differences = _judge_claims(play) + _judge_results(play) + _judge_cost(play) + _judge_safety(play)
    departure = DEPARTURES.get(scenario.id)
    end = (departure.end if departure else "") or scenario.compare
    if end == "settled":
        play.settle_with_heartbeats()
    if end != "no":
        expected = scenario.expect_settled if end == "settled" else scenario.expect_final
        differences += _judge_states(play, expected, departure.loosely if departure else ())
    outcome = judge(scenario.id, differences)
    if departure is not None and not differences:
        return replace(outcome, details=(f"compared otherwise: {departure.reason}",))
    return outcome


def _judge_claims(play: Play) -> list[str]:
    states = play.states()
    claims = CLAIMS.get(play.scenario.id, {})
    return [f"not so: {words}" for words, holds in claims.items() if not holds(play, states)]


def _judge_results(play: Play) -> list[str]:
    """Compare which commands were refused. Of changes of the members, see `_refused_changes`."""
    differences = []
    for checkpoint in play.scenario.checkpoints:
        step = play.scenario.steps[checkpoint.step]
        result = "refused" if checkpoint.step in play.refused else "ok"
        if isinstance(step, ProposeData) and result != checkpoint.result:
            differences.append(f"step {checkpoint.step}, propose: {result}, expected {checkpoint.result}")
    return differences


def _judge_cost(play: Play) -> list[str]:
    """An engine should not need more than twice as many messages as the reference, and a few."""
    return [
        f"step {point.step}: {play.delivered[point.step]} messages were delivered, expected {point.delivered} or so"
        for point in play.scenario.checkpoints
        if play.delivered[point.step] > 2 * point.delivered + 8
    ]


def _judge_safety(play: Play) -> list[str]:
    """Election safety, log matching and state machine safety hold whatever the scenario is about (Figure 3)."""
    differences = [f"nodes {sorted(nodes)} led term {term}" for term, nodes in play.leaders.items() if len(nodes) > 1]
    applied: dict[int, tuple[int, bytes]] = {}
    for node in play.post.nodes.values():
        differences += [
            f"node {node.id} applied another entry {entry.index} than others"
            for entry in node.applied
            if applied.setdefault(entry.index, (entry.term, entry.data)) != (entry.term, entry.data)
        ]
    return differences


def _judge_states(play: Play, expected: Mapping[int, NodeState], loosely: Collection[int]) -> list[str]:
    got = play.states()
    if sorted(got) != sorted(expected):
        return [f"there are nodes {sorted(got)}, expected {sorted(expected)}"]
    shift = max(map(_missing_terms, play.scenario.nodes))
    left_out = _refused_changes(play, expected)
    differences = []
    for node, state in expected.items():
        theirs = _in_later_terms(state, shift) if state.term or got[node].log else state
        theirs = _without(theirs, left_out)
        if node not in loosely:
            for name in ("role", "term", "vote", "commit", "config"):
                if getattr(got[node], name) != getattr(theirs, name):
                    said = f"{name} is {getattr(got[node], name)}, expected {getattr(theirs, name)}"
                    differences.append(f"node {node}: {said}")
        differences += [f"node {node}: {said}" for said in _compare_logs(got[node], theirs, loosely=node in loosely)]
    return differences


def _compare_logs(ours: NodeState, theirs: NodeState, *, loosely: bool) -> list[str]:
    """Compare what both hold: where a log is cut behind a snapshot is each engine's own affair."""
    mine = {record.index: record for record in ours.log}
    differences = []
    if mine and theirs.log and max(mine) != theirs.log[-1].index and not loosely:
        differences.append(f"the log ends at {max(mine)}, expected {theirs.log[-1].index}")
    for record in theirs.log:
        held = mine.get(record.index)
        data = record.data if record.kind == "data" else ""
        if held is not None and (held.term, held.data) != (record.term, data):
            differences.append(f"entry {record.index} is {held}, expected {record}")
    return differences


def _missing_terms(node: InitialNode) -> int:
    """Some scenarios begin in a term before that of the log. No member can be there (5.1), so all terms are later."""
    last = node.log[-1].term if node.log else node.snapshot.term
    return max(0, last - node.term)


def _in_later_terms(state: NodeState, shift: int) -> NodeState:
    log = tuple(replace(record, term=record.term + shift) for record in state.log)
    return replace(state, term=state.term + shift, log=log)


def _refused_changes(play: Play, expected: Mapping[int, NodeState]) -> list[int]:
    """Return where the reference has a blank entry for a change of the members that was refused; here there is none.

    Other blank entries are the first of their term.
    """
    refused = sum(isinstance(play.scenario.steps[number], ProposeConfig) for number in play.refused)
    places = {
        record.index
        for state in expected.values()
        for before, record in pairwise(state.log)
        if record.kind == "noop" and record.term == before.term
    }
    return sorted(places)[:refused]


def _without(state: NodeState, places: Sequence[int]) -> NodeState:
    """Return a state whose log never had those entries."""

    def moved(index: int) -> int:
        return index - sum(place <= index for place in places)

    log = tuple(replace(record, index=moved(record.index)) for record in state.log if record.index not in places)
    return replace(state, log=log, commit=moved(state.commit))
