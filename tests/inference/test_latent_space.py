"""Interpolation and arithmetic of latents: formulas, geometry, statistics; and samples selected by number."""

import math

import pytest
import torch
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.inference import latent_space
from equipoise.inference.latent_space import SampleId, lerp, slerp


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Length and angle between two vectors.


@pytest.mark.parametrize("kind", latent_space.INTERPOLATIONS)
@pytest.mark.parametrize("dimensions", [1, 2, 64])
def test_interpolation_has_exact_ends(kind: latent_space.Interpolation, dimensions: int) -> None:
    start, end = normal(50, dimensions), normal(50, dimensions, seed=1)
    between = latent_space.INTERPOLATIONS[kind]
    assert torch.equal(between(start, end, 0.0), start)
    torch.testing.assert_close(between(start, end, 1.0), end, rtol=0, atol=1e-7)


def test_slerp_equals_shoemakes_formula() -> None:
    """Unit quaternions, compared with a rotation in the plane that they span."""
    a, b = (torch.nn.functional.normalize(normal(20, 4, seed=seed).double(), dim=1) for seed in (0, 1))
    angle = torch.acos((a * b).sum(1))
    side = torch.nn.functional.normalize(b - (a * b).sum(1, keepdim=True) * a, dim=1)
    for t in (0.25, 0.5, 0.9):
        turned = torch.cos(t * angle)[:, None] * a + torch.sin(t * angle)[:, None] * side
        torch.testing.assert_close(slerp(a, b, t), turned)


def test_slerp_changes_angle_and_length_linearly() -> None:
    a, b = torch.tensor([[3.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    for t in (0.1, 0.5, 0.8):
        x, y = slerp(a, b, t)[0].tolist()
        assert math.atan2(y, x) == pytest.approx(t * math.pi / 2)
        assert math.hypot(x, y) == pytest.approx(3 - 2 * t)


def test_slerp_of_equal_lengths_equals_whites_formula() -> None:
    """White 2016, section 2.1: sine weights of the vectors without normalisation."""
    a, b = (5 * torch.nn.functional.normalize(normal(20, 8, seed=seed).double(), dim=1) for seed in (0, 1))
    angle = torch.acos((a * b).sum(1, keepdim=True) / 25)
    white = (torch.sin(0.7 * angle) * a + torch.sin(0.3 * angle) * b) / torch.sin(angle)
    torch.testing.assert_close(slerp(a, b, 0.3), white)


def test_slerp_of_parallel_vectors_is_linear() -> None:
    a = normal(5, 6)
    for factor in (1.0, 3.0, 1 + 1e-6):
        torch.testing.assert_close(slerp(a, factor * a, 0.25), lerp(a, factor * a, 0.25))


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 0.75, 1.0])
def test_slerp_of_opposite_vectors_is_a_half_circle(t: float) -> None:
    a = normal(5, 6)
    result = slerp(a, -2 * a, t)
    torch.testing.assert_close(result.norm(dim=1), (1 + t) * a.norm(dim=1))
    cosine = torch.nn.functional.cosine_similarity(result, a)
    torch.testing.assert_close(cosine, torch.full((5,), math.cos(t * math.pi)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("off", [1e-3, 1e-6, 1e-8, 1e-12])
def test_slerp_of_nearly_opposite_vectors_is_bounded(off: float) -> None:
    """Without normalisation, the weights 1 / sin w would be unbounded."""
    a = torch.tensor([[1.0, 0.0]]).double()
    b = 0.5 * torch.tensor([[-math.cos(off), math.sin(off)]]).double()
    for t in (0.0, 0.3, 0.5, 1.0):
        result = slerp(a, b, t)
        assert float(result.norm()) == pytest.approx(1 - t / 2)
        assert math.acos(max(-1, float(result[0, 0] / result.norm()))) == pytest.approx(t * math.pi, abs=2e-3)


def test_slerp_with_zero_is_linear() -> None:
    a, zero = normal(3, 4), torch.zeros(3, 4)
    torch.testing.assert_close(slerp(a, zero, 0.25), 0.75 * a)
    torch.testing.assert_close(slerp(zero, a, 0.25), 0.25 * a)
    assert torch.equal(slerp(zero, zero, 0.5), zero)


def test_slerp_treats_pairs_of_a_batch_independently() -> None:
    """An ordinary, a parallel, an opposite and a zero pair: the same in a batch as alone, in any shape."""
    a = normal(4, 2, 3)
    b = torch.stack([normal(2, 3, seed=7), 2 * a[1], -a[2], torch.zeros(2, 3)])
    together = slerp(a, b, 0.4)
    assert together.shape == a.shape
    for row in range(4):
        assert torch.equal(slerp(a[row : row + 1], b[row : row + 1], 0.4)[0], together[row])


@pytest.mark.parametrize("t", [0.25, 0.5])
def test_slerp_preserves_the_length_of_gaussians(t: float) -> None:
    """E|z| = sqrt(2) G((d + 1) / 2) / G(d / 2) for z ~ N(0, I); (1 - t) a + t b has variance (1 - t)² + t²."""
    count, dimensions = 4000, 64
    mean = math.sqrt(2) * math.exp(math.lgamma((dimensions + 1) / 2) - math.lgamma(dimensions / 2))
    a, b = normal(count, dimensions), normal(count, dimensions, seed=1)
    standard_error = math.sqrt(0.5 / count)  # the length of a Gaussian vector has a variance of nearly 1/2
    spherical, linear = (between(a, b, t).norm(dim=1) for between in (slerp, lerp))
    assert float(spherical.mean()) == pytest.approx(mean, abs=4 * standard_error)
    assert float(linear.mean()) == pytest.approx(mean * math.sqrt((1 - t) ** 2 + t**2), abs=4 * standard_error)
    ends = torch.stack([a.norm(dim=1), b.norm(dim=1)])
    assert bool(((spherical >= ends.amin(0) - 1e-5) & (spherical <= ends.amax(0) + 1e-5)).all())


def test_path_has_both_ends_and_even_steps() -> None:
    start, end = normal(3, 5), normal(3, 5, seed=1)
    result = latent_space.interpolation_path(start, end, 5, "linear")
    assert result.shape == (5, 3, 5)
    assert torch.equal(result[0], start)
    assert torch.equal(result[-1], end)
    torch.testing.assert_close(result.diff(dim=0), ((end - start) / 4).expand(4, 3, 5))
    with pytest.raises(SettingError, match="steps = 1: it must be at least 2"):
        latent_space.interpolation_path(start, end, 1)


def test_loop_has_no_duplicate_frame() -> None:
    stops = normal(3, 2, 4)
    result = latent_space.interpolation_loop(stops, 4, "linear")
    assert result.shape == (12, 2, 4)
    assert torch.equal(result[::4], stops)
    torch.testing.assert_close(result[11], lerp(stops[2], stops[0], 0.75))
    with pytest.raises(SettingError, match="stops = 1: it must be at least 2"):
        latent_space.interpolation_loop(stops[:1], 4)
    with pytest.raises(SettingError, match="steps = 0"):
        latent_space.interpolation_loop(stops, 0)


# Arithmetic.


def test_combine_adds_and_subtracts_means() -> None:
    a, b, c = (normal(count, 6, seed=count) for count in (3, 2, 4))
    expected = (a[0] + a[1] + a[2]) / 3 - (b[0] + b[1]) / 2 + (c[0] + c[1] + c[2] + c[3]) / 4
    torch.testing.assert_close(latent_space.combine_latents([a, c], [b]), expected)


def test_combination_of_three_means_of_three_has_the_usual_length() -> None:
    groups = normal(2000, 3, 3, 64)
    combined = torch.stack([latent_space.combine_latents([a, c], [b]) for a, b, c in groups])
    assert float(combined.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / combined.numel()))


def test_neighbours_are_within_the_spread() -> None:
    latent, source = normal(64), torch.Generator().manual_seed(2)
    off = latent_space.neighbouring_latents(latent, 500, source) - latent
    assert off.shape == (500, 64)
    assert 0.249 < float(off.abs().max()) <= 0.25 + 1e-6
    assert float(off.std()) == pytest.approx(0.25 / math.sqrt(3), rel=0.02)
    assert abs(float(off.mean())) < 4 * 0.25 / math.sqrt(3 * off.numel())


# Samples by number.


@pytest.mark.parametrize("size", [2, 5, 16, 100])
@pytest.mark.parametrize("truncation", [None, 0.5])
def test_number_means_the_same_in_any_selection(size: int, truncation: float | None, generator) -> None:
    """Sample 3 is the same for any selection, and the same as of 64 or 128 samples."""
    model = generator(latent_dim=size, width=8)
    numbers = [3, 63, 0, 3]
    few = latent_space.select_latents(model, [SampleId(5, number) for number in numbers], truncation=truncation)
    many = latent_space.select_latents(
        model, [SampleId(5, number) for number in [*numbers, 100]], truncation=truncation
    )
    assert few.labels is None
    assert torch.equal(few.latents, many.latents[:4])
    for count in (64, 128):
        sheet = model.sample(count, seed=5, truncation=truncation)
        torch.testing.assert_close(model.generate(few.latents, None), sheet[numbers])


def test_selection_from_two_seeds(generator) -> None:
    model = generator(latent_dim=16)
    result = latent_space.select_latents(model, [SampleId(1, 4), SampleId(2, 4)]).latents
    assert torch.equal(result[0], model.latents(64, seed=1)[4])
    assert torch.equal(result[1], model.latents(64, seed=2)[4])


def test_selected_sample_keeps_its_class(generator) -> None:
    model = generator("dcgan", DataSpec((1, 16, 16), classes=3), width=4, latent_dim=6)
    picks = [SampleId(0, number) for number in (4, 0, 8)]
    result = latent_space.select_latents(model, picks)
    assert result.labels is not None
    assert result.labels.tolist() == [1, 0, 2]
    torch.testing.assert_close(model.generate(result.latents, result.labels), model.sample(64)[[4, 0, 8]])
    relabelled = latent_space.select_latents(model, picks, label=2)
    assert relabelled.labels is not None
    assert relabelled.labels.tolist() == [2, 2, 2]


@pytest.mark.parametrize("number", [-1, 100_000])
def test_number_out_of_range(number: int, generator) -> None:
    with pytest.raises(SettingError, match=f"sample number {number} does not exist; numbers are 0 to 99,999"):
        latent_space.select_latents(generator(), [SampleId(0, number)])


def test_strip_has_the_samples_of_its_path(generator) -> None:
    model = generator("dcgan", DataSpec((1, 16, 16), classes=3), width=4, latent_dim=6)
    start, end = (latent_space.select_latents(model, [SampleId(seed, 1), SampleId(seed, 2)]) for seed in (0, 9))
    strip = latent_space.generate_strip(model, start, end, 4)
    assert strip.shape == (2, 4, 1, 16, 16)
    assert start.labels is not None
    for step, latents in enumerate(latent_space.interpolation_path(start.latents, end.latents, 4)):
        torch.testing.assert_close(strip[:, step], model.generate(latents, start.labels))
    frames = list(latent_space.generate_film(model, [start, end], 3))
    assert len(frames) == 6
    torch.testing.assert_close(frames[0], strip[:, 0])
    torch.testing.assert_close(frames[3], model.generate(end.latents, start.labels))
