"""Losses of stacked runs of the model `mlp`: the functions of losses/, mapped over the runs.

Each run has its own knobs and its own random generator, which draws the same numbers in the same order as in a single
run. For this reason the order of operations in models/_adversarial_phases.py is repeated in this file, and the formulas
are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from equipoise.core.knobs import Knobs
from equipoise.core.model import Memory
from equipoise.losses.adversarial import AdversarialLoss, WeightedPenalty, total_loss
from equipoise.losses.penalties import feature_matching, half_squared_norm, lecam
from equipoise.meta._stacked_networks import StackedPerceptrons


@dataclass(frozen=True, slots=True)
class StackedKnobs:
    """Knobs of R runs: (R,) float64 by name. `active`: names of the knobs that are nonzero in at least one run."""

    values: Mapping[str, Tensor]
    active: frozenset[str]

    @classmethod
    def stack(cls, knobs: Sequence[Knobs], device: torch.device) -> "StackedKnobs":
        """Stack the knobs of several runs, in order."""
        table = torch.tensor(
            [list(run_knobs.values().values()) for run_knobs in knobs], dtype=torch.float64, device=device
        )
        values = dict(zip(knobs[0].ranges(), table.unbind(1), strict=True))
        return cls(values, frozenset(name for name, value in values.items() if bool(value.any())))

    def select(self, rows: Tensor) -> "StackedKnobs":
        """Return the knobs of the runs at indices `rows`."""
        return StackedKnobs({name: value[rows] for name, value in self.values.items()}, self.active)

    def __getitem__(self, name: str) -> Tensor:
        return self.values[name]


@dataclass(frozen=True, slots=True)
class StackedLoss:
    """Losses of a phase: `total` and `adversarial` (R,), logits (R, B), and `memory`, new values of buffers (R,)."""

    total: Tensor
    adversarial: Tensor
    logit_real: Tensor | None
    logit_fake: Tensor
    memory: Memory


@dataclass(frozen=True, slots=True)
class StackedMoment:
    """Inputs of a phase in addition to weights and data: knobs, one random generator per run, and buffers (R,)."""

    knobs: StackedKnobs
    generators: Sequence[Generator]
    memory: Memory


@dataclass(frozen=True, slots=True)
class StackedLosses:
    """The loss functions of both networks. `loss`: the adversarial loss of all runs."""

    loss: AdversarialLoss
    generator: StackedPerceptrons
    discriminator: StackedPerceptrons

    def discriminator_loss(
        self, generator: Tensor, discriminator: Tensor, real: Tensor, moment: StackedMoment
    ) -> StackedLoss:
        """Compute L_D from weights (R, P) and reals (R, B, D)."""
        knobs = moment.knobs
        with torch.no_grad():
            fake = self._generate(generator, real.shape[1], moment)
        x, gz = add_instance_noise(real, moment), add_instance_noise(fake, moment)
        x = x.detach().requires_grad_("r1_gamma" in knobs.active)
        gz = gz.detach().requires_grad_("r2_gamma" in knobs.active)
        real_logit, fake_logit = (self.discriminator.logits(discriminator, samples).logit for samples in (x, gz))
        labels = [self._sample_labels(side, real_logit, moment) for side in ("real_label", "fake_label")]
        adversarial = torch.vmap(self.loss.discriminator)(real_logit, fake_logit, *labels)
        penalties: dict[str, WeightedPenalty] = {}
        memory: Memory = {}
        if "lecam_weight" in knobs.active:
            result, weight = torch.vmap(lecam)(real_logit, fake_logit, dict(moment.memory)), knobs["lecam_weight"]
            penalties["lecam"] = weighted(weight, result.penalty)
            memory = {
                name: torch.where(weight > 0, value, moment.memory[name]) for name, value in result.memory.items()
            }
        for name, logit, samples in (("r1", real_logit, x), ("r2", fake_logit, gz)):
            if f"{name}_gamma" in knobs.active:
                (gradient,) = torch.autograd.grad(logit.sum(), samples, create_graph=True)
                penalties[name] = weighted(knobs[f"{name}_gamma"], torch.vmap(half_squared_norm)(gradient))
        total = total_loss(adversarial, penalties)
        return StackedLoss(total, adversarial.detach(), real_logit.detach(), fake_logit.detach(), memory)

    def generator_loss(
        self, generator: Tensor, discriminator: Tensor, real: Tensor, moment: StackedMoment
    ) -> StackedLoss:
        """Compute L_G from weights (R, P) and reals (R, B, D)."""
        knobs, is_matching = moment.knobs, "feature_matching_weight" in moment.knobs.active
        gz = add_instance_noise(self._generate(generator, real.shape[1], moment), moment)
        fake = self.discriminator.logits(discriminator, gz)
        real_logit, penalties = fake.logit, dict[str, WeightedPenalty]()
        if self.loss.needs_real or is_matching:
            x = add_instance_noise(real, moment, None if self.loss.needs_real else knobs["feature_matching_weight"])
            with torch.no_grad():
                real_features, real_logit = self.discriminator.logits(discriminator, x)
            if is_matching:
                penalty = torch.vmap(feature_matching)(real_features, fake.features)
                penalties["feature_matching"] = weighted(knobs["feature_matching_weight"], penalty)
        adversarial = torch.vmap(self.loss.generator)(fake.logit, real_logit)
        total = total_loss(adversarial, penalties)
        return StackedLoss(total, adversarial.detach(), None, fake.logit.detach(), {})

    def _generate(self, weights: Tensor, count: int, moment: StackedMoment) -> Tensor:
        latents = torch.empty(len(moment.generators), count, self.generator.in_features, device=weights.device)
        for row, generator in zip(latents.unbind(), moment.generators, strict=True):
            row.normal_(generator=generator)
        return self.generator.forward(weights, latents)

    def _sample_labels(self, side: str, logit: Tensor, moment: StackedMoment) -> Tensor:
        """Sample labels (R, B), uniform between the lowest and highest label of each run; none if both are equal."""
        low, high = moment.knobs[f"{side}_low"], moment.knobs[f"{side}_high"]
        labels = low.to(logit.dtype)[:, None].expand_as(logit)
        if not self.loss.has_labels or torch.equal(low, high):
            return labels
        labels = labels.clone()
        for row, a, b, generator in zip(labels.unbind(), low.tolist(), high.tolist(), moment.generators, strict=True):
            if a != b:
                row.add_((b - a) * torch.rand(len(row), generator=generator, device=row.device))
        return labels


def weighted(weight: Tensor, penalty: Tensor) -> WeightedPenalty:
    """Return weights and penalties (R,). The penalty is 0 where the weight is 0, even if it is not finite."""
    return WeightedPenalty(weight.to(penalty.dtype), torch.where(weight > 0, penalty, 0.0))


def add_instance_noise(samples: Tensor, moment: StackedMoment, mask: Tensor | None = None) -> Tensor:
    """Compute x + std · N(0, 1), (R, B, D), with the std of each run.

    Runs with a std of 0, or where `mask` (R,) is 0, use no random numbers.
    """
    if "instance_noise" not in moment.knobs.active:
        return samples
    std = moment.knobs["instance_noise"] if mask is None else moment.knobs["instance_noise"] * (mask > 0)
    noise = torch.zeros_like(samples)
    for row, size, generator in zip(noise.unbind(), std.tolist(), moment.generators, strict=True):
        if size:
            row.normal_(generator=generator)
    return samples + std.to(samples.dtype)[:, None, None] * noise


def unsupported_option(options: Mapping[str, object]) -> str | None:
    """Return the first option of a model whose value is not supported in a stack; None if all are supported."""
    required = {"constraint": "none", "fakes": "fresh", "penalty_interval": 1, "optimizer": "adam"}
    return next((name for name, value in required.items() if options.get(name, value) != value), None)
