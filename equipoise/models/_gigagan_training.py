"""Training of GigaGAN: fakes for the captions of the batch, and the matching-aware loss; sampling with psi."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import softplus

from equipoise.core.knobs import AdversarialKnobs, knob
from equipoise.core.model import Networks
from equipoise.core.sampling import Sampling
from equipoise.core.world import batch_world
from equipoise.errors import SettingError
from equipoise.losses.adversarial import WeightedPenalty, at_least_float32
from equipoise.models._adversarial_extensions import AdversarialMoment, Discriminator, DiscriminatorPass
from equipoise.models._gigagan_generator import StyledText, TextGenerator
from equipoise.nn import latents
from equipoise.nn.style_mapping import truncate_styles

MEAN_DECAY = 0.995
"""Decay of the mean style per batch, as for stylegan2."""


@dataclass(frozen=True, slots=True)
class GigaGANKnobs(AdversarialKnobs):
    """Knobs of GigaGAN."""

    matching_weight: float = knob(
        1, 1e-3, 10, "", "log", "images with the caption of another image count as fake", can_be_off=True
    )


@dataclass(frozen=True, slots=True)
class TextTraining:
    """How a :class:`TextGenerator` is trained. `latent_dim`: numbers of a latent."""

    latent_dim: int

    def draw(self, networks: Networks, count: int, captions: Tensor | None, moment: AdversarialMoment) -> Tensor:
        """Generate fakes (count, C, H, W) for captions (count, T). Fakes with a graph update the mean style."""
        if captions is None:
            raise SettingError("gigagan needs captions, but a batch has none; use data with captions")
        network = cast(TextGenerator, networks["generator"])
        styled = network.map(latents.normal(count, self.latent_dim, moment.generator), captions)
        if torch.is_grad_enabled():
            network.mapping.update_average(styled.style, MEAN_DECAY)
        return cast(Tensor, network.synthesis(styled))


def matching_terms(
    networks: Networks, outputs: DiscriminatorPass, moment: AdversarialMoment
) -> Mapping[str, WeightedPenalty]:
    """Compute lambda E [softplus(D(x, c')) + softplus(D(G(z, c), c'))], c' the captions of other samples.

    Matching-aware loss (Kang 2023); lambda is `matching_weight`. c' is the batch's captions, rolled by one; a sample
    whose c' is its own caption counts 0. Raises SettingError for a batch of one sample.
    """
    weight = cast(GigaGANKnobs, moment.knobs).matching_weight
    if not weight or outputs.real_features is None or outputs.labels is None:
        return {}
    discriminator, world = cast(Discriminator, networks["discriminator"]), batch_world()
    captions = world.concatenate(outputs.labels)
    if len(captions) == 1:
        raise SettingError(
            "the matching-aware loss needs the captions of two samples at least; use --batch-size 2, or "
            "--set matching_weight=0"
        )
    others = world.own_part(captions.roll(1, 0))
    differ = (others != outputs.labels).any(dim=1)
    losses = {}
    for name, features in (("mismatch_real", outputs.real_features), ("mismatch_fake", outputs.fake_features)):
        loss = softplus(at_least_float32(discriminator.logits(features, others)))
        losses[name] = WeightedPenalty(weight, (loss * differ[:, None]).mean())
    return losses


def generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    """Generate images (N, C, H, W) in [-1, 1] from latents (N, L) and captions (N, T), styles moved to their mean."""
    if condition is None:
        raise SettingError("gigagan needs a caption per sample; use --prompt")
    network = cast(TextGenerator, networks["generator"])
    style, text = network.map(latent, condition)
    psi = 1.0 if sampling.psi is None else sampling.psi
    moved = truncate_styles(style[:, None], network.mapping.w_avg, psi)[:, 0]
    images: Tensor = network.synthesis(StyledText(moved, text))
    return images.clamp(-1, 1)
