"""What the benchmark of the model family measures on a trained generator."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from _digit_samples import measure_quality
from _family_runs import TrainedArm
from torch import Tensor, nn

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSet
from equipoise.core.metric import Bootstrap, Features, ReferenceSet
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.core.timed_sampling import TimedSamples, time_sampling
from equipoise.evaluation.path_steps import sample_path_steps
from equipoise.evaluation.samples import choose_labels
from equipoise.evaluation.scenes import iter_scenes
from equipoise.inference.generator import Generator
from equipoise.inference.style_space import map_to_styles, synthesize
from equipoise.losses.orthogonality import filter_weights, orthogonality
from equipoise.metrics._digits_classifier import digit_logits
from equipoise.metrics._mixture import assign_modes, count_modes, fit_mixture

SAMPLES, FEW_SAMPLES, PATHS, SCENES, STACKS = 1000, 300, 200, 32, 5000
"""Numbers of samples of a measurement, of a short one, of path lengths, of equivariance, and of stacked digits."""
BOOTSTRAP = Bootstrap(200, 0)
PSIS, TRUNCATIONS = (1.0, 0.7, 0.4, 0.0), (2.0, 1.0, 0.5, 0.25)
SWAPS = ((0, 1), (2, 7), (3, 8), (4, 9), (6, 5))
"""Digits and the digits that they are to become."""
SEED = 7


def quality(trained: TrainedArm) -> dict[str, Any]:
    """Measure distance, precision and recall on features of EfficientNet-Lite0."""
    return _quality(trained, "efficientnet_lite0", SAMPLES)


def mobilenet(trained: TrainedArm) -> dict[str, Any]:
    """Measure the same on features of MobileNetV2, with which no model was trained."""
    return _quality(trained, "mobilenet_v2", SAMPLES)


def _quality(trained: TrainedArm, network: str, count: int, sampling: Sampling = DEFAULT_SAMPLING) -> dict[str, Any]:
    timed = sample(trained, count, sampling)
    kernel = catalog.build("metrics", f"kd_{network}")
    features = kernel.features
    real, fake = held_out_features(trained.data, features), features(timed.samples)
    distance = kernel.compute(real, fake, BOOTSTRAP)
    values: dict[str, Any] = {"kd": distance.value, "kd_interval": distance.interval}
    for name in ("precision", "recall"):
        metric = catalog.build("metrics", name, {"features_from": network})
        result = metric.compute(real, fake, BOOTSTRAP)
        values |= {name: result.value, f"{name}_interval": result.interval}
    return {**values, "cpu_seconds_per_1000": timed.cost.cpu_seconds_per_1000}


def sample(trained: TrainedArm, count: int, sampling: Sampling = DEFAULT_SAMPLING) -> TimedSamples:
    """Generate samples with the labels of held-out reals."""
    generator = trained.generator
    labels = choose_labels(generator, count, SEED, _held_out(trained.data).condition)
    latents = generator.latents(count, seed=SEED, truncation=sampling.truncation)
    return time_sampling(
        lambda: generator.generate(latents, labels, sampling), generator.batch_size, torch.device("cpu")
    )


@lru_cache(maxsize=4)
def _held_out(data: DataSet) -> Batch:
    return data.stream("held_out", data.count("held_out") or SAMPLES, 0).batch(0)


@lru_cache(maxsize=4)
def held_out_features(data: DataSet, features: Features) -> ReferenceSet:
    """Return the features of all held-out reals, with their labels."""
    reals = _held_out(data)
    return ReferenceSet(features(reals.real), reals.condition, spec=data.spec)


def copies(trained: TrainedArm) -> dict[str, Any]:
    """Measure the share of samples that are no copies of training images."""
    metric = catalog.build("metrics", "auth_pct")
    train = trained.data.stream("train", trained.data.count("train") or SAMPLES, 0).batch(0)
    real = ReferenceSet(metric.features(_held_out(trained.data).real), train=metric.features(train.real))
    result = metric.compute(real, metric.features(sample(trained, SAMPLES).samples), BOOTSTRAP)
    return {"authentic": result.value, "authentic_interval": result.interval}


def digits(trained: TrainedArm) -> dict[str, Any]:
    """Measure the share of confirmed labels, the distance, and the recall of each class."""
    generator = trained.generator
    timed = time_sampling(lambda: generator.sample(SAMPLES, seed=SEED), generator.batch_size, torch.device("cpu"))
    labels = torch.arange(SAMPLES) % 10
    recall = catalog.build("metrics", "recall", {"features_from": "digits"})
    reals, fake = held_out_features(trained.data, recall.features), recall.features(timed.samples)
    assert reals.condition is not None
    by_class = [
        recall.compute(ReferenceSet(reals.real[reals.condition == each]), fake[labels == each], BOOTSTRAP).value
        for each in range(10)
    ]
    values = measure_quality(timed.samples, labels)
    return {**values, "class_recall": by_class, "cpu_seconds_per_1000": timed.cost.cpu_seconds_per_1000}


def psi(trained: TrainedArm) -> dict[str, Any]:
    """Measure precision and recall for several psi, and how much samples differ for psi 0."""
    values = {f"{value:g}": _short_sweep(trained, Sampling(psi=value)) for value in PSIS}
    generator = trained.generator
    alike = generator.sample(16, label=0 if generator.model.num_classes else None, sampling=Sampling(psi=0.0))
    return {"psi": values, "psi_0_difference": (alike - alike[0]).abs().max().item()}


def truncation(trained: TrainedArm) -> dict[str, Any]:
    """Measure precision and recall for several truncations of the latent."""
    return {"truncation": {f"{value:g}": _short_sweep(trained, Sampling(truncation=value)) for value in TRUNCATIONS}}


def _short_sweep(trained: TrainedArm, sampling: Sampling) -> dict[str, Any]:
    values = _quality(trained, "efficientnet_lite0", FEW_SAMPLES, sampling)
    return {name: values[name] for name in ("kd", "precision", "recall")}


def path_length(trained: TrainedArm) -> dict[str, Any]:
    """Measure the perceptual path length in w."""
    metric = catalog.build("metrics", "ppl:w_full")
    steps = sample_path_steps(trained.generator, PATHS, SEED, _held_out(trained.data).condition, metric)
    result = metric.compute_along_path(steps.starts, steps.ends, BOOTSTRAP)
    return {"path_length": result.value, "path_length_interval": result.interval}


def orthogonal(trained: TrainedArm) -> dict[str, Any]:
    """Measure the similarity of the generator's filters before and after training."""
    before, after = (
        orthogonality(filter_weights(each.state.model.networks["generator"])).item()
        for each in (trained.initial, trained.training)
    )
    return {"orthogonality_before": before, "orthogonality_after": after}


def attention(trained: TrainedArm) -> dict[str, Any]:
    """Return the gains of the attention, and the largest singular value of the normalised weights."""
    networks = trained.training.state.model.networks
    gains = {
        f"{name}.{parameter}": value.item()
        for name, network in networks.items()
        for parameter, value in network.named_parameters()
        if parameter.endswith("gamma")
    }
    norms = [
        torch.linalg.matrix_norm(cast(Tensor, module.weight).flatten(1), 2).item()
        for network in networks.values()
        for module in network.eval().modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding) and hasattr(module, "parametrizations")
    ]
    return {"attention_gains": gains, "largest_singular_value": max(norms)}


def equivariance(trained: TrainedArm) -> dict[str, Any]:
    """Measure the equivariance to translation before and after training, in dB."""
    state = trained.initial.state
    before = Generator(state.model, dict(state.sampling_networks), trained.data.spec, 0)
    metric = catalog.build("metrics", "eq_t")
    labels = _held_out(trained.data).condition
    values = [
        metric.compute_from_scenes(iter_scenes(each, SCENES, SEED, labels), BOOTSTRAP).value
        for each in (before, trained.generator)
    ]
    return {"eq_t_before": values[0], "eq_t_after": values[1]}


def swap(trained: TrainedArm) -> dict[str, Any]:
    """Add differences of mean styles of two digits to styles of one, and classify the images."""
    generator, count = trained.generator, 50
    latents = generator.latents(200, seed=SEED)
    means = {
        label: map_to_styles(generator, latents, torch.full((200,), label), DEFAULT_SAMPLING).mean(dim=0, keepdim=True)
        for label in {label for pair in SWAPS for label in pair}
    }
    shares = {}
    for source, target in SWAPS:
        fresh = generator.latents(count, seed=SEED + 1)
        styles = map_to_styles(generator, fresh, torch.full((count,), source), DEFAULT_SAMPLING)
        images = synthesize(generator, styles - means[source] + means[target], DEFAULT_SAMPLING)
        shares[f"{source} to {target}"] = (digit_logits(images).argmax(dim=1) == target).float().mean().item()
    return {"swaps": shares}


def modes(trained: TrainedArm) -> dict[str, Any]:
    """Count modes and good samples of a mixture in the plane."""
    mixture = fit_mixture(trained.data.stream("held_out", 10_000, 0).batch(0))
    counts = count_modes(assign_modes(mixture, trained.generator.sample(10_000, seed=SEED)))
    return {"modes": counts.modes, "of_modes": len(mixture.means), "high_quality": counts.high_quality}


def stacked(trained: TrainedArm) -> dict[str, Any]:
    """Count the stacks of three digits among few samples, and among as many reals."""
    metric = catalog.build("metrics", "stacked_modes")
    reals = trained.data.stream("held_out", STACKS, 0).batch(0)
    fake = trained.generator.sample(STACKS, seed=SEED)
    real, samples = (len(metric.features(each).flatten().unique()) for each in (reals.real, fake))
    return {"stacks": samples, "stacks_of_reals": real, "stack_samples": STACKS}


MEASURES: Mapping[str, Callable[[TrainedArm], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        *(quality, mobilenet, copies, digits, psi, truncation, path_length),
        *(attention, equivariance, swap, modes, stacked),
    )
} | {"orthogonality": orthogonal}


def measure_all(trained: TrainedArm, names: Sequence[str]) -> dict[str, Any]:
    """Return the results of all these measures."""
    values: dict[str, Any] = {}
    for name in names:
        values |= MEASURES[name](trained)
    return values
