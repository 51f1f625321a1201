"""How a report's page looks, on light screens and on dark ones."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark;
  --page: #f7f7f5; --card: #ffffff; --ink: #16191d; --soft: #5c6670; --rule: #e2e5e8;
  --blue: #2a6fc9; --green: #12875a; --amber: #b26a00; --red: #c92a2a; --band: #16191d14; --hit: #c92a2a1f; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14171a; --card: #1c2024; --ink: #eceff2; --soft: #9aa5b0; --rule: #30363c;
  --blue: #6ba6f2; --green: #3fc08d; --amber: #e0a13c; --red: #ff6b6b; --band: #ffffff14; --hit: #ff6b6b2b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 16px; margin: 0 0 2px; }
p { margin: 0 0 12px; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 18px 20px;
  margin-top: 16px; overflow-x: auto; }
.verdict { font-weight: 600; }
.good { color: var(--green); }
.bad { color: var(--red); }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin-top: 20px; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 16px; }
.tile b { display: block; font-size: 24px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
@media (max-width: 640px) { .tiles { grid-template-columns: repeat(2, 1fr); } }
svg { display: block; width: 100%; min-width: 720px; height: auto; font-size: 11px; }
svg text { fill: var(--soft); }
svg text.inside { fill: var(--card); }
.grid { stroke: var(--rule); fill: none; }
.stem { stroke: var(--soft); opacity: .5; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.writes { stroke: var(--blue); }
.reads { stroke: var(--green); }
.failures { stroke: var(--amber); }
.running { stroke: var(--blue); }
.ready { stroke: var(--green); stroke-dasharray: 5 4; }
.band { fill: var(--band); }
.band.hit { fill: var(--hit); }
.outage { fill: var(--red); }
.leader { fill: var(--soft); opacity: .85; }
.dot { stroke: var(--card); stroke-width: 1.5; }
.dot.failover { fill: var(--blue); }
.dot.convergence { fill: var(--green); }
.median { stroke: var(--ink); stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--soft); font-size: 13px; margin: 2px 0 8px; }
.legend i { display: inline-block; width: 14px; height: 3px; vertical-align: middle; margin-right: 6px;
  background: currentColor; }
.legend i.box { height: 12px; border-radius: 2px; }
.c-blue { color: var(--blue); }
.c-green { color: var(--green); }
.c-amber { color: var(--amber); }
.c-red { color: var(--red); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 13px; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.n { text-align: right; white-space: nowrap; }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
"""
