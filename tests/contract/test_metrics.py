"""What every metric keeps to, on every data set that it suits and that needs no files of one's own."""

import dataclasses
import functools
import inspect
import math

import pytest
import torch

from equipoise.core import catalog
from equipoise.core.data import DataSpec, NoPreparation
from equipoise.core.metric import Bootstrap, FeatureMetric, LikelihoodMetric, Metric, PathMetric, ReferenceSet

NAMES = catalog.names("metrics")
DOWNLOADS = ("fid", "kid", "inception_score", "lpips")
"""Those whose weights are not at hand: see tests/metrics/test_inception.py and test_perceptual.py."""
NO_VERDICT = ("perceptual_efficientnet_lite0", "c_t", "auth_pct", "precision", "self_bleu", "copy_rate", "novelty")
"""Noise is diverse and new, and no copy; and a lonely real has a ball that holds it (Naeem 2020, section 2)."""


def ready(kind, name):
    parameters = inspect.signature(catalog.load(kind, name)).parameters.values()
    return all(parameter.default is not parameter.empty for parameter in parameters)


def built(name):
    """A metric, by default; the features of digits, or of points, instead of a network that takes its time."""
    fields = inspect.signature(catalog.load("metrics", name)).parameters
    return (
        [catalog.build("metrics", f"{name}:{kind}") for kind in ("digits", "samples")]
        if "features_from" in fields
        else [catalog.build("metrics", name)]
    )


def slow(metric):
    """Whether a large network looks at each sample."""
    return "efficientnet" in type(metric).__module__


def pairs():
    """Every metric with the first two data sets that it suits, both without arguments."""
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
    """Held-out reals with training reals beside them, and as many other training reals."""
    plug = catalog.build("data", data)
    held_out, train = plug.stream("held_out", count, 0).batch(0), plug.stream("train", 2 * count, 0).batch(0).real
    return ReferenceSet(held_out.real, held_out.condition, train=train[count:], spec=plug.spec), train[:count]


def at_hand(metric, data):
    """Reals and samples."""
    return reals(data, 12 if slow(metric) else 200)


@functools.lru_cache
def measured(metric, data):
    """The metric's statistics of held-out reals, and other reals."""
    real, fake = at_hand(metric, data)
    return metric.statistics(real), fake


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_frozen_value_that_says_what_it_is(name):
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
def test_it_keeps_to_a_protocol_and_tells_its_features(name):
    """Asked before any weights are there."""
    metric = catalog.build("metrics", name)
    assert sum(isinstance(metric, kind) for kind in (Metric, PathMetric, LikelihoodMetric)) == 1
    digest = metric.features_digest
    assert digest is None or (8 <= len(digest) <= 64 and int(digest, 16) > 0)
    if isinstance(metric, FeatureMetric):
        assert metric.features.digest == digest
        assert hash(metric.features) == hash(catalog.build("metrics", name).features)
    assert metric.suits(DataSpec((1, 32, 32))) in (True, False)


@on_what_it_suits
def test_values_are_pure(metric, data):
    statistics, fake = measured(metric, data)
    before, kept = torch.get_rng_state(), fake.clone()
    first = metric.value(statistics, fake)
    assert type(first) is float
    assert math.isfinite(first)
    assert metric.value(metric.statistics(at_hand(metric, data)[0]), fake) == first
    assert torch.equal(torch.get_rng_state(), before), "the global generator is not touched"
    assert torch.equal(fake, kept), "the samples are not touched"


@on_what_it_suits
def test_a_comparison_says_the_same_with_an_interval_around_it(metric, data):
    if not isinstance(metric, FeatureMetric):
        pytest.skip("without an interval")
    real, fake = at_hand(metric, data)
    seen = ReferenceSet(metric.features(real.real), real.condition, train=metric.features(real.train), spec=real.spec)
    figure = metric.compare(seen, metric.features(fake), Bootstrap(20, 1))
    assert figure.value == metric.value(measured(metric, data)[0], fake)
    if figure.drawn is None:
        assert figure.doubts, "nothing is drawn of what is not to be trusted"
        return
    assert figure.drawn.shape == (20,)
    low, high = figure.interval
    assert low <= figure.value + 1e-9
    assert figure.value <= high + 1e-9
    again = metric.compare(seen, metric.features(fake), Bootstrap(20, 1))
    assert torch.equal(again.drawn, figure.drawn)


@on_what_it_suits
def test_reals_are_better_than_noise(metric, data):
    if any(name in type(metric).__module__ for name in NO_VERDICT):
        pytest.skip("says something else than how good samples are")
    statistics, real = measured(metric, data)
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    good, bad = metric.value(statistics, real), metric.value(statistics, noise)
    assert good < bad if metric.better == "lower" else good > bad


@on_what_it_suits
def test_samples_of_a_diverged_run_are_measured_without_a_crash(metric, data):
    statistics, real = measured(metric, data)
    good = metric.value(statistics, real)
    for spoilt in (math.nan, math.inf):
        value = metric.value(statistics, torch.full_like(real.float(), spoilt))
        assert not (value < good if metric.better == "lower" else value > good)


@on_what_it_suits
def test_no_gradient_is_kept(metric, data):
    statistics, fake = measured(metric, data)
    wanted = fake.float().clone().requires_grad_()
    assert metric.value(statistics, wanted) == metric.value(statistics, fake)
