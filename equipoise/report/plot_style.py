"""How axes look: colours, titles, legends, scales and ticks, the same in every panel."""

import math
from typing import TYPE_CHECKING

from equipoise.report.run_history import RunHistory
from equipoise.report.formatting import format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

# Okabe and Ito 2008, "Color Universal Design": told apart by nearly everyone, and in grey too.
ORANGE, BLUE, GREEN, PURPLE, SKY, RED = "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
GREY, INK, FAINT = "#8A8A8A", "#222222", "#DDDDDD"

BEYOND = 1.06
"""How much wider than its panel a row of names may be: there is room at the right."""

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
    "legend.fontsize": 7.2,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
"""Over matplotlib's defaults. Names in a run are anybody's, so no text is taken for a formula."""


def panel_title(axes: "Axes", text: str, *, legends: bool = True) -> None:
    """The name of a panel at its upper left, with room for a legend below it."""
    axes.set_title(text, loc="left", pad=19 if legends else 6, color=INK)


def panel_legend(axes: "Axes") -> None:
    """What is what, between title and panel, where it can cover nothing: in one row, or two where one is too long."""
    if _legend(axes, 4).get_window_extent().width > BEYOND * axes.bbox.width:
        _legend(axes, 2)
        axes.set_title(axes.get_title(loc="left"), loc="left", pad=30, color=INK)


def step_axis(axes: "Axes", history: RunHistory, *, images: bool) -> None:
    """Steps from 0 to the last, the reals seen below each tick if wanted, and marks where the run was resumed."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    end = max(1, history.step)
    axes.set_xlim(0 - end * 0.012, end * 1.012)
    axes.xaxis.set_major_locator(MaxNLocator(8 if images else 5, integer=True, steps=[1, 2, 5, 10]))
    if images:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{_compact(x)}\n{_compact(history.images_at(x))}"))
        axes.set_xlabel(f"steps; below them, {history.noun} seen")
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _compact(x)))
        axes.set_xlabel("steps")
    for line in history.named("resumed"):
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
    """The vertical axis. `scale`: "log", "symlog", "integer" or linear; `smallest`: of the positive values."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylabel(label)
    low, high = (float(edge) for edge in axes.dataLim.intervaly)
    if scale == "symlog":
        axes.set_yscale("symlog", linthresh=smallest)
    elif scale == "log" and math.isfinite(smallest):
        _logarithmic(axes, low, high, smallest)
        return
    else:
        room = 0.07 * (high - low) or 0.1 * abs(high) or 0.5
        if math.isfinite(room):
            axes.set_ylim(low - room, high + room)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=scale == "integer", steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_number(round(y, 12))))
    axes.yaxis.minorticks_off()


def _legend(axes: "Axes", columns: int) -> "Legend":
    return axes.legend(
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


def _compact(number: float) -> str:
    return f"{number / 1e6:.4g}M" if number >= 1e6 else f"{number:,.0f}"


def _logarithmic(axes: "Axes", low: float, high: float, smallest: float) -> None:
    """A decade or more, with ticks that are named; what is 0 stands below the scale, as "off"."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    off = low <= 0
    bottom = 10 ** math.floor(math.log10(smallest) + 1e-9) if off else smallest
    top = max(high, bottom)
    if top < 10 * bottom:
        room = math.sqrt(10 * bottom / top)
        bottom, top = (bottom, 10 * bottom) if off else (bottom / room, top * room)
    if off:
        axes.set_yscale("symlog", linthresh=bottom, linscale=0.4)
        axes.set_ylim(-0.15 * bottom, top * 1.3)
    else:
        axes.set_yscale("log", nonpositive="mask")
        axes.set_ylim(bottom / 1.15, top * 1.15)
    decades = math.log10(top / bottom)
    leads = (1, 2, 5) if decades < 2.5 else (1,)
    stride = max(1, round(decades / 6))
    powers = range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1, stride)
    ticks = [lead * 10.0**power for power in powers for lead in leads]
    shown = [tick for tick in ticks if bottom / 1.16 <= tick <= top * 1.31]
    axes.yaxis.set_major_locator(FixedLocator([0.0, *shown] if off else shown))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: "0 (off)" if y == 0 else format_number(y)))
