"""HTML for notebooks: a title, facts and a picture or texts. Every value is text, never markup."""

import base64
import html
from collections.abc import Mapping, Sequence

PLOT_SIZE = 320
"""Side of a plot, in pixels."""


def format_display(
    title: str, facts: Mapping[str, object], *, png: bytes | None = None, svg: str = "", texts: Sequence[str] = ()
) -> str:
    """Return a fragment of HTML without styles or scripts, for `_repr_html_`.

    `png`: a picture, embedded. `svg`: the body of a picture of PLOT_SIZE x PLOT_SIZE, markup. `texts`: one line each.
    """
    rows = "".join(
        f"<tr><th align='left'>{html.escape(name)}</th><td align='left'>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    parts = [f"<div><strong>{html.escape(title)}</strong>", f"<table>{rows}</table>"]
    if png is not None:
        content = base64.b64encode(png).decode("ascii")
        parts.append(f"<img src='data:image/png;base64,{content}' alt='Samples of {html.escape(title)}'>")
    if svg:
        size = f"width='{PLOT_SIZE}' height='{PLOT_SIZE}' viewBox='0 0 {PLOT_SIZE} {PLOT_SIZE}'"
        parts.append(f"<svg xmlns='http://www.w3.org/2000/svg' role='img' aria-label='Samples' {size}>{svg}</svg>")
    if texts:
        parts.append(f"<pre>{html.escape(chr(10).join(texts))}</pre>")
    return "".join(parts) + "</div>"


def draw_points(points: Sequence[Sequence[float]]) -> str:
    """Return points (x, y) as SVG circles, scaled to fit."""
    low, high = _limits([value for point in points for value in point])
    scaled = [[_position(value, low, high) for value in point] for point in points]
    return "".join(
        f"<circle cx='{x:.1f}' cy='{PLOT_SIZE - y:.1f}' r='2' fill='#4477aa' fill-opacity='0.7'/>" for x, y in scaled
    )


def draw_lines(sequences: Sequence[Sequence[float]]) -> str:
    """Return sequences of at least two numbers as SVG lines over each other, scaled to fit."""
    low, high = _limits([value for sequence in sequences for value in sequence])
    lines = []
    for sequence in sequences:
        step = PLOT_SIZE / (len(sequence) - 1)
        path = " ".join(
            f"{index * step:.1f},{PLOT_SIZE - _position(value, low, high):.1f}" for index, value in enumerate(sequence)
        )
        lines.append(f"<polyline points='{path}' fill='none' stroke='#4477aa' stroke-opacity='0.7'/>")
    return "".join(lines)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if low < high else (low - 1, high + 1)


def _position(value: float, low: float, high: float) -> float:
    """Return a distance from the lower or left edge in pixels, with a margin of 4 pixels."""
    return 4 + (PLOT_SIZE - 8) * (value - low) / (high - low)
