"""LPIPS against torchmetrics, its replacement on EfficientNet-Lite0, and path lengths."""

import warnings

import pytest
import torch

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.data.digits import Digits
from equipoise.errors import DataError
from equipoise.metrics import _features_lpips, _image_distances, _weights
from equipoise.metrics._features_efficientnet import EfficientNetFeatures, preprocess
from equipoise.metrics.lpips import Lpips
from equipoise.metrics.perceptual_efficientnet_lite0 import PerceptualEfficientnetLite0
from equipoise.metrics.ppl import Ppl


def pictures(count, seed, size=40):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def alex():
    """Return LPIPS of torchmetrics with its channel weights, on a randomly initialised AlexNet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmetrics.functional.image.lpips import _LPIPS

        with torch.random.fork_rng():
            torch.manual_seed(0)
            return _LPIPS(pretrained=True, net="alex", pnet_rand=True)


def test_lpips_equals_torchmetrics(alex, monkeypatch):
    backbone = {}
    for part in range(1, 6):
        for name, value in getattr(alex.net, f"slice{part}").state_dict().items():
            backbone[f"features.{name}"] = value
    from torchvision import models

    weights = models.get_model("alexnet", weights=None).state_dict() | backbone
    monkeypatch.setattr(_weights, "load_tensors", lambda *_: weights)
    _features_lpips.load.cache_clear()
    result = Lpips().distance(pictures(3, 0), pictures(3, 1))
    _features_lpips.load.cache_clear()
    assert torch.allclose(result, alex(pictures(3, 0), pictures(3, 1)).flatten(), rtol=1e-6, atol=1e-6)
    assert (result > 0).all()


def test_lpips_without_weights_names_the_alternative(tmp_path):
    _features_lpips.load.cache_clear()
    with pytest.raises(DataError, match=r"cannot read the weights .*none.pth"):
        Lpips(weights=str(tmp_path / "none.pth")).distance(pictures(1, 0), pictures(1, 1))
    assert Lpips().suits(DataSpec((1, 32, 32)))
    assert not Lpips().suits(DataSpec((1, 16, 16)))
    assert Lpips(backbone="vgg").features_digest != Lpips().features_digest


def test_distance_equals_the_formula():
    """One layer with two positions and two channels: squared differences of unit vectors, computed by hand."""
    first = torch.tensor([[[[3.0, 1.0]], [[4.0, 0.0]]]])
    second = torch.tensor([[[[0.0, 0.0]], [[2.0, 5.0]]]])
    by_hand = ((0.6 - 0) ** 2 + (0.8 - 1) ** 2 + 1 + 1) / 2
    assert _image_distances.distance([first], [second]).item() == pytest.approx(by_hand)
    weighed = ((0.6**2 * 2 + 0.2**2 * 3) + (2 + 3)) / 2
    result = _image_distances.distance([first, first], [second, first], [torch.tensor([2.0, 3.0])] * 2)
    assert result.item() == pytest.approx(weighed)


def test_diversity_averages_disjoint_consecutive_pairs():
    samples = torch.tensor([0.0, 1.0, 5.0, 8.0, 9.0]).view(5, 1, 1, 1)

    def away(first, second):
        return (first - second).abs().flatten()

    result = _image_distances.diversity(away, samples, pairs=10, bootstrap=Bootstrap(50))
    assert result.value == 2
    assert result.resampled.min() == 1
    assert result.resampled.max() == 3
    assert _image_distances.diversity(away, samples, pairs=1, bootstrap=Bootstrap()).value == 1
    with pytest.raises(DataError, match="at least 2 samples"):
        _image_distances.diversity(away, samples[:1], pairs=1, bootstrap=Bootstrap())


@pytest.fixture(scope="module")
def digits():
    return Digits().stream("train", 24, 0).batch(0).real


def test_identical_images_have_no_diversity(digits):
    metric = PerceptualEfficientnetLite0()
    statistics = metric.statistics(ReferenceSet(digits))
    many, one = metric.value(statistics, digits), metric.value(statistics, digits[:1].expand(8, -1, -1, -1))
    assert one == pytest.approx(0, abs=1e-6)
    assert many > 0.1


def test_preprocessing_of_efficientnet():
    """Inputs are (p - 127) / 128 of bytes p, as in training of the network, in three channels of 96 × 96."""
    images = torch.stack([torch.full((1, 10, 10), value) for value in (-1.0, 1.0)])
    result = preprocess(images)
    assert result.shape == (2, 3, 96, 96)
    assert torch.allclose(result[0], torch.tensor(-127 / 128))
    assert torch.allclose(result[1], torch.tensor(1.0))


def test_features_are_pooled_and_use_no_random_numbers(digits):
    before = torch.get_rng_state()
    result = EfficientNetFeatures()(digits[:2])
    assert result.shape == (2, 1280)
    assert result.dtype == torch.float32
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.allclose(EfficientNetFeatures()(digits[:2].expand(-1, 3, -1, -1)), result, atol=1e-5)


def test_missing_efficientnet_package_is_reported(monkeypatch):
    import sys

    from equipoise.metrics import _features_efficientnet

    _features_efficientnet.load.cache_clear()
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(DataError, match="not installed; reinstall equipoise"):
        EfficientNetFeatures()(pictures(1, 0))
    _features_efficientnet.load.cache_clear()


def test_path_length_is_trimmed_and_scaled(monkeypatch):
    """100 steps of distance 0 to 99, divided by ε²: the lowest and the highest are discarded."""
    starts, ends = torch.zeros(100, 1, 4, 4), torch.arange(100.0).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    monkeypatch.setattr(Ppl, "_image_distance", lambda self, first, second: (second - first)[:, 0, 0, 0])
    metric = Ppl(epsilon=0.1, trim=0.02)
    result = metric.compute_along_path(starts, ends, Bootstrap(50))
    assert result.value == pytest.approx(100 * 49.5)
    assert result.interval[0] < result.value < result.interval[1]
    with pytest.raises(DataError, match="at least one step"):
        metric.compute_along_path(starts[:0], ends[:0], Bootstrap())


def test_path_length_grows_with_the_step():
    """Twice the step gives about four times the distance, for images that change uniformly."""
    start, way = pictures(4, 0), pictures(4, 1) - pictures(4, 0)
    near, far = (
        Ppl(trim=0.0).compute_along_path(start, start + share * way, Bootstrap()).value for share in (0.002, 0.004)
    )
    assert far / near == pytest.approx(4, rel=0.1)
