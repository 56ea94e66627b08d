"""How the page looks: on a phone, on a desk, at night, on paper."""

STYLE = """\
:root {
  --ink: #1c1c1c; --soft: #5a5a5a; --paper: #ffffff; --tile: #f4f4f2; --line: #d9d9d6;
  --good: #00694d; --bad: #a33c00; --open: #5a5a5a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #ececea; --soft: #a9a9a6; --paper: #161616; --tile: #222222; --line: #3a3a3a;
    --good: #4fd0a5; --bad: #ff9a5c; --open: #a9a9a6;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.25rem 1rem 3rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: anywhere;
}
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; }
h2 { margin: 2.2rem 0 0.7rem; font-size: 1.15rem; }
p { margin: 0.5rem 0; }
.lead { font-size: 1.12rem; max-width: 46rem; }
.state { margin: 0.3rem 0 0; font-weight: 600; color: var(--open); }
.healthy { color: var(--good); }
.ailing, .diverged, .note { color: var(--bad); }
figure { margin: 0; }
figcaption { margin-top: 0.4rem; font-size: 0.88rem; color: var(--soft); }
img { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
.samples { max-width: 42rem; margin-top: 1.2rem; }
.samples img { width: 100%; }
.sheet img { image-rendering: pixelated; background: none; border-radius: 0; }
.film { margin-bottom: 1.2rem; }
video { display: block; width: 100%; height: auto; aspect-ratio: 16 / 9; background: #ffffff; }
a { color: inherit; }
.progress img { width: 100%; }
.numbers { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: 0.6rem; margin: 0; }
.numbers div { padding: 0.55rem 0.75rem; background: var(--tile); border-radius: 6px; }
.numbers dt { font-size: 0.82rem; color: var(--soft); }
.numbers dd { margin: 0; font-size: 1.12rem; font-weight: 600; font-variant-numeric: tabular-nums; }
table { width: 100%; border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.4rem 0.7rem 0.4rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { font-weight: 500; font-size: 0.82rem; color: var(--soft); }
th, td { overflow-wrap: break-word; }
td:last-child { overflow-wrap: anywhere; }
pre {
  margin: 0.5rem 0; padding: 0.8rem; background: var(--tile); border-radius: 6px; overflow-x: auto;
  font: 0.84rem/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: normal;
}
summary { cursor: pointer; margin-top: 0.8rem; }
footer { margin-top: 2.5rem; font-size: 0.85rem; color: var(--soft); }
@media (max-width: 38rem) {
  thead { display: none; }
  tr { display: block; padding: 0.5rem 0; border-bottom: 1px solid var(--line); }
  tbody th, td { display: block; padding: 0.1rem 0; border: 0; }
  td::before { content: attr(data-heading) ": "; color: var(--soft); }
  .numbers { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
}
@page { margin: 14mm; }
@media print {
  :root {
    --ink: #000000; --soft: #444444; --paper: #ffffff; --tile: #ffffff; --line: #bbbbbb;
    --good: #000000; --bad: #000000; --open: #000000;
  }
  body { padding: 0 1px; max-width: none; font-size: 10pt; }
  h2 { break-after: avoid; }
  figure, tr, .numbers { break-inside: avoid; }
  table { font-size: 8.5pt; }
  details::details-content { content-visibility: visible; display: block; }
  .numbers { grid-template-columns: repeat(4, 1fr); }
  .numbers div, pre { border: 1px solid var(--line); }
  .samples { max-width: 9cm; }
  .film { display: none; }
  .progress img { max-height: 23cm; width: auto; }
  pre { white-space: pre-wrap; }
  details pre { columns: 2; font-size: 7pt; }
}
"""
