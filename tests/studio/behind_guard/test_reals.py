import io
import json
from pathlib import Path

import pytest
from PIL import Image

from equipoise.errors import SettingError
from equipoise.runs.run import Run
from equipoise.studio.reals import draw_reals


def size(content: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(content)).size


def test_reals_of_images_are_in_a_grid_and_the_same_at_each_call(trained: Path) -> None:
    content = draw_reals(Run(trained), 4, 10)
    assert size(content) == (4 * 18, 3 * 18)
    assert draw_reals(Run(trained), 4, 10) == content


def test_reals_of_points(root: Path) -> None:
    assert size(draw_reals(Run(root / "ring"), 4, 10)) == (420, 420)


def test_data_without_pictures(root: Path) -> None:
    path = root / "ring" / "experiment.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "data": {"name": "sentences", "options": {}}}))
    with pytest.raises(SettingError, match="neither images, sequences nor points"):
        draw_reals(Run(root / "ring"), 4, 10)
