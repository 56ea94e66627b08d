"""Distillation of a diffusion model: losses of the student and of the fake score, and how the student samples."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import Batch
from equipoise.core.knobs import Knobs, knob
from equipoise.core.model import Loss, Moment, Networks, OptimizerSettings, Phase
from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES
from equipoise.losses.distillation import (
    consistency_output,
    distribution_matching,
    euler_step,
    expand,
    gradient_share,
    pseudo_huber,
    score_identity,
)
from equipoise.nn import latents
from equipoise.nn.denoiser import Denoiser
from equipoise.nn.diffusion_samplers import karras_levels
from equipoise.nn.fake_score import FakeScore

Objective = Literal["matching", "identity", "consistency", "adversarial"]
TEACHER = "teacher"
"""Name of the frozen network."""
ADVERSARIAL = LOSSES["non_saturating"]
RHO = 7.0
SHARE_EVERY = 5
"""Steps between two measurements of the share of the adversarial gradient: a second backward pass to the samples."""
MAX_GRADIENT_NORM = 10.0
"""Norm at which gradients are clipped (Yin 2024, DMD2, the authors' settings)."""


@dataclass(frozen=True, slots=True)
class DistillationKnobs(Knobs):
    """Knobs of distillation: the weights of its terms."""

    matching_weight: float = knob(
        1, 1e-4, 1e2, "", "log", "weight of what the student learns from the teacher", can_be_off=True
    )
    adversarial_weight: float = knob(
        0.1, 1e-4, 1e2, "", "log", "weight of the adversarial term in the student's loss", can_be_off=True
    )
    head_weight: float = knob(
        0.1, 1e-4, 1e2, "", "log", "weight of the discriminator in the loss of the fake score; 0: none", can_be_off=True
    )


DistillationMoment = Moment[DistillationKnobs]


@dataclass(frozen=True, slots=True)
class DistillationSettings:
    """What is the same in all steps of a run.

    `objective`: what the student learns from the teacher. `levels`: noise levels of the student's steps, descending.
    `noise`: the lowest and highest noise level at which scores are compared. `alpha`: of the score identity.
    `boundary`, `intervals`: lowest level of consistency, and number of intervals up to the first level of the student.
    `shape`: of a sample. `is_conditional`: whether the networks use class labels. `guidance`: of the teacher by them.
    """

    objective: Objective
    levels: tuple[float, ...]
    noise: tuple[float, float]
    alpha: float
    boundary: float
    intervals: int
    shape: tuple[int, ...]
    is_conditional: bool
    guidance: float


@dataclass(frozen=True)
class DistillationPhases:
    """The losses and optimizer settings of one model."""

    settings: DistillationSettings

    def in_order(self) -> tuple[Phase, Phase]:
        """Return the phases of a step."""
        fake_score = ("discriminator", ("discriminator",), self.fake_score_loss)
        return (
            Phase(*fake_score, when=self.trains_fake_score, repeats=discriminator_steps),
            Phase("generator", ("generator",), self.student_loss, repeats=generator_steps),
        )

    def fake_score_loss(self, networks: Networks, batch: Batch, moment: DistillationMoment) -> Loss:
        """Compute the loss of the fake score: it denoises samples of the student, and its head tells them from reals.

        Both see noised images: the same levels for reals and fakes, and noise of their own. An unused head is skipped.
        """
        knobs, labels = moment.knobs, self._labels(batch)
        fake_score = cast(FakeScore, networks["discriminator"])
        with torch.no_grad():
            x = self.draw(networks, len(batch), labels, moment)
            sigma = self.draw_noise_levels(len(batch), moment)
            noisy_fake = add_noise(x, sigma, moment)
        terms = {}
        if not self.trains_head(knobs):
            denoising = self._denoising(fake_score, fake_score(noisy_fake, sigma, labels), x, sigma)
            return Loss(denoising, terms={"denoising": denoising.detach()})
        if self.has_fake_score:
            denoised, fake_logit = fake_score.denoised_and_logits(noisy_fake, sigma, labels)
            terms["denoising"] = self._denoising(fake_score, denoised, x, sigma)
        else:
            fake_logit = fake_score.logits(noisy_fake, sigma, labels)
        real_logit = fake_score.logits(add_noise(batch.real, sigma, moment), sigma, labels)
        one, zero = torch.ones_like(real_logit), torch.zeros_like(fake_logit)
        adversarial = ADVERSARIAL.discriminator(real_logit, fake_logit, one, zero)
        # L_D = L_denoise + λ_head L_adv        (Yin 2024, DMD2, section 4.3)
        total = terms["denoising"] + knobs.head_weight * adversarial if terms else adversarial
        terms["adversarial"] = adversarial
        return Loss(
            total,
            terms={name: term.detach() for name, term in terms.items()},
            logit_real=real_logit.detach(),
            logit_fake=fake_logit.detach(),
        )

    def _denoising(self, fake_score: FakeScore, denoised: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        # L_denoise = E λ(σ) |D(x + σ n) - x|²: Karras 2022, eq. 2, on samples of the student (Yin 2024, eq. 6)
        return (fake_score.denoiser.weight(sigma) * (denoised - x).square()).mean()

    def student_loss(self, networks: Networks, batch: Batch, moment: DistillationMoment) -> Loss:
        """Compute the loss of the student. Terms of weight 0 are skipped."""
        knobs, labels = moment.knobs, self._labels(batch)
        x = self.draw(networks, len(batch), labels, moment)
        sigma = self.draw_noise_levels(len(batch), moment)
        noisy = add_noise(x, sigma, moment)
        weights = {"matching": knobs.matching_weight, "adversarial": knobs.adversarial_weight}
        terms, outputs, logit = {}, {"matching": x, "adversarial": x}, None
        if self.settings.objective != "adversarial" and weights["matching"]:
            terms["matching"], outputs["matching"] = self._matching(networks, batch, x, noisy, sigma, moment)
        if (weights["adversarial"] and self.trains_head(knobs)) or not terms:
            logit = cast(FakeScore, networks["discriminator"]).logits(noisy, sigma, labels)
            terms["adversarial"] = ADVERSARIAL.generator(logit, logit)
        # L_G = λ_match L_match(x) + λ_adv L_adv(D(x + σ n))        (Yin 2024, DMD2, section 4.3)
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        shown = {name: term.detach() for name, term in terms.items()}
        if len(terms) == 2 and moment.step % SHARE_EVERY == 0:
            gradients = {
                name: weights[name] * torch.autograd.grad(term, outputs[name], retain_graph=True)[0]
                for name, term in terms.items()
            }
            shown["adversarial_share"] = gradient_share(gradients["adversarial"], gradients["matching"])
        return Loss(total, terms=shown, logit_fake=None if logit is None else logit.detach())

    def _matching(
        self, networks: Networks, batch: Batch, x: Tensor, noisy: Tensor, sigma: Tensor, moment: DistillationMoment
    ) -> tuple[Tensor, Tensor]:
        """Return what the student learns from the teacher, and the outputs of the student that it depends on."""
        labels = self._labels(batch)
        if self.settings.objective == "consistency":
            return self._consistency(networks, batch, moment)
        if self.settings.objective == "identity":
            y_r, y_f = self._teach(networks, noisy, sigma, labels), networks["discriminator"](noisy, sigma, labels)
            return score_identity(x, y_r, y_f, self.settings.alpha), x
        with torch.no_grad():
            y_r, y_f = self._teach(networks, noisy, sigma, labels), networks["discriminator"](noisy, sigma, labels)
        return distribution_matching(x, y_r, y_f), x

    def _consistency(self, networks: Networks, batch: Batch, moment: DistillationMoment) -> tuple[Tensor, Tensor]:
        """Compute the distance of the student's outputs at two neighbouring levels on a path of the teacher.

        The levels are those of Karras 2022, eq. 5, from `boundary` to the first level of the student.
        """
        settings, student, labels = self.settings, networks["generator"], self._labels(batch)
        levels = karras_levels(settings.intervals + 1, settings.boundary, settings.levels[0])[:-1]
        ascending = _on_device(levels[::-1], batch.real.device)
        lower = torch.randint(settings.intervals, (len(batch),), generator=moment.generator, device=batch.real.device)
        sigma, below = ascending[lower + 1], ascending[lower]
        noisy = add_noise(batch.real, sigma, moment)
        output = self.denoise(student, noisy, sigma, labels)
        with torch.no_grad():
            nearer = euler_step(noisy, self._teach(networks, noisy, sigma, labels), sigma, below)
            target = self.denoise(student, nearer, below, labels)
        # L = E d(f(x_{n+1}, t_{n+1}), sg f(x̂_n, t_n)): Song 2023, eq. 7; d and sg: Song and Dhariwal 2024
        return pseudo_huber(output, target), output

    def _teach(self, networks: Networks, noisy: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """Estimate clean images (B, ...) by the teacher, with guidance."""
        return cast(Denoiser, networks[TEACHER]).guided(noisy, sigma, labels, self.settings.guidance)

    @property
    def has_fake_score(self) -> bool:
        """Whether the objective compares the scores of teacher and student."""
        return self.settings.objective in ("matching", "identity")

    def trains_head(self, knobs: DistillationKnobs) -> bool:
        """Whether the head is trained: it has a weight in the fake score's loss, or is all that the student uses."""
        if self.has_fake_score:
            return knobs.head_weight > 0
        return self.settings.objective == "adversarial" or knobs.adversarial_weight > 0

    def trains_fake_score(self, moment: DistillationMoment) -> bool:
        """Whether the fake score, or its head, is used."""
        return self.has_fake_score or self.trains_head(moment.knobs)

    def denoise(self, student: nn.Module, noisy: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """Estimate clean images (B, ...) by the student; for consistency, with the boundary condition."""
        denoised: Tensor = student(noisy, sigma, labels)
        if self.settings.objective == "consistency":
            return consistency_output(noisy, denoised, sigma, self.settings.boundary)
        return denoised

    def sample(
        self, student: nn.Module, noise: Tensor, labels: Tensor | None, steps: int, *, is_training: bool = False
    ) -> Tensor:
        """Generate images (B, C, H, W), unbounded, from noise (B, S C, H, W) in `steps` <= S evaluations.

        x = D(s_1 n_1; s_1), then x = D(x + s_i n_i; s_i): Song 2023, algorithm 1; Yin 2024 (DMD2), section 4.5.
        `is_training`: gradients pass through the last evaluation only, as in DMD2.
        """
        levels = self.settings.levels[:steps]
        parts = noise.chunk(len(self.settings.levels), dim=1)
        x = torch.zeros_like(parts[0])
        for index, (level, part) in enumerate(zip(levels, parts, strict=False)):
            sigma = torch.full((len(noise),), level, device=noise.device)
            with torch.set_grad_enabled(torch.is_grad_enabled() and (index == steps - 1 or not is_training)):
                x = self.denoise(student, x + level * part, sigma, labels)
        return x

    def draw(self, networks: Networks, count: int, labels: Tensor | None, moment: DistillationMoment) -> Tensor:
        """Draw samples of the student for training; with each number of steps in turn, so that all are learned."""
        noise = self.latent(count, moment.generator)
        steps = 1 + moment.step % len(self.settings.levels)
        return self.sample(networks["generator"], noise, labels, steps, is_training=True)

    def latent(self, count: int, generator: Generator, truncation: float | None = None) -> Tensor:
        """Draw noise (count, S C, H, W) of all steps of the student."""
        channels, height, width = self.settings.shape
        shape = (len(self.settings.levels) * channels, height, width)
        return latents.normal(count, math.prod(shape), generator, truncation).view(count, *shape)

    def generate(self, networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
        """Generate images, limited to [-1, 1]. Raises SettingError for more steps than the student has learned."""
        most = len(self.settings.levels)
        steps = sampling.steps or most
        if steps > most:
            raise SettingError(
                f"steps = {steps}: this student has learned to sample in {most}; use fewer, or train one with "
                f"--option steps={steps}"
            )
        return self.sample(networks["generator"], latent, condition, steps).clamp(-1, 1)

    def draw_noise_levels(self, count: int, moment: DistillationMoment) -> Tensor:
        """Draw noise levels (count,), uniform on the scale of Karras 2022, eq. 5, with rho = 7 (Yin 2024, DMD2)."""
        low, high = (level ** (1 / RHO) for level in self.settings.noise)
        uniform = torch.rand(count, generator=moment.generator, device=moment.generator.device)
        levels: Tensor = (low + (high - low) * uniform) ** RHO
        return levels

    def logits_of_reals(self, networks: Networks, batch: Batch, moment: DistillationMoment) -> Tensor | None:
        """Compute the logits (B,) of noised reals; None without a discriminator."""
        if not self.trains_head(moment.knobs):
            return None
        sigma = self.draw_noise_levels(len(batch), moment)
        noisy = add_noise(batch.real, sigma, moment)
        return cast(FakeScore, networks["discriminator"]).logits(noisy, sigma, self._labels(batch))

    def optimizer_settings(self, network: str, moment: DistillationMoment) -> OptimizerSettings:
        """Return the optimizer settings of one network."""
        knobs = moment.knobs
        rate = knobs.lr_g if network == "generator" else knobs.lr_d
        return OptimizerSettings("adam", rate, knobs.beta1, knobs.beta2, max_grad_norm=MAX_GRADIENT_NORM)

    def _labels(self, batch: Batch) -> Tensor | None:
        return batch.condition if self.settings.is_conditional else None


@cache
def _on_device(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Return numbers (N,) on a device; copied once, because a copy waits for the device."""
    return torch.tensor(numbers, device=device)


def add_noise(images: Tensor, sigma: Tensor, moment: DistillationMoment) -> Tensor:
    """Return x + sigma n (B, ...) for noise levels (B,), n from the generator of the moment."""
    noise = torch.randn(images.shape, generator=moment.generator, device=images.device)
    return images + expand(sigma, images) * noise


def discriminator_steps(moment: DistillationMoment) -> int:
    """Return the number of updates of the fake score in a step."""
    return moment.knobs.discriminator_steps


def generator_steps(moment: DistillationMoment) -> int:
    """Return the number of updates of the student in a step."""
    return moment.knobs.generator_steps
