"""Penalty on the similarity of the filters of a layer. Brock 2019, "Large Scale GAN Training", equation 3."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from equipoise.losses.adversarial import at_least_float32


def orthogonality(weights: Iterable[Tensor]) -> Tensor:
    """Compute R = sum over weights of |W W^T * (1 - I)|_F^2, without the factor beta: equation 3.

    Weights are (out, ...) and reshaped to W = (out, rest), a filter per row; in the paper, a filter is a column. The
    diagonal, the norms of the filters, is not penalised.
    The gradient is 4 (W W^T * (1 - I)) W; the authors' code adds half of that. Raises ValueError without weights.
    """
    penalties = []
    for weight in weights:
        with torch.autocast(weight.device.type, enabled=False):
            matrix = at_least_float32(weight.flatten(1))
            products = matrix @ matrix.T
            penalties.append((products - products.diagonal().diag_embed()).square().sum())
    if not penalties:
        raise ValueError("there are no weights to penalise")
    return torch.stack(penalties).sum()


def filter_weights(network: nn.Module) -> list[Tensor]:
    """Return the trained weights of all linear layers and convolutions of a network, without embeddings.

    Of a layer with spectral normalisation, this is the weight before normalisation.
    """
    layers = (module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d))
    return [next(weight for weight in layer.parameters() if weight.ndim > 1) for layer in layers]
