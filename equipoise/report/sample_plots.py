"""Plots of samples: sheets of images, scatter plots of points, histograms of numbers, lines of text."""

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from equipoise.report.formatting import format_count, one_line
from equipoise.report.plot_style import BLUE, GREY, panel_title, render_png
from equipoise.report.samples import Samples, value_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_POINTS = 5000
"""Maximum number of points in a scatter plot, the first of the samples."""
MAX_TEXTS, MAX_TEXT_LENGTH = 18, 56
"""Maximum number of texts shown of one step, and of letters of each."""


def sheet_height(samples: Sequence[Samples], width: float) -> float:
    """Return the height at which the sheets fill `width`, within limits, in the unit of `width`."""
    ratios = [
        sample_set.sheet.height / sample_set.sheet.width for sample_set in samples if sample_set.sheet is not None
    ]
    if not ratios and not any(sample_set.values is not None or sample_set.texts for sample_set in samples):
        return 0.8
    return min(1.6, max(0.4, *ratios)) * width if ratios else width


def draw_samples(axes: "Axes", samples: Samples, limits: tuple[float, float]) -> None:
    """Draw the samples of one step; `limits`: range of the axes for points and numbers."""
    panel_title(axes, f"Samples at step {format_count(samples.step)}")
    groups = f": {', '.join(samples.groups)}" if samples.groups else ""
    axes.text(
        0,
        1,
        f"{samples.images_seen} seen{groups}",
        transform=axes.transAxes,
        va="bottom",
        fontsize=7.2,
        color=GREY,
    )
    values = samples.values
    if samples.sheet is not None:
        _draw_sheet(axes, samples)
    elif values is not None and values.ndim == 2 and values.shape[1] == 2:
        _draw_scatter(axes, values, limits)
    elif values is not None and values.size == len(values):
        _draw_histogram(axes, values.ravel(), limits)
    elif samples.texts:
        _draw_texts(axes, samples.texts)
    else:
        axes.axis("off")
        text = textwrap.fill(samples.shape_note, 44)
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=7.5, color=GREY, transform=axes.transAxes)


def samples_png(samples: Samples) -> bytes | None:
    """Render the samples of one step as PNG bytes; None for texts and unreadable samples.

    A sheet is encoded again from its pixels, so that nothing else that is in the file reaches the report.
    """
    if samples.sheet is not None:
        buffer = io.BytesIO()
        samples.sheet.save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()
    if samples.values is None:
        return None
    return render_png(lambda: _single_figure(samples))


def _single_figure(samples: Samples) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    draw_samples(figure.add_subplot(), samples, value_limits([samples]))
    return figure


def _draw_sheet(axes: "Axes", samples: Samples) -> None:
    assert samples.sheet is not None
    grey = samples.sheet.mode == "L"
    axes.imshow(np.asarray(samples.sheet), cmap="gray" if grey else None, vmin=0, vmax=255, interpolation="antialiased")
    axes.axis("off")


def _draw_texts(axes: "Axes", texts: Sequence[str]) -> None:
    axes.axis("off")
    for index, text in enumerate(texts[:MAX_TEXTS]):
        y = 1 - (index + 1) / (MAX_TEXTS + 1)
        axes.text(0, y, one_line(text, MAX_TEXT_LENGTH), fontsize=7.2, va="center", parse_math=False)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _draw_scatter(axes: "Axes", values: npt.NDArray[np.float64], limits: tuple[float, float]) -> None:
    points = values[:MAX_POINTS]
    axes.plot(points[:, 0], points[:, 1], ".", color=BLUE, markersize=3, alpha=0.7, markeredgewidth=0)
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="first coordinate", ylabel="second coordinate")


def _draw_histogram(axes: "Axes", values: npt.NDArray[np.float64], limits: tuple[float, float]) -> None:
    axes.hist(values[np.isfinite(values)].clip(*limits), bins=40, range=limits, color=BLUE)
    axes.set(xlabel="value", ylabel="samples")
