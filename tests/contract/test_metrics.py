"""The contract of every metric, on every suitable data set that needs no files of the user."""

import dataclasses
import functools
import inspect
import math

import pytest
import torch

from equipoise.core import catalog
from equipoise.core.data import DataSpec, NoPreparation
from equipoise.core.equivariance import EquivarianceMetric
from equipoise.core.metric import (
    Bootstrap,
    FeatureMetric,
    LabelMetric,
    LikelihoodMetric,
    Metric,
    PathMetric,
    ReferenceSet,
)

NAMES = catalog.names("metrics")
PROTOCOLS = (Metric, PathMetric, EquivarianceMetric, LikelihoodMetric, LabelMetric)
DOWNLOADS = ("fid", "kid", "inception_score", "lpips")
"""Metrics whose weights must be downloaded: see tests/metrics/test_inception.py and test_perceptual.py."""
NOT_QUALITY = ("perceptual_efficientnet_lite0", "c_t", "auth_pct", "precision", "self_bleu", "copy_rate", "novelty")
"""Noise is diverse and new, and no copy; and a lonely real has a ball that holds it (Naeem 2020, section 2)."""


def ready(kind, name):
    parameters = inspect.signature(catalog.load(kind, name)).parameters.values()
    return all(parameter.default is not parameter.empty for parameter in parameters)


def built(name):
    """Return the metric with default options; features of digits or points replace slow networks."""
    fields = inspect.signature(catalog.load("metrics", name)).parameters
    return (
        [catalog.build("metrics", f"{name}:{kind}") for kind in ("digits", "samples")]
        if "features_from" in fields
        else [catalog.build("metrics", name)]
    )


def slow(metric):
    """Return whether a large network processes each sample."""
    return "efficientnet" in type(metric).__module__


def pairs():
    """Return every metric with the first two suitable data sets that need no arguments."""
    plugs = {name: catalog.build("data", name) for name in catalog.names("data") if ready("data", name)}
    data_sets = {name: plug for name, plug in plugs.items() if isinstance(plug, NoPreparation)}
    result = []
    for name in NAMES:
        if name in DOWNLOADS or not ready("metrics", name):
            continue
        for metric in built(name):
            if isinstance(metric, Metric):
                suited = [data for data, plug in data_sets.items() if metric.suits(plug.spec)]
                result += [
                    pytest.param(metric, data, id=f"{name}-{data}") for data in suited[: 1 if slow(metric) else 2]
                ]
    return result


on_what_it_suits = pytest.mark.parametrize(("metric", "data"), pairs())


@functools.lru_cache
def reals(data, count):
    """Held-out reals with training reals, and as many other training reals."""
    plug = catalog.build("data", data)
    held_out, train = plug.stream("held_out", count, 0).batch(0), plug.stream("train", 2 * count, 0).batch(0).real
    return ReferenceSet(held_out.real, held_out.condition, train=train[count:], spec=plug.spec), train[:count]


def samples_of(metric, data):
    """Return reals and samples."""
    return reals(data, 12 if slow(metric) else 200)


@functools.lru_cache
def measure(metric, data):
    """Return the metric's statistics of held-out reals, and other reals."""
    real, fake = samples_of(metric, data)
    return metric.statistics(real), fake


@pytest.mark.parametrize("name", NAMES)
def test_metric_is_a_frozen_documented_dataclass(name):
    plug = catalog.load("metrics", name)
    assert dataclasses.is_dataclass(plug)
    assert plug.__dataclass_params__.frozen
    assert plug.better in ("lower", "higher")
    assert plug.__doc__
    summary = catalog.summary("metrics", name)
    assert summary.endswith(".")
    assert plug.better in summary
    assert len(summary) <= 120


@pytest.mark.parametrize("name", [name for name in NAMES if ready("metrics", name)])
def test_metric_implements_a_protocol_and_has_a_digest(name):
    """The contract is checked before any weights are available."""
    metric = catalog.build("metrics", name)
    assert sum(isinstance(metric, kind) for kind in PROTOCOLS) == 1
    digest = metric.features_digest
    assert digest is None or (8 <= len(digest) <= 64 and int(digest, 16) > 0)
    if isinstance(metric, FeatureMetric):
        assert metric.features.digest == digest
        assert hash(metric.features) == hash(catalog.build("metrics", name).features)
    assert metric.suits(DataSpec((1, 32, 32))) in (True, False)


@on_what_it_suits
def test_values_are_pure(metric, data):
    statistics, fake = measure(metric, data)
    before, copy = torch.get_rng_state(), fake.clone()
    first = metric.value(statistics, fake)
    assert type(first) is float
    assert math.isfinite(first)
    assert metric.value(metric.statistics(samples_of(metric, data)[0]), fake) == first
    assert torch.equal(torch.get_rng_state(), before), "the global generator is not touched"
    assert torch.equal(fake, copy), "the samples are not touched"


@on_what_it_suits
def test_compute_agrees_with_value_and_has_an_interval(metric, data):
    if not isinstance(metric, FeatureMetric):
        pytest.skip("without an interval")
    real, fake = samples_of(metric, data)
    reference = ReferenceSet(
        metric.features(real.real), real.condition, train=metric.features(real.train), spec=real.spec
    )
    result = metric.compute(reference, metric.features(fake), Bootstrap(20, 1))
    assert result.value == metric.value(measure(metric, data)[0], fake)
    if result.resampled is None:
        assert result.warnings, "an unreliable value without an interval needs a warning"
        return
    assert result.resampled.shape == (20,)
    low, high = result.interval
    assert low <= result.value + 1e-9
    assert result.value <= high + 1e-9
    again = metric.compute(reference, metric.features(fake), Bootstrap(20, 1))
    assert torch.equal(again.resampled, result.resampled)


@on_what_it_suits
def test_reals_are_better_than_noise(metric, data):
    if any(name in type(metric).__module__ for name in NOT_QUALITY):
        pytest.skip("does not measure sample quality")
    statistics, real = measure(metric, data)
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    good, bad = metric.value(statistics, real), metric.value(statistics, noise)
    assert good < bad if metric.better == "lower" else good > bad


@on_what_it_suits
def test_non_finite_samples_never_look_better_than_reals(metric, data):
    statistics, real = measure(metric, data)
    good = metric.value(statistics, real)
    for invalid in (math.nan, math.inf):
        value = metric.value(statistics, torch.full_like(real.float(), invalid))
        assert not (value < good if metric.better == "lower" else value > good)


@on_what_it_suits
def test_samples_with_gradients_are_accepted(metric, data):
    statistics, fake = measure(metric, data)
    with_gradient = fake.float().clone().requires_grad_()
    assert metric.value(statistics, with_gradient) == metric.value(statistics, fake)
