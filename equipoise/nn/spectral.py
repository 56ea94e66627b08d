"""Spectral normalisation: a weight divided by its largest singular value. Miyato 2018, eq. 8 and algorithm 1."""

from typing import NamedTuple, TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from equipoise.errors import SettingError

M = TypeVar("M", bound=nn.Module)

FIRST_ITERATIONS = 15
"""Number of power iterations at construction, so that a new network is normalised from the start; our choice."""


def spectral_norm(module: M, generator: Generator, evaluation_iterations: int = 0) -> M:
    """Replace the `weight` of a module by W / sigma(W), sigma the largest singular value; return the module.

    W is reshaped to a matrix (out, all others): (out, in k k) for convolutions. Transposed convolutions have `out` in
    dimension 1, per group if they are grouped. Registered as a parametrization: the trained weight is
    `module.parametrizations.weight.original`. Initialise weights first: assignments to `module.weight` have no effect
    afterwards. `evaluation_iterations`: power iterations of every access in evaluation mode, whose result is not kept;
    see :class:`SpectralQuotient`. Raises SettingError for a weight that is zero, which cannot be normalised.
    """
    transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    weight = module.weight
    if not isinstance(weight, Tensor) or not (weight.is_meta or bool(weight.detach().any())):
        raise SettingError(
            f"spectral normalisation needs a nonzero weight, but that of {type(module).__name__} is zero or missing; "
            "initialise it first"
        )
    quotient = SpectralQuotient(weight, 1 if transposed else 0, generator, evaluation_iterations)
    parametrize.register_parametrization(module, "weight", quotient)
    return module


class SpectralQuotient(nn.Module):
    """Module W -> W / (u^T W v); unit vectors `u` (out,) and `v` (rest,) are buffers that approximate singular vectors.

    In training mode every access to the weight performs one power iteration. In evaluation mode it performs
    `evaluation_iterations` from `u`, which do not change the buffers. A network with a running average needs some: the
    average of singular vectors is no singular vector of the average weight (sigma was up to 1.5 in a short run with
    0 of them). Computed in float32 or wider, with autocast off, and returned in the dtype of the weight.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, dimension: int, generator: Generator, evaluation_iterations: int = 0) -> None:
        super().__init__()
        self.dimension, self.evaluation_iterations = dimension, evaluation_iterations
        matrix = self.matrix(weight.detach())
        for name, size in zip(("u", "v"), matrix.shape, strict=True):
            vector = torch.randn(size, generator=generator, device=generator.device).to(matrix.dtype)
            self.register_buffer(name, normalize(vector, dim=0).to(matrix))
        for _ in range(0 if weight.is_meta else FIRST_ITERATIONS):
            self.iterate(matrix)

    def matrix(self, weight: Tensor) -> Tensor:
        """Reshape a weight to (out, rest), in float32 or wider."""
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return weight.movedim(self.dimension, 0).flatten(1).to(dtype)

    @torch.no_grad()
    def iterate(self, matrix: Tensor) -> None:
        """Perform a power iteration: v = W^T u / |W^T u|, u = W v / |W v| (algorithm 1, step 1)."""
        u, v = power_iteration(matrix, self.u.to(matrix))
        self.v.copy_(v)
        self.u.copy_(u)

    def forward(self, weight: Tensor) -> Tensor:
        """Compute W / sigma(W), of the shape of W; u and v are constants for the gradient."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self.matrix(weight)
            if self.training:
                self.iterate(matrix)
            # Copies, because a later forward pass changes the buffers before the backward pass of this one.
            u, v = self.u.to(matrix, copy=True), self.v.to(matrix, copy=True)
            if not self.training:
                with torch.no_grad():
                    for _ in range(self.evaluation_iterations):
                        u, v = power_iteration(matrix, u)
            sigma = u @ (matrix @ v)
            return (weight.to(matrix.dtype) / sigma).to(weight.dtype)


class SingularVectors(NamedTuple):
    """Approximate singular vectors of the largest singular value: `u` (out,) and `v` (rest,), of norm 1."""

    u: Tensor
    v: Tensor


def power_iteration(matrix: Tensor, u: Tensor) -> SingularVectors:
    """Perform a power iteration from `u`: v = W^T u / |W^T u|, u = W v / |W v| (algorithm 1, step 1)."""
    v = normalize(matrix.T @ u, dim=0)
    return SingularVectors(normalize(matrix @ v, dim=0), v)
