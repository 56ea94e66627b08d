"""What every metric keeps to, on every data set that it suits."""

import dataclasses
import inspect
import math

import pytest
import torch

from equipoise import catalog

NAMES = catalog.names("metrics")


def ready(kind, name):
    parameters = inspect.signature(catalog.load(kind, name)).parameters.values()
    return all(parameter.default is not parameter.empty for parameter in parameters)


def pairs():
    """Every metric with every data set that it suits, both without arguments."""
    data_sets = {name: catalog.build("data", name) for name in catalog.names("data") if ready("data", name)}
    metrics = {name: catalog.build("metrics", name) for name in NAMES if ready("metrics", name)}
    return [
        (name, data) for name, metric in metrics.items() for data in data_sets if metric.suits(data_sets[data].spec)
    ]


on_what_it_suits = pytest.mark.parametrize(("name", "data"), pairs())


def measured(name, data):
    """The metric, its statistics of 200 held-out reals, and 200 other reals."""
    metric, reals = catalog.build("metrics", name), catalog.build("data", data)
    statistics = metric.statistics(reals.stream("held_out", 200, 0).batch(0))
    return metric, statistics, reals.stream("train", 200, 0).batch(0).real


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_frozen_value_that_says_what_it_is(name):
    plug = catalog.load("metrics", name)
    assert dataclasses.is_dataclass(plug)
    assert plug.__dataclass_params__.frozen
    assert plug.better in ("lower", "higher")
    assert plug.__doc__
    assert catalog.summary("metrics", name).endswith(".")
    assert plug.better in catalog.summary("metrics", name)
    assert len(catalog.summary("metrics", name)) <= 120


@on_what_it_suits
def test_values_are_pure(name, data):
    metric, statistics, fake = measured(name, data)
    before = torch.get_rng_state()
    first, kept = metric.value(statistics, fake), fake.clone()
    assert type(first) is float
    assert math.isfinite(first)
    assert metric.value(statistics, fake) == first
    again, statistics, _ = measured(name, data)
    assert again.value(statistics, fake) == first
    assert torch.equal(torch.get_rng_state(), before), "the global generator is not touched"
    assert torch.equal(fake, kept), "the samples are not touched"


@on_what_it_suits
def test_reals_are_better_than_noise(name, data):
    metric, statistics, real = measured(name, data)
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    good, bad = metric.value(statistics, real), metric.value(statistics, noise)
    assert good < bad if metric.better == "lower" else good > bad


@on_what_it_suits
def test_samples_of_a_diverged_run_are_measured_without_a_crash(name, data):
    metric, statistics, real = measured(name, data)
    good = metric.value(statistics, real)
    for spoilt in (math.nan, math.inf):
        value = metric.value(statistics, torch.full_like(real, spoilt))
        assert not (value < good if metric.better == "lower" else value > good)


@on_what_it_suits
def test_no_gradient_is_kept(name, data):
    metric, statistics, fake = measured(name, data)
    assert metric.value(statistics, fake.requires_grad_()) == metric.value(statistics, fake.detach())
