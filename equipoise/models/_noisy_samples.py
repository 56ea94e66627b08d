"""Noisy samples with their times, as one tensor: what a discriminator that knows the amount of noise sees.

The inputs of a discriminator are one tensor (_adversarial_phases.py), which penalties differentiate. So the time of a
sample, (B,) int64, travels as one more channel of it; gradients do not flow into it.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Generator, Tensor, nn

from equipoise.models._adversarial_extensions import Discriminator

WAVES, SLOWEST = 16, 1e-3
"""Number of waves of a time, and the smallest of their frequencies, from 1; times are up to 1,000 steps."""


@dataclass(frozen=True, slots=True)
class NoisySamples:
    """Samples (B, C, ...) and their times (B,) int64."""

    samples: Tensor
    time: Tensor

    def pack(self) -> Tensor:
        """Return (B, C + 1, ...), float32: the last channel is the time."""
        channel = self.time.float()[(...,) + (None,) * (self.samples.ndim - 1)]
        return torch.cat([self.samples.float(), channel.expand(-1, 1, *self.samples.shape[2:])], dim=1)

    @classmethod
    def unpack(cls, packed: Tensor) -> "NoisySamples":
        """Return the parts of (B, C + 1, ...)."""
        channel = packed.detach()[:, -1].flatten(1)[:, 0] if packed.ndim > 2 else packed.detach()[:, -1]
        return cls(packed[:, :-1], channel.round().long())


class NoiseAwareDiscriminator(Discriminator):
    """Discriminator of noisy samples: another one whose last features f are scaled by the time, (1 + A w(t)) f.

    w(t) = (cos(k t) - 1, sin(k t)) for several k, so that w(0) = 0: samples without noise are treated by the other one.
    The logit is linear in f, so that this adds <v_t, f>: t enters as a label does (Miyato and Koyama 2018, equation 3).
    """

    def __init__(self, discriminator: nn.Module, channels: int, width: int, generator: Generator) -> None:
        """`discriminator`: implements Discriminator, of samples with C `channels` and with W = `width` features."""
        super().__init__()
        self.discriminator, self.channels = discriminator, channels
        self.scale = nn.Linear(2 * WAVES, width, bias=False)
        nn.init.normal_(self.scale.weight, 0, 0.02, generator=generator)

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, W, ...) of packed samples (B, C + 1, ...), or of samples (B, C, ...) without noise."""
        if samples.shape[1] == self.channels:
            return cast(Discriminator, self.discriminator).features(samples)
        noisy = NoisySamples.unpack(samples)
        features = cast(Discriminator, self.discriminator).features(noisy.samples)
        frequencies = SLOWEST ** (torch.arange(WAVES, device=samples.device, dtype=torch.float32) / (WAVES - 1))
        phases = noisy.time[:, None] * frequencies
        scale: Tensor = 1 + self.scale(torch.cat([phases.cos() - 1, phases.sin()], dim=1))
        return features * scale[(...,) + (None,) * (features.ndim - 2)]

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute the logits of the other discriminator."""
        return cast(Discriminator, self.discriminator).logits(features, condition)
