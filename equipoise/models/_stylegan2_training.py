"""Training of StyleGAN 2: fakes with mixed styles and fresh noise, and path length regularisation in a lazy phase."""

import dataclasses
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from equipoise.core.data import Batch
from equipoise.core.knobs import AdversarialKnobs, knob
from equipoise.core.model import Loss, Moment, Networks, OptimizerSettings
from equipoise.losses.path_length import path_length_penalty, path_lengths
from equipoise.models._adversarial_extensions import AdversarialMoment
from equipoise.models._diffusion import DIFFUSION_STEPS
from equipoise.models._stylegan2_generator import SkipGenerator
from equipoise.nn import latents
from equipoise.nn.minibatch_deviation import check_deviation_group
from equipoise.nn.style import mix_styles

MEAN_DECAY = 0.995
"""Decay of the mean style per batch, as in the authors' code."""
BATCH_SHARE = 2
"""Path lengths are computed for one of this many samples of a batch: Karras 2020, appendix B."""


@dataclass(frozen=True, slots=True)
class StyleGAN2Knobs(AdversarialKnobs):
    """Knobs of StyleGAN 2."""

    path_length_weight: float = knob(
        0, 1e-6, 1e1, "", "log", "penalty on (|J^T y| - a)^2, unequal speed of the image along styles", can_be_off=True
    )


@dataclass(frozen=True, slots=True)
class DiffusedStyleKnobs(StyleGAN2Knobs):
    """Knobs of StyleGAN 2 with diffusion."""

    diffusion_steps: float = knob(*DIFFUSION_STEPS)


@dataclass(frozen=True, slots=True)
class StyleTraining:
    """How a :class:`SkipGenerator` is trained.

    `mixing`: probability of a second latent per sample. `noise`: whether layers get noise. `group`: samples per group
    of the discriminator's minibatch deviation. `interval`: of path length regularisation, in steps. `is_conditional`:
    whether the networks use labels.
    """

    mixing: float
    noise: bool
    group: int
    interval: int
    latent_dim: int
    is_conditional: bool

    def draw(self, networks: Networks, count: int, labels: Tensor | None, moment: AdversarialMoment) -> Tensor:
        """Generate fakes (count, C, H, W). Fakes with a graph, which train the generator, update the mean style."""
        check_deviation_group(count, self.group)
        network = cast(SkipGenerator, networks["generator"])
        styles = self._draw_styles(network, count, labels, moment)
        return self._synthesize(network, styles, moment)

    def path_length_loss(self, networks: Networks, batch: Batch, moment: Moment[StyleGAN2Knobs]) -> Loss:
        """Compute the penalty on path lengths of new fakes, half as many as in a batch, weighted by the interval k."""
        network = cast(SkipGenerator, networks["generator"])
        count = max(1, len(batch) // BATCH_SHARE)
        labels = batch.condition[:count] if self.is_conditional and batch.condition is not None else None
        with torch.autocast(batch.real.device.type, enabled=False):
            styles = self._draw_styles(network, count, labels, moment)
            lengths = path_lengths(self._synthesize(network, styles, moment), styles, moment.generator)
            penalty, memory = path_length_penalty(lengths, moment.memory)
        # L = k w E (|J^T y| - a)^2: Karras 2020, equation 4; k: appendix B.
        total = self.interval * moment.knobs.path_length_weight * penalty
        terms = {"path_length": penalty.detach(), "mean_length": lengths.detach().mean()}
        return Loss(total, terms=terms, memory=memory)

    def correct_settings(
        self, settings: OptimizerSettings, network: str, moment: AdversarialMoment
    ) -> OptimizerSettings:
        """Correct Adam's settings of the generator for its k + 1 updates in k steps if the penalty is on.

        c = k / (k + 1) in learning rate and decays, as for lazy penalties of the discriminator: appendix B.
        """
        if network != "generator" or not cast(StyleGAN2Knobs, moment.knobs).path_length_weight:
            return settings
        c = self.interval / (self.interval + 1)
        return dataclasses.replace(settings, lr=settings.lr * c, beta1=settings.beta1**c, beta2=settings.beta2**c)

    def is_path_length_due(self, moment: Moment[StyleGAN2Knobs]) -> bool:
        """Whether the penalty is on and the step is a multiple of the interval."""
        return moment.knobs.path_length_weight > 0 and moment.step % self.interval == 0

    def _draw_styles(
        self, network: SkipGenerator, count: int, labels: Tensor | None, moment: AdversarialMoment
    ) -> Tensor:
        """Draw styles (count, layers, D), from a random layer on of a second latent: Karras 2019, section 3.1."""
        source, layers = moment.generator, network.synthesis.styles
        first = network.mapping(latents.normal(count, self.latent_dim, source), labels)
        if torch.is_grad_enabled():
            network.mapping.update_average(first, MEAN_DECAY)
        styles: Tensor = network.synthesis.repeat(first)
        if not self.mixing:
            return styles
        second = network.mapping(latents.normal(count, self.latent_dim, source), labels)
        crossover = torch.randint(1, layers, (count,), generator=source, device=source.device)
        is_mixed = torch.rand(count, generator=source, device=source.device) < self.mixing
        return mix_styles(styles, network.synthesis.repeat(second), torch.where(is_mixed, crossover, layers))

    def _synthesize(self, network: SkipGenerator, styles: Tensor, moment: AdversarialMoment) -> Tensor:
        noise = network.synthesis.draw_noise(styles.shape[0], moment.generator) if self.noise else None
        return cast(Tensor, network.synthesis(styles, noise))
