"""Diffusion of all inputs of a discriminator, real and fake (Wang et al. 2022, Diffusion-GAN): the knob, the noise."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Generator, Tensor

from equipoise.core.knobs import AdversarialKnobs, Scale, knob
from equipoise.models._adversarial_extensions import AdversarialMoment
from equipoise.models._noisy_samples import NoisySamples
from equipoise.nn.noise_chain import linear_chain

Times = Literal["priority", "uniform"]
MAX_STEPS = 1000
"""Largest length of the chain, as in Wang 2022's code."""
DIFFUSION_STEPS: tuple[float, float, float, str, Scale, str] = (
    *(100.0, 0.0, float(MAX_STEPS), "steps", "linear"),
    "length T of the diffusion of all inputs of the discriminator, rounded",
)
"""Declaration of the knob T."""
CLEAN_SHARE = 0.5
"""Share of the samples without noise: 32 of the 64 times that Wang 2022's code keeps."""


@dataclass(frozen=True, slots=True)
class DiffusionKnobs(AdversarialKnobs):
    """Knobs of Diffusion-GAN."""

    diffusion_steps: float = knob(*DIFFUSION_STEPS)


@dataclass(frozen=True, slots=True)
class Diffusion:
    """Noise of all inputs of a discriminator: x_t of a random t for each sample.

    `std`: standard deviation of the noise that remains after a long chain. `times`: distribution of t. The defaults
    are those of Wang 2022.
    """

    std: float = 0.05
    times: Times = "priority"

    def transform(self, samples: Tensor, moment: AdversarialMoment) -> Tensor:
        """Return samples (B, C, ...) with noise and their times, packed: (B, C + 1, ...).

        x_t = sqrt(a_t) x + sqrt(1 - a_t) σ ε, ε ~ N(0, I), of a chain of T steps: Wang 2022, section 3.1. For T =
        0, the samples are returned and no random numbers are used.
        """
        steps = round(cast(DiffusionKnobs, moment.knobs).diffusion_steps)
        if steps == 0:
            return samples
        source = moment.generator
        time = sample_times(len(samples), steps, self.times, source)
        noise = torch.randn(samples.shape, generator=source, device=samples.device)
        chain = linear_chain(steps, samples.device)
        return NoisySamples(chain.add_noise(samples, noise, None, time, self.std), time).pack()


def sample_times(count: int, steps: int, times: Times, generator: Generator) -> Tensor:
    """Sample times (count,) int64 within 0 to T: half of them 0, the others from 1 to T.

    priority: p(t) = t / (1 + ... + T), so that the times that are new after a rise of T are frequent; uniform: 1 / T.
    Wang 2022, equation 11. The code keeps 64 drawn times for four batches; here each sample has its own.
    """
    is_clean = torch.rand(count, generator=generator, device=generator.device) < CLEAN_SHARE
    uniform = torch.rand(count, generator=generator, device=generator.device)
    # Inverse distribution function: the smallest t with t (t + 1) >= u T (T + 1), or with t >= u T.
    area = uniform * steps * (steps + 1)
    position = ((1 + 4 * area).sqrt() - 1) / 2 if times == "priority" else uniform * steps
    return torch.where(is_clean, 0, position.ceil().clamp(1, steps).long())
