"""A game on tiny images, set up and played with the real step; phases can be looked at without playing them."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.core.model import Loss, Model
from equipoise.core.records import StepRecord
from equipoise.training.state import TrainingState, begin
from equipoise.training.step import run_step

BATCH = 8


@dataclasses.dataclass(frozen=True)
class Reals:
    """Random samples of a shape, labelled at random: the number of the batch decides and nothing else."""

    spec: DataSpec
    size: int = BATCH

    def batch(self, index: int) -> Batch:
        source = torch.Generator().manual_seed(index)
        real = torch.rand(self.size, *self.spec.shape, generator=source) * 2 - 1
        labels = torch.randint(self.spec.classes, (self.size,), generator=source) if self.spec.classes else None
        return Batch(real, labels)


@dataclasses.dataclass
class Table:
    """Where a game is played: knobs stand where the GAN says unless they are named."""

    model: Model[Any]
    state: TrainingState
    reals: Reals

    def step(self, measure: bool = False, **knobs: float) -> StepRecord:
        return run_step(self.state, self.reals, self.model.knobs.with_values(knobs), 0.0, measure=measure)

    def loss(self, phase: str, batch: Batch | None = None, **knobs: float) -> Loss:
        """What a phase says, and nothing is moved; random numbers begin at the same place each time."""
        kept = self.state.generator.get_state()
        (result,) = (each for each in self.model.phases if each.name == phase)
        moment = self.state.moment(self.model.knobs.with_values(knobs), 0.0)
        loss = result.loss(self.model.networks, batch or self.reals.batch(0), moment)
        self.state.generator.set_state(kept)
        return loss

    def weights(self, network: str) -> list[Tensor]:
        return [weight.detach().clone() for weight in self.model.networks[network].parameters()]

    def seen(self) -> list[Tensor]:
        """From now on: a list of all that the discriminator is shown, in order."""
        shown: list[Tensor] = []
        discriminator = self.model.networks["discriminator"]
        features = discriminator.features

        def spy(samples: Tensor) -> Tensor:
            shown.append(samples)
            return features(samples)

        discriminator.features = spy
        return shown

    def random_numbers(self) -> torch.Generator:
        """A generator that stands where the next phase's stands."""
        source = torch.Generator()
        source.set_state(self.state.generator.get_state())
        return source

    def copy(self) -> "Table":
        return copy.deepcopy(self)


Deal = Callable[..., Table]


@pytest.fixture(scope="session")
def deal() -> Deal:
    """Set up a game; options of the GAN by name, its own knobs, the shape and classes of samples."""

    def dealt(
        model: str = "dcgan",
        shape: tuple[int, ...] = (1, 16, 16),
        classes: int = 0,
        seed: int = 0,
        batch: int = BATCH,
        knobs: dict[str, float] | None = None,
        **options: Any,
    ) -> Table:
        spec = DataSpec(shape, classes)
        small = {"width": 4, "latent_dim": 6} if len(shape) == 3 else {}
        recipe = catalog.build("models", model, {**small, **({} if knobs is None else {"knobs": knobs}), **options})
        built = recipe.build(spec, torch.Generator().manual_seed(seed))
        state = begin(built, built.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed))
        return Table(built, state, Reals(spec, batch))

    return dealt
