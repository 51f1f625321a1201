"""``raftswarm lab check``: is what clients saw linearizable?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from raftswarm.cli.lab_words import NotUnderstood, exit_if, print_json, style, write_text

if TYPE_CHECKING:
    from raftswarm.lab.linearizability import Verdict, Window


@click.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", default="", help="What the object is, such as kv-append; else the index beside, or a guess.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the last of them there, judged.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(files: tuple[Path, ...], model: str, svg: Path | None, as_json: bool) -> None:
    """Judge histories of clients, or folders of them: is there one order that explains what all of them saw?

    Where an index.json beside the files says what their verdicts are, differences are told.

    Exit status: 0 all are linearizable, 1 one is not or could not be decided, 2 a file is no history.
    """
    from raftswarm.errors import InvalidSpec
    from raftswarm.lab.linearizability import check_history_file
    from raftswarm.lab.vectors.histories import read_verdict

    verdicts: list[tuple[Path, Verdict]] = []
    expected: dict[Path, bool] = {}
    for path in _expand(files):
        try:
            listed, is_good = read_verdict(path)
            verdict = check_history_file(path, model=model or listed)
        except InvalidSpec as error:
            raise NotUnderstood(str(error)) from None
        except OSError as error:
            raise NotUnderstood(f"cannot read {error.filename}: {error.strerror}") from None
        if listed:
            expected[path] = is_good
        verdicts.append((path, verdict))
        if not as_json:
            _print(path, verdict)
    if svg is not None:
        _draw(*verdicts[-1], svg)
    good = sum(verdict.is_linearizable for _, verdict in verdicts)
    surprising = [path for path, verdict in verdicts if _differs(verdict, expected.get(path))]
    if as_json:
        rows = [_row(path, verdict) | {"expected": expected.get(path)} for path, verdict in verdicts]
        print_json({"linearizable": good, "others": len(verdicts) - good, "histories": rows})
    elif len(verdicts) > 1:
        click.echo(f"{good} of {len(verdicts)} histories are linearizable")
        for path in surprising:
            click.echo(style(f"{path}: the index beside it says otherwise", "red"))
        if expected:
            click.echo(
                f"{len(expected) - len(surprising)} of {len(expected)} verdicts are those of the index beside them"
            )
    exit_if(good < len(verdicts))


def _differs(verdict: Verdict, expected: bool | None) -> bool:
    """An undecided one differs from both."""
    from raftswarm.lab.linearizability import Outcome

    if expected is None:
        return False
    return verdict.outcome is not (Outcome.LINEARIZABLE if expected else Outcome.REFUTED)


def _draw(path: Path, verdict: Verdict, svg: Path) -> None:
    from raftswarm.lab.linearizability import draw_history, read_history

    write_text(svg, draw_history(read_history(path), verdict, path.name))


def _expand(files: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for file in files:
        inside = sorted(file.glob("*.jsonl")) if file.is_dir() else [file]
        if not inside:
            raise NotUnderstood(f"there is no history in {file}: none of its files ends in .jsonl")
        found += inside
    return found


def _print(path: Path, verdict: Verdict) -> None:
    first, *rest = str(verdict).splitlines()
    words, _, counts = first.partition(":")
    colour = "green" if verdict.is_linearizable else "red"
    click.echo(f"{path}: {style(words, colour)}:{counts}")
    for line in rest:
        click.echo(f"    {line}")


def _row(path: Path, verdict: Verdict) -> dict[str, object]:
    return {
        "file": str(path),
        "outcome": verdict.outcome.value,
        "operations": verdict.operations,
        "configurations": verdict.configurations,
        "object": None if verdict.key is None else str(verdict.key),
        "window": None if verdict.window is None else _row_of_window(verdict.window),
        "explanation": str(verdict).splitlines()[1:],
    }


def _row_of_window(window: Window) -> dict[str, object]:
    return {
        "begin": window.begin,
        "end": window.end,
        "operations": [str(operation) for operation in window.operations],
    }
