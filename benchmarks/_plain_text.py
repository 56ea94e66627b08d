"""The loops of a tutorial for games of sentences, on the networks of a built GAN: what ours are timed against.

The networks' own forward passes, losses of torch.nn.functional, Adam as torch has it by default, `loss.backward()`,
clipping where ours clips, `.item()` of the loss of each update.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.core.model import Model
from equipoise.models._writing import Judge
from equipoise.models.textgan import MatchingJudge
from equipoise.nn.recurrent import Recurrent
from equipoise.nn.soft import SoftWriter

LENGTH, ROLLOUTS = 7, 4
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
LONGEST = 5.0


class Adams:
    """An optimizer for each network; gradients of the writer are clipped."""

    def __init__(self, writer: nn.Module, judge: nn.Module) -> None:
        self.writer = writer
        self.optimizers = {network: torch.optim.Adam(network.parameters(), lr=1e-4) for network in (writer, judge)}

    def move(self, loss: Tensor, *networks: nn.Module) -> None:
        """One update of these networks."""
        for network in networks:
            self.optimizers[network].zero_grad()
        loss.backward()
        for network in networks:
            if network is self.writer:
                nn.utils.clip_grad_norm_(network.parameters(), LONGEST)
            self.optimizers[network].step()
        loss.item()


class PlainSeqGAN:
    """Sentences by `torch.multinomial` word by word, roll-outs by the nested loop over prefixes and continuations."""

    def __init__(self, model: Model[Any]) -> None:
        writer, judge = model.networks["generator"], model.networks["discriminator"]
        assert isinstance(writer, Recurrent)
        assert isinstance(judge, Judge)
        self.writer, self.judge, self.adams = writer, judge, Adams(writer, judge)
        self.source = torch.Generator().manual_seed(0)
        self.parts: Mapping[str, Callable[[Tensor], None]] = {
            "likelihood": self.likelihood,
            "discriminator": self.discriminator,
            "game": self.game,
        }

    def written(self, words: list[Tensor], count: int) -> Tensor:
        """Sentences that begin with these words."""
        state, words = self.writer.start(count), list(words)
        for word in words:
            state = self.writer.step(word, state)
        while len(words) < LENGTH:
            shares = self.writer.exit(state.hidden).softmax(dim=1)
            word = torch.multinomial(shares, 1, generator=self.source).squeeze(1)
            words.append(torch.where(words[-1] == 0, 0, word) if words else word)
            if len(words) < LENGTH:
                state = self.writer.step(words[-1], state)
        return torch.stack(words, dim=1)

    def likelihood(self, real: Tensor) -> None:
        """By likelihood."""
        logits = self.writer(real, 0.2, self.source)
        self.adams.move(F.cross_entropy(logits.flatten(0, 1), real.flatten()), self.writer)

    def discriminator(self, real: Tensor) -> None:
        """The discriminator's part."""
        with torch.no_grad():
            fake = self.written([], len(real))
        logits = self.judge(torch.cat([real, fake]), self.source)
        self.adams.move(told_apart(logits), self.judge)

    def game(self, real: Tensor) -> None:
        """One round."""
        self.discriminator(real)
        count = len(real)
        with torch.no_grad():
            tokens = self.written([], count)
            value = torch.zeros(count, LENGTH)
            for _ in range(ROLLOUTS):
                for known in range(1, LENGTH):
                    made = self.written(list(tokens[:, :known].unbind(dim=1)), count)
                    value[:, known - 1] += self.judge(made).sigmoid() / ROLLOUTS
            value[:, -1] = self.judge(tokens).sigmoid()
        logits = self.writer(tokens)
        chosen = logits.log_softmax(dim=2).gather(2, tokens.unsqueeze(2)).squeeze(2)
        loss = -((value - value.mean(dim=0)) * chosen).sum(dim=1).mean()
        self.adams.move(loss, self.writer)


class PlainTextGAN:
    """Fakes of each player's own, as in the authors' loop. `squared`: squared distances of all pairs of rows."""

    def __init__(self, model: Model[Any], squared: Callable[[Tensor], Tensor]) -> None:
        writer, judge = model.networks["generator"], model.networks["discriminator"]
        assert isinstance(writer, SoftWriter)
        assert isinstance(judge, MatchingJudge)
        self.writer, self.judge, self.adams, self.squared = writer, judge, Adams(writer, judge), squared
        self.parts: Mapping[str, Callable[[Tensor], None]] = {
            "autoencoding": self.autoencoding,
            "swapping": self.swapping,
            "game": self.game,
        }

    def logits(self, hidden: Tensor) -> Tensor:
        """Of every word."""
        return self.writer.exit(hidden) @ self.writer.embedding.weight[:-1].T

    def start(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The word for the start, and the two states of the cell."""
        hidden = self.writer.entry(latent).tanh()
        return self.writer.embedding.weight[-1:].expand(len(latent), -1), hidden, torch.zeros_like(hidden)

    def autoencoding(self, real: Tensor) -> None:
        """Sentences from their features."""
        latent = self.judge.features(real)
        word, hidden, cell = self.start(latent)
        logits = []
        for place in range(LENGTH):
            hidden, cell = self.writer.cell(torch.cat([word, latent], dim=1), (hidden, cell))
            logits.append(self.logits(hidden))
            word = self.writer.embedding(real[:, place])
        loss = F.cross_entropy(torch.stack(logits, dim=1).flatten(0, 1), real.flatten())
        self.adams.move(loss, self.writer, self.judge)

    def swapping(self, real: Tensor) -> None:
        """Sentences against copies with two words swapped."""
        fake = real.clone()
        for row in fake:
            first, second = random.sample(range(LENGTH - 1), 2)
            row[[first, second]] = row[[second, first]]
        logits = self.judge.judge(self.judge.features(torch.cat([real, fake])))
        self.adams.move(told_apart(logits), self.judge)

    def fakes(self, count: int) -> tuple[Tensor, Tensor]:
        """Latents, and sentences as mixtures of words."""
        latent = 2 * torch.rand(count, self.writer.entry.in_features) - 1
        word, hidden, cell = self.start(latent)
        mixtures = []
        for _ in range(LENGTH):
            hidden, cell = self.writer.cell(torch.cat([word, latent], dim=1), (hidden, cell))
            mixtures.append((100 * self.logits(hidden)).softmax(dim=1))
            word = mixtures[-1] @ self.writer.embedding.weight[:-1]
        return latent, torch.stack(mixtures, dim=1)

    def game(self, real: Tensor) -> None:
        """An update of each player."""
        with torch.no_grad():
            latent, fake = self.fakes(len(real))
        real_seen, fake_seen = self.judge.features(real), self.judge.features(fake)
        logits = self.judge.judge(torch.cat([real_seen, fake_seen]))
        lost = (self.judge.find(fake_seen) - latent).square().sum(dim=1).mean()
        apart = self.discrepancy(real_seen, fake_seen)
        self.adams.move(told_apart(logits) + 1e-3 * lost - 1e-3 * apart, self.judge)
        _, fake = self.fakes(len(real))
        with torch.no_grad():
            real_seen = self.judge.features(real)
        self.adams.move(self.discrepancy(real_seen, self.judge.features(fake)), self.writer)

    def discrepancy(self, first: Tensor, second: Tensor) -> Tensor:
        """MMD², the mean over five kernels around the median distance."""
        squares, count, total = self.squared(torch.cat([first, second])), len(first), torch.zeros(())
        with torch.no_grad():
            middle = squares[torch.ones_like(squares).triu(diagonal=1).bool()].median().sqrt()
        for factor in FACTORS:
            kernel = torch.exp(-squares / (2 * (factor * middle) ** 2))
            within = kernel[:count, :count].mean() + kernel[count:, count:].mean()
            total = total + within - 2 * kernel[:count, count:].mean()
        return total / len(FACTORS)


def told_apart(logits: Tensor) -> Tensor:
    """Logits of as many reals as fakes, one after the other."""
    labels = torch.cat([torch.ones(len(logits) // 2), torch.zeros(len(logits) // 2)])
    return F.binary_cross_entropy_with_logits(logits, labels)


def by_differences(rows: Tensor) -> Tensor:
    """The way the formula is written: all differences at once, (N, N, F)."""
    return (rows[:, None] - rows[None, :]).square().sum(dim=2)


def by_cdist(rows: Tensor) -> Tensor:
    """By torch's own."""
    return torch.cdist(rows, rows).square()
