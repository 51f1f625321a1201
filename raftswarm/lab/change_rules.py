"""What may follow a configuration, told without the code that plans it (dissertation 4.1, 4.3)."""

from __future__ import annotations

from collections.abc import Iterable

from raftswarm.raft.log_entry import Configuration, MemberInfo


def find_wrong_step(old: Configuration, new: Configuration) -> str:
    """Say what is wrong with a configuration that follows another; empty when nothing is."""
    voters, learners = ids_of(new.voters), ids_of(new.learners)
    if not voters or len({*voters, *learners}) < len(voters) + len(learners):
        return "has no voter, or lists a member twice"
    if new.outgoing:
        return _find_wrong_entering(old, new)
    if new.learners_next or new.auto_leave:
        return "is not joint and says what comes after it"
    if old.outgoing:
        is_left = voters == ids_of(old.voters) and {*learners} == {*ids_of(old.learners), *ids_of(old.learners_next)}
        return "" if is_left else "leaves a joint configuration for others than its new members"
    changed = {*voters} ^ {*ids_of(old.voters)}
    return f"changes {len(changed)} voters at once" if len(changed) > 1 else ""


def _find_wrong_entering(old: Configuration, new: Configuration) -> str:
    outgoing = ids_of(new.outgoing)
    if old.outgoing or outgoing != ids_of(old.voters):
        return f"is joint with {outgoing} instead of the voters before"
    if {*ids_of(new.learners)} & {*outgoing} or not {*ids_of(new.learners_next)} <= {*outgoing} - {*ids_of(new.voters)}:
        return "counts a learner as a voter"
    return ""


def ids_of(infos: Iterable[MemberInfo]) -> list[int]:
    """Return their ids."""
    return [info.id for info in infos]
