import base64
import io
import re
from collections.abc import Callable

from PIL import Image

from equipoise.core.data import DataSpec
from equipoise.inference.generator import Generator


def test_generator_of_images_shows_samples(generator: Callable[..., Generator]) -> None:
    images = DataSpec((1, 16, 16), classes=2, class_names=("a<b", "c"))
    display = generator("dcgan", images, width=4, latent_dim=6, conditional=True)._repr_html_()
    png = re.search(r"base64,([A-Za-z0-9+/=]+)", display)
    assert png is not None
    with Image.open(io.BytesIO(base64.b64decode(png.group(1)))) as sheet:
        assert sheet.size == (280, 280)  # 4 x 4 images of 16 pixels, with gaps, enlarged fourfold
    for words in ("dcgan", "1 × 16 × 16", "2: a&lt;b, c", "parameters"):
        assert words in display, words
    assert "<script" not in display
    assert "style=" not in display


def test_generator_of_points_shows_a_plot(generator: Callable[..., Generator]) -> None:
    assert generator()._repr_html_().count("<circle") == 256
