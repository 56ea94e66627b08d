"""Spectral normalisation: a weight divided by its largest singular value. Miyato 2018, eq. 8 and algorithm 1."""

from typing import TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from equipoise.errors import SettingError

M = TypeVar("M", bound=nn.Module)

FIRST_ITERATIONS = 15
"""Number of power iterations at construction, so that a new network is normalised from the start; our choice."""


def spectral_norm(module: M, generator: Generator) -> M:
    """Replace the `weight` of a module by W / sigma(W), sigma the largest singular value; return the module.

    W is reshaped to a matrix (out, all others): (out, in k k) for convolutions. Transposed convolutions have `out` in
    dimension 1, per group if they are grouped. Registered as a parametrization: the trained weight is
    `module.parametrizations.weight.original`. Initialise weights first: assignments to `module.weight` have no effect
    afterwards. Raises SettingError for a weight that is zero, which cannot be normalised.
    """
    transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    weight = module.weight
    if not isinstance(weight, Tensor) or not bool(weight.detach().any()):
        raise SettingError(
            f"spectral normalisation needs a nonzero weight, but that of {type(module).__name__} is zero or missing; "
            "initialise it first"
        )
    parametrize.register_parametrization(module, "weight", SpectralQuotient(weight, 1 if transposed else 0, generator))
    return module


class SpectralQuotient(nn.Module):
    """Module W -> W / (u^T W v); unit vectors `u` (out,) and `v` (rest,) are buffers that approximate singular vectors.

    In training mode every access to the weight performs one power iteration, in evaluation mode none. Computed in
    float32 or wider, with autocast off, and returned in the dtype of the weight.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, dimension: int, generator: Generator) -> None:
        super().__init__()
        self.dimension = dimension
        matrix = self.matrix(weight.detach())
        for name, size in zip(("u", "v"), matrix.shape, strict=True):
            vector = torch.randn(size, generator=generator, device=generator.device)
            self.register_buffer(name, normalize(vector.to(matrix), dim=0))
        for _ in range(FIRST_ITERATIONS):
            self.iterate(matrix)

    def matrix(self, weight: Tensor) -> Tensor:
        """Reshape a weight to (out, rest), in float32 or wider."""
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return weight.movedim(self.dimension, 0).flatten(1).to(dtype)

    @torch.no_grad()
    def iterate(self, matrix: Tensor) -> None:
        """Perform a power iteration: v = W^T u / |W^T u|, u = W v / |W v| (algorithm 1, step 1)."""
        v = normalize(matrix.T @ self.u.to(matrix), dim=0)
        self.v.copy_(v)
        self.u.copy_(normalize(matrix @ v, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """Compute W / sigma(W), of the shape of W; u and v are constants for the gradient."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self.matrix(weight)
            if self.training:
                self.iterate(matrix)
            # Copies, because a later forward pass changes the buffers before the backward pass of this one.
            u, v = self.u.to(matrix, copy=True), self.v.to(matrix, copy=True)
            sigma = u @ (matrix @ v)
            return (weight.to(matrix.dtype) / sigma).to(weight.dtype)
