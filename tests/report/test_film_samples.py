import math

import numpy as np
import pytest
from PIL import Image, ImageColor

from equipoise.report import film_frames, film_samples
from equipoise.report.plot_style import BLUE
from equipoise.report.samples import Samples
from equipoise.runs.artifacts import make_grid

from .conftest import Maker, first_frame, pictures, started


def test_images_are_drawn_at_integer_scale(write_run: Maker) -> None:
    run = write_run([started(), pictures(0)])
    frame = np.asarray(first_frame(run, 0))
    with Image.open(run.folder / "samples" / "step-00000000.png") as image:
        sheet = np.asarray(image)  # 4 × 4 images of 8 pixels with gaps are 38 pixels, which fit 16 times
    scale = min(film_samples.WIDTH, film_samples.HEIGHT) // 38
    large = np.kron(sheet, np.ones((scale, scale), np.uint8))
    left, top = (
        film_samples.LEFT + (film_samples.WIDTH - len(large)) // 2,
        film_samples.TOP + (film_samples.HEIGHT - len(large)) // 2,
    )
    visible = frame[top : top + len(large), left : left + len(large)]
    assert np.array_equal(visible, np.repeat(large[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("count", "shape", "columns", "scale", "visible"),
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
def test_sheet_is_scaled_or_cropped_to_the_area(
    count: int, shape: tuple[int, int, int], columns: int | None, scale: int, visible: tuple[int, int]
) -> None:
    noise = np.random.default_rng(count).uniform(-1, 1, (count, *shape)).astype(np.float32)
    sheet = make_grid(noise, columns)
    cell = film_samples._cell_size(sheet)
    assert cell == (shape[2], shape[1])
    assert film_samples._fit(sheet, cell) == (scale, *visible)
    picture, (left, top) = film_samples._scale_sheet(sheet, cell)
    assert left >= film_samples.LEFT
    assert top >= film_samples.TOP
    assert left + picture.width <= film_samples.LEFT + film_samples.WIDTH
    assert top + picture.height <= film_samples.TOP + film_samples.HEIGHT
    caption = film_samples.SampleArea(cell).caption(Samples(5, 0, sheet=sheet))
    part = visible[0] * visible[1] < count
    assert caption.endswith(f"{visible[0] * visible[1]} of {count} images" if part else "step 5")


def test_points_are_translucent_and_at_their_coordinates() -> None:
    area = film_samples.SampleArea(points=True, limits=(-2.0, 2.0))
    left, top, width, height = area.axes_box
    frame = Image.new("RGB", film_frames.SIZE, "white")
    points = np.array([[1.0, 1.0], [-1.0, 0.0], [-1.0, 0.0], [math.nan, 0.0], [50.0, 50.0]])
    area.draw(frame, Samples(0, 0, values=points))
    blue, pixels = np.array(ImageColor.getrgb(BLUE)), np.asarray(frame)
    for (x, y), layers in (((1, 1), 1), ((-1, 0), 2)):
        pixel = pixels[top + height - 1 - round((y + 2) / 4 * height), left + round((x + 2) / 4 * width)]
        expected = blue + (255 - blue) * (1 - film_samples.POINT_OPACITY) ** layers
        assert pixel == pytest.approx(expected, abs=2)
    assert pixels[top, left] == pytest.approx([255] * 3)
    dots = ((pixels != 255).any(axis=2)).sum()
    assert dots < 2.2 * math.pi * (film_samples.POINT_RADIUS + 1) ** 2, "nothing else is drawn"


def test_histograms_of_all_steps_share_their_axes() -> None:
    many, few = np.zeros((30, 1)), np.linspace(-1, 1, 10)[:, None]
    area = film_samples.sample_area([Samples(2, 2, values=few), Samples(1, 1, values=many)])
    assert area.max_count == 30
    frame = Image.new("RGB", film_frames.SIZE, "white")
    area.draw(frame, Samples(1, 1, values=many))
    _, _, _, height = area.axes_box
    column = (np.asarray(frame) == ImageColor.getrgb(BLUE)).all(axis=2).sum(axis=0).max()
    assert column == round(height / 1.05)
