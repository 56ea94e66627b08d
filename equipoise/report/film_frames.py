"""The frames of a film: everything that stays is drawn once, and each frame is put together from that."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from equipoise.report import film_panels
from equipoise.report import film_samples
from equipoise.report import text_rendering
from equipoise.report.plot_style import GREEN, GREY, RED, STYLE, step_axis
from equipoise.report.run_history import RunHistory, findings_of, to_number
from equipoise.report.text_rendering import MUTED, TextSpan
from equipoise.report.samples import Samples
from equipoise.report.series import FloatArray
from equipoise.report.film_samples import SampleArea
from equipoise.report.film_panels import FilmPanel
from equipoise.report.formatting import format_count, format_duration, plug_name, one_line, format_number, run_state
from equipoise.runs.run_folder import Line

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = WIDTH, HEIGHT = 1280, 720
DOTS = 100
"""Pixels an inch of the figure behind the frames; a frame is 12.8 by 7.2 inches."""
BIG = {**STYLE, **dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), 11.6)}
"""Points: 16 pixels."""
MARGIN, START, END, TOP, BOTTOM = 712, 776, 1248, 72, 664
"""Pixels: where words begin, where axes begin and end, the upper edge of the first panel, the lower of the last."""
ROOM = WIDTH - MARGIN - 8
HEAD, SECOND, FOOT, LARGE = 30, 56, 708, 22
"""Pixels: the width of words on that side, the baselines of two lines at the top and one at the foot, large words."""
TITLE, BAR, SPACE, HIGHEST = 26, 24, 8, 250
"""Pixels: a title, a panel without a scale, the space below a panel, and the most that one with a scale takes."""
STOPPED = {
    "images": "limit of images",
    "seconds": "time limit",
    "equilibrium": "equilibrium",
    "interrupted": "interrupted",
}
"""Why a run ended before its planned length, in few words."""
AHEAD = 0.22
"""How strongly what is yet to come is drawn."""


@dataclass(frozen=True)
class PanelPlacement:
    """A panel on the frame: where the words after its title begin, in pixels from left and top, and its axes."""

    plot: FilmPanel
    left: float
    baseline: int
    axes: "Axes"

    def dots(self, step: float) -> list[tuple[float, float, str]]:
        """The curves at a step, but for those off the scale: pixels from left and top, and a colour."""
        bottom, top = sorted(self.axes.get_ylim())
        heights = [(track.height(step), track.colour) for track in self.plot.tracks]
        places = [(*self.axes.transData.transform((step, y)), colour) for y, colour in heights if bottom <= y <= top]
        return [(x, HEIGHT - y, colour) for x, y, colour in places]


@dataclass(frozen=True)
class RunClock:
    """What the lines tell of time, by step: reals seen, seconds trained, and the word on the run's health.

    `planned` steps, 0 if not known; `end`: the last step, and how things stand then, in words. `noun`: of the reals.
    """

    images: tuple[FloatArray, FloatArray]
    seconds: tuple[FloatArray, FloatArray]
    verdicts: Sequence[tuple[float, str]]
    planned: int
    end: tuple[float, str]
    noun: str

    def words(self, step: float) -> tuple[list[TextSpan], list[TextSpan]]:
        """The step, and below it images, time and health; at the end, how the run ended."""
        now = f"step {format_count(step)}" + (f" of {format_count(self.planned)}" if self.planned else "")
        images = format_count(float(np.interp(step, *self.images)))
        spent = format_duration(float(np.interp(step, *self.seconds)))
        last, ended = self.end
        result = next((word for since, word in reversed(self.verdicts) if since <= step), "")
        word = result if step < last else ended
        colour = GREEN if "healthy" in word else GREY if word in ("", "unfinished") else RED
        below = [TextSpan(f"{images} {self.noun}"), TextSpan(spent), TextSpan(word, colour=colour, bold=True)]
        return [TextSpan(now, bold=True, size=LARGE)], below


@dataclass(frozen=True)
class FilmRenderer:
    """What a film is put together from; `more` is said below the samples."""

    stage: SampleArea
    past: Image.Image
    ahead: Image.Image
    places: Sequence[PanelPlacement]
    clock: RunClock
    more: str

    def frames(self, moments: Iterable[tuple[float, Samples]]) -> Iterator[Image.Image]:
        """A frame for each step and the samples to be seen then; samples are painted where they change."""
        before: Samples | None = None
        shown = self.past
        for step, samples in moments:
            if samples is not before:
                shown, before = self._with(samples), samples
            yield self._frame(shown, step)

    def _with(self, samples: Samples) -> Image.Image:
        shown = self.past.copy()
        self.stage.paint(shown, samples)
        words = [TextSpan(self.stage.caption(samples) + self.more, colour=MUTED)]
        text_rendering.draw_row(ImageDraw.Draw(shown), film_samples.LEFT, FOOT, words, film_samples.WIDTH)
        return shown

    def _frame(self, shown: Image.Image, step: float) -> Image.Image:
        frame = shown.copy()
        draw = ImageDraw.Draw(frame)
        if self.places:
            x = round(float(self.places[0].axes.transData.transform((step, 0))[0]))
            frame.paste(self.ahead.crop((x, 0, *SIZE)), (x, 0))
        for place in self.places:
            box = place.axes.bbox
            frame.paste(GREY, (x - 1, HEIGHT - round(box.y1), x + 1, HEIGHT - round(box.y0)))
            for across, down, colour in place.dots(step):
                draw.ellipse((across - 4, down - 4, across + 4, down + 4), fill=colour, outline="white")
            text_rendering.draw_row(draw, place.left, place.baseline, place.plot.say(step), ROOM - (place.left - MARGIN))
        now, below = self.clock.words(step)
        text_rendering.draw_row(draw, MARGIN, HEAD, now, ROOM)
        text_rendering.draw_row(draw, MARGIN, SECOND, below, ROOM)
        return frame


def film_renderer(history: RunHistory, stage: SampleArea) -> FilmRenderer:
    """Draw what stays: names, all axes, and the curves in full and as they are before their time."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", BIG]):
        figure = Figure(figsize=(WIDTH / DOTS, HEIGHT / DOTS), dpi=DOTS, facecolor="white")
        FigureCanvasAgg(figure)
        film_samples.set_up(figure)
        placed = [_placed(figure, *one, history) for one in _rows(film_panels.film_panels(history))]
        places = [place for place, _ in placed]
        if places:
            places[-1].axes.tick_params(labelbottom=True)
            places[-1].axes.set_xlabel("steps")
        past = _drawn(figure, history, places)
        for _, curves in placed:
            for curve in curves:
                curve.set_visible(False)
        bare = _drawn(figure, history, places)
    hidden = film_panels.count_hidden_knobs(history)
    more = f"; {format_count(hidden)} more knobs moved" if hidden else ""
    return FilmRenderer(stage, past, Image.blend(bare, past, AHEAD), places, _clock(history), more)


def _rows(plots: Sequence[FilmPanel]) -> list[tuple[FilmPanel, int, int]]:
    """Plots, and the upper and lower edges of their axes in pixels; those with a scale share what is left."""
    low = sum(plot.low for plot in plots) * (TITLE + BAR + SPACE)
    high = len(plots) - sum(plot.low for plot in plots)
    each = min(HIGHEST, (BOTTOM - TOP - low) // high - TITLE - SPACE) if high else 0
    rows, top = [], TOP
    for plot in plots:
        height = BAR if plot.low else each
        rows.append((plot, top + TITLE, top + TITLE + height))
        top += TITLE + height + SPACE
    return rows


def _placed(figure: "Figure", plot: FilmPanel, top: int, bottom: int, history: RunHistory) -> tuple[PanelPlacement, list["Artist"]]:
    """A panel drawn in its place, and those of its parts that belong to time."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    box = (START / WIDTH, 1 - bottom / HEIGHT, (END - START) / WIDTH, (bottom - top) / HEIGHT)
    axes = figure.add_axes(box)
    step_axis(axes, history, images=False)
    before = set(axes.get_children())
    plot.draw(axes)
    curves = [child for child in axes.get_children() if child not in before]
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_number(round(y, 12))))
    axes.tick_params(labelbottom=False, left=not plot.low, labelleft=not plot.low)
    axes.grid(visible=not plot.low, axis="y")
    axes.set_xlabel("")
    title = TextSpan(plot.title, bold=True)
    return PanelPlacement(plot, MARGIN + text_rendering.text_width(title, plot.title) + 14, top - 8, axes), curves


def _drawn(figure: "Figure", history: RunHistory, places: Sequence[PanelPlacement]) -> Image.Image:
    """The figure as it is now, with all words that stay."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=DOTS)
    picture = Image.frombytes("RGBA", SIZE, buffer.getvalue()).convert("RGB")
    draw = ImageDraw.Draw(picture)
    name = TextSpan(one_line(history.run.name, 80), bold=True, size=LARGE)
    text_rendering.draw_row(draw, film_samples.LEFT, HEAD, [name], film_samples.WIDTH)
    text_rendering.draw_row(draw, film_samples.LEFT, SECOND, [TextSpan(_what(history), colour=MUTED)], film_samples.WIDTH)
    for place in places:
        text_rendering.draw_row(draw, MARGIN, place.baseline, [TextSpan(place.plot.title, bold=True)], ROOM)
    return picture


def _clock(history: RunHistory) -> RunClock:
    known = {to_number(line["step"], 0): to_number(line.get("images"), 0) for line in history.lines}
    steps = sorted(known)
    images = np.array(steps), np.array([known[step] for step in steps])
    sensed = [(to_number(line["step"], 0), line) for line in history.named("sensed")]
    spent = [(to_number(line["step"], 0), to_number(line.get("seconds"))) for line in history.lines if _is_timed(line)]
    timed = np.array([(0.0, 0.0), *((step, seconds) for step, seconds in spent if np.isfinite(seconds))])
    verdicts = [(step, _verdict(line)) for step, line in sensed]
    planned = int(to_number(history.started.get("steps"), 0))
    end = history.step, _ending(history)
    return RunClock(images, (timed[:, 0], timed[:, 1]), verdicts, planned, end, history.noun)


def _ending(history: RunHistory) -> str:
    if history.finished is None:
        return run_state(history)
    why = STOPPED.get(str(history.finished.get("reason")))
    return f"ended {run_state(history)}" + (f": {why}" if why else "")


def _is_timed(line: Line) -> bool:
    """Elsewhere `seconds` is what something took."""
    return line["event"] in ("sensed", "finished")


def _verdict(line: Line) -> str:
    """As observations.Health has it."""
    result = [finding.get("symptom") for finding in findings_of(line)]
    return "diverged" if "divergence" in result else "unhealthy" if result else "healthy"


def _what(history: RunHistory) -> str:
    model, data, controller = (plug_name(history.experiment, key) for key in ("model", "data", "controller"))
    words = [model or "a GAN", f"on {data}" if data else "", f"under the {controller} controller" if controller else ""]
    return " ".join(word for word in words if word)
