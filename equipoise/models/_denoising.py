"""Training of diffusion models, and sampling from them: one network, one phase, no discriminator.

A recipe is a frozen dataclass that has the fields of DenoisingOptions (_denoising_options.py); its `build` builds the
denoiser and a NoiseSchedule, and passes them to :func:`denoising_model`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast

import torch
from torch import Generator, Tensor

from equipoise.core.data import Batch, DataSpec
from equipoise.core.knobs import check_turnable
from equipoise.core.model import DenoisingProcess, Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.core.sampling import SamplerName, Sampling
from equipoise.core.world import batch_world
from equipoise.models._denoising_options import (
    UNUSED_KNOBS,
    DenoisingKnobs,
    DenoisingOptions,
    check_evaluations,
)
from equipoise.nn import latents
from equipoise.nn.denoiser import Denoiser
from equipoise.nn.diffusion_samplers import SAMPLERS
from equipoise.nn.labelled_augment import augment_labelled

K = TypeVar("K", bound=DenoisingKnobs)
K_contra = TypeVar("K_contra", bound=DenoisingKnobs, contravariant=True)
NOISE_BINS = ("lowest_noise", "low_noise", "high_noise", "highest_noise")
"""Terms of the loss: its mean over each quarter of the noise levels of a batch, in ascending order."""


class NoiseSchedule(Protocol[K_contra]):
    """Noise levels of a model: those of training, and those of sampling."""

    def sample(self, share: Tensor, knobs: K_contra) -> Tensor:
        """Map shares (B,), uniform in (0, 1), to noise levels (B,), ascending."""

    def levels(self, sampler: SamplerName, count: int) -> Sequence[float]:
        """Return `count` descending noise levels, and 0."""


@dataclass(frozen=True)
class DenoisingPhases(Generic[K]):
    """Loss, optimizer settings and sampling of one model. `classes`: labels that the network uses, 0 for none."""

    options: DenoisingOptions
    schedule: NoiseSchedule[K]
    spec: DataSpec
    classes: int

    def loss(self, networks: Networks, batch: Batch, moment: Moment[K]) -> Loss:
        """Compute the mean weighted squared error of the denoised images, and its mean in each quarter of noise levels.

        Noise levels are stratified: one from each of B equal shares of their distribution, in random order (Kingma et
        al. 2021, "Variational Diffusion Models", appendix I.1, reduces the variance of the loss in a similar way).
        """
        source, y = moment.generator, batch.real
        count, device = len(y), y.device
        world = batch_world()
        shares = torch.arange(count, device=device) * world.size + world.rank
        strata = shares + torch.rand(count, generator=source, device=device)
        order = torch.randperm(count, generator=source, device=device)
        sigma = self.schedule.sample(strata / (count * world.size), moment.knobs)[order]
        y, description = augment_labelled(y, moment.knobs.augment_p, source, flips=self.spec.flips)
        n = torch.randn(y.shape, generator=source, device=device)
        denoiser, labels = cast(Denoiser, networks["generator"]), self._labels(batch, source)
        denoised = denoiser(y + sigma[:, None, None, None] * n, sigma, labels, description, source)
        # L = E λ(σ) |D(y + σ n; σ) - y|², λ = 1 / c_out²: Karras 2022, equations 2 and 8.
        errors = (denoiser.weight(sigma) * (denoised - y).square()).flatten(1).mean(1)
        by_level = torch.zeros_like(errors.detach()).index_copy(0, order, errors.detach())
        bins = [part.mean() for part in by_level.tensor_split(len(NOISE_BINS))] if count >= len(NOISE_BINS) else []
        return Loss(errors.mean(), dict(zip(NOISE_BINS, bins, strict=False)))

    def _labels(self, batch: Batch, source: Generator) -> Tensor | None:
        """Return the labels of a batch, some of them -1: withheld; None for a model without labels."""
        labels = batch.condition
        if not self.classes or labels is None or not self.options.label_dropout:
            return labels if self.classes else None
        is_withheld = torch.rand(len(labels), generator=source, device=labels.device) < self.options.label_dropout
        return torch.where(is_withheld, -1, labels)

    def optimizer_settings(self, network: str, moment: Moment[K]) -> OptimizerSettings:
        """Return the settings of Adam; the learning rate rises linearly over the first `warmup` images."""
        knobs, warmup = moment.knobs, self.options.warmup
        lr = knobs.lr_g * min(1.0, (moment.images + 1) / warmup) if warmup else knobs.lr_g
        return OptimizerSettings("adam", lr, knobs.beta1, knobs.beta2, max_grad_norm=self.options.max_grad_norm)

    def latent(self, count: int, source: Generator, truncation: float | None) -> Tensor:
        """Draw the noise that samples start from, (count, C, H, W) from N(0, 1): it names a sample."""
        shape = self.spec.shape
        return latents.normal(count, torch.Size(shape).numel(), source, truncation).view(count, *shape)

    def generate(self, networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
        """Remove the noise in `sampling.steps` evaluations; the samples are clamped to [-1, 1]."""
        levels, denoiser = self.levels(sampling), cast(Denoiser, networks["generator"])

        def denoise(noisy: Tensor, sigma: Tensor) -> Tensor:
            return denoiser.guided(noisy, sigma, condition if self.classes else None, sampling.guidance)

        return SAMPLERS[self.sampler(sampling)](denoise, levels[0] * latent, levels).clamp(-1, 1)

    def sampler(self, sampling: Sampling) -> SamplerName:
        """Return the sampler."""
        return sampling.sampler or self.options.sampler

    def levels(self, sampling: Sampling) -> Sequence[float]:
        """Return the noise levels of `sampling.steps` evaluations. Raises SettingError if the sampler takes others."""
        sampler, steps = self.sampler(sampling), sampling.steps or self.options.sampling_steps
        check_evaluations(sampler, steps)
        return self.schedule.levels(sampler, (steps + 1) // 2 if sampler == "heun" else steps)

    def denoise(self, networks: Networks, noisy: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        """Estimate clean images (N, C, H, W) from noisy ones."""
        return cast(Tensor, networks["generator"](noisy, sigma, condition if self.classes else None))


def denoising_model(
    name: str, options: DenoisingOptions, denoiser: Denoiser, schedule: NoiseSchedule[K], knobs: K, spec: DataSpec
) -> Model[K]:
    """Compose a model of a denoiser, a noise schedule and the options of a recipe.

    `knobs`: their defaults, which `options.knobs` changes. Raises SettingError for a knob that does not act.
    """
    classes = denoiser.network.layout.classes
    phases = DenoisingPhases(options, schedule, spec, classes)
    inactive = UNUSED_KNOBS if options.augment else UNUSED_KNOBS | {"augment_p"}
    turnable = frozenset(knobs.ranges()) - inactive
    values: Mapping[str, float] = options.knobs
    check_turnable(values, turnable, name)
    return Model(
        name=name,
        networks={"generator": denoiser},
        phases=(Phase("generator", ("generator",), phases.loss, repeats=lambda moment: moment.knobs.generator_steps),),
        knobs=knobs.with_values(values),
        turnable=turnable,
        optimizer=phases.optimizer_settings,
        latent=phases.latent,
        generate=phases.generate,
        logits=None,
        num_classes=classes,
        samplings=frozenset({"steps", "sampler", *(["guidance"] if classes and options.label_dropout else [])}),
        preview_sampling=Sampling(steps=options.preview_steps, sampler="dpm_2m"),
        denoising=DenoisingProcess(phases.denoise, phases.sampler, phases.levels),
    )
