"""A report as one HTML page that needs nothing but itself, for light screens and dark ones."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from raftswarm.lab.chaos.plots import draw_calls, draw_swarm, draw_times
from raftswarm.lab.chaos.report import Report, Strike
from raftswarm.lab.chaos.style import STYLE


def render_page(report: Report) -> str:
    """Return the page."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Report) -> Iterator[str]:
    failed = sum(not check.held for check in report.checks)
    verdict = f"{failed} of {len(report.checks)} checks failed" if failed else "everything held"
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Chaos, seed {report.seed}: {verdict}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>"
    yield f"<h1>Chaos, seed {report.seed}</h1>"
    yield (
        f'<p><span class="verdict {"bad" if failed else "good"}">{"✗" if failed else "✓"} {verdict}</span> '
        f"&nbsp;·&nbsp; {len(report.strikes)} faults in {report.seconds:g} s on {report.nodes} daemons, "
        f"{report.managers} of them managers, with {report.replicas} replicas of a service</p>"
    )
    yield '<div class="tiles">'
    for figure, words, bad in _tiles(report):
        yield f'<div class="tile"><b{" class=bad" * bad}>{escape(figure)}</b><span>{escape(words)}</span></div>'
    yield "</div>"
    yield from _section(
        "Calls",
        "Of all clients, each of which asks one manager, per second. Bands are faults; red ones took the leader.",
        _legend(("c-green", "reads"), ("c-blue", "writes"), ("c-amber", "failures"), ("c-red box", "no write")),
        draw_calls(report),
    )
    yield from _section(
        "Swarm",
        "As a manager that answered showed it.",
        _legend(("c-blue", "replicas that run"), ("c-green", "nodes that are ready")),
        draw_swarm(report),
    )
    yield from _section(
        "Times",
        "From a strike at the leader to a write that began later and was acknowledged; from a fault's end until "
        "nothing was amiss.",
        "",
        draw_times(report),
    )
    yield from _section("Checks", "", "", _checks(report))
    yield from _section("Faults", "", "", _strikes(report))
    yield f"<section><p>Again, with the same faults at the same times:</p><code>{escape(command_of(report))}</code>"
    if report.kept:
        yield f"<p></p><p>History and logs of this run:</p><code>{escape(report.kept)}</code>"
    yield "</section>\n</main>\n</body>\n</html>"


def command_of(report: Report) -> str:
    """Return the command that has the same schedule."""
    return (
        f"raftswarm chaos run --seed {report.seed} --duration {report.seconds:g} --faults {','.join(report.kinds)} "
        f"--nodes {report.nodes} --managers {report.managers}"
    )


def _tiles(report: Report) -> Iterator[tuple[str, str, bool]]:
    yield f"{report.availability:.2%}", "available for writes", False
    yield f"{report.longest_outage:.2f} s", "longest outage", False
    yield _seconds(report.median_failover), f"median of {len(report.failovers)} failovers", False
    yield _seconds(max(report.failovers, default=None)), "worst failover", False
    yield f"{report.committed:,}", "writes acknowledged", False
    yield f"{report.lost}", "of them lost", report.lost > 0
    yield f"{report.doubled}", "tasks started twice", report.doubled > 0
    yield _seconds(report.convergence_seconds), "to converge at the end", report.convergence_seconds is None


def _section(title: str, words: str, legend: str, body: str) -> Iterator[str]:
    yield f"<section>\n<h2>{escape(title)}</h2>"
    if words:
        yield f"<p>{escape(words)}</p>"
    yield f"{legend}{body}\n</section>"


def _legend(*entries: tuple[str, str]) -> str:
    marks = []
    for kind, words in entries:
        colour, _, shape = kind.partition(" ")
        marks.append(f'<span><i class="{shape} {colour}"></i>{escape(words)}</span>')
    return f'<div class="legend">{"".join(marks)}</div>\n'


def _checks(report: Report) -> str:
    rows = [
        f'<tr><td class="{"good" if check.held else "bad"}">{"✓" if check.held else "✗"}</td>'
        f"<td>{escape(check.name)}</td><td>{escape(check.seen)}</td></tr>"
        for check in report.checks
    ]
    return "<table>\n<tr><th></th><th>What has to hold</th><th>Seen</th></tr>\n" + "\n".join(rows) + "\n</table>"


def _strikes(report: Report) -> str:
    head = '<th class="n">At</th><th>Fault</th><th>Struck</th><th class="n">Lasted</th><th class="n">Failover</th>'
    rows = "\n".join(_row(strike) for strike in report.strikes)
    return f'<table>\n<tr>{head}<th class="n">Convergence</th></tr>\n{rows}\n</table>'


def _row(strike: Strike) -> str:
    failover = _seconds(strike.failover_seconds) if strike.took_leader else ""
    return (
        f'<tr><td class="n">{strike.began:.1f} s</td><td>{escape(strike.text)}</td>'
        f'<td>{escape(", ".join(strike.nodes))}</td><td class="n">{strike.ended - strike.began:.1f} s</td>'
        f'<td class="n">{failover}</td><td class="n">{_seconds(strike.convergence_seconds)}</td></tr>'
    )


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
