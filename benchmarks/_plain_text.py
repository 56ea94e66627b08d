"""Training loops of a tutorial for text models, on the networks of a model of this package: the baseline for speed.

They use the networks' own forward passes, losses of torch.nn.functional, Adam with default settings,
`loss.backward()`, gradient clipping where ours clips, and `.item()` of the loss of each update.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.core.model import Model
from equipoise.models._sentences import FeatureMatchingDiscriminator, SentenceDiscriminator
from equipoise.nn.recurrent import Recurrent
from equipoise.nn.soft import SoftGenerator

LENGTH, ROLLOUTS = 7, 4
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
MAX_GRADIENT_NORM = 5.0


class Adams:
    """One optimizer per network; gradients of the generator are clipped."""

    def __init__(self, generator_network: nn.Module, discriminator_network: nn.Module) -> None:
        self.generator_network = generator_network
        self.optimizers = {
            network: torch.optim.Adam(network.parameters(), lr=1e-4)
            for network in (generator_network, discriminator_network)
        }

    def update(self, loss: Tensor, *networks: nn.Module) -> None:
        """Update these networks once."""
        for network in networks:
            self.optimizers[network].zero_grad()
        loss.backward()
        for network in networks:
            if network is self.generator_network:
                nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
            self.optimizers[network].step()
        loss.item()


class PlainSeqGAN:
    """Samples by `torch.multinomial` word by word, roll-outs by nested loops over prefixes and continuations."""

    def __init__(self, model: Model[Any]) -> None:
        generator_network, discriminator_network = model.networks["generator"], model.networks["discriminator"]
        assert isinstance(generator_network, Recurrent)
        assert isinstance(discriminator_network, SentenceDiscriminator)
        self.generator_network, self.discriminator_network, self.adams = (
            generator_network,
            discriminator_network,
            Adams(generator_network, discriminator_network),
        )
        self.source = torch.Generator().manual_seed(0)
        self.parts: Mapping[str, Callable[[Tensor], None]] = {
            "likelihood": self.likelihood,
            "discriminator": self.discriminator,
            "game": self.adversarial,
        }

    def write(self, words: list[Tensor], count: int) -> Tensor:
        """Return sentences that begin with these words."""
        state, words = self.generator_network.start(count), list(words)
        for word in words:
            state = self.generator_network.step(word, state)
        while len(words) < LENGTH:
            probabilities = self.generator_network.exit(state.hidden).softmax(dim=1)
            word = torch.multinomial(probabilities, 1, generator=self.source).squeeze(1)
            words.append(torch.where(words[-1] == 0, 0, word) if words else word)
            if len(words) < LENGTH:
                state = self.generator_network.step(words[-1], state)
        return torch.stack(words, dim=1)

    def likelihood(self, real: Tensor) -> None:
        """Update the generator by maximum likelihood."""
        logits = self.generator_network(real, 0.2, self.source)
        self.adams.update(F.cross_entropy(logits.flatten(0, 1), real.flatten()), self.generator_network)

    def discriminator(self, real: Tensor) -> None:
        """Update the discriminator."""
        with torch.no_grad():
            fake = self.write([], len(real))
        logits = self.discriminator_network(torch.cat([real, fake]), self.source)
        self.adams.update(classification_loss(logits), self.discriminator_network)

    def adversarial(self, real: Tensor) -> None:
        """Update both networks once."""
        self.discriminator(real)
        count = len(real)
        with torch.no_grad():
            tokens = self.write([], count)
            value = torch.zeros(count, LENGTH)
            for _ in range(ROLLOUTS):
                for prefix in range(1, LENGTH):
                    continuations = self.write(list(tokens[:, :prefix].unbind(dim=1)), count)
                    value[:, prefix - 1] += self.discriminator_network(continuations).sigmoid() / ROLLOUTS
            value[:, -1] = self.discriminator_network(tokens).sigmoid()
        logits = self.generator_network(tokens)
        log_probability = logits.log_softmax(dim=2).gather(2, tokens.unsqueeze(2)).squeeze(2)
        loss = -((value - value.mean(dim=0)) * log_probability).sum(dim=1).mean()
        self.adams.update(loss, self.generator_network)


class PlainTextGAN:
    """New fakes for each network, as in the authors' loop. `squared`: squared distances of all pairs of rows."""

    def __init__(self, model: Model[Any], squared: Callable[[Tensor], Tensor]) -> None:
        generator_network, discriminator_network = model.networks["generator"], model.networks["discriminator"]
        assert isinstance(generator_network, SoftGenerator)
        assert isinstance(discriminator_network, FeatureMatchingDiscriminator)
        self.generator_network, self.discriminator_network, self.adams, self.squared = (
            generator_network,
            discriminator_network,
            Adams(generator_network, discriminator_network),
            squared,
        )
        self.parts: Mapping[str, Callable[[Tensor], None]] = {
            "autoencoding": self.autoencoding,
            "swapping": self.swapping,
            "game": self.adversarial,
        }

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of all words."""
        return self.generator_network.exit(hidden) @ self.generator_network.embedding.weight[:-1].T

    def start(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embedding of the start token and both states of the cell."""
        hidden = self.generator_network.entry(latent).tanh()
        return self.generator_network.embedding.weight[-1:].expand(len(latent), -1), hidden, torch.zeros_like(hidden)

    def autoencoding(self, real: Tensor) -> None:
        """Train to reconstruct sentences from their features."""
        latent = self.discriminator_network.features(real)
        word, hidden, cell = self.start(latent)
        logits = []
        for place in range(LENGTH):
            hidden, cell = self.generator_network.cell(torch.cat([word, latent], dim=1), (hidden, cell))
            logits.append(self.logits(hidden))
            word = self.generator_network.embedding(real[:, place])
        loss = F.cross_entropy(torch.stack(logits, dim=1).flatten(0, 1), real.flatten())
        self.adams.update(loss, self.generator_network, self.discriminator_network)

    def swapping(self, real: Tensor) -> None:
        """Train to classify sentences against copies with two words swapped."""
        fake = real.clone()
        for row in fake:
            first, second = random.sample(range(LENGTH - 1), 2)
            row[[first, second]] = row[[second, first]]
        logits = self.discriminator_network.logits(self.discriminator_network.features(torch.cat([real, fake])))
        self.adams.update(classification_loss(logits), self.discriminator_network)

    def fakes(self, count: int) -> tuple[Tensor, Tensor]:
        """Return latents, and sentences as mixtures of words."""
        latent = 2 * torch.rand(count, self.generator_network.entry.in_features) - 1
        word, hidden, cell = self.start(latent)
        mixtures = []
        for _ in range(LENGTH):
            hidden, cell = self.generator_network.cell(torch.cat([word, latent], dim=1), (hidden, cell))
            mixtures.append((100 * self.logits(hidden)).softmax(dim=1))
            word = mixtures[-1] @ self.generator_network.embedding.weight[:-1]
        return latent, torch.stack(mixtures, dim=1)

    def adversarial(self, real: Tensor) -> None:
        """Update both networks once."""
        with torch.no_grad():
            latent, fake = self.fakes(len(real))
        real_features, fake_features = (
            self.discriminator_network.features(real),
            self.discriminator_network.features(fake),
        )
        logits = self.discriminator_network.logits(torch.cat([real_features, fake_features]))
        reconstruction = (self.discriminator_network.reconstruct(fake_features) - latent).square().sum(dim=1).mean()
        discrepancy_value = self.discrepancy(real_features, fake_features)
        self.adams.update(
            classification_loss(logits) + 1e-3 * reconstruction - 1e-3 * discrepancy_value, self.discriminator_network
        )
        _, fake = self.fakes(len(real))
        with torch.no_grad():
            real_features = self.discriminator_network.features(real)
        self.adams.update(
            self.discrepancy(real_features, self.discriminator_network.features(fake)), self.generator_network
        )

    def discrepancy(self, first: Tensor, second: Tensor) -> Tensor:
        """Compute MMD², the mean over five kernels around the median distance."""
        squares, count, total = self.squared(torch.cat([first, second])), len(first), torch.zeros(())
        with torch.no_grad():
            middle = squares[torch.ones_like(squares).triu(diagonal=1).bool()].median().sqrt()
        for factor in FACTORS:
            kernel = torch.exp(-squares / (2 * (factor * middle) ** 2))
            within_sets = kernel[:count, :count].mean() + kernel[count:, count:].mean()
            total = total + within_sets - 2 * kernel[:count, count:].mean()
        return total / len(FACTORS)


def classification_loss(logits: Tensor) -> Tensor:
    """Compute the loss of the logits of equal numbers of reals and fakes, in this order."""
    labels = torch.cat([torch.ones(len(logits) // 2), torch.zeros(len(logits) // 2)])
    return F.binary_cross_entropy_with_logits(logits, labels)


def by_differences(rows: Tensor) -> Tensor:
    """Compute all differences at once, (N, N, F), as the formula is written."""
    return (rows[:, None] - rows[None, :]).square().sum(dim=2)


def by_cdist(rows: Tensor) -> Tensor:
    """Compute them with torch.cdist."""
    return torch.cdist(rows, rows).square()
