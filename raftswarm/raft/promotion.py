"""Learners that are to become voters: when they have caught up (dissertation 4.2.1).

The one big idea: rounds. In each the learner is to get the log as it was when the round began; once a round takes less
than an election timeout, little enough is missing that its vote cannot hold up commits for longer than an election
does. A round ends with an answer, so who is silent never ends one, however complete its log is.
"""

from __future__ import annotations

from raftswarm.raft.core import Core
from raftswarm.raft.progress import Round
from raftswarm.raft.roles import Leader
from raftswarm.raft.rules import Rule


def find_caught_up(core: Core, role: Leader) -> int:
    """Return a learner that is to be promoted and has ended a round in time just now; 0 without one."""
    caught_up = 0
    for info in core.configuration.learners:
        progress = role.progress.get(info.id)
        if not info.promote or progress is None:
            continue
        next_round = Round(core.log.last_index, core.now)
        round_ = progress.round = progress.round or next_round
        if progress.match_index >= round_.last_index and progress.heard_at > round_.began_at:
            progress.round = next_round
            if core.now - round_.began_at < core.settings.election_seconds:
                core.because(Rule.CAUGHT_UP, learner=info.id)
                caught_up = caught_up or info.id
            else:
                core.because(Rule.ROUND_TOO_SLOW, learner=info.id)
    return caught_up
