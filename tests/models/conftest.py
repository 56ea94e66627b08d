"""A small model that is trained with the real training step, or whose losses are computed without an update."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.core.model import Loss, Model, StepRecord
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

BATCH = 8


@dataclasses.dataclass(frozen=True)
class Reals:
    """Random samples with random labels, determined by the index of the batch."""

    spec: DataSpec
    size: int = BATCH

    def batch(self, index: int) -> Batch:
        source = torch.Generator().manual_seed(index)
        real = torch.rand(self.size, *self.spec.shape, generator=source) * 2 - 1
        labels = torch.randint(self.spec.classes, (self.size,), generator=source) if self.spec.classes else None
        return Batch(real, labels)


@dataclasses.dataclass
class Trainer:
    """A model and its training state. Knobs have the defaults of the model unless they are arguments."""

    model: Model[Any]
    state: TrainingState
    reals: Reals

    def step(self, measure: bool = False, **knobs: float) -> StepRecord:
        return run_step(self.state, self.reals, self.model.knobs.with_values(knobs), 0.0, measure=measure)

    def loss(self, phase: str, batch: Batch | None = None, **knobs: float) -> Loss:
        """Compute the loss of a phase; weights and the random generator are not changed."""
        random_state = self.state.generator.get_state()
        (selected,) = (each for each in self.model.phases if each.name == phase)
        moment = self.state.moment(self.model.knobs.with_values(knobs), 0.0)
        loss = selected.loss(self.model.networks, batch or self.reals.batch(0), moment)
        self.state.generator.set_state(random_state)
        return loss

    def weights(self, network: str) -> list[Tensor]:
        return [weight.detach().clone() for weight in self.model.networks[network].parameters()]

    def record_inputs(self) -> list[Tensor]:
        """Return a list to which all future inputs of the discriminator are appended."""
        inputs: list[Tensor] = []
        discriminator = self.model.networks["discriminator"]
        features = discriminator.features

        def spy(samples: Tensor) -> Tensor:
            inputs.append(samples)
            return features(samples)

        discriminator.features = spy
        return inputs

    def random_numbers(self) -> torch.Generator:
        """Return a random generator with the state of the one that the next phase uses."""
        source = torch.Generator()
        source.set_state(self.state.generator.get_state())
        return source

    def copy(self) -> "Trainer":
        return copy.deepcopy(self)


PLAIN: dict[str, Any] = {"knobs": {}, "penalty_interval": 1, "conditional": False, "fakes": "fresh"}
CreateTrainer = Callable[..., Trainer]


@pytest.fixture(scope="session")
def create_trainer() -> CreateTrainer:
    """Create a trainer from the name and options of a model, its knobs, and the shape and classes of samples."""

    def create(
        model: str = "dcgan",
        shape: tuple[int, ...] = (1, 16, 16),
        classes: int = 0,
        seed: int = 0,
        batch: int = BATCH,
        knobs: dict[str, float] | None = None,
        **options: Any,
    ) -> Trainer:
        spec = DataSpec(shape, classes)
        small = {"width": 4, "latent_dim": 6} if len(shape) == 3 else {}
        small = {name: value for name, value in small.items() if catalog.has_option("models", model, name)}
        recipe = catalog.build("models", model, {**small, **({} if knobs is None else {"knobs": knobs}), **options})
        built_model = recipe.build(spec, torch.Generator().manual_seed(seed))
        state = initial_state(
            built_model, built_model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed)
        )
        return Trainer(built_model, state, Reals(spec, batch))

    return create


@pytest.fixture(scope="session")
def create_plain(create_trainer: CreateTrainer) -> CreateTrainer:
    """Create a trainer without penalties and labels, with fresh fakes in every phase."""

    def create(**options: Any) -> Trainer:
        return create_trainer(**PLAIN | options)

    return create


@pytest.fixture
def plain(create_plain: CreateTrainer) -> Trainer:
    """A model without penalties."""
    return create_plain()


@pytest.fixture
def penalised(create_plain: CreateTrainer) -> Trainer:
    """A model with a gradient penalty of weight 0."""
    return create_plain(constraint="gradient_penalty", knobs={"gp_weight": 0.0})
