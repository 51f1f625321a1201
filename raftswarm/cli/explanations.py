"""Explanations on a terminal: a sentence for the service, one for each task, and under it what each node lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from raftswarm.objects.explanations import NodeExplanation, ServiceExplanation, TaskExplanation


def print_service_explanation(explanation: ServiceExplanation) -> None:
    """Print a service's; tasks with the same reason are told of together."""
    click.echo(f"{explanation.name}: {explanation.summary}")
    for alike in _alike(explanation.tasks):
        _print_tasks(alike)


def print_task_explanation(explanation: TaskExplanation) -> None:
    """Print a task's."""
    _print_tasks([explanation])


def _alike(tasks: Sequence[TaskExplanation]) -> Iterator[list[TaskExplanation]]:
    groups: dict[tuple[str, str, str], list[TaskExplanation]] = {}
    for task in tasks:
        groups.setdefault((task.state, task.summary, repr(task.nodes)), []).append(task)
    yield from groups.values()


def _print_tasks(tasks: Sequence[TaskExplanation]) -> None:
    first = tasks[0]
    names = ", ".join(task.name for task in tasks[:5]) + (f" and {len(tasks) - 5} more" if len(tasks) > 5 else "")
    click.echo(f"  {names}: {first.state}; {first.summary}")
    width = max((len(_name(node)) for node in first.nodes), default=0)
    for node in first.nodes:
        for position, obstacle in enumerate(node.obstacles or ["it would fit"]):
            click.echo(f"    {'' if position else _name(node):<{width}}  {obstacle}")


def _name(node: NodeExplanation) -> str:
    return node.hostname or node.node_id
