"""Quality of generated digits by the small classifier in the package, and training in memory."""

import dataclasses
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from equipoise.core.data import Batch
from equipoise.core.metric import ReferenceSet
from equipoise.data.digits import Digits
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment
from equipoise.inference.generator import Generator
from equipoise.metrics._digits_classifier import digit_features, digit_logits
from equipoise.metrics.kd_digits import KdDigits
from equipoise.training.loop import Training

CLASSES = 10
CONFIDENT = 0.9


def in_memory(experiment: Experiment) -> Training:
    """Assemble an experiment that writes no files and measures nothing during training."""
    disabled: dict[str, Any] = {"sample_every": None, "evaluate_every": None, "save_every": None, "metric": None}
    return assemble(dataclasses.replace(complete(experiment), **disabled), None)


def generator_of(training: Training) -> Generator:
    """Return the averaged generator in its current state, as `equipoise.load` would return it."""
    state = training.state
    return Generator(state.model, dict(state.sampling_networks), Digits().spec, state.step)


def measure_quality(samples: Tensor, labels: Tensor | None) -> dict[str, Any]:
    """Measure the quality of samples (N, 1, 32, 32). `labels`: the requested labels (N,), or None.

    `sure`: share of samples that are classified with more than 90 % confidence. `agrees`: share that is classified as
    the requested label. `spread`: mean distance between the features of two samples of a class (the requested or else
    the predicted one), divided by that of real training digits; the mean over ten classes, where a class with fewer
    than two samples counts as 0. `distance`: kernel distance to the held-out digits, `kd_digits`.
    """
    probabilities = digit_logits(samples).softmax(dim=1)
    confidence, predicted = probabilities.max(dim=1)
    classes = predicted if labels is None else labels
    return {
        "sure": (confidence > CONFIDENT).float().mean().item(),
        "agrees": None if labels is None else (predicted == labels).float().mean().item(),
        "spread": _within_class_distance(digit_features(samples), classes) / _real_within_class_distance(),
        "distance": KdDigits().value(_held_out_features(), samples),
    }


def reals(split: Any, count: int) -> Batch:
    """Return real digits of a split with their labels."""
    batch: Batch = Digits().stream(split, count, 0).batch(0)
    return batch


def _within_class_distance(features: Tensor, labels: Tensor) -> float:
    by_class = [features[labels == each] for each in range(CLASSES)]
    return sum(torch.pdist(each).mean().item() for each in by_class if len(each) > 1) / CLASSES


@lru_cache(maxsize=1)
def _real_within_class_distance() -> float:
    real = reals("train", Digits().count("train"))
    assert real.condition is not None
    return _within_class_distance(digit_features(real.real), real.condition)


@lru_cache(maxsize=1)
def _held_out_features() -> ReferenceSet:
    return KdDigits().statistics(reals("held_out", Digits().count("held_out")))
