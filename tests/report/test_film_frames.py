import math
import re

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from equipoise.core.events import Finished, Remedied, Resumed
from equipoise.core.observations import Finding, Health, Override
from equipoise.report import film_frames, film_panels, page, text_rendering
from equipoise.report.run_history import KnobHistory, read_history
from equipoise.report.text_rendering import TextSpan

from .conftest import BATCH, Maker, first_frame, full, pictures, renderer_of, sensed, started, text_of, turned

Pixels = npt.NDArray[np.uint8]


def test_past_curves_are_strong_and_future_curves_faint(write_run: Maker) -> None:
    run = write_run([event for event in full() if not isinstance(event, Resumed)])
    renderer = renderer_of(run)
    frame, past, ahead = (np.asarray(picture) for picture in (first_frame(run, 200), renderer.past, renderer.future))
    cursor = int(renderer.placements[0].axes.transData.transform((200, 0))[0])
    panels = slice(film_frames.TOP + film_frames.TITLE_HEIGHT, film_frames.TOP + film_frames.TITLE_HEIGHT + 40)
    before, after = (panels, slice(film_frames.AXES_LEFT, cursor - 6)), (panels, slice(cursor + 6, film_frames.WIDTH))
    assert np.array_equal(frame[before], past[before])
    assert np.array_equal(frame[after], ahead[after])
    dark = [int((picture.min(axis=2) < 120).sum()) for picture in (past[after], ahead[after])]
    assert dark[0] > 20 > dark[1]


def test_clock_shows_step_images_time_and_verdict(write_run: Maker) -> None:
    renderer = renderer_of(write_run(list(full())))
    header, subheader = renderer.clock.text_at(100)
    assert text_of(header) == "step 100 of 400"
    assert text_of(subheader) == "6,400 images 10 s healthy"
    assert "unhealthy" in text_of(renderer.clock.text_at(205)[1])
    assert "unhealthy" not in text_of(renderer.clock.text_at(235)[1])
    assert text_of(renderer.clock.text_at(400)[1]) == "25,600 images 1 min 23 s ended healthy"


def test_clock_shows_that_the_health_is_unknown(write_run: Maker) -> None:
    hint = Health((Finding("plateau", 0.2, {}, since=100),), missing="a metric")
    serious = Health((Finding("mode_collapse", 0.9, {}, since=200),))
    events = [started(), sensed(100, health=hint), sensed(200, health=serious), sensed(300, health=Health(missing="…"))]
    clock = renderer_of(write_run([*events, Finished(400, 400 * BATCH, "steps", "unknown", 40.0)])).clock
    texts = [text_of(clock.text_at(step)[1]) for step in (150, 250, 350, 400)]
    assert [text.partition(" s ")[2] for text in texts] == [
        *("health unknown", "unhealthy", "health unknown", "ended, health unknown")
    ]


def test_panels_show_values_of_the_step(write_run: Maker) -> None:
    history = read_history(write_run(list(full())))
    panels = {panel.title: panel for panel in film_panels.film_panels(history)}
    assert list(panels)[:3] == ["Loss", "D rank", "kd_digits"]
    level = 0.7 + 0.2 * math.sin(100 / 40)
    assert text_of(panels["Loss"].text_at(109)) == f"discriminator {level:.3g} generator {2 - level:.3g}"
    assert text_of(panels["kd_digits"].text_at(399)) == "(lower is better) last 0.0625"
    assert text_of(panels["kd_digits"].text_at(5)) == "(lower is better) last –"
    assert text_of(panels["Findings"].text_at(180)) == "discriminator overpowering 80%"
    assert text_of(panels["Findings"].text_at(300)) == "none"
    assert text_of(panels["Knob"].text_at(130)) in ("beta2 0.99", "discriminator_steps 3", "r1_gamma 0.3")


@pytest.mark.usefixtures("empty_figures")
def test_remedies_are_on_film_and_page(write_run: Maker) -> None:
    finding = Finding("divergence", 1.0, {"non_finite": 3}, since=55)
    overrides = (Override("lr_d", 5e-5, 2e-4, 90),)
    events = [
        *(started(), pictures(0), sensed(50), sensed(60, health=Health((finding,)))),
        Remedied(60, 60 * BATCH, finding, 1, 40, 20, overrides, 90),
        *(sensed(70), sensed(100), pictures(100)),
    ]
    run = write_run(events)
    panel = next(panel for panel in film_panels.film_panels(read_history(run)) if panel.title == "Findings")
    assert text_of(panel.text_at(60)) == "divergence 100% rollback to step 40"
    assert text_of(panel.text_at(70)) == "rollback to step 40"
    assert text_of(panel.text_at(95)) == "none"
    text = page.write_page(run).read_text()
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.partition("Remedies")[2]))
    assert "60 divergence to step 40 lr_d 5e-5 90" in words


def test_knobs_with_the_same_changes_share_a_panel() -> None:
    steps = (0.0, 50.0, 100.0)
    fine, coarse = (KnobHistory(name, steps, (1, 2e-3, 1e-3, 5e-4), ("a",) * 3, "") for name in ("lr_g", "lr_d"))
    other = KnobHistory("augment_p", steps, (0, 0.1, 0.2, 0.1), ("a",) * 3, "")
    groups = film_panels._group_knobs([fine, coarse, other], 200)
    assert [[one.knob for one in group] for group in groups] == [["lr_g", "lr_d"], ["augment_p"]]
    at, heights = film_panels._relative_heights(fine, 200)
    assert list(at) == [0, 50, 100, 200]
    assert heights == pytest.approx([1, 0.5, 0, 0]), (
        "on a logarithmic scale; the value before a change at step 0 is ignored"
    )


def test_number_of_knob_panels_is_limited(write_run: Maker) -> None:
    events = [turned(step, f"knob_{i}", step, step + i) for i in range(7) for step in range(i + 1)]
    history = read_history(write_run([started(), pictures(0), sensed(9), *events]))
    knobs = [panel for panel in film_panels.film_panels(history) if panel.is_strip]
    assert len(knobs) == film_panels.MAX_KNOB_PANELS
    assert film_panels.count_hidden_knobs(history) == 7 - film_panels.MAX_KNOB_PANELS
    assert [text_of(panel.text_at(9)).split()[0] for panel in knobs] == ["knob_6", "knob_5", "knob_4", "knob_3"]


def test_text_is_truncated_and_values_have_fixed_width() -> None:
    def draw(parts: list[TextSpan], width: float) -> Pixels:
        picture = Image.new("RGB", (400, 30), "white")
        text_rendering.draw_row(ImageDraw.Draw(picture), 10, 20, parts, width)
        return np.asarray(picture)

    long = draw([TextSpan("a very long name that does not fit into the row")], 120)
    assert (long[:, 132:] == 255).all()
    assert (long[:, :130] < 128).any()
    ends = [
        np.nonzero((draw([TextSpan("x", "0" * n), TextSpan("|")], 380) < 99).any(axis=(0, 2)))[0].max() for n in (1, 5)
    ]
    assert ends[0] == ends[1]
