"""Sheets of images, checked pixel by pixel."""

import numpy as np
from PIL import Image

from equipoise.report import image_grids
from equipoise.report.image_grids import GAP, LINE_HEIGHT, MARGIN, ImageGroup

BLACK, WHITE = -1.0, 1.0


def flat(*shades: float, size: int = 28, channels: int = 1) -> np.ndarray:
    """Images of one grey level each."""
    images = np.ones((len(shades), channels, size, size), np.float32)
    return images * np.asarray(shades, np.float32)[:, None, None, None]


def test_small_images_are_enlarged_by_a_whole_factor() -> None:
    checked = np.indices((28, 28)).sum(0)[None, None] % 2 * 2.0 - 1
    sheet = np.asarray(image_grids.captioned_grid(checked.astype(np.float32), ["0"], 1))
    tile = sheet[MARGIN : MARGIN + 84, MARGIN : MARGIN + 84, 0]
    assert np.array_equal(tile, np.kron((checked[0, 0] > 0) * 255, np.ones((3, 3))))


def test_large_images_are_not_scaled() -> None:
    sheet = image_grids.captioned_grid(flat(BLACK, size=128), ["0"], 1)
    assert sheet.size == (
        128 + 2 * MARGIN,
        128 + LINE_HEIGHT + 2 * MARGIN,
    )


def test_sheet_has_captions_under_images() -> None:
    sheet = np.asarray(image_grids.captioned_grid(flat(BLACK, BLACK, BLACK), ["7", "88", ""], 2))
    assert sheet.shape == (2 * (84 + LINE_HEIGHT + GAP) - GAP + 2 * MARGIN, 2 * (84 + GAP) - GAP + 2 * MARGIN, 3)
    captions = [
        sheet[MARGIN + 84 : MARGIN + 84 + LINE_HEIGHT, left : left + 84] for left in (MARGIN, MARGIN + 84 + GAP)
    ]
    dark = [int((caption < 128).sum()) for caption in captions]
    assert 0 < dark[0] < dark[1], "two digits are more than one"


def test_captions_of_different_numbers_differ() -> None:
    captions = set()
    for number in range(64):
        sheet = np.asarray(image_grids.captioned_grid(flat(BLACK), [str(number)], 1))
        captions.add(sheet[MARGIN + 84 : MARGIN + 84 + LINE_HEIGHT].tobytes())
    assert len(captions) == 64


def test_arithmetic_sheet_has_groups_means_and_results() -> None:
    groups = [
        ImageGroup("+ A", flat(-0.8, -0.6, -0.4), ["3", "17", "22"], flat(-0.6)[0]),
        ImageGroup("− B", flat(0.2), ["5"], flat(0.2)[0]),
    ]
    picture = image_grids.arithmetic_sheet(groups, "= A − B", flat(*np.linspace(-0.9, 0.7, 9)))
    sheet = np.asarray(picture)
    top, tile = MARGIN + LINE_HEIGHT + GAP, 84 + LINE_HEIGHT + GAP

    def shade(left: int, above: int) -> float:
        return float(sheet[above + 42, left + 42, 0]) / 127.5 - 1

    mean = top + 3 * tile - GAP + LINE_HEIGHT // 2
    second = MARGIN + 84 + MARGIN
    third = second + 84 + MARGIN
    result = [shade(MARGIN, top + row * tile) for row in range(3)]
    np.testing.assert_allclose(result, [-0.8, -0.6, -0.4], atol=0.01)
    np.testing.assert_allclose([shade(MARGIN, mean), shade(second, mean)], [-0.6, 0.2], atol=0.01)
    assert shade(second, top + tile) == 1.0, "empty cells of a smaller group are white"
    square = [shade(third + column * (84 + GAP), top + row * (84 + GAP)) for row in range(3) for column in range(3)]
    np.testing.assert_allclose(square, np.linspace(-0.9, 0.7, 9), atol=0.01)
    edge = sheet[top + 84 + GAP, third + 84 + GAP + 40]
    assert tuple(edge) == (0, 114, 178), "the centre has a blue border"


def test_large_group_is_split_into_columns() -> None:
    def width(count: int) -> int:
        group = ImageGroup("+ A", flat(*[BLACK] * count), ["1"] * count, flat(BLACK)[0])
        return image_grids.arithmetic_sheet([group], "= A", flat(*[BLACK] * 9)).width

    assert width(4) == width(1)
    assert width(5) == width(8) == width(4) + 84 + GAP
    assert width(9) == width(4) + 2 * (84 + GAP)


def test_film_frame_is_enlarged_and_has_even_sides() -> None:
    for count, size, channels in ((1, 28, 1), (16, 29, 3), (4, 512, 3), (3, 28, 2), (2, 28, 4)):
        frame = image_grids.film_frame(flat(*[WHITE] * count, size=size, channels=channels))
        assert isinstance(frame, Image.Image)
        assert frame.mode == "RGB"
        assert frame.width % 2 == frame.height % 2 == 0
        assert max(frame.size) >= 320


def test_plot_paths_takes_any_number_of_dimensions() -> None:
    for dimensions in (1, 2, 3):
        content = image_grids.plot_paths(np.random.default_rng(0).normal(size=(4, 6, dimensions)).astype(np.float32))
        assert content.startswith(b"\x89PNG")
