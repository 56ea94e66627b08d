"""L1 against kernel distance of the translation benchmark, as a picture."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

COLOURS = ("#000000", "#999999", "#56B4E9", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#7F3C00")
"""Distinguishable with colour blindness (Okabe and Ito 2008); markers differ, too."""
MARKERS = "xsv^<>oDP"


def draw(arms: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw and write the picture: one mark per run, a larger one for the median of an arm, L1 weights joined by a
    line.
    """
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.add_subplot()
    joined = []
    for (name, runs), colour, marker in zip(arms.items(), COLOURS, MARKERS, strict=False):
        across, up = ([run[key] for run in runs] for key in ("paired_l1", "kd_efficientnet_lite0"))
        axes.plot(across, up, marker, color=colour, markersize=5, alpha=0.5, linestyle="none")
        middle = statistics.median(across), statistics.median(up)
        axes.plot(*middle, marker, color=colour, markersize=10, label=name, linestyle="none")
        if name.startswith("pix2pix") and "predicts the image" not in name:
            joined.append(middle)
    if joined:
        axes.plot(*zip(*joined, strict=True), color=COLOURS[3], linewidth=1, alpha=0.6)
    axes.set(
        xlabel="L1 distance to the target, on [-1, 1]: lower is better",
        ylabel="kernel distance to the targets: lower is better",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
