"""How the page looks, in light and in dark."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #586273; --paper: #f5f6f8; --card: #fff; --line: #dde1e7;
  --good: #14663a; --good-paper: #dff3e6; --bad: #9a2318; --bad-paper: #fbe4e1; --link: #1456b8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --soft: #a3acba; --paper: #14171c; --card: #1d2128;
  --line: #343a44; --good: #8fdcab; --good-paper: #16382a; --bad: #f5aaa1; --bad-paper: #46211d; --link: #8ab8ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header, main { max-width: 1200px; margin: 0 auto; padding: 0 16px; }
header { display: flex; flex-wrap: wrap; gap: 0 24px; align-items: baseline; justify-content: space-between;
  padding-top: 16px; }
h1 { font-size: 22px; margin: 0; }
h2 { font-size: 16px; margin: 0 0 8px; }
p, small, dt, th { color: var(--soft); }
small, dt, th { font-size: 13px; font-weight: 400; }
p { margin: 4px 0; }
a { color: var(--link); }
main, main > div { display: grid; grid-template-columns: minmax(0, 1fr); gap: 16px;
  align-content: start; }
main { padding-top: 16px; padding-bottom: 32px; }
@media (min-width: 1000px) { main { grid-template-columns: repeat(2, minmax(0, 1fr)); } dl { grid-column: 1 / -1; } }
dl { display: flex; flex-wrap: wrap; gap: 12px 40px; margin: 0; }
section, dl { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
dd { margin: 0; font-size: 20px; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.box { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 5px 16px 5px 0; border-top: 1px solid var(--line); }
th { border-top: 0; white-space: nowrap; }
td:last-child, th:last-child { padding-right: 0; }
td span { white-space: nowrap; }
code { font: 13px/1.45 ui-monospace, monospace; white-space: nowrap; }
code.long { display: inline-block; min-width: 15em; white-space: normal; overflow-wrap: anywhere; }
progress { display: block; width: 96px; height: 8px; margin: 6px 0 2px; accent-color: var(--link); }
@media (max-width: 699px) { thead { display: none; } td { padding: 0; border: 0; min-width: 0; }
  tr { display: flex; flex-wrap: wrap; gap: 2px 14px; padding: 8px 0; border-top: 1px solid var(--line); }
  code, code.long { min-width: 0; white-space: normal; overflow-wrap: anywhere; } }
.badge { display: inline-block; padding: 0 7px; border-radius: 9px; background: var(--line); white-space: nowrap;
  font-size: 13px; }
.good { color: var(--good); background: var(--good-paper); }
.bad { color: var(--bad); background: var(--bad-paper); }
"""
