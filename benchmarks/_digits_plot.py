"""Curves of the digits benchmark as a picture."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"textbook": "#D55E00", "r1": "#0072B2", "ours": "#009E73"}
"""Distinguishable with colour blindness (Okabe and Ito 2008); markers differ, too."""
MARKERS = {"textbook": "s", "r1": "^", "ours": "o"}
PANELS = (
    ("sure", "classified with over 90 % confidence, % of samples", 100, 93),
    ("spread", "diversity within a class / that of real digits", 1, 0.85),
    ("distance", "kernel distance to held-out digits", 1, None),
)
"""Metric, title, factor, target."""
FLAT = 0.01
"""Below this the axis of distances is linear, because they can be negative."""

Points = Mapping[str, list[list[dict[str, Any]]]]
"""Arm -> its points in time -> the result of every seed."""


def draw(points: Points, labels: Mapping[str, str], path: Path) -> None:
    """Draw and write the picture. `labels`: arm -> its name in the legend."""
    figure = Figure(figsize=(13.5, 4.6), layout="constrained")
    for axes, (name, title, factor, target) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for arm in COLOURS:
            if arm in points:
                _curve(axes, arm, points[arm], name, factor, labels[arm])
        for moment in points.get("real", []):
            axes.axhline(factor * moment[0][name], color="black", linestyle="--", linewidth=1, label=labels["real"])
        if target is not None:
            axes.axhline(target, color="grey", linestyle=":", linewidth=1.2, label="target of ours")
        axes.set(title=title, xlabel="training time on one thread, s", xlim=(0, None))
        axes.grid(alpha=0.3)
    axes.set_yscale("symlog", linthresh=FLAT)
    axes.margins(y=0.08)
    figure.axes[0].set_ylim(0, 102)
    figure.axes[0].legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _curve(axes: Axes, arm: str, moments: list[list[dict[str, Any]]], name: str, factor: float, label: str) -> None:
    """Draw the median over seeds, with bars from the lowest to the highest value."""
    seconds = [statistics.median(point["seconds"] for point in moment) for moment in moments]
    values = [[factor * point[name] for point in moment] for moment in moments]
    middles = [statistics.median(each) for each in values]
    lower = [middle - min(each) for middle, each in zip(middles, values, strict=True)]
    upper = [max(each) - middle for middle, each in zip(middles, values, strict=True)]
    axes.errorbar(
        seconds,
        middles,
        yerr=[lower, upper],
        color=COLOURS[arm],
        marker=MARKERS[arm],
        linestyle="-",
        linewidth=1.8,
        capsize=3,
        label=label,
    )
