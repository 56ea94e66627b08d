"""Steps between latents and between styles: path lengths of linear generators are known in closed form."""

import dataclasses
import math

import pytest
import torch

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.metric import Bootstrap
from equipoise.core.model import DenoisingProcess, Model, StyleSpace
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError, UndefinedMetricError
from equipoise.evaluation.path_steps import sample_path_steps
from equipoise.inference.generator import Generator
from equipoise.metrics.ppl import Ppl

COUNT = 40_000
MATRIX = torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 1.0]])


def generator_of(synthesize, *, radius: float | None = None, styles: bool = True, classes: int = 0) -> Generator:
    """Return a generator of latents of 3 numbers, which lie on a sphere or are Gaussian; a style is twice the latent.

    With labels, the style is shifted by the label.
    """

    def latent(count, source, truncation):
        values = torch.randn(count, 3, generator=source)
        return values if radius is None else radius * values / values.norm(dim=1, keepdim=True)

    def to_styles(networks, latents, condition, sampling):
        return (2 * latents + (0 if condition is None else condition[:, None]))[:, None].expand(-1, 4, -1)

    def from_styles(networks, points, sampling):
        return synthesize(points[:, 0]).view(len(points), 1, 1, -1)

    model = Model(
        name="linear",
        networks={},
        phases=(),
        knobs=AdversarialKnobs(),
        turnable=frozenset(),
        optimizer=lambda name, moment: None,
        latent=latent,
        generate=lambda networks, latents, condition, sampling: from_styles(
            networks, to_styles(networks, latents, condition, sampling), sampling
        ),
        logits=lambda networks, batch, moment: None,
        num_classes=classes,
        styles=StyleSpace(to_styles, from_styles, lambda networks: torch.zeros(3)) if styles else None,
    )
    return Generator(model, {}, DataSpec((3,)), 0)  # not clamped as images are


@pytest.fixture
def squared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the perceptual distance by the squared Euclidean one, of linear features."""
    monkeypatch.setattr(
        Ppl, "_image_distance", lambda self, first, second: (second - first).square().flatten(1).sum(dim=1)
    )


def path_length(generator: Generator, preset: str, count: int = COUNT) -> float:
    metric = Ppl(**Ppl.presets[preset], trim=0.0)
    steps = sample_path_steps(generator, count, 0, None, metric)
    return metric.compute_along_path(steps.starts, steps.ends, Bootstrap()).value


@pytest.mark.parametrize("preset", ["w_full", "w_end"])
def test_path_length_between_styles_of_a_linear_generator(squared, preset: str) -> None:
    """E |A (w₂ - w₁)|² = 2 tr(A Σ Aᵀ) with Σ = 4 I, anywhere on the path: 8 |A|² for the Frobenius norm."""
    value = path_length(generator_of(lambda points: points @ MATRIX.T), preset)
    assert value == pytest.approx(8 * MATRIX.square().sum().item(), rel=0.015)


@pytest.mark.parametrize("preset", ["z_full", "z_end"])
def test_path_length_on_a_sphere(squared, preset: str) -> None:
    """The path between latents of length r has length r θ, and E θ² = (π² - 4) / 2 on the sphere in three dimensions.

    The angle θ has density sin(θ) / 2. The generator doubles lengths.
    """
    value = path_length(generator_of(lambda points: points, radius=1.5), preset)
    assert value == pytest.approx(3.0**2 * (math.pi**2 - 4) / 2, rel=0.015)


@pytest.mark.parametrize(("preset", "square"), [("z_full", 2 + 8 / (3 * math.pi)), ("z_end", 3.0)])
def test_path_length_between_gaussian_latents(squared, preset: str, square: float) -> None:
    """The squared speed is r(t)² θ² + (r₂ - r₁)², for lengths r that change linearly.

    E r(t)² is 2/3 E r² + 1/3 (E r)² on the whole path, E r² at its end; E r² = 3 and (E r)² = 8 / π for three numbers.
    """
    value = path_length(generator_of(lambda points: points), preset)
    expected = 4 * (square * (math.pi**2 - 4) / 2 + 2 * (3 - 8 / math.pi))
    assert value == pytest.approx(expected, rel=0.015)


def test_curved_mapping_makes_paths_between_latents_longer(squared) -> None:
    """A path between styles is straight, whereas the styles along a path between latents oscillate."""
    generator = generator_of(lambda points: points)
    space = generator.model.styles
    assert space is not None

    def wave(networks, latents, condition, sampling):
        return space.map(networks, (7 * latents).sin(), condition, sampling)

    def generate(networks, latents, condition, sampling):
        return space.synthesize(networks, wave(networks, latents, condition, sampling), sampling)

    model = dataclasses.replace(generator.model, styles=dataclasses.replace(space, map=wave), generate=generate)
    waved = dataclasses.replace(generator, model=model)
    assert path_length(waved, "w_full", 400) < path_length(waved, "z_full", 400) / 10


def test_both_ends_of_a_step_have_the_same_label() -> None:
    generator = generator_of(lambda points: points, classes=3)
    labels = torch.tensor([1, 1, 2])
    for preset in ("z_end", "w_end"):
        metric = Ppl(**Ppl.presets[preset])
        steps = sample_path_steps(generator, 40, 0, labels, metric)
        latents = generator.latents(40, seed=0)
        shifts = steps.starts.view(40, 3) - 2 * latents
        assert set(shifts.round(decimals=4).flatten().tolist()) == {1.0, 2.0}
        assert (steps.ends - steps.starts).abs().max() < 0.01, "another label is at a distance of 1"


def test_steps_start_at_the_styles_of_the_latents() -> None:
    generator = generator_of(lambda points: points)
    steps = sample_path_steps(generator, 40, 3, None, Ppl(space="w", sampling="end"))
    expected = generator.model.generate({}, generator.latents(40, seed=3), None, DEFAULT_SAMPLING)
    assert torch.equal(steps.starts, expected)


def test_models_without_styles_have_no_path_length_in_w() -> None:
    with pytest.raises(SettingError, match="linear has no mapping network, so it has no path lengths in w; use ppl:z_"):
        path_length(generator_of(lambda points: points, styles=False), "w_end")


def test_a_sampler_that_adds_noise_has_no_path_length() -> None:
    """Its noise differs between the ends of a step, so that the length would be that of the noise."""
    generator = generator_of(lambda points: points, styles=False)
    process = DenoisingProcess(lambda *_: None, lambda sampling: sampling.sampler or "ancestral", lambda sampling: ())
    model = dataclasses.replace(generator.model, denoising=process, samplings=frozenset({"sampler"}))
    noisy = dataclasses.replace(generator, model=model)
    metric = Ppl(**Ppl.presets["z_full"])
    with pytest.raises(UndefinedMetricError, match=r"the sampler ancestral adds other noise .* use --sampler ddim"):
        sample_path_steps(noisy, 4, 0, None, metric)
    assert len(sample_path_steps(noisy, 4, 0, None, metric, Sampling(sampler="ddim")).starts) == 4
