"""The groups of images of a sample sheet are named in the page and in the figure."""

import numpy as np
import pytest
from PIL import Image

from equipoise.report import samples as sample_files
from equipoise.report.film_samples import SampleArea
from equipoise.report.sample_plots import draw_samples
from equipoise.report.samples import Samples
from equipoise.runs.run import Run

GROUPS = ("input", "output", "truth")


def sheet() -> Image.Image:
    return Image.fromarray(np.zeros((34, 16 * 3 + 4, 3), np.uint8))


def test_captions_name_the_groups() -> None:
    samples = Samples(40, 320, sheet=sheet(), groups=GROUPS)
    assert samples.description == "step 40, 320 images seen; from left to right: input, output, truth"
    assert "inputs in every frame (input, output, truth)" in SampleArea(cell=(16, 16)).caption(samples)
    plain = Samples(40, 320, sheet=sheet())
    assert plain.description == "step 40, 320 images seen"
    assert SampleArea(cell=(16, 16)).caption(plain).startswith("Same latents")


def test_figure_names_the_groups() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    draw_samples(axes, Samples(40, 320, sheet=sheet(), groups=GROUPS), (-1, 1))
    assert "320 images seen: input, output, truth" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(
    ("value", "groups"), [(list(GROUPS), GROUPS), ([], ()), (None, ()), ("input", ()), ({"a": 1}, ())]
)
def test_malformed_group_names_are_ignored(tmp_path, value: object, groups: tuple[str, ...]) -> None:
    sheet().save(tmp_path / "x.png")
    line = {"event": "sampled", "step": 1, "images": 8, "samples": "x.png", "shows": value}
    assert sample_files.load_samples(Run(tmp_path), line).groups == groups
    long = sample_files.load_samples(Run(tmp_path), {**line, "shows": ["x" * 500]})
    assert len(long.groups[0]) <= 24
