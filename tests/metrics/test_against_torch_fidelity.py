"""Metric values equal those of torch-fidelity on a custom feature extractor that is registered with it."""

import warnings

import numpy as np
import pytest
import torch

from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.metrics import _frechet, kid
from equipoise.metrics._digits_classifier import compute_score
from equipoise.metrics.precision import Precision
from equipoise.metrics.recall import Recall

SETTINGS = {"kid_subsets": 7, "kid_subset_size": 40, "isc_splits": 3, "prc_neighborhood": 3}


def images(count, seed, low):
    return torch.randint(low, 256, (count, 3, 4, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def features(pictures):
    """Extract twelve features of an image, and four logits; float32."""
    pooled = pictures.float().div(255).view(len(pictures), 3, 2, 2, 4).mean(dim=4).flatten(1)
    return pooled, 9 * pooled[:, :4]


@pytest.fixture(scope="module")
def library():
    """Metrics of torch-fidelity for 90 images compared with 70 others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_fidelity

        class Small(torch_fidelity.FeatureExtractorBase):
            def __init__(self, name, features_list, feature_extractor_weights_path=None, **rest):
                super().__init__(name, features_list)

            @staticmethod
            def get_provided_features_list():
                return "pooled", "logits"

            @staticmethod
            def get_default_feature_layer_for_metric(metric):
                return "logits" if metric == "isc" else "pooled"

            @staticmethod
            def can_be_compiled():
                return False

            def forward(self, pictures):
                result = dict(zip(("pooled", "logits"), features(pictures), strict=True))
                return tuple(result[name] for name in self.features_list)

        class Pictures(torch.utils.data.Dataset):
            def __init__(self, pictures):
                self.pictures = pictures

            def __len__(self):
                return len(self.pictures)

            def __getitem__(self, row):
                return self.pictures[row]

        torch_fidelity.register_feature_extractor("small", Small)
        metrics = dict.fromkeys(("fid", "kid", "isc", "prc"), True)
        return torch_fidelity.calculate_metrics(
            input1=Pictures(images(90, 0, 40)),
            input2=Pictures(images(70, 1, 0)),
            feature_extractor="small",
            cuda=False,
            cache=False,
            verbose=False,
            save_cpu_ram=True,
            **metrics,
            **SETTINGS,
        )


@pytest.fixture(scope="module")
def ours():
    """Return features and logits of the same images: fake, real."""
    return features(images(90, 0, 40)), features(images(70, 1, 0))


def test_frechet(library, ours):
    (fake, _), (real, _) = ours
    result = _frechet.compute(real, fake, Bootstrap(), alternative="kid").value
    assert result == pytest.approx(library["frechet_inception_distance"], rel=1e-6)


def test_kernel_over_the_same_subsets(library, ours):
    (fake, _), (real, _) = ours
    result = kid.subset_distance(real, fake, SETTINGS["kid_subsets"], SETTINGS["kid_subset_size"])
    assert result == pytest.approx(library["kernel_inception_distance_mean"], abs=1e-6)


def test_inception_score_over_the_same_splits(library, ours):
    (_, logits), _ = ours
    assert compute_score(logits, 3, Bootstrap()).value == pytest.approx(library["inception_score_mean"], rel=1e-6)


def test_precision_and_recall(library, ours):
    (fake, _), (real, _) = ours
    for metric in (Precision("samples"), Recall("samples")):
        result = metric.compute(ReferenceSet(real), fake, Bootstrap()).value
        assert 0 < result < 1
        assert result == pytest.approx(library[type(metric).__name__.lower()], abs=1e-6)


@pytest.mark.parametrize("count", [50, 200])
def test_frechet_of_many_features_equals_torch_fidelity(count):
    """Fewer samples than features, and more samples than features."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    source = np.random.default_rng(0)
    real = torch.from_numpy(source.normal(size=(count, 96))) @ torch.from_numpy(source.normal(size=(96, 96)))
    fake = 0.9 * torch.from_numpy(source.normal(size=(count + 9, 96))) + 0.3
    expected = fid_statistics_to_metric(fid_features_to_statistics(fake), fid_features_to_statistics(real), False)
    result = _frechet.compute(real, fake, Bootstrap(), alternative="kid").value
    assert result == pytest.approx(expected["frechet_inception_distance"], rel=1e-6)
