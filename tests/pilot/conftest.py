"""A custom training loop."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer


class Loop:
    """A custom loop: two tiny networks and two optimizers."""

    def __init__(self, optimizer: type[Optimizer] = Adam, **options: Any) -> None:
        torch.manual_seed(0)
        self.generator, self.discriminator = nn.Linear(2, 2), nn.Linear(2, 1)
        self.optimizers = {
            "generator": optimizer(self.generator.parameters(), lr=1e-3, **options),
            "discriminator": optimizer(self.discriminator.parameters(), lr=4e-3, **options),
        }
        self.noise = torch.Generator().manual_seed(1)

    def step(self) -> dict[str, Tensor]:
        """One alternating step; returns the values for the pilot."""
        real = torch.randn(16, 2, generator=self.noise) + 2
        fake = self.generator(torch.randn(16, 2, generator=self.noise))
        self.real, self.fake = real, fake.detach()
        logit_real, logit_fake = self.discriminator(real), self.discriminator(fake.detach())
        loss_d = nn.functional.softplus(-logit_real).mean() + nn.functional.softplus(logit_fake).mean()
        self._update("discriminator", loss_d)
        loss_g = nn.functional.softplus(-self.discriminator(fake)).mean()
        self._update("generator", loss_g)
        return {"loss_g": loss_g, "loss_d": loss_d, "logit_real": logit_real, "logit_fake": logit_fake}

    def _update(self, player: str, loss: Tensor) -> None:
        self.optimizers[player].zero_grad()
        loss.backward()
        self.optimizers[player].step()

    def settings(self, player: str) -> tuple[float, tuple[float, float]]:
        (group,) = self.optimizers[player].param_groups
        return group["lr"], group["betas"]


@pytest.fixture(scope="session")
def create_loop() -> type[Loop]:
    """Create a custom loop from the class of its optimizers and their options."""
    return Loop
