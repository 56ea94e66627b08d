"""Spectral normalisation: a weight divided by its largest singular value. Miyato 2018, eq. 8 and algorithm 1."""

from typing import TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from equipoise.errors import SettingError

M = TypeVar("M", bound=nn.Module)

FIRST_ITERATIONS = 15
"""Power iterations before the first use, so that a fresh network is normalised already; our choice."""


def spectral_norm(module: M, generator: Generator) -> M:
    """The same module, its `weight` replaced by W / sigma(W), sigma the largest singular value.

    W is a matrix (out, everything else): (out, in k k) for convolutions. Transposed ones keep `out` in dimension 1,
    within a group if they are grouped. Registered as a parametrization: the free weight is
    `module.parametrizations.weight.original`. Initialise weights before, since what is written into the quotient is
    lost. Raises SettingError for a weight of nothing but zeros, which no division can bring to norm 1.
    """
    transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    weight = module.weight
    if not isinstance(weight, Tensor) or not bool(weight.detach().any()):
        raise SettingError(f"spectral normalisation needs a weight other than zero; {type(module).__name__} has none")
    parametrize.register_parametrization(module, "weight", SpectralQuotient(weight, 1 if transposed else 0, generator))
    return module


class SpectralQuotient(nn.Module):
    """W -> W / (u^T W v), with `u` (out,) and `v` (rest,) unit vectors, buffers that follow W's singular pair.

    In training mode every look at the weight takes one power iteration, in evaluation none. Computed in float32 at
    least, with autocast off, and given back in the weight's dtype.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, dimension: int, generator: Generator) -> None:
        super().__init__()
        self.dimension = dimension
        matrix = self.matrix(weight.detach())
        for name, size in zip(("u", "v"), matrix.shape, strict=True):
            draw = torch.randn(size, generator=generator, device=generator.device)
            self.register_buffer(name, normalize(draw.to(matrix), dim=0))
        for _ in range(FIRST_ITERATIONS):
            self.iterate(matrix)

    def matrix(self, weight: Tensor) -> Tensor:
        """(out, rest), in float32 at least."""
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return weight.movedim(self.dimension, 0).flatten(1).to(dtype)

    @torch.no_grad()
    def iterate(self, matrix: Tensor) -> None:
        """v = W^T u / |W^T u|, u = W v / |W v|: algorithm 1, step 1."""
        v = normalize(matrix.T @ self.u.to(matrix), dim=0)
        self.v.copy_(v)
        self.u.copy_(normalize(matrix @ v, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """W / sigma(W), shaped as W; the gradient takes u and v for constants."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self.matrix(weight)
            if self.training:
                self.iterate(matrix)
            # Copies: a later forward pass changes the buffers, while this one's graph still needs the old values.
            u, v = self.u.to(matrix, copy=True), self.v.to(matrix, copy=True)
            sigma = u @ (matrix @ v)
            return (weight.to(matrix.dtype) / sigma).to(weight.dtype)
