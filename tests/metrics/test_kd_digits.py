"""The kernel distance, its feature network, and both together."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open

from equipoise.core.data import DataSpec
from equipoise.data.digits import Digits
from equipoise.errors import DataError
from equipoise.metrics import _digits_classifier
from equipoise.metrics._digits_classifier import DigitsClassifier, digit_features, digit_logits, load
from equipoise.metrics._kernel import kernel_distance
from equipoise.metrics.kd_digits import KdDigits


def normal(count, dimensions, seed, shift=0.0):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def held_out(count=1000, image_size=32):
    return Digits(image_size).stream("held_out", count, 0).batch(0)


def by_loops(first, second):
    """Compute the formula of the docstring, pair by pair."""

    def mean(left, right, same):
        pairs = [(x, y) for i, x in enumerate(left) for j, y in enumerate(right) if not (same and i == j)]
        return sum((sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3 for x, y in pairs) / len(pairs)

    first, second = first.tolist(), second.tolist()
    return mean(first, first, True) + mean(second, second, True) - 2 * mean(first, second, False)


def by_moments(first, second):
    """The kernel is the inner product of z ⊗ z ⊗ z with z = (x / √d, 1): means of pairs are norms of mean tensors."""

    def lifted(points):
        z = torch.cat([points / points.shape[1] ** 0.5, torch.ones(len(points), 1, dtype=points.dtype)], dim=1)
        return torch.einsum("ni,nj,nk->nijk", z, z, z).flatten(1)

    def mean_of_pairs(points):
        total = points.sum(dim=0)
        return (total @ total - points.square().sum()) / (len(points) * (len(points) - 1))

    first, second = lifted(first), lifted(second)
    return (mean_of_pairs(first) + mean_of_pairs(second) - 2 * first.mean(dim=0) @ second.mean(dim=0)).item()


@pytest.mark.parametrize(("sizes", "shift"), [((7, 5), 0.0), ((2, 9), 1.5), ((12, 12), -3.0)])
def test_kernel_distance_equals_a_second_derivation(sizes, shift):
    first, second = normal(sizes[0], 6, 1), normal(sizes[1], 6, 2, shift)
    result = kernel_distance(first, second)
    assert result == pytest.approx(by_loops(first, second), rel=1e-12, abs=1e-12)
    assert result == pytest.approx(by_moments(first, second), rel=1e-12, abs=1e-12)
    assert result == pytest.approx(kernel_distance(second, first), rel=1e-12, abs=1e-12)


def test_kernel_distance_is_unbiased_and_grows_with_the_shift():
    distances = torch.tensor(
        [kernel_distance(normal(60, 4, 2 * seed), normal(40, 4, 2 * seed + 1)) for seed in range(400)]
    )
    assert distances.mean().abs() < 3 * distances.std() / 400**0.5
    assert (distances < 0).any()
    assert kernel_distance(normal(200, 4, 0), normal(200, 4, 1, 0.5)) > distances.max()


def test_kernel_distance_of_float32_features_is_computed_in_float64():
    first, second = normal(50, 8, 0).float(), normal(50, 8, 1).float()
    assert kernel_distance(first, second) == kernel_distance(first.double(), second.double())


def test_kernel_distance_needs_two_samples_per_side():
    with pytest.raises(DataError, match="at least 2 samples on each side, not 1 and 5"):
        kernel_distance(normal(1, 3, 0), normal(5, 3, 0))


def test_shipped_network_reaches_its_published_accuracy():
    batch = held_out()
    accuracy = (digit_logits(batch.real).argmax(dim=1) == batch.condition).float().mean().item()
    assert accuracy >= 0.985
    with safe_open(_digits_classifier.FILE, "pt") as file:
        about = json.loads(file.metadata()["about"])
    assert accuracy == pytest.approx(about["held_out_accuracy"], abs=0.0011), "one digit on another processor"


def test_shipped_network_is_small_frozen_and_uses_no_random_numbers():
    before = torch.get_rng_state()
    load.cache_clear()
    network = load()
    assert torch.equal(torch.get_rng_state(), before)
    assert load() is network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert _digits_classifier.FILE.stat().st_size < 700_000


def test_features_are_normalised_and_finite_for_black_images():
    wild = 1e3 * torch.rand(10, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    images = torch.cat([held_out(10).real, wild, torch.full((1, 1, 32, 32), -1.0)])
    squares = digit_features(images).square().mean(dim=1)
    assert torch.allclose(squares[:20], torch.ones(20), atol=1e-3)
    assert 0 <= squares[20] < 1.001


def test_features_are_the_input_of_the_last_layer():
    images = held_out(10).real
    assert digit_features(images).shape == (10, _digits_classifier.FEATURES)
    assert torch.allclose(load().head(digit_features(images)), digit_logits(images), atol=1e-4)
    assert digit_features(images).requires_grad is False


def test_features_are_robust_to_colour_and_size():
    images, label = held_out(200).real, held_out(200).condition
    assert torch.allclose(digit_features(images.expand(-1, 3, -1, -1)), digit_features(images), atol=1e-3)
    for size in (64, 128):
        named = digit_logits(held_out(200, size).real).argmax(dim=1)
        assert (named == label).float().mean() > 0.97


def test_features_are_float32_under_autocast():
    network, images = load(), held_out(10).real
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, logits = network.features(images), network(images.bfloat16())
    assert features.dtype == logits.dtype == torch.float32
    assert torch.allclose(features, network.features(images), atol=1e-5)


def test_gradients_pass_through_the_network():
    images = held_out(2).real.requires_grad_()
    load()(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_batching_does_not_change_features():
    images = held_out(600).real
    assert torch.allclose(digit_features(images)[500:], digit_features(images[500:]), atol=1e-4)


def test_missing_or_damaged_weights_are_reported(tmp_path):
    file = tmp_path / "digits_classifier.safetensors"
    with pytest.raises(DataError, match=r"cannot read .*: No such file or directory; reinstall equipoise"):
        _digits_classifier._read(file)
    shutil.copy(_digits_classifier.FILE, file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="is damaged"):
        _digits_classifier._read(file)


def test_new_network_has_the_shapes_of_the_shipped_one():
    shapes = {name: value.shape for name, value in DigitsClassifier().state_dict().items()}
    assert shapes == {name: value.shape for name, value in load().state_dict().items()}


def test_metric_ranks_samples_by_quality():
    metric = KdDigits()
    statistics = metric.statistics(held_out())
    digits = Digits().stream("train", 4000, 0).batch(0)
    generator = torch.Generator().manual_seed(0)

    def distance(images):
        return metric.value(statistics, images)

    perfect = distance(digits.real[:1000])
    faint = distance(digits.real[:1000] + 0.05 * torch.randn(1000, 1, 32, 32, generator=generator))
    one_missing = distance(digits.real[digits.condition != 3][:1000])
    one_only = distance(digits.real[digits.condition == 3])
    one_image = distance(digits.real[:1].expand(1000, -1, -1, -1))
    noise = distance(torch.rand(1000, 1, 32, 32, generator=generator) * 2 - 1)
    assert abs(perfect) < 0.02
    assert max(perfect, faint) < one_missing < one_only < min(one_image, noise)
    assert max(one_image, noise) < 8, "with features of one length, k lies between 1 and 8"


def test_suits_grey_colour_and_transparent_images():
    metric = KdDigits()
    assert metric.suits(DataSpec((1, 32, 32)))
    assert metric.suits(DataSpec((3, 64, 48)))
    assert metric.suits(DataSpec((4, 32, 32)))
    assert not metric.suits(DataSpec((2, 32, 32)))
    assert not metric.suits(DataSpec((2,), classes=8))
