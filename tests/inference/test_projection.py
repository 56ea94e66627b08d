"""Projection of an image: distances, schedules, the optimisation, and what it refuses."""

import math

import pytest
import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import DataError, MissingPackageError, SettingError
from equipoise.inference import image_distance, projection, style_space
from equipoise.inference.generator import Generator
from equipoise.inference.image_distance import distance_to
from equipoise.inference.projection import Projection, ProjectionSettings

LAYERS = 6


@pytest.fixture(scope="module")
def styled(generator) -> Generator:
    """An untrained generator of 16 x 16 pixels: six styles of eight numbers."""
    result = generator("stylegan2", DataSpec((1, 16, 16)), width=8, latent_dim=8)
    result.networks["generator"].requires_grad_(False)
    return result


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images(*shape: int, seed: int = 0) -> Tensor:
    return normal(*shape, seed=seed).clamp(-1, 1)


def run(
    generator: Generator, image: Tensor, sampling: Sampling = DEFAULT_SAMPLING, **settings: object
) -> tuple[Projection, list[str]]:
    """Return the projection and its notes."""
    values = {"steps": 30, "distance": "pixels", **settings}
    steps = projection.project(generator, image, ProjectionSettings(**values), sampling)  # type: ignore[arg-type]
    notes = []
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value, notes
        notes += [step.note] if step.note else []


# Distances.


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_perceptual_distance_is_that_of_the_metric(channels: int) -> None:
    target, others = images(1, channels, 32, 32), images(2, channels, 32, 32, seed=1)
    if channels == 4:  # colours are multiplied by their opacity
        target, others = (torch.cat([torch.minimum(x[:, :3], x[:, 3:]), x[:, 3:]], dim=1) for x in (target, others))
    metric = catalog.build("metrics", "perceptual_efficientnet_lite0")
    expected = metric.distance(others, target.expand_as(others))
    torch.testing.assert_close(distance_to(target, "efficientnet_lite0")(others), expected, rtol=1e-4, atol=1e-5)


def test_distance_of_pixels_is_the_mean_over_resolutions() -> None:
    target, other = images(1, 1, 4, 4), images(1, 1, 4, 4, seed=1)
    difference = (other - target)[0, 0]
    halves = difference.reshape(2, 2, 2, 2).mean(dim=(1, 3))
    levels = [difference.square().mean(), halves.square().mean(), halves.mean().square()]
    torch.testing.assert_close(distance_to(target, "pixels")(other), torch.stack(levels).mean()[None])


@pytest.mark.parametrize("name", ["efficientnet_lite0", "pixels"])
def test_distances_are_differentiable_and_zero_for_the_target(name: image_distance.DistanceName) -> None:
    target = images(1, 3, 16, 16)
    distance = distance_to(target, name)
    assert float(distance(target)) == pytest.approx(0, abs=1e-6)
    other = images(1, 3, 16, 16, seed=1).requires_grad_(True)
    (gradient,) = torch.autograd.grad(distance(other).sum(), other)
    assert float(gradient.abs().max()) > 0


# Schedules: Karras 2020, appendix D.


def test_learning_rate_rises_and_falls() -> None:
    rate = projection.learning_rate
    assert [rate(share, 0.1) for share in (0.0, 0.025, 0.05, 0.5, 0.75)] == pytest.approx([0, 0.05, 0.1, 0.1, 0.1])
    assert rate(0.875, 0.1) == pytest.approx(0.05)
    assert rate(1.0, 0.1) == pytest.approx(0)
    assert rate(0.9, 0.1) == pytest.approx(0.1 * (0.5 - 0.5 * math.cos(math.pi * 0.4)))


def test_noise_fades_as_a_square() -> None:
    assert projection.noise_scale(0, 2.0) == pytest.approx(0.1)
    assert projection.noise_scale(0.375, 2.0) == pytest.approx(0.025)
    assert [projection.noise_scale(share, 2.0) for share in (0.75, 0.9)] == [0, 0]


# The optimisation.


def test_sample_of_the_generator_is_recovered(styled: Generator) -> None:
    image = styled.sample(4)[3]
    result, notes = run(styled, image, steps=80)
    assert notes == []
    assert result.distance < 0.1 * result.start_distance
    assert result.styles.shape == (LAYERS, 8)
    assert torch.equal(style_space.synthesize(styled, result.styles[None])[0], result.sample)
    error = (result.sample - image).square().mean().sqrt()
    assert result.pixel_error == pytest.approx(float(error))


def test_same_inputs_give_the_same_bytes(styled: Generator) -> None:
    image = images(1, 16, 16)
    first, again, other = (run(styled, image, steps=20, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first.styles, again.styles)
    assert not torch.equal(first.styles, other.styles)
    assert all(not weight.requires_grad for weight in styled.networks["generator"].parameters())


def test_w_has_one_style_and_is_less_similar(styled: Generator) -> None:
    image = images(1, 16, 16)
    one, free = (run(styled, image, space=space)[0] for space in ("w", "w+"))
    assert torch.equal(one.styles, one.styles[:1].expand(LAYERS, -1))
    assert len(torch.unique(free.styles, dim=0)) == LAYERS
    assert free.distance < one.distance < one.start_distance


def test_noise_of_the_layers_can_be_off(styled: Generator) -> None:
    result, _ = run(styled, images(1, 16, 16), Sampling(noise="none"), steps=5)
    assert torch.equal(style_space.synthesize(styled, result.styles[None], Sampling(noise="none"))[0], result.sample)


def test_perceptual_distance_is_minimised(styled: Generator) -> None:
    result, _ = run(styled, styled.sample(1)[0], distance="efficientnet_lite0", steps=12)
    assert result.distance_name == "efficientnet_lite0"
    assert result.distance < 0.6 * result.start_distance


@pytest.mark.parametrize("error", [DataError, MissingPackageError])
def test_pixels_replace_a_network_without_weights(
    styled: Generator, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def missing() -> None:
        raise error("no weights; reinstall equipoise")

    monkeypatch.setattr(image_distance, "load_efficientnet_lite0", missing)
    result, notes = run(styled, images(1, 16, 16), distance="efficientnet_lite0", steps=2)
    assert result.distance_name == "pixels"
    assert notes == ["pixels are compared instead of features: no weights; reinstall equipoise"]


# Errors.


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 20, 24), r"^the image has 24 x 20 pixels, but samples of this generator have 16 x 16; resize it, or use"),
        ((3, 16, 16), r"^the image has 3 channels, but samples of this generator have 1"),
    ],
)
def test_image_of_another_shape(styled: Generator, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        run(styled, torch.zeros(shape))


def test_other_errors(styled: Generator, generator) -> None:
    with pytest.raises(SettingError, match="psi has no effect in a projection"):
        run(styled, images(1, 16, 16), Sampling(psi=0.5))
    with pytest.raises(SettingError, match="dcgan has no styles"):
        run(generator("dcgan", DataSpec((1, 16, 16)), width=4, latent_dim=6), images(1, 16, 16))
    for settings, message in (
        ({"steps": 0}, "steps = 0"),
        ({"space": "z"}, "space 'z' does not exist; use w[+] or w"),
        ({"distance": "lpips"}, "distance 'lpips' does not exist; use one of: efficientnet_lite0, vgg, pixels"),
        ({"lr": 0.0}, "lr = 0"),
        ({"seed": -1}, "seed = -1"),
    ):
        with pytest.raises(SettingError, match=message):
            run(styled, images(1, 16, 16), **settings)
