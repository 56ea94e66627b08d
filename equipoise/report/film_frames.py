"""Frames of a film: everything constant is drawn once, and each frame is composed from these pictures."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from equipoise.core.observations import SERIOUS
from equipoise.report import film_samples
from equipoise.report.film_panels import FilmPanel, count_hidden_knobs, film_panels
from equipoise.report.film_samples import SampleArea
from equipoise.report.formatting import format_count, format_duration, format_number, one_line
from equipoise.report.plot_style import GREEN, GREY, RED, STYLE, step_axis
from equipoise.report.run_history import RunHistory, findings_of, to_mapping, to_number
from equipoise.report.run_summary import plug_name, run_state
from equipoise.report.samples import Samples
from equipoise.report.series import CurveValues
from equipoise.report.text_rendering import MUTED, TextSpan, draw_row, text_width
from equipoise.runs.run import EventLine

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = WIDTH, HEIGHT = 1280, 720
DPI = 100
"""Pixels per inch of the figure behind the frames: a frame is 12.8 by 7.2 inches."""
FILM_STYLE = {**STYLE, **dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), 11.6)}
"""Style of the report figures, with text of 11.6 points (16 pixels)."""
TEXT_LEFT, AXES_LEFT, AXES_RIGHT, TOP, BOTTOM = 712, 776, 1248, 72, 664
"""Pixels: left edge of texts, left and right edge of axes, upper edge of the first panel, lower edge of the last."""
TEXT_WIDTH = WIDTH - TEXT_LEFT - 8
HEADER_BASELINE, SUBHEADER_BASELINE, FOOTER_BASELINE, LARGE = 30, 56, 708, 22
"""Pixels: baselines of two lines at the top and one at the bottom, and the size of large text."""
TITLE_HEIGHT, STRIP_HEIGHT, SPACING, MAX_HEIGHT = 26, 24, 8, 250
"""Pixels: a title, a panel without value axis, the space under a panel, and the maximum height of other panels."""
REASONS = {
    "images": "limit of images",
    "seconds": "time limit",
    "equilibrium": "equilibrium",
    "interrupted": "interrupted",
}
"""Reason for which a run ended before its last step -> short text."""
FUTURE_OPACITY = 0.22


@dataclass(frozen=True)
class PanelPlacement:
    """A panel on the frame: its axes, and where the text after its title begins, in pixels from left and top."""

    panel: FilmPanel
    left: float
    baseline: int
    axes: "Axes"

    def points_at(self, step: float) -> list[tuple[float, float, str]]:
        """Return the position of each visible curve at a step, in pixels from left and top, and its colour."""
        bottom, top = sorted(self.axes.get_ylim())
        heights = [(curve.height(step), curve.colour) for curve in self.panel.curves]
        points = [(*self.axes.transData.transform((step, y)), colour) for y, colour in heights if bottom <= y <= top]
        return [(x, HEIGHT - y, colour) for x, y, colour in points]


@dataclass(frozen=True)
class RunClock:
    """Images seen, seconds of training and verdict, as functions of the step.

    `images`, `seconds`: steps (N,) and values (N,). `verdicts`: (step, verdict) pairs in order. `total_steps`: 0 if
    unknown. `end`: the last step, and how the run ended, in words. `sample_noun`: "images", "sequences" or "sentences".
    """

    images: tuple[CurveValues, CurveValues]
    seconds: tuple[CurveValues, CurveValues]
    verdicts: Sequence[tuple[float, str]]
    total_steps: int
    end: tuple[float, str]
    sample_noun: str

    def text_at(self, step: float) -> tuple[list[TextSpan], list[TextSpan]]:
        """Return two lines of text: the step; and images, time and verdict, at the end how the run ended."""
        of_total = f" of {format_count(self.total_steps)}" if self.total_steps else ""
        header = TextSpan(f"step {format_count(step)}{of_total}", bold=True, size=LARGE)
        images = format_count(float(np.interp(step, *self.images)))
        seconds = format_duration(float(np.interp(step, *self.seconds)))
        last_step, ending = self.end
        verdict = next((word for since, word in reversed(self.verdicts) if since <= step), "")
        status = verdict if step < last_step else ending
        is_healthy = "healthy" in status and "unhealthy" not in status
        is_open = status in ("", "unfinished") or "unknown" in status
        colour = GREEN if is_healthy else GREY if is_open else RED
        spans = [
            TextSpan(f"{images} {self.sample_noun}"),
            TextSpan(seconds),
            TextSpan(status, colour=colour, bold=True),
        ]
        return [header], spans


@dataclass(frozen=True)
class FilmRenderer:
    """Composes frames from a picture with all curves (`past`) and one with faint curves (`future`).

    `note` is appended to the caption under the samples.
    """

    area: SampleArea
    past: Image.Image
    future: Image.Image
    placements: Sequence[PanelPlacement]
    clock: RunClock
    note: str

    def frames(self, steps_and_samples: Iterable[tuple[float, Samples]]) -> Iterator[Image.Image]:
        """Yield a frame for each pair of a step and samples; samples are drawn only when they change."""
        previous: Samples | None = None
        background = self.past
        for step, samples in steps_and_samples:
            if samples is not previous:
                background, previous = self._with_samples(samples), samples
            yield self._frame(background, step)

    def _with_samples(self, samples: Samples) -> Image.Image:
        image = self.past.copy()
        self.area.draw(image, samples)
        caption = [TextSpan(self.area.caption(samples) + self.note, colour=MUTED)]
        draw_row(ImageDraw.Draw(image), film_samples.LEFT, FOOTER_BASELINE, caption, film_samples.WIDTH)
        return image

    def _frame(self, background: Image.Image, step: float) -> Image.Image:
        frame = background.copy()
        draw = ImageDraw.Draw(frame)
        if self.placements:
            x = round(float(self.placements[0].axes.transData.transform((step, 0))[0]))
            frame.paste(self.future.crop((x, 0, *SIZE)), (x, 0))
        for placement in self.placements:
            box = placement.axes.bbox
            frame.paste(GREY, (x - 1, HEIGHT - round(box.y1), x + 1, HEIGHT - round(box.y0)))
            for point_x, point_y, colour in placement.points_at(step):
                draw.ellipse((point_x - 4, point_y - 4, point_x + 4, point_y + 4), fill=colour, outline="white")
            max_width = TEXT_WIDTH - (placement.left - TEXT_LEFT)
            draw_row(draw, placement.left, placement.baseline, placement.panel.text_at(step), max_width)
        header, subheader = self.clock.text_at(step)
        draw_row(draw, TEXT_LEFT, HEADER_BASELINE, header, TEXT_WIDTH)
        draw_row(draw, TEXT_LEFT, SUBHEADER_BASELINE, subheader, TEXT_WIDTH)
        return frame


def film_renderer(history: RunHistory, area: SampleArea) -> FilmRenderer:
    """Return the renderer of a run; draws everything constant: titles, axes, and all curves, strong and faint."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", FILM_STYLE]):
        figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        area.add_axes(figure)
        placed = [_place_panel(figure, *row, history) for row in _panel_rows(film_panels(history))]
        placements = [placement for placement, _ in placed]
        if placements:
            placements[-1].axes.tick_params(labelbottom=True)
            placements[-1].axes.set_xlabel("steps")
        past = _render(figure, history, placements)
        for _, artists in placed:
            for artist in artists:
                artist.set_visible(False)
        without_curves = _render(figure, history, placements)
    hidden = count_hidden_knobs(history)
    note = f"; {format_count(hidden)} more knobs changed" if hidden else ""
    future = Image.blend(without_curves, past, FUTURE_OPACITY)
    return FilmRenderer(area, past, future, placements, _run_clock(history), note)


def _panel_rows(panels: Sequence[FilmPanel]) -> list[tuple[FilmPanel, int, int]]:
    """Return panels, and upper and lower edge of their axes in pixels. Panels with a value axis are equally high."""
    strips = sum(panel.is_strip for panel in panels) * (TITLE_HEIGHT + STRIP_HEIGHT + SPACING)
    tall_panels = len(panels) - sum(panel.is_strip for panel in panels)
    tall = min(MAX_HEIGHT, (BOTTOM - TOP - strips) // tall_panels - TITLE_HEIGHT - SPACING) if tall_panels else 0
    rows, top = [], TOP
    for panel in panels:
        height = STRIP_HEIGHT if panel.is_strip else tall
        rows.append((panel, top + TITLE_HEIGHT, top + TITLE_HEIGHT + height))
        top += TITLE_HEIGHT + height + SPACING
    return rows


def _place_panel(
    figure: "Figure", panel: FilmPanel, top: int, bottom: int, history: RunHistory
) -> tuple[PanelPlacement, list["Artist"]]:
    """Draw a panel; return its placement and the artists that depend on time."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    box = (AXES_LEFT / WIDTH, 1 - bottom / HEIGHT, (AXES_RIGHT - AXES_LEFT) / WIDTH, (bottom - top) / HEIGHT)
    axes = figure.add_axes(box)
    step_axis(axes, history, images=False)
    constant = set(axes.get_children())
    panel.draw(axes)
    artists = [child for child in axes.get_children() if child not in constant]
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_number(round(y, 12))))
    axes.tick_params(labelbottom=False, left=not panel.is_strip, labelleft=not panel.is_strip)
    axes.grid(visible=not panel.is_strip, axis="y")
    axes.set_xlabel("")
    left = TEXT_LEFT + text_width(TextSpan(panel.title, bold=True), panel.title) + 14
    return PanelPlacement(panel, left, top - 8, axes), artists


def _render(figure: "Figure", history: RunHistory, placements: Sequence[PanelPlacement]) -> Image.Image:
    """Render the figure in its current state, with all constant texts."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=DPI)
    picture = Image.frombytes("RGBA", SIZE, buffer.getvalue()).convert("RGB")
    draw = ImageDraw.Draw(picture)
    name = TextSpan(one_line(history.run.name, 80), bold=True, size=LARGE)
    subject = TextSpan(_subject(history), colour=MUTED)
    draw_row(draw, film_samples.LEFT, HEADER_BASELINE, [name], film_samples.WIDTH)
    draw_row(draw, film_samples.LEFT, SUBHEADER_BASELINE, [subject], film_samples.WIDTH)
    for placement in placements:
        title = TextSpan(placement.panel.title, bold=True)
        draw_row(draw, TEXT_LEFT, placement.baseline, [title], TEXT_WIDTH)
    return picture


def _run_clock(history: RunHistory) -> RunClock:
    images_by_step = {to_number(line["step"], 0): to_number(line.get("images"), 0) for line in history.lines}
    steps = sorted(images_by_step)
    images = np.array(steps), np.array([images_by_step[step] for step in steps])
    # In other events, `seconds` is the duration of something else.
    timed = [line for line in history.lines if line["event"] in ("sensed", "finished")]
    pairs = [(to_number(line["step"], 0), to_number(line.get("seconds"))) for line in timed]
    times = np.array([(0.0, 0.0), *((step, seconds) for step, seconds in pairs if np.isfinite(seconds))])
    verdicts = [(to_number(line["step"], 0), _verdict(line)) for line in history.events_of("sensed")]
    total_steps = int(to_number(history.started.get("steps"), 0))
    end = history.step, _ending(history)
    return RunClock(images, (times[:, 0], times[:, 1]), verdicts, total_steps, end, history.sample_noun)


def _ending(history: RunHistory) -> str:
    if history.finished is None:
        return run_state(history)
    reason = REASONS.get(str(history.finished.get("reason")))
    state = run_state(history)
    separator = ", " if "unknown" in state else " "
    return f"ended{separator}{state}" + (f": {reason}" if reason else "")


def _verdict(line: EventLine) -> str:
    """Return the verdict of a reading by the same rule as Health.verdict in core/observations.py."""
    severities = {finding.get("symptom"): to_number(finding.get("severity"), 1) for finding in findings_of(line)}
    if "divergence" in severities:
        return "diverged"
    if any(severity >= SERIOUS for severity in severities.values()):
        return "unhealthy"
    return "health unknown" if to_mapping(line.get("health")).get("missing") else "healthy"


def _subject(history: RunHistory) -> str:
    model, data, controller = (plug_name(history.experiment, key) for key in ("model", "data", "controller"))
    words = [
        model or "a model",
        f"on {data}" if data else "",
        f"with the {controller} controller" if controller else "",
    ]
    return " ".join(word for word in words if word)
