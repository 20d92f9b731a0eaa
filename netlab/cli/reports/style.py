"""How the page of a run looks: light or dark as the reader has it, and on paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #16202e; --soft: #5b6a80;
  --rule: #dde4ee; --panel: #f6f8fb; --passed: #1a7f4b; --failed: #c2293b; --error: #a8460d;
  --interrupted: #8a6100; --skipped: #66758a }
@media (prefers-color-scheme: dark) {
  :root { --paper: #0e141b; --ink: #e6edf7; --soft: #93a1b5; --rule: #27313f; --panel: #151d27;
    --passed: #4cc38a; --failed: #ff7b86; --error: #ff9a5c; --interrupted: #e6b84d;
    --skipped: #8a99ae }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial,
  sans-serif }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem }
.about { color: var(--soft); margin: 0; overflow-wrap: anywhere }
.tally { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0; padding: 0; list-style: none }
.tally li { border: 1px solid var(--rule); border-radius: 999px; padding: .15rem .8rem;
  background: var(--panel) }
.stop { border-left: 4px solid var(--interrupted); background: var(--panel); padding: .6rem 1rem }
.drawing { border: 1px solid var(--rule); border-radius: 8px; overflow: auto; text-align: center }
.drawing svg { max-width: 100%; height: auto; max-height: 32rem }
table { border-collapse: collapse; width: 100%; table-layout: fixed }
th { text-align: left; color: var(--soft); font-weight: 600; font-size: .85rem }
th, td { padding: .45rem .6rem; border-bottom: 1px solid var(--rule); vertical-align: top;
  overflow-wrap: anywhere }
.verdict-column { width: 6.5rem } .kind-column { width: 7rem } .time-column { width: 8rem }
tr.explained td { border-bottom: 0; padding-bottom: 0 }
.place { color: var(--soft); font-size: .85rem }
.verdict { font-weight: 700 }
.passed { color: var(--passed) } .failed { color: var(--failed) } .error { color: var(--error) }
.interrupted { color: var(--interrupted) } .skipped { color: var(--skipped) }
.time { font-variant-numeric: tabular-nums; white-space: nowrap }
.bar { height: .4rem; border-radius: 3px; min-width: 1px; background: currentColor; opacity: .75;
  margin-top: .3rem }
details ul { margin: .3rem 0; padding-left: 1.2rem }
summary { cursor: pointer; overflow-wrap: anywhere }
pre { background: var(--panel); border: 1px solid var(--rule); border-radius: 6px; padding: .6rem;
  overflow: auto; max-height: 30rem; font-size: .85rem; white-space: pre-wrap }
a { color: inherit }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem }
@media (max-width: 40rem) { .kind-column, .kind { display: none } .time-column { width: 5rem } }
@media print {
  body { max-width: none; padding: 0 }
  .drawing, details > summary { break-inside: avoid }
  tr.explained { break-after: avoid }
  pre { max-height: none }
}
""".strip()
