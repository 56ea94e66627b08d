"""The mapping network of style-based generators: latents z, and labels, to styles w."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, one_hot

from equipoise.nn.equalised import EqualLinear
from equipoise.nn.pixel_norm import pixel_norm

SLOPE = 0.2
"""Of the leaky ReLU: Karras 2019, appendix C."""


class MappingNetwork(nn.Module):
    """Mapping network z (N, L), and labels (N,) or None -> w (N, D).

    Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", section 2 and
    appendix C: latents divided by their root mean square, then `layers` equalised linear layers with leaky ReLU,
    trained with a learning rate of `lr_multiplier` times the others'. `classes`: number of labels, 0 for none; a linear
    embedding of the label, normalised in the same way, is concatenated with the latent (Karras 2020, "Training
    Generative Adversarial Networks with Limited Data", its code). Weights are drawn by
    :func:`~equipoise.nn.equalised.initialise_equalised`. The buffer `w_avg` (D,) is the running mean of w, for
    truncation; see :meth:`update_average`.
    """

    w_avg: Tensor

    def __init__(
        self,
        latent_dim: int,
        style_dim: int,
        *,
        layers: int = 8,
        lr_multiplier: float = 0.01,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.embedding = EqualLinear(classes, latent_dim) if classes else None
        sizes = [latent_dim * (2 if classes else 1), *[style_dim] * layers]
        self.layers = nn.ModuleList(
            EqualLinear(before, after, gain=math.sqrt(2), lr_multiplier=lr_multiplier)
            for before, after in itertools.pairwise(sizes)
        )
        self.register_buffer("w_avg", torch.zeros(style_dim))

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Compute styles w (N, D) from latents (N, L), and labels (N,) int64, which are needed if there are classes."""
        features = pixel_norm(latent)
        if self.embedding is not None:
            if condition is None:
                raise ValueError("the mapping network needs a label per latent, because it was built with classes")
            embedded = self.embedding(one_hot(condition, self.classes).to(latent.dtype))
            features = torch.cat([features, pixel_norm(embedded)], dim=1)
        for layer in self.layers:
            features = leaky_relu(layer(features), SLOPE)
        return features

    @torch.no_grad()
    def update_average(self, styles: Tensor, decay: float) -> None:
        """Move `w_avg` towards the mean of styles w (N, D): w_avg = decay w_avg + (1 - decay) mean(w)."""
        self.w_avg.lerp_(styles.detach().mean(dim=0).to(self.w_avg.dtype), 1 - decay)


def truncate_styles(styles: Tensor, w_avg: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
    """Move styles (N, layers, D), one row per layer, towards their mean: w' = w_avg + psi (w - w_avg).

    Karras 2019, appendix B. `psi`: 1 changes nothing, to the bit, 0 gives the mean. `cutoff`: only the first that many
    layers are changed, None for all.
    """
    if psi == 1:
        return styles
    count = styles.shape[1] if cutoff is None else cutoff
    mean = w_avg.to(styles.dtype)
    # Not lerp, whose second form for weights from 0.5 on would not return w_avg exactly for psi = 0.
    return torch.cat([mean + psi * (styles[:, :count] - mean), styles[:, count:]], dim=1)
