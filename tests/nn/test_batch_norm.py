"""Normalisation over all processes, here over one: the values and derivatives of torch's own."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from equipoise.core.world import World
from equipoise.nn.batch_norm import _normalise

SHAPES = {nn.BatchNorm1d: [(6, 4), (3, 4, 5)], nn.BatchNorm2d: [(3, 4, 2, 5)]}
CASES = [(kind, shape, affine) for kind, shapes in SHAPES.items() for shape in shapes for affine in (True, False)]


@dataclass(frozen=True, slots=True)
class Copies(World):
    """The world of two processes with the same share."""

    size: int = 2

    def add(self, numbers: Tensor) -> Tensor:
        return numbers.mul_(2)

    def mean(self, values: Tensor) -> Tensor:
        return values


def make(kind: type[nn.Module], shape: tuple[int, ...], affine: bool) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a layer with random weights, an input, and a gradient of its output, in float64."""
    torch.manual_seed(0)
    norm = kind(4, affine=affine, momentum=0.3).double()
    for weight in norm.parameters():
        nn.init.normal_(weight)
    return norm, torch.randn(shape, dtype=torch.float64) * 3 + 2, torch.randn(shape, dtype=torch.float64)


def derivatives(norm: nn.Module, output: Tensor, maps: Tensor, gradient: Tensor, *, twice: bool) -> list[Tensor]:
    """Return the gradients of a product, or those of the squared norm of them."""
    inputs = [maps, *norm.parameters()]
    first = torch.autograd.grad((output * gradient).sum(), inputs, create_graph=twice)
    return list(torch.autograd.grad(sum(value.square().sum() for value in first), inputs[:2]) if twice else first)


@pytest.mark.parametrize(("kind", "shape", "affine"), CASES)
@pytest.mark.parametrize("twice", [False, True])
def test_values_and_derivatives_are_those_of_torch(kind, shape: tuple[int, ...], affine: bool, twice: bool) -> None:
    results = []
    for layer in (lambda norm, maps: norm(maps), lambda norm, maps: _normalise(norm, maps, World())):
        norm, maps, gradient = make(kind, shape, affine)
        maps.requires_grad_()
        output = layer(norm, maps)
        found = derivatives(norm, output, maps, gradient, twice=twice and affine)
        results.append([output.detach(), norm.running_mean, norm.running_var, norm.num_batches_tracked, *found])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("twice", [False, True])
def test_shares_of_a_batch_are_normalised_as_the_whole(twice: bool) -> None:
    """Of two processes with the same share, each has the gradient of both losses with respect to its own share."""
    found = []
    for world, count in ((World(), 2), (Copies(), 1)):
        norm, maps, gradient = make(nn.BatchNorm2d, (3, 4, 2, 5), True)
        maps, gradient = maps.repeat(count, 1, 1, 1).requires_grad_(), gradient.repeat(count, 1, 1, 1)
        output = (_normalise(norm, maps, world) * gradient).sum()
        first = torch.autograd.grad(output, [maps, *norm.parameters()], create_graph=twice)
        second = torch.autograd.grad(first[0].square().sum(), [maps]) if twice else ()
        # Each process adds its own part of the gradients of weights, which are averaged later.
        found.append([first[0][:3], *(value / count for value in first[1:]), *(value[:3] for value in second)])
    for whole, share in zip(*found, strict=True):
        torch.testing.assert_close(share, whole)


def test_the_kernel_for_gpus_gets_all_that_it_requires() -> None:
    """It asserts that weight and saved statistics are there, also where it does not need them."""
    calls: list[tuple[object, ...]] = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, arguments=(), options=None):
            if operator is torch.ops.aten.native_batch_norm_backward.default:
                calls.append(arguments)
            return operator(*arguments, **(options or {}))

    norm, maps, gradient = make(nn.BatchNorm2d, (3, 4, 2, 5), affine=True)
    output = _normalise(norm, maps.requires_grad_(), World())
    with Recorder():
        output.backward(gradient)
    ((*tensors, is_training, _, _),) = calls
    assert [type(value) for value in tensors] == [Tensor] * 7
    assert not is_training


def test_half_precision_has_statistics_in_float32() -> None:
    norm = nn.BatchNorm2d(4)
    maps = (torch.randn(64, 4, 8, 8) + 100).bfloat16().requires_grad_()
    output = _normalise(norm, maps, World())
    output.square().sum().backward()
    assert (output.dtype, maps.grad.dtype) == (torch.bfloat16, torch.bfloat16)
    torch.testing.assert_close(output.float().mean((0, 2, 3)), torch.zeros(4), atol=2e-2, rtol=0)
