"""Rewards of sampled sentences for policy gradients, and baselines that reduce their variance."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Generator, Tensor

from equipoise.core.model import Networks
from equipoise.core.world import batch_world
from equipoise.models._sentences import SentenceDiscriminator
from equipoise.nn.recurrent import Recurrent, roll_out

RewardKind = Literal["discriminator", "constant", "shuffled"]
BaselineKind = Literal["none", "batch", "prefix"]


@dataclass(frozen=True)
class Rewards:
    """Rewards of sentences, and their baseline. Fields: the options `reward`, `rollouts` and `baseline` of SeqGAN."""

    kind: RewardKind
    rollouts: int
    baseline: BaselineKind

    @torch.no_grad()
    def action_values(self, networks: Networks, tokens: Tensor, generator: Generator) -> Tensor:
        """Compute Q (B, T) of sentences (B, T): the expected reward after each token."""
        if self.kind == "constant":
            return torch.ones(tokens.shape, device=tokens.device)
        policy, discriminator = policy_of(networks), discriminator_of(networks)
        q = discriminator.probability(tokens)[:, None].repeat(1, tokens.shape[1])
        continued = roll_out(policy, tokens, self.rollouts, generator)  # (T - 1, rollouts, B, T)
        is_open = policy.open_after(tokens[:, :-1])
        rows = continued.permute(2, 0, 1, 3)[is_open]  # (prefixes that have not ended, rollouts, T)
        q[:, :-1][is_open] = discriminator.probability(rows.flatten(0, 1)).view(rows.shape[:2]).mean(dim=1)
        if self.kind == "shuffled":
            q = q[torch.randperm(len(q), generator=generator, device=generator.device)]
        return q

    def baselines(self, q: Tensor) -> Tensor:
        """Compute b (B, T) from Q (B, T); the baseline of a token does not depend on that token."""
        world = batch_world()
        count = len(q) * world.size
        if self.baseline == "none" or count < 2:
            return torch.zeros_like(q)
        mean_of_others = (world.add(q.sum(dim=0)) - q) / (count - 1)
        if self.baseline == "batch":
            return mean_of_others
        return torch.cat([mean_of_others[:, :1], q[:, :-1]], dim=1)


def policy_of(networks: Networks) -> Recurrent:
    """Return the generator, a policy over words."""
    return cast(Recurrent, networks["generator"])


def discriminator_of(networks: Networks) -> SentenceDiscriminator:
    """Return the discriminator of sentences."""
    return cast(SentenceDiscriminator, networks["discriminator"])
