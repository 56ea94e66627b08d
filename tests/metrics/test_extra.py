"""Metrics with and without the packages of the extra `metrics`: torchvision, torchmetrics and torch-fidelity."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.core import catalog
from equipoise.errors import MissingPackageError

EXTRA = ("torchvision", "torchmetrics", "torch_fidelity")
NEED_EXTRA = {
    "fid": {},
    "kid": {},
    "inception_score": {},
    "lpips": {},
    "fd_mobilenet_v2": {},
    "kd_mobilenet_v2": {},
    "ppl": {"distance": "vgg"},
    "precision": {"features_from": "inception"},
    "c_t": {"features_from": "inception"},
}
WITHOUT_EXTRA = """
import json, sys
for name in ("torchvision", "torchmetrics", "torch_fidelity"):
    sys.modules[name] = None
from equipoise.cli import main
from equipoise.experiment import assembly
from equipoise.report import film
assembly.EVALUATION_SAMPLES = 16
film.film_steps = lambda run: iter(())
for words in json.loads(sys.argv[1]):
    print("exit code", main.run(words))
"""


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in EXTRA:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("name", NEED_EXTRA)
@pytest.mark.usefixtures("without_extra")
def test_metric_names_the_missing_extra(name: str) -> None:
    with pytest.raises(MissingPackageError, match=rf"{name}.* pip install 'equipoise\[metrics\]'") as raised:
        catalog.build("metrics", name, NEED_EXTRA[name])
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("without_extra")
def test_all_other_metrics_need_no_extra() -> None:
    for name in catalog.names("metrics"):
        if name not in NEED_EXTRA or NEED_EXTRA[name]:
            catalog.build("metrics", name)


def test_folder_of_images_trains_with_a_metric_without_the_extra(tmp_path: Path) -> None:
    """Commands in a process that cannot import the extra: list, train with the default metric, and evaluate."""
    pixels = np.random.default_rng(0).integers(0, 256, (120, 16, 16, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    train = ("--steps", "6", "--batch-size", "8", "--option", "width=8", "--threads", "1", "--out", "run")
    commands = [
        ("list", "metrics"),
        ("train", "images", *train),
        ("evaluate", "run", "--count", "12"),
        ("evaluate", "run", "--count", "12", "--metrics", "fid"),
    ]
    words = [sys.executable, "-c", WITHOUT_EXTRA, json.dumps(commands)]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    codes = [line.split()[-1] for line in result.stdout.splitlines() if line.startswith("exit code")]
    assert codes == ["0", "0", "0", "2"], result.stderr
    assert "fd_efficientnet_lite0" in result.stdout
    assert "pip install 'equipoise[metrics]'" in result.stderr
    assert "kd_efficientnet_lite0" in (tmp_path / "run" / "experiment.json").read_text()
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert any(event["event"] == "evaluated" for event in events)
