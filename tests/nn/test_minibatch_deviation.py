"""Minibatch standard deviation and pixel norm: values by hand, groups, gradients."""

import itertools

import pytest
import torch

from equipoise.errors import SettingError
from equipoise.nn.minibatch_deviation import MinibatchDeviation, check_deviation_group, largest_group
from equipoise.nn.pixel_norm import pixel_norm


def constants(*values):
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, 4, 4)


def test_deviation_of_constants_is_biased_and_does_not_depend_on_the_order():
    """sqrt(1.25) for 0, 1, 2, 3: the variance of Karras 2018 divides by the number of samples."""
    for order in itertools.permutations((0.0, 1.0, 2.0, 3.0)):
        maps = MinibatchDeviation()(constants(*order))
        assert maps.shape == (4, 4, 4, 4)
        torch.testing.assert_close(maps[:, 3], torch.full((4, 4, 4), 1.25**0.5))
        assert torch.equal(maps[:, :3], constants(*order))


def test_groups_are_separate():
    """Samples 0, 2, 4, 6 are one group of a batch of 8, samples 1, 3, 5, 7 the other."""
    maps = MinibatchDeviation()(constants(0.0, 5.0, 1.0, 5.0, 2.0, 5.0, 3.0, 5.0))
    torch.testing.assert_close(maps[::2, 3], torch.full((4, 4, 4), 1.25**0.5))
    torch.testing.assert_close(maps[1::2, 3], torch.full((4, 4, 4), 1e-4))


def test_deviation_is_the_mean_over_channels_and_positions():
    x = torch.randn(6, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    group = x[[1, 3, 5]]  # 6 samples in 2 groups of 3
    expected = [group.std(0, correction=0)[part].mean() for part in (slice(0, 2), slice(2, 4))]
    maps = MinibatchDeviation(3, channels=2)(x)
    assert maps.shape == (6, 6, 2, 2)
    torch.testing.assert_close(maps[1, 4:, 0, 0], torch.stack(expected))


def test_batch_of_one_has_a_constant_and_a_finite_gradient():
    x = torch.zeros(1, 3, 4, 4, requires_grad=True)
    maps = MinibatchDeviation()(x)
    torch.testing.assert_close(maps[:, 3], torch.full((1, 4, 4), 1e-4))
    maps.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_equal_samples_have_a_finite_second_derivative():
    x = torch.ones(4, 2, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad((MinibatchDeviation()(x) ** 2).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(("count", "group", "largest"), [(8, 4, 4), (6, 4, 3), (7, 4, 1), (2, 4, 2), (1, 4, 1)])
def test_largest_group_divides_the_batch(count, group, largest):
    assert largest_group(count, group) == largest
    assert MinibatchDeviation(group)(torch.zeros(count, 1, 4, 4)).shape == (count, 2, 4, 4)


@pytest.mark.parametrize("count", [1, 3, 4, 8, 64])
def test_batches_that_groups_divide_are_valid(count):
    check_deviation_group(count, 4)


def test_other_batches_raise_with_the_nearest_batch_sizes():
    with pytest.raises(SettingError, match=r"batch of 63 samples into groups of 4; use --batch-size 60 or 64$"):
        check_deviation_group(63, 4)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3, 3)])
def test_pixel_norm_gives_mean_square_one(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 9
    torch.testing.assert_close(pixel_norm(x).square().mean(1), torch.ones(shape[:1] + shape[2:]))
    torch.testing.assert_close(pixel_norm(x), x / x.square().mean(1, keepdim=True).sqrt())


def test_pixel_norm_of_zeros_is_zero_and_keeps_the_dtype():
    assert torch.equal(pixel_norm(torch.zeros(2, 3)), torch.zeros(2, 3))
    assert pixel_norm(torch.full((2, 3), 1e4, dtype=torch.float16)).dtype == torch.float16
    torch.testing.assert_close(pixel_norm(torch.full((2, 3), 1e4, dtype=torch.float16)).float(), torch.ones(2, 3))
