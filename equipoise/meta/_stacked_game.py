"""The game of the zoo's perceptrons, many at once: losses, penalties and draws, run by run.

The formulas are those of losses/, mapped over the runs; only the input gradient is written out, for that a graph of a
graph would cost as much again. Each run draws from a generator of its own, what the lone run draws and in that order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from equipoise.core.knobs import Knobs
from equipoise.core.model import Memory
from equipoise.losses.adversarial import AdversarialLoss
from equipoise.losses.penalties import feature_matching, lecam
from equipoise.meta._perceptrons import Layer, Perceptrons

LABELS = ("real_label", "fake_label")


@dataclass(frozen=True, slots=True)
class Dials:
    """Where the knobs of R runs stand: (R,) float64 by name; `on` names those that are not 0 in every run."""

    values: Mapping[str, Tensor]
    on: frozenset[str]

    @classmethod
    def of(cls, knobs: Sequence[Knobs], device: torch.device) -> "Dials":
        """Of these runs, in their order."""
        table = torch.tensor([list(one.values().values()) for one in knobs], dtype=torch.float64, device=device)
        values = dict(zip(knobs[0].ranges(), table.unbind(1), strict=True))
        return cls(values, frozenset(name for name, value in values.items() if bool(value.any())))

    def at(self, rows: Tensor) -> "Dials":
        """Of some of the runs."""
        return Dials({name: value[rows] for name, value in self.values.items()}, self.on)

    def __getitem__(self, name: str) -> Tensor:
        return self.values[name]


@dataclass(frozen=True, slots=True)
class StackedLoss:
    """What a phase gives back, run by run: `total`, `adversarial` (R,), logits (R, B), new values of buffers (R,)."""

    total: Tensor
    adversarial: Tensor
    logit_real: Tensor | None
    logit_fake: Tensor
    memory: Memory


@dataclass(frozen=True, slots=True)
class Moments:
    """What a phase may use: knobs, a random generator each run, and buffers (R,)."""

    dials: Dials
    generators: Sequence[Generator]
    memory: Memory


@dataclass(frozen=True, slots=True)
class StackedGame:
    """The losses of both players."""

    loss: AdversarialLoss
    generator: Perceptrons
    discriminator: Perceptrons

    def discriminate(self, generator: Tensor, discriminator: Tensor, real: Tensor, now: Moments) -> StackedLoss:
        """The discriminator's loss: adversarial term plus every penalty that is on; weights (R, P), real (R, B, D)."""
        dials, size = now.dials, real.shape[1]
        with torch.no_grad():
            fake = self._fakes(self.generator.layers(generator), size, now)
        layers = self.discriminator.layers(discriminator)
        real, fake = noisy(real, now), noisy(fake, now)
        seen = {"r1_gamma": self.discriminator.judge(layers, real), "r2_gamma": self.discriminator.judge(layers, fake)}
        real_logit, fake_logit = (side.logit for side in seen.values())
        labels = [self._label(name, real_logit, now) for name in LABELS]
        total = adversarial = torch.vmap(self.loss.discriminator)(real_logit, fake_logit, *labels)
        memory: Memory = {}
        if "lecam_weight" in dials.on:
            result = torch.vmap(lecam)(real_logit, fake_logit, dict(now.memory))
            total, is_on = total + weighted(dials["lecam_weight"], result.penalty), dials["lecam_weight"] > 0
            memory = {name: torch.where(is_on, value, now.memory[name]) for name, value in result.memory.items()}
        for gamma, side in seen.items():
            if gamma in dials.on:
                squares = self.discriminator.input_gradient(layers, side).square().sum(2)
                total = total + weighted(dials[gamma], squares.mean(1) / 2)
        return StackedLoss(total, adversarial.detach(), real_logit.detach(), fake_logit.detach(), memory)

    def fool(self, generator: Tensor, discriminator: Tensor, real: Tensor, now: Moments) -> StackedLoss:
        """The generator's loss: adversarial term plus feature matching where that is on."""
        size, matching = real.shape[1], "feature_matching_weight" in now.dials.on
        fake = noisy(self._fakes(self.generator.layers(generator), size, now), now)
        layers = self.discriminator.layers(discriminator)
        seen = self.discriminator.judge(layers, fake)
        real_logit = seen.logit
        if self.loss.needs_real or matching:
            shown = noisy(real, now, None if self.loss.needs_real else now.dials["feature_matching_weight"])
            with torch.no_grad():
                seen_real = self.discriminator.judge(layers, shown)
            real_logit = seen_real.logit
        total = adversarial = torch.vmap(self.loss.generator)(seen.logit, real_logit)
        if matching:
            penalty = torch.vmap(feature_matching)(seen_real.hidden[-1], seen.hidden[-1])
            total = total + weighted(now.dials["feature_matching_weight"], penalty)
        return StackedLoss(total, adversarial.detach(), None, seen.logit.detach(), {})

    def _fakes(self, layers: Sequence[Layer], size: int, now: Moments) -> Tensor:
        latents = torch.empty(len(now.generators), size, self.generator.sizes[0], device=layers[0][0].device)
        for row, source in zip(latents.unbind(), now.generators, strict=True):
            row.normal_(generator=source)
        return self.generator.make(layers, latents)

    def _label(self, name: str, logit: Tensor, now: Moments) -> Tensor:
        """(R, B): uniform between the two ends of each run; nothing is drawn where they are equal."""
        low, high = (now.dials[f"{name}_{end}"] for end in ("low", "high"))
        labels = low.to(logit.dtype)[:, None].expand_as(logit)
        if not self.loss.has_labels or torch.equal(low, high):
            return labels
        labels = labels.clone()
        for row, a, b, source in zip(labels.unbind(), low.tolist(), high.tolist(), now.generators, strict=True):
            if a != b:
                row.add_((b - a) * torch.rand(len(row), generator=source, device=row.device))
        return labels


def weighted(weight: Tensor, penalty: Tensor) -> Tensor:
    """weight penalty, (R,); 0 where the weight is 0, whatever the penalty came to."""
    return torch.where(weight > 0, weight.to(penalty.dtype) * penalty, 0.0)


def noisy(samples: Tensor, now: Moments, only: Tensor | None = None) -> Tensor:
    """x + std N(0, 1) with each run's own std: (R, B, D); nothing is drawn where it is 0, or where `only` (R,) is."""
    if "instance_noise" not in now.dials.on:
        return samples
    std = now.dials["instance_noise"] if only is None else now.dials["instance_noise"] * (only > 0)
    noise = torch.zeros_like(samples)
    for row, size, source in zip(noise.unbind(), std.tolist(), now.generators, strict=True):
        if size:
            row.normal_(generator=source)
    return samples + std.to(samples.dtype)[:, None, None] * noise


def unsupported(options: Mapping[str, Any]) -> str | None:
    """The first option of a GAN that cannot be stacked, None if all can."""
    wanted = {"constraint": "none", "fakes": "fresh", "penalty_interval": 1, "optimizer": "adam"}
    return next((name for name, value in wanted.items() if options.get(name, value) != value), None)
