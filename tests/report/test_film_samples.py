import math

import numpy as np
import pytest
from PIL import Image, ImageColor

from equipoise.report import film_samples
from equipoise.report import film_frames
from equipoise.report.plot_style import BLUE
from equipoise.report.samples import Samples
from equipoise.runs import run_folder as runs

from .conftest import Maker, first_frame, pictures, started


def test_images_are_shown_pixel_by_pixel(written: Maker) -> None:
    run = written([started(), pictures(0)])
    frame = np.asarray(first_frame(run, 0))
    with Image.open(run.folder / "samples" / "step-00000000.png") as image:
        sheet = np.asarray(image)  # four by four images of 8 pixels: 38 pixels, which fit 16 times
    scale = min(film_samples.WIDTH, film_samples.HEIGHT) // 38
    large = np.kron(sheet, np.ones((scale, scale), np.uint8))
    left, top = film_samples.LEFT + (film_samples.WIDTH - len(large)) // 2, film_samples.TOP + (film_samples.HEIGHT - len(large)) // 2
    shown = frame[top : top + len(large), left : left + len(large)]
    assert np.array_equal(shown, np.repeat(large[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("count", "shape", "columns", "scale", "shown"),
    [
        (80, (1, 32, 32), 10, 2, (10, 8)),
        (64, (3, 64, 64), None, 1, (8, 8)),
        (64, (3, 128, 128), None, 1, (5, 4)),
        (64, (1, 28, 28), None, 2, (8, 8)),
        (400, (3, 16, 16), 20, 3, (12, 11)),
        (12, (3, 20, 40), 3, 5, (3, 4)),
        (1, (3, 512, 512), None, 1, (1, 1)),
        (4, (3, 1024, 1024), None, 1, (1, 1)),
    ],
)
def test_sheets_are_as_large_as_they_can_be_read(
    count: int, shape: tuple[int, int, int], columns: int | None, scale: int, shown: tuple[int, int]
) -> None:
    noise = np.random.default_rng(count).uniform(-1, 1, (count, *shape)).astype(np.float32)
    sheet = runs.grid(noise, columns)
    cell = film_samples._cell(sheet)
    assert cell == (shape[2], shape[1])
    assert film_samples._fitting(sheet, cell) == (scale, *shown)
    picture, (left, top) = film_samples._arranged(sheet, cell)
    assert left >= film_samples.LEFT
    assert top >= film_samples.TOP
    assert left + picture.width <= film_samples.LEFT + film_samples.WIDTH
    assert top + picture.height <= film_samples.TOP + film_samples.HEIGHT
    caption = film_samples.SampleArea(cell).caption(Samples(5, 0, sheet=sheet))
    part = shown[0] * shown[1] < count
    assert caption.endswith(f"step 5: {shown[0] * shown[1]} of {count}" if part else "step 5")


def test_points_stand_where_they_are_and_cover_one_another() -> None:
    board = film_samples.SampleArea(points=True, bounds=(-2.0, 2.0))
    left, top, width, height = board.square
    frame = Image.new("RGB", film_frames.SIZE, "white")
    place = np.array([[1.0, 1.0], [-1.0, 0.0], [-1.0, 0.0], [math.nan, 0.0], [50.0, 50.0]])
    board.paint(frame, Samples(0, 0, values=place))
    blue, seen = np.array(ImageColor.getrgb(BLUE)), np.asarray(frame)
    for (x, y), covers in (((1, 1), 1), ((-1, 0), 2)):
        pixel = seen[top + height - 1 - round((y + 2) / 4 * height), left + round((x + 2) / 4 * width)]
        expected = blue + (255 - blue) * (1 - film_samples.COVER) ** covers
        assert pixel == pytest.approx(expected, abs=2)
    assert seen[top, left] == pytest.approx([255] * 3)
    dots = ((seen != 255).any(axis=2)).sum()
    assert dots < 2.2 * math.pi * (film_samples.DOT + 1) ** 2, "nothing else is painted"


def test_numbers_are_bars_on_axes_that_stay() -> None:
    many, few = np.zeros((30, 1)), np.linspace(-1, 1, 10)[:, None]
    board = film_samples.sample_area([Samples(2, 2, values=few), Samples(1, 1, values=many)])
    assert board.tallest == 30
    frame = Image.new("RGB", film_frames.SIZE, "white")
    board.paint(frame, Samples(1, 1, values=many))
    _, _, _, height = board.square
    column = (np.asarray(frame) == ImageColor.getrgb(BLUE)).all(axis=2).sum(axis=0).max()
    assert column == round(height / 1.05)
