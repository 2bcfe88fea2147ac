"""The page's one style sheet."""

from __future__ import annotations

__all__ = ["STYLE"]

# The colours of lines and bars are those of Okabe and Ito, told apart by the colour-blind too.
STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #57606a;
  --rule: #d0d7de; --card: #f6f8fa; --good: #0a6b47; --bad: #a4330a;
  --c1: #0072b2; --c2: #d55e00; --c3: #009e73; --c4: #cc79a7; --c5: #e0a000; --c6: #6e7781;
  --c7: #56b4e9; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9aa4af;
  --rule: #30363d; --card: #161b22; --good: #4cc38a; --bad: #ff9b6b;
  --c1: #58b2f0; --c2: #ff8f45; --c3: #3fcf9f; --c4: #e7a3c8; --c5: #f0c244; --c6: #8b949e;
  --c7: #a5d8f7; } }
@media print { :root { color-scheme: light; --paper: #ffffff; --ink: #000000; --soft: #444444;
  --rule: #bbbbbb; --card: #ffffff; --good: #0a6b47; --bad: #a4330a;
  --c1: #0072b2; --c2: #d55e00; --c3: #009e73; --c4: #cc79a7; --c5: #e0a000; --c6: #6e7781;
  --c7: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 .5rem; padding-top: 1rem;
  border-top: 2px solid var(--rule); }
h3 { font-size: 1.1rem; margin: 1.75rem 0 .5rem; }
h4 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--c1); }
.soft, .note, caption { color: var(--soft); font-size: .9rem; }
.promise { border-left: 4px solid var(--good); padding: .5rem 1rem; background: var(--card); }
.promise.none { border-color: var(--bad); }
.todo { border: 1px dashed var(--rule); border-radius: 6px; padding: .6rem 1rem;
  color: var(--soft); }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
.grid { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr));
  align-items: start; }
figure { margin: 0; padding: .9rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; min-width: 0; }
figcaption { font-weight: 600; }
figure > svg { display: block; width: 100%; height: auto; margin: .4rem 0; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; list-style: none;
  margin: .2rem 0; padding: 0; font-size: .85rem; color: var(--soft); }
.legend svg { vertical-align: -2px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums;
  margin: .5rem 0; }
caption { text-align: left; padding-bottom: .25rem; white-space: nowrap; }
th, td { padding: .3rem .75rem .3rem 0; text-align: right; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 500; }
.wide th, .wide td { white-space: nowrap; }
.wide.words td { text-align: left; white-space: normal; }
.wide.words th { text-align: left; }
.wide .hashes td { text-align: left; white-space: normal; min-width: 14rem; }
code { font: .85em ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.option { white-space: nowrap; }
details { margin-top: .4rem; } summary { cursor: pointer; color: var(--soft); font-size: .85rem; }
svg text { fill: var(--soft); font: 12.5px system-ui, -apple-system, "Segoe UI", sans-serif; }
svg .label { font-size: 13px; } svg .named { fill: var(--ink); font-weight: 600;
  paint-order: stroke; stroke: var(--card); stroke-width: 3px; }
svg line.grid { stroke: var(--rule); stroke-width: 1; }
.axis { stroke: var(--soft); }
.rule { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 6 4; }
.diagonal { stroke: var(--soft); stroke-dasharray: 2 4; stroke-width: 1.5; }
.whisker { stroke: var(--ink); stroke-width: 1.5; }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round; } .raw { stroke-dasharray: 6 3; }
.dot { stroke: none; } .dot.raw { stroke-dasharray: none; }
.chosen { fill: var(--ink); stroke: var(--card); stroke-width: 1.5; stroke-dasharray: none; }
.chosen.open { fill: var(--card); stroke: var(--ink); }
.bar { stroke: var(--card); stroke-width: 1; }
.line.c1 { stroke: var(--c1); } .dot.c1, .bar.c1 { fill: var(--c1); }
.line.c2 { stroke: var(--c2); } .dot.c2, .bar.c2 { fill: var(--c2); }
.line.c3 { stroke: var(--c3); } .dot.c3, .bar.c3 { fill: var(--c3); }
.bar.c4 { fill: var(--c4); } .bar.c5 { fill: var(--c5); } .bar.c6 { fill: var(--c6); }
.bar.c7 { fill: var(--c7); }
@media print { html { font-size: 11px; } body { padding: 0; } * { print-color-adjust: exact; }
  .grid { grid-template-columns: 1fr 1fr; } .wide { overflow: visible; }
  .wide th, .wide td { white-space: normal; } figure, tr { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; } details { display: none; } }
"""
