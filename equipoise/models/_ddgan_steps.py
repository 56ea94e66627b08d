"""Denoising diffusion GANs (Xiao et al. 2022): pairs of noisy images in training, and steps back in sampling.

    real pair  x_{t-1} ~ q(x_{t-1} | x_0),  x_t ~ q(x_t | x_{t-1})                                  t uniform in 1 to T
    fake pair  x'_{t-1} ~ q(x_{t-1} | x_t, x'_0),  x'_0 = G(x_t, z, t), with the same x_t

The phases of adversarial training see pairs as samples: the pair is drawn before a phase, from its batch.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.data import Batch
from equipoise.core.model import Loss, Networks
from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError
from equipoise.models._adversarial_extensions import AdversarialMoment
from equipoise.models._noisy_samples import NoisySamples
from equipoise.nn import latents
from equipoise.nn.minibatch_deviation import check_deviation_group
from equipoise.nn.noise_chain import continuous_chain

LossFunction = Callable[[Networks, Batch, AdversarialMoment], Loss]
LogitsFunction = Callable[[Networks, Batch, AdversarialMoment], Tensor]


@dataclass(frozen=True, slots=True)
class DenoisingSteps:
    """The chain of a model. `length`: T. `shape`: (C, H, W). `latent_dim`: length of z. `group`: of the deviation."""

    length: int
    shape: tuple[int, ...]
    latent_dim: int
    group: int

    @property
    def latent_size(self) -> int:
        """Numbers of a latent: x_T, then z of each step and the noise of each but the last."""
        return self.length * (self.shape[0] * self.shape[1] * self.shape[2] + self.latent_dim)

    def loss_on_pairs(self, loss: LossFunction) -> LossFunction:
        """Return the loss of a phase with pairs (B, 2 C, H, W) in place of the images of its batch.

        Pairs and times are among the carried tensors of the moment; a phase that has fakes of an earlier one uses its
        pairs.
        """

        def pair_loss(networks: Networks, batch: Batch, moment: AdversarialMoment) -> Loss:
            batch, moment = self._pair_batch(batch, moment)
            result = loss(networks, batch, moment)
            if not result.carry:
                return result
            shared = {name: moment.carried[name] for name in ("pairs", "time")}
            return dataclasses.replace(result, carry={**result.carry, **shared})

        return pair_loss

    def logits_of_pairs(self, logits: LogitsFunction) -> LogitsFunction:
        """Return the logits of real pairs."""
        return lambda networks, batch, moment: logits(networks, *self._pair_batch(batch, moment))

    def draw(self, networks: Networks, count: int, labels: Tensor | None, moment: AdversarialMoment) -> Tensor:
        """Generate fake pairs (B, 2 C, H, W) with the x_t of the real ones: Xiao 2022, equation 5."""
        check_deviation_group(count, self.group)
        noisy, time = moment.carried["pairs"][:, self.shape[0] :], moment.carried["time"]
        latent = latents.normal(count, self.latent_dim, moment.generator)
        clean = networks["generator"](noisy, time, latent, labels)
        noise = torch.randn(noisy.shape, generator=moment.generator, device=noisy.device)
        chain = continuous_chain(self.length, noisy.device)
        return torch.cat([chain.step_back(clean, noisy, noise, time, time - 1), noisy], dim=1)

    def transform(self, samples: Tensor, moment: AdversarialMoment) -> Tensor:
        """Return pairs with their times, packed: (B, 2 C + 1, H, W)."""
        return NoisySamples(samples, moment.carried["time"]).pack()

    def generate(self, networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
        """Generate images (N, C, H, W) from latents (N, `latent_size`), which hold all random numbers.

        Raises SettingError for more evaluations than the chain has steps.
        """
        times = self.times(sampling.steps)
        chain = continuous_chain(self.length, latent.device)
        size = self.shape[0] * self.shape[1] * self.shape[2]
        images, rest = latent[:, :size].view(-1, *self.shape), latent[:, size:]
        for start, end in zip(times, (*times[1:], 0), strict=True):
            z, noise, rest = rest.tensor_split((self.latent_dim, self.latent_dim + size), dim=1)
            before, after = (torch.full((latent.shape[0],), time, device=latent.device) for time in (start, end))
            clean = networks["generator"](images, before, z, condition).float()
            images = clean if end == 0 else chain.step_back(clean, images, noise.view_as(images), before, after)
        return images

    def times(self, steps: int | None) -> tuple[int, ...]:
        """Return the times at which the generator is evaluated, from T down; None: all of them.

        Fewer evaluations are spread evenly over the chain, and their steps back are larger than those of training.
        """
        count = self.length if steps is None else steps
        if count > self.length:
            raise SettingError(
                f"steps = {count}: this ddgan has {self.length} denoising steps; use a number from 1 to {self.length}"
            )
        return tuple(self.length - index * self.length // count for index in range(count))

    def _pair_batch(self, batch: Batch, moment: AdversarialMoment) -> tuple[Batch, AdversarialMoment]:
        """Return the batch with pairs, and the moment with their times; those of carried fakes, if there are any."""
        if "fake" in moment.carried:
            labels = moment.carried.get("labels", batch.condition)
            return dataclasses.replace(batch, real=moment.carried["pairs"], condition=labels), moment
        clean, source = batch.real, moment.generator
        time = torch.randint(1, self.length + 1, (len(clean),), generator=source, device=clean.device)
        first, second = (torch.randn(clean.shape, generator=source, device=clean.device) for _ in range(2))
        chain = continuous_chain(self.length, clean.device)
        before = chain.add_noise(clean, first, None, time - 1)
        pairs = torch.cat([before, chain.add_noise(before, second, time - 1, time)], dim=1)
        carried = {**moment.carried, "pairs": pairs, "time": time}
        return dataclasses.replace(batch, real=pairs), dataclasses.replace(moment, carried=carried)
