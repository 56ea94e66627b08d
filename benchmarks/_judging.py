"""How good digits are, by the small classifier that the package ships, and a run in memory to take them from."""

import dataclasses
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from equipoise.core.data import Batch
from equipoise.data.digits import Digits
from equipoise.experiment.launch import assemble
from equipoise.experiment.settings import Experiment, complete
from equipoise.inference.generator import Generator
from equipoise.metrics._digits_classifier import digit_features, digit_logits
from equipoise.metrics.kd_digits import KdDigits
from equipoise.training.loop import Training

CLASSES = 10
SURE = 0.9


def in_memory(experiment: Experiment) -> Training:
    """An experiment, ready to train, that writes nothing and measures nothing on its way."""
    nothing: dict[str, Any] = {"sample_every": None, "evaluate_every": None, "save_every": None, "metric": None}
    return assemble(dataclasses.replace(complete(experiment), **nothing), None)


def generator_of(training: Training) -> Generator:
    """The averaged generator as it is now, as `equipoise.load` would give it."""
    state = training.state
    return Generator(state.model, dict(state.playing), Digits().spec, state.step)


def judged(samples: Tensor, asked: Tensor | None) -> dict[str, Any]:
    """What the classifier says of samples (N, 1, 32, 32); `asked`: the labels (N,) they were made for, or None.

    `sure`: share of samples of whose class it is more than 90 % sure. `agrees`: share that it gives the asked class.
    `spread`: mean distance of features of two samples of a class (the asked one, else the one it gives), over that of
    real training digits; the mean over ten classes, in which one with fewer than two samples counts 0. `distance`:
    kernel distance to the held-out digits, `kd_digits`.
    """
    probabilities = digit_logits(samples).softmax(dim=1)
    surest, given = probabilities.max(dim=1)
    labels = given if asked is None else asked
    return {
        "sure": (surest > SURE).float().mean().item(),
        "agrees": None if asked is None else (given == asked).float().mean().item(),
        "spread": _spread(digit_features(samples), labels) / _real_spread(),
        "distance": KdDigits().value(_held_out_features(), samples),
    }


def reals(split: Any, count: int) -> Batch:
    """Real digits of a split, with their labels."""
    drawn: Batch = Digits().stream(split, count, 0).batch(0)
    return drawn


def _spread(features: Tensor, labels: Tensor) -> float:
    by_class = [features[labels == each] for each in range(CLASSES)]
    return sum(torch.pdist(each).mean().item() for each in by_class if len(each) > 1) / CLASSES


@lru_cache(maxsize=1)
def _real_spread() -> float:
    real = reals("train", Digits().count("train"))
    assert real.condition is not None
    return _spread(digit_features(real.real), real.condition)


@lru_cache(maxsize=1)
def _held_out_features() -> Tensor:
    return KdDigits().statistics(reals("held_out", Digits().count("held_out")))
