"""``raftswarm task``: what Docker shows of single tasks in passing."""

from __future__ import annotations

import click
import msgspec

from raftswarm.cli.explanations import print_task_explanation
from raftswarm.cli.session import with_engine
from raftswarm.client import EngineClient


@click.group(name="task")
def command() -> None:
    """Look at single tasks."""


@command.command()
@click.argument("task")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(*, task: str, as_json: bool) -> None:
    """Say why a task is where it is: each reason, on each node, and what would have to change."""

    async def work(engine: EngineClient) -> None:
        explanation = await engine.explain_task(task)
        if as_json:
            click.echo(msgspec.json.encode(explanation).decode())
        else:
            print_task_explanation(explanation)

    with_engine(work)
