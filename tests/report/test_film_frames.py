import math
import re

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from equipoise.core.events import Remedied, Resumed
from equipoise.core.observations import Finding, Health, Override
from equipoise.report import run_history as histories
from equipoise.report import page
from equipoise.report import film_panels
from equipoise.report import film_frames
from equipoise.report import text_rendering
from equipoise.report.run_history import KnobHistory
from equipoise.report.text_rendering import TextSpan

from .conftest import BATCH, Maker, first_frame, full, pictures, scene_of, sensed, spoken, started, turned

Pixels = npt.NDArray[np.uint8]


def test_what_is_past_is_drawn_and_what_is_ahead_is_faint(written: Maker) -> None:
    run = written([event for event in full() if not isinstance(event, Resumed)])
    scene = scene_of(run)
    frame, past, ahead = (np.asarray(picture) for picture in (first_frame(run, 200), scene.past, scene.ahead))
    cursor = int(scene.places[0].axes.transData.transform((200, 0))[0])
    panels = slice(film_frames.TOP + film_frames.TITLE, film_frames.TOP + film_frames.TITLE + 40)
    before, after = (panels, slice(film_frames.START, cursor - 6)), (panels, slice(cursor + 6, film_frames.WIDTH))
    assert np.array_equal(frame[before], past[before])
    assert np.array_equal(frame[after], ahead[after])
    dark = [int((picture.min(axis=2) < 120).sum()) for picture in (past[after], ahead[after])]
    assert dark[0] > 20 > dark[1]


def test_the_clock_tells_time_images_and_health(written: Maker) -> None:
    scene = scene_of(written(list(full())))
    now, below = scene.clock.words(100)
    assert spoken(now) == "step 100 of 400"
    assert spoken(below) == "6,400 images 10 s healthy"
    assert "unhealthy" in spoken(scene.clock.words(205)[1])
    assert "unhealthy" not in spoken(scene.clock.words(235)[1])
    assert spoken(scene.clock.words(400)[1]) == "25,600 images 1 min 23 s ended healthy"


def test_panels_say_what_is_true_at_a_step(written: Maker) -> None:
    history = histories.read_history(written(list(full())))
    plots = {plot.title: plot for plot in film_panels.film_panels(history)}
    assert list(plots)[:3] == ["Loss", "D tells reals from", "kd_digits"]
    level = 0.7 + 0.2 * math.sin(100 / 40)
    assert spoken(plots["Loss"].say(109)) == f"discriminator {level:.3g} generator {2 - level:.3g}"
    assert spoken(plots["kd_digits"].say(399)) == "(lower is better) last 0.0625"
    assert spoken(plots["kd_digits"].say(5)) == "(lower is better) last –"
    assert spoken(plots["Findings"].say(180)) == "discriminator overpowering 80%"
    assert spoken(plots["Findings"].say(300)) == "none now"
    assert spoken(plots["Knob"].say(130)) in ("beta2 0.99", "discriminator_steps 3", "r1_gamma 0.3")


@pytest.mark.usefixtures("plain")
def test_what_was_done_about_a_finding_is_on_film_and_page(written: Maker) -> None:
    finding = Finding("divergence", 1.0, {"non_finite": 3}, since=55)
    held = (Override("lr_d", 5e-5, 2e-4, 90),)
    events = [
        *(started(), pictures(0), sensed(50), sensed(60, health=Health((finding,)))),
        Remedied(60, 60 * BATCH, finding, 1, 40, 20, held, 90),
        *(sensed(70), sensed(100), pictures(100)),
    ]
    run = written(events)
    plot = next(plot for plot in film_panels.film_panels(histories.read_history(run)) if plot.title == "Findings")
    assert spoken(plot.say(60)) == "divergence 100% back to step 40"
    assert spoken(plot.say(70)) == "back to step 40"
    assert spoken(plot.say(95)) == "none now"
    text = page.write_page(run).read_text()
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.partition("What was done about it")[2]))
    assert "60 divergence those of step 40 lr_d 5e-5 90" in said


def test_knobs_that_move_alike_share_a_panel() -> None:
    steps = (0.0, 50.0, 100.0)
    fine, coarse = (KnobHistory(name, steps, (1, 2e-3, 1e-3, 5e-4), ("a",) * 3, "") for name in ("lr_g", "lr_d"))
    other = KnobHistory("augment_p", steps, (0, 0.1, 0.2, 0.1), ("a",) * 3, "")
    groups = film_panels._together([fine, coarse, other], 200)
    assert [[one.knob for one in group] for group in groups] == [["lr_g", "lr_d"], ["augment_p"]]
    at, heights = film_panels._course(fine, 200)
    assert list(at) == [0, 50, 100, 200]
    assert heights == pytest.approx([1, 0.5, 0, 0]), "on a logarithmic scale, and not from where a turn at 0 began"


def test_only_so_many_knobs_are_shown_and_the_rest_counted(written: Maker) -> None:
    events = [turned(step, f"knob_{i}", step, step + i) for i in range(7) for step in range(i + 1)]
    history = histories.read_history(written([started(), pictures(0), sensed(9), *events]))
    knobs = [plot for plot in film_panels.film_panels(history) if plot.low]
    assert len(knobs) == film_panels.MOST_KNOBS
    assert film_panels.count_hidden_knobs(history) == 7 - film_panels.MOST_KNOBS
    assert [spoken(plot.say(9)).split()[0] for plot in knobs] == ["knob_6", "knob_5", "knob_4", "knob_3"]


def test_words_are_cut_where_room_ends_and_values_stay_in_place() -> None:
    def drawn(parts: list[TextSpan], width: float) -> Pixels:
        picture = Image.new("RGB", (400, 30), "white")
        text_rendering.draw_row(ImageDraw.Draw(picture), 10, 20, parts, width)
        return np.asarray(picture)

    long = drawn([TextSpan("a very long name that nobody can read in full")], 120)
    assert (long[:, 132:] == 255).all()
    assert (long[:, :130] < 128).any()
    ends = [np.nonzero((drawn([TextSpan("x", "0" * n), TextSpan("|")], 380) < 99).any(axis=(0, 2)))[0].max() for n in (1, 5)]
    assert ends[0] == ends[1]
