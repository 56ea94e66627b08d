"""Metrics of Inception: where the weights are read from, and preprocessing of images. Nothing is downloaded."""

import urllib.error

import pytest
import torch

from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.errors import DataError
from equipoise.metrics import _features_inception, _weights
from equipoise.metrics._digits_classifier import compute_score
from equipoise.metrics._features_inception import InceptionFeatures
from equipoise.metrics._weights import WeightsFile
from equipoise.metrics.fid import Fid
from equipoise.metrics.inception_score import InceptionScore
from equipoise.metrics.kid import Kid


@pytest.fixture(autouse=True)
def forgotten(tmp_path, monkeypatch):
    """Use neither weights of other tests nor those of the user."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    _features_inception.load.cache_clear()
    yield
    _features_inception.load.cache_clear()


@pytest.fixture
def offline(monkeypatch):
    def refused(url, timeout):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refused)


def grey(count, seed=0):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("metric", [Fid(), Kid(), InceptionScore()])
def test_missing_weights_offline_name_the_remedy(metric, offline):
    with pytest.raises(DataError) as raised:
        metric.statistics(ReferenceSet(grey(2)))
    line = str(raised.value)
    assert "weights-inception-2015-12-05-6726825d.pth (96 MB) cannot be downloaded" in line
    assert "Name or service not known" in line
    assert "--option METRIC.weights=PATH" in line
    assert "fd_efficientnet_lite0" in line
    assert "\n" not in line


def test_weights_of_another_digest_are_refused(tmp_path):
    file = tmp_path / "weights.pth"
    with pytest.raises(DataError, match=r"cannot read the weights .*weights.pth: No such file"):
        Fid(str(file)).statistics(ReferenceSet(grey(2)))
    torch.save({"a": torch.zeros(2)}, file)
    with pytest.raises(DataError, match=r"is not the published file: its SHA-256 is \w{8}…, not 6726825d…"):
        Fid(str(file)).statistics(ReferenceSet(grey(2)))


def test_damaged_download_is_refused_with_the_remedy(tmp_path):
    file = tmp_path / "hub" / "checkpoints" / _features_inception.WEIGHTS.name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"cut short")
    with pytest.raises(DataError, match="delete it to download it again"):
        Fid().statistics(ReferenceSet(grey(2)))


def test_partial_download_leaves_no_file(tmp_path, monkeypatch):
    source = tmp_path / "source.pth"
    torch.save({"a": torch.arange(3)}, source)
    published = WeightsFile(source.as_uri(), "", 1)
    assert _weights.load_tensors(published, None, "x")["a"].tolist() == [0, 1, 2]
    folder = tmp_path / "hub" / "checkpoints"
    assert [path.name for path in folder.iterdir()] == ["source.pth"]
    source.unlink()
    assert _weights.load_tensors(published, None, "x")["a"].tolist() == [0, 1, 2], "not downloaded twice"
    (folder / "source.pth").unlink()
    with pytest.raises(DataError, match="cannot be downloaded"):
        _weights.load_tensors(published, None, "x")
    assert list(folder.iterdir()) == []


def test_network_equals_torch_fidelitys(tmp_path, monkeypatch):
    """With random weights: equal features for equal bytes, and no random numbers are used."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    weights = {}

    def save_state(self, state):
        weights.update({name: value.clone() for name, value in self.state_dict().items()})

    with monkeypatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", save_state)
        patch.setattr(torch, "load", lambda *_, **__: {})
        library = FeatureExtractorInceptionV3("any", ["2048", "logits_unbiased"], feature_extractor_weights_path="any")
    monkeypatch.setattr(_weights, "load_tensors", lambda *_: weights)
    before = torch.get_rng_state()
    result = InceptionFeatures()(grey(2).expand(-1, 3, -1, -1))
    assert torch.equal(torch.get_rng_state(), before)
    pictures = ((grey(2) + 1) * 127.5).round().byte().expand(-1, 3, -1, -1)
    pooled, logits = library(pictures)
    assert torch.allclose(result, torch.cat([pooled, logits], dim=1), rtol=1e-5, atol=1e-6)
    assert result.shape == (2, 2048 + 1008)
    assert torch.equal(InceptionFeatures()(grey(2)), result), "grey as colour"


def test_nan_pixels_become_black():
    images = grey(1)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = float("nan"), float("inf")
    pixels = _features_inception._bytes(images)
    assert pixels.dtype == torch.uint8
    assert pixels[0, :, 0, :2].tolist() == [[0, 255]] * 3


def test_score_of_certain_predictions():
    """Certain predictions, evenly over C classes, give exp KL = C; uniform predictions give 1."""
    sure = 60 * torch.eye(5).repeat(12, 1)
    assert compute_score(sure, 1, Bootstrap()).value == pytest.approx(5, rel=1e-6)
    result = compute_score(torch.zeros(60, 5), 3, Bootstrap(20))
    assert result.value == pytest.approx(1)
    assert result.interval == pytest.approx((1, 1))
    assert ["20" in warning and "5,000" in warning for warning in result.warnings] == [True]


def test_score_needs_one_sample_per_split():
    with pytest.raises(DataError, match="4 samples are too few for 10 splits"):
        compute_score(torch.zeros(4, 5), 10, Bootstrap())


def test_kid_warns_of_small_subsets():
    real, fake = (torch.randn(30, 2048, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    result = Kid(subsets=3).compute(ReferenceSet(real), fake, Bootstrap(20))
    assert ["30" in warning and "1,000" in warning for warning in result.warnings] == [True]
    assert result.interval[0] < result.value < result.interval[1]
