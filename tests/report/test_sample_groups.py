"""What stands beside what on a sheet is told wherever the sheet is shown."""

import numpy as np
import pytest
from PIL import Image

from equipoise.report import samples as sampling
from equipoise.report.sample_plots import draw_samples
from equipoise.report.samples import Samples
from equipoise.report.film_samples import SampleArea
from equipoise.runs.run_folder import Run

SHOWS = ("input", "output", "truth")


def sheet() -> Image.Image:
    return Image.fromarray(np.zeros((34, 16 * 3 + 4, 3), np.uint8))


def test_captions_name_the_groups_and_speak_of_inputs() -> None:
    shown = Samples(40, 320, sheet=sheet(), shows=SHOWS)
    assert shown.moment == "step 40, 320 images seen; from left to right input, output, truth"
    assert (
        SampleArea(cell=(16, 16)).caption(shown).startswith("The same inputs all along (input, output, truth), here after")
    )
    alone = Samples(40, 320, sheet=sheet())
    assert alone.moment == "step 40, 320 images seen"
    assert SampleArea(cell=(16, 16)).caption(alone).startswith("The same latents all along, here after")


def test_a_figure_names_them_too() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    draw_samples(axes, Samples(40, 320, sheet=sheet(), shows=SHOWS), (-1, 1))
    assert "320 images seen: input, output, truth" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(("said", "shows"), [(list(SHOWS), SHOWS), ([], ()), (None, ()), ("input", ()), ({"a": 1}, ())])
def test_what_a_log_says_is_read_with_care(tmp_path, said: object, shows: tuple[str, ...]) -> None:
    sheet().save(tmp_path / "x.png")
    line = {"event": "sampled", "step": 1, "images": 8, "samples": "x.png", "shows": said}
    assert sampling.load_samples(Run(tmp_path), line).shows == shows
    long = sampling.load_samples(Run(tmp_path), {**line, "shows": ["x" * 500]})
    assert len(long.shows[0]) <= 24
