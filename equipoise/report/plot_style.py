"""Appearance of all figures: colours, titles, legends, scales and ticks of axes, and rendering to PNG."""

import io
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from equipoise.report.formatting import format_number
from equipoise.report.run_history import RunHistory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

# Okabe and Ito 2008, "Color Universal Design": distinguishable with any common colour vision, and in greyscale.
ORANGE, BLUE, GREEN, PURPLE, SKY, RED = "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
GREY, INK, FAINT = "#8A8A8A", "#222222", "#DDDDDD"

COLUMN_WIDTH, DPI = 10 / 3, 160
"""Inches of one column of panels and pixels per inch. Three columns are 1,600 pixels and fit a sheet of paper;
one column is 533 pixels and fits a phone."""
LEGEND_OVERHANG = 1.06
"""Maximum width of a one-row legend relative to its panel: there is free space to the right."""
MAX_TICKS = 7
"""Largest number of labels on a scale with negative values and many decades."""
STYLE_LEGEND_SIZE = 7.2
"""Size of the text of legends in points."""

STYLE = {
    "text.parse_math": False,
    "font.size": 8,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "legend.fontsize": STYLE_LEGEND_SIZE,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
"""Changes to matplotlib's defaults. Names in a run are untrusted, so text is never parsed as a formula."""


def render_png(make_figure: Callable[[], "Figure"]) -> bytes:
    """Create and render a figure in this style, independent of the user's matplotlib settings; return PNG bytes."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with style.context(["default", STYLE]), warnings.catch_warnings():
        # Letters that the font does not have are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = make_figure()
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    return buffer.getvalue()


def panel_title(axes: "Axes", text: str, *, legends: bool = True) -> None:
    """Set the title of a panel, left-aligned, with space for a legend under it."""
    axes.set_title(text, loc="left", pad=19 if legends else 6, color=INK)


def panel_legend(axes: "Axes") -> None:
    """Draw the legend between title and panel, where it covers no curve, in one row or, if that is too wide, in two.

    If two rows are too wide as well, the text is made smaller.
    """
    count, limit = len(axes.get_legend_handles_labels()[1]), LEGEND_OVERHANG * axes.bbox.width
    if not count or _legend(axes, min(count, 4)).get_window_extent().width <= limit:
        return
    columns = math.ceil(count / 2)
    axes.set_title(axes.get_title(loc="left"), loc="left", pad=30, color=INK)
    width = _legend(axes, columns).get_window_extent().width
    if width > limit:
        _legend(axes, columns, STYLE_LEGEND_SIZE * limit / width)


def step_axis(axes: "Axes", history: RunHistory, *, images: bool) -> None:
    """Set up the horizontal axis: steps, lines where the run was resumed, and with `images` a row of images seen."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    end = max(1, history.step)
    axes.set_xlim(0 - end * 0.012, end * 1.012)
    axes.xaxis.set_major_locator(MaxNLocator(8 if images else 5, integer=True, steps=[1, 2, 5, 10]))
    if images:
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: f"{format_steps(x)}\n{format_steps(history.images_at(x))}")
        )
        axes.set_xlabel(f"steps (second row: {history.sample_noun} seen)")
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_steps(x)))
        axes.set_xlabel("steps")
    for line in history.events_of("resumed"):
        axes.axvline(line["step"], color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        if images:
            axes.annotate(
                "resumed",
                (line["step"], 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, -2),
                textcoords="offset points",
                rotation=90,
                va="top",
                fontsize=7,
                color=GREY,
            )


def value_axis(axes: "Axes", label: str, scale: str | None = None, smallest: float = math.inf) -> None:
    """Set up the vertical axis.

    `scale`: "log", "symlog", "integer" or None for linear. `smallest`: the smallest positive value for "log", the
    limit of the linear part for "symlog".
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator, SymmetricalLogLocator

    axes.set_ylabel(label)
    low, high = (float(edge) for edge in axes.dataLim.intervaly)
    if scale == "symlog":
        axes.set_yscale("symlog", linthresh=smallest)
        locator = SymmetricalLogLocator(base=10, linthresh=smallest)
        locator.set_params(numticks=MAX_TICKS)
        axes.yaxis.set_major_locator(locator)
    elif scale == "log" and math.isfinite(smallest):
        _log_axis(axes, low, high, smallest)
        return
    else:
        margin = 0.07 * (high - low) or 0.1 * abs(high) or 0.5
        if math.isfinite(margin):
            axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=scale == "integer", steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_number(round(y, 12))))
    axes.yaxis.minorticks_off()


def _legend(axes: "Axes", columns: int, size: float = STYLE_LEGEND_SIZE) -> "Legend":
    return axes.legend(
        fontsize=size,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        borderpad=0.2,
        borderaxespad=0,
        handlelength=1.3,
        handletextpad=0.5,
        columnspacing=1.0,
        labelspacing=0.3,
    )


def format_steps(number: float) -> str:
    """Format a step for an axis: 25,000 or 1.25M."""
    return f"{number / 1e6:.4g}M" if number >= 1e6 else f"{number:,.0f}"


def _log_axis(axes: "Axes", low: float, high: float, smallest: float) -> None:
    """Set up a logarithmic scale of at least one decade with labelled ticks; 0 is drawn under the scale as "off"."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    has_zero = low <= 0
    bottom = 10 ** math.floor(math.log10(smallest) + 1e-9) if has_zero else smallest
    top = max(high, bottom)
    if top < 10 * bottom:
        factor = math.sqrt(10 * bottom / top)
        bottom, top = (bottom, 10 * bottom) if has_zero else (bottom / factor, top * factor)
    if has_zero:
        axes.set_yscale("symlog", linthresh=bottom, linscale=0.4)
        axes.set_ylim(-0.15 * bottom, top * 1.3)
    else:
        axes.set_yscale("log", nonpositive="mask")
        axes.set_ylim(bottom / 1.15, top * 1.15)
    decades = math.log10(top / bottom)
    mantissas = (1, 2, 5) if decades < 2.5 else (1,)
    stride = max(1, round(decades / 6))
    powers = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1, stride)
    candidates = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
    ticks = [tick for tick in candidates if bottom / 1.16 <= tick <= top * 1.31]
    axes.yaxis.set_major_locator(FixedLocator([0.0, *ticks] if has_zero else ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: "0 (off)" if y == 0 else format_number(y)))
