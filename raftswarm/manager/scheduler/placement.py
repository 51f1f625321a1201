"""Where the tasks of one spec go: spread over the preferences' branches, then over nodes (SWARM 5.3).

A level of the tree is a preference, a branch a value of its label. Within a leaf each task goes to the best node: one
that has not failed this spec, then with the fewest tasks of the service, then with the fewest tasks.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from raftswarm.manager.scheduler.filters import Needs, first_failing
from raftswarm.manager.scheduler.ledger import FAULTY, NodeLoad
from raftswarm.objects.constraints import node_attribute
from raftswarm.objects.records import Task
from raftswarm.objects.specs import Placement
from raftswarm.world.slices import Slices


def spread(
    tasks: Sequence[Task], loads: Iterable[NodeLoad], failures: Mapping[str, int]
) -> Slices[tuple[list[tuple[Task, str]], list[Task]]]:
    """Give nodes to tasks of one spec, counting them into the loads; return who goes where, and who found no place.

    Args:
        tasks: equal but for their slots.
        loads: all nodes.
        failures: of this spec, lately, by node id.
    """
    needs = Needs.of(tasks[0])
    tree = yield from _grow(tasks[0], loads, _descriptors(tasks[0]))
    waiting = list(reversed(tasks))
    placed: list[tuple[Task, str]] = []

    def place(load: NodeLoad) -> None:
        task = waiting.pop()
        load.add(task)
        placed.append((task, load.node.id))

    filling = _Filling(needs, failures, place)
    yield from filling.fill(tree, len(tasks))
    return placed, waiting[::-1]


def _descriptors(task: Task) -> list[str]:
    preferences = (task.spec.placement or Placement()).preferences or ()
    descriptors = [preference.spread.spread_descriptor for preference in preferences if preference.spread is not None]
    return [name for name in descriptors if name.lower().startswith(("node.labels.", "engine.labels."))]


@attrs.define(eq=False)
class Branch:
    """Nodes that share the labels on the way to it."""

    tasks: int = 0
    """Of the service, on all nodes below."""
    branches: dict[str, Branch] = attrs.field(factory=dict)
    loads: list[NodeLoad] = attrs.field(factory=list)
    """Of a leaf."""


def _grow(task: Task, loads: Iterable[NodeLoad], descriptors: Sequence[str]) -> Slices[Branch]:
    tree = Branch()
    for load in loads:
        yield
        here = load.active_by_service[task.service_id]
        branch = tree
        branch.tasks += here
        for descriptor in descriptors:
            branch = branch.branches.setdefault(node_attribute(load.node, descriptor) or "", Branch())
            branch.tasks += here
        branch.loads.append(load)
    return tree


@attrs.frozen
class _Filling:
    needs: Needs
    failures: Mapping[str, int]
    place: Callable[[NodeLoad], None]

    def fill(self, branch: Branch, count: int) -> Slices[int]:
        """Place up to so many tasks below the branch; return how many found a node."""
        placed = yield from self._fill_branches(branch, count) if branch.branches else self._fill_leaf(branch, count)
        branch.tasks += placed
        return placed

    def _fill_branches(self, parent: Branch, count: int) -> Slices[int]:
        """Level the branches: each in turn gets what it lacks to the average, those with the least first."""
        open_branches = [parent.branches[value] for value in sorted(parent.branches)]
        placed = 0
        while open_branches and placed < count:
            average, extra = divmod(sum(branch.tasks for branch in open_branches) + count - placed, len(open_branches))
            full = []
            before = placed
            for branch in sorted(open_branches, key=lambda branch: branch.tasks):
                lacking = average - branch.tasks + (1 if extra else 0)
                share = min(lacking, count - placed)
                if share <= 0:
                    continue
                got = yield from self.fill(branch, share)
                placed += got
                if got < share:
                    full.append(branch)
                elif lacking == share and extra:
                    extra -= 1
            open_branches = [branch for branch in open_branches if branch not in full]
            if placed == before and not full:
                break
        return placed

    def _fill_leaf(self, leaf: Branch, count: int) -> Slices[int]:
        heap: list[tuple[tuple[int, int, int], str, NodeLoad]] = []
        for load in leaf.loads:
            yield
            if self._fits(load):
                heap.append((self._rank(load), load.node.id, load))
        heapq.heapify(heap)
        placed = 0
        while heap and placed < count:
            yield
            load = heapq.heappop(heap)[2]
            self.place(load)
            placed += 1
            if self._fits(load):
                heapq.heappush(heap, (self._rank(load), load.node.id, load))
        return placed

    def _fits(self, load: NodeLoad) -> bool:
        return first_failing(self.needs, load) is None

    def _rank(self, load: NodeLoad) -> tuple[int, int, int]:
        failures = self.failures.get(load.node.id, 0)
        here = load.active_by_service[self.needs.service_id]
        return (failures if failures >= FAULTY else 0, here, load.active)
