"""Samples as pictures: a sheet of images as it is, points as a scatter, numbers as a histogram, texts as lines."""

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from equipoise.report.plot_style import BLUE, GREY, panel_title
from equipoise.report.samples import Samples, value_limits
from equipoise.report.formatting import format_count, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 5000
"""Points of a scatter plot; the first of the samples stand for all."""
LINES, LETTERS = 18, 56
"""Texts that are shown of a moment, and letters of each at the most."""


def sheet_height(samples: Sequence[Samples], width: float) -> float:
    """How high sheets must be to fill `width`, within reason."""
    shapes = [one.sheet.height / one.sheet.width for one in samples if one.sheet is not None]
    if not shapes and not any(one.values is not None or one.texts for one in samples):
        return 0.8
    return min(1.6, max(0.4, *shapes)) * width if shapes else width


def draw_samples(axes: "Axes", samples: Samples, bounds: tuple[float, float]) -> None:
    """One moment's samples onto axes; numbers are shown within `bounds`."""
    panel_title(axes, f"Samples at step {format_count(samples.step)}")
    axes.text(
        0,
        1,
        f"{samples.reals} seen{_groups(samples)}",
        transform=axes.transAxes,
        va="bottom",
        fontsize=7.2,
        color=GREY,
    )
    values = samples.values
    if samples.sheet is not None:
        _sheet(axes, samples)
    elif values is not None and values.ndim == 2 and values.shape[1] == 2:
        _scatter(axes, values, bounds)
    elif values is not None and values.size == len(values):
        _histogram(axes, values.ravel(), bounds)
    elif samples.texts:
        _lines(axes, samples.texts)
    else:
        shape = "" if values is None else f"numbers of shape {values.shape} have no picture"
        axes.axis("off")
        text = textwrap.fill(samples.note or shape, 44)
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=7.5, color=GREY, transform=axes.transAxes)


def _groups(samples: Samples) -> str:
    """What stands beside what."""
    return f": {', '.join(samples.shows)}" if samples.shows else ""


def samples_png(samples: Samples) -> bytes | None:
    """One moment's samples as a picture of their own; None if they have none, or are texts."""
    if samples.sheet is not None:
        buffer = io.BytesIO()
        samples.sheet.save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()
    if samples.values is None:
        return None
    from equipoise.report.progress_figure import render_png

    return render_png(lambda: _alone(samples))


def _alone(samples: Samples) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    draw_samples(figure.add_subplot(), samples, value_limits([samples]))
    return figure


def _sheet(axes: "Axes", samples: Samples) -> None:
    assert samples.sheet is not None
    grey = samples.sheet.mode == "L"
    axes.imshow(np.asarray(samples.sheet), cmap="gray" if grey else None, vmin=0, vmax=255, interpolation="antialiased")
    axes.axis("off")


def _lines(axes: "Axes", texts: Sequence[str]) -> None:
    """The first texts, a line each."""
    axes.axis("off")
    for place, text in enumerate(texts[:LINES]):
        axes.text(0, 1 - (place + 1) / (LINES + 1), one_line(text, LETTERS), fontsize=7.2, va="center", parse_math=False)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _scatter(axes: "Axes", values: npt.NDArray[np.float64], bounds: tuple[float, float]) -> None:
    shown = values[:MOST_POINTS]
    axes.plot(shown[:, 0], shown[:, 1], ".", color=BLUE, markersize=3, alpha=0.7, markeredgewidth=0)
    axes.set(xlim=bounds, ylim=bounds, aspect="equal", xlabel="first coordinate", ylabel="second coordinate")


def _histogram(axes: "Axes", values: npt.NDArray[np.float64], bounds: tuple[float, float]) -> None:
    axes.hist(values[np.isfinite(values)].clip(*bounds), bins=40, range=bounds, color=BLUE)
    axes.set(xlabel="value", ylabel="samples")
