"""Accumulation of gradients: several batches per update train as one large batch."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equipoise.core.data import Batch
from equipoise.core.knobs import Knobs
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.losses.penalties import r1_penalty
from equipoise.training import checkpoint
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

SIZE, PARTS = 3, 4


@dataclasses.dataclass
class PointStream:
    """Points (B, 2) float64 of consecutive numbers, so that a large batch is a concatenation of small ones."""

    size: int
    indices: list[int] = dataclasses.field(default_factory=list)

    def batch(self, index: int) -> Batch:
        self.indices.append(index)
        first = torch.arange(index * self.size, (index + 1) * self.size, dtype=torch.float64)
        return Batch(torch.stack([first.sin(), (2 * first).cos()], dim=1))


def discriminator_loss(networks: Networks, batch: Batch, moment: Moment[Any]) -> Loss:
    """Compute a logistic loss with R1, whose gradient is differentiated, and carry the fakes."""
    fake = networks["generator"](batch.real.flip(1))
    real_logit, fake_logit = networks["discriminator"](batch.real), networks["discriminator"](fake.detach())
    adversarial = nn.functional.softplus(-real_logit).mean() + nn.functional.softplus(fake_logit).mean()
    penalty = r1_penalty(lambda samples: networks["discriminator"](samples).flatten(), batch.real)
    terms = {"adversarial": adversarial.detach(), "r1": penalty.detach()}
    return Loss(
        adversarial + penalty, terms, real_logit.detach().flatten(), fake_logit.detach().flatten(), carry={"fake": fake}
    )


def generator_loss(networks: Networks, batch: Batch, moment: Moment[Any]) -> Loss:
    fake = moment.carried["fake"] if "fake" in moment.carried else networks["generator"](batch.real.flip(1))
    return Loss(nn.functional.softplus(-networks["discriminator"](fake)).mean())


def two(moment: Moment[Any]) -> int:
    return 2


def make_state(accumulate: int, repeats: Callable[[Moment[Any]], int] | None = None) -> TrainingState:
    torch.manual_seed(0)
    networks = {
        "generator": nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2)).double(),
        "discriminator": nn.Sequential(nn.Linear(2, 6), nn.Softplus(), nn.Linear(6, 1)).double(),
    }
    phases = [
        Phase("discriminator", ("discriminator",), discriminator_loss),
        Phase("generator", ("generator",), generator_loss),
    ]
    if repeats is not None:
        phases = [dataclasses.replace(phase, repeats=repeats) for phase in phases]
    model = Model(
        name="toy",
        networks=networks,
        phases=phases,
        knobs=Knobs(),
        turnable=frozenset(Knobs.ranges()),
        optimizer=lambda network, moment: OptimizerSettings("adam", 0.01, 0.5, 0.9),
        latent=lambda count, source, truncation: torch.randn(count, 2, generator=source),
        generate=lambda networks, latent, condition, sampling: networks["generator"](latent),
        logits=lambda networks, batch, moment: networks["discriminator"](batch.real).flatten(),
    )
    generator = torch.Generator().manual_seed(0)
    return initial_state(model, model.knobs, torch.device("cpu"), "fp32", generator, accumulate=accumulate)


@pytest.mark.parametrize("repeats", [None, two])
def test_several_batches_train_as_one_of_their_size(repeats: Callable[[Moment[Any]], int] | None) -> None:
    small, large = make_state(PARTS, repeats), make_state(1, repeats)
    parts, whole = PointStream(SIZE), PointStream(PARTS * SIZE)
    for step in range(5):
        first = run_step(small, parts, Knobs(), step / 5, measure=True)
        second = run_step(large, whole, Knobs(), step / 5, measure=True)
        for name, record in second.phases.items():
            torch.testing.assert_close(dict(first.phases[name].gradient_norms), dict(record.gradient_norms))
            torch.testing.assert_close(dict(first.phases[name].terms), dict(record.terms))
            torch.testing.assert_close(first.phases[name].total, record.total)
        torch.testing.assert_close(first.phases["discriminator"].logit_real, second.phases["discriminator"].logit_real)
        assert first.images == second.images == (step + 1) * PARTS * SIZE
    for (name, one), other in zip(small.tensors().items(), large.tensors().values(), strict=True):
        if name.startswith(("network", "averaged")):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12, msg=name)


def test_gradients_equal_those_of_one_batch() -> None:
    """Adam hides the scale of gradients; here they are compared themselves."""
    gradients: list[list[Tensor]] = []
    for accumulate, size in ((PARTS, SIZE), (1, PARTS * SIZE)):
        state = make_state(accumulate)
        run_step(state, PointStream(size), Knobs(), 0.0)
        weights = [weight for network in state.model.networks.values() for weight in network.parameters()]
        gradients.append([weight.grad for weight in weights if weight.grad is not None])
    assert len(gradients[0]) == 8
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


def test_batches_are_read_once_and_in_order() -> None:
    state, stream = make_state(3, two), PointStream(SIZE)
    for _ in range(2):
        run_step(state, stream, Knobs(), 0.0)
    assert stream.indices == list(range(12))
    assert (state.draws, state.images) == (12, 2 * 3 * SIZE)


def test_memory_is_updated_batch_by_batch() -> None:
    def count(networks: Networks, batch: Batch, moment: Moment[Any]) -> Loss:
        seen.append(int(moment.memory["count"]))
        return Loss(networks["generator"](batch.real).mean(), memory={"count": moment.memory["count"] + 1})

    seen: list[int] = []
    state = make_state(3)
    state.model = dataclasses.replace(state.model, phases=[Phase("generator", ("generator",), count)])
    state.memory = {"count": torch.zeros(())}
    run_step(state, PointStream(SIZE), Knobs(), 0.0)
    assert seen == [0, 1, 2]
    assert state.memory["count"] == 3


def test_interrupted_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    experiment = Experiment(
        data=PlugSpec("ring"),
        model=PlugSpec("mlp", {"width": 8}),
        steps=8,
        batch_size=4,
        accumulate=3,
        metric="none",
        threads=1,  # type: ignore[arg-type]
    )
    *_, whole = launch.start(experiment, tmp_path / "whole")
    steps = iter(range(100))
    *_, stopped = launch.start(experiment, tmp_path / "parts", lambda: next(steps) >= 5)
    assert (stopped.reason, stopped.images) == ("interrupted", stopped.step * 12)
    *_, resumed = launch.resume(tmp_path / "parts")
    assert (resumed.images, whole.images) == (96, 96)
    first, second = (
        checkpoint.read(checkpoint.find(tmp_path / name / "checkpoints")[-1]) for name in ("whole", "parts")
    )
    assert first.tensors.keys() == second.tensors.keys()
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
