"""Probes, evaluations and samples do not change networks, averages or random states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from equipoise.core.data import Batch
from equipoise.core.events import Evaluated, Event, Sampled, Sensed
from equipoise.core.knobs import Knobs
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.core.sampling import Sampling
from equipoise.nn.spectral import spectral_norm
from equipoise.pilot.pilot import Pilot
from equipoise.training import probe
from equipoise.training.loop import Training, train
from equipoise.training.plan import MetricEvaluation, Preview, Streams, TrainingPlan
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

BATCH = 16
STEPS = 12


@dataclass(frozen=True)
class Points:
    """Random points around a centre; each batch depends only on its index."""

    place: float = 1.0

    def batch(self, index: int) -> Batch:
        return Batch(torch.randn(BATCH, 2, generator=torch.Generator().manual_seed(index)) + self.place)


@dataclass(frozen=True)
class Level:
    """Distance between the mean of the samples and 1."""

    better: ClassVar[Literal["lower"]] = "lower"

    def value(self, statistics: Any, fake: Tensor) -> float:
        return abs(fake.mean().item() - 1)


def noisy_logits(networks: Networks, samples: Tensor, moment: Moment[Any]) -> Tensor:
    """Return logits of the discriminator for noisy samples, which needs random numbers."""
    noise = torch.randn(samples.shape, generator=moment.generator) * 0.1
    return networks["discriminator"](samples + noise).flatten()


def fake(networks: Networks, moment: Moment[Any]) -> Tensor:
    return networks["generator"](torch.randn(BATCH, 3, generator=moment.generator))


def discriminator_loss(networks: Networks, batch: Batch, moment: Moment[Any]) -> Loss:
    real_logit, fake_logit = (
        noisy_logits(networks, batch.real, moment),
        noisy_logits(networks, fake(networks, moment).detach(), moment),
    )
    total = nn.functional.softplus(-real_logit).mean() + nn.functional.softplus(fake_logit).mean()
    return Loss(total, {"adversarial": total.detach()}, real_logit.detach(), fake_logit.detach())


def generator_loss(networks: Networks, batch: Batch, moment: Moment[Any]) -> Loss:
    return Loss(nn.functional.softplus(-noisy_logits(networks, fake(networks, moment), moment)).mean())


def model(**fields: Any) -> Model[Knobs]:
    """Batch norm in the generator, batch norm and spectral norm in the discriminator."""
    torch.manual_seed(0)
    source = torch.Generator().manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    first, last = spectral_norm(nn.Linear(2, 8), source), spectral_norm(nn.Linear(8, 1), source)
    return Model(
        name="toy",
        networks={"generator": generator, "discriminator": nn.Sequential(first, nn.BatchNorm1d(8), nn.ReLU(), last)},
        phases=(
            Phase("discriminator", ("discriminator",), discriminator_loss),
            Phase("generator", ("generator",), generator_loss),
        ),
        knobs=Knobs(),
        turnable=frozenset(Knobs.ranges()),
        optimizer=lambda network, moment: OptimizerSettings("adam", 1e-3, 0.5, 0.9),
        latent=lambda count, source, truncation: torch.randn(count, 3, generator=source),
        generate=lambda networks, latent, condition, sampling: networks["generator"](latent),
        logits=lambda networks, batch, moment: noisy_logits(networks, batch.real, moment),
        **fields,
    )


def training(game: Model[Knobs], *, watched: bool) -> Training:
    state = initial_state(game, game.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(5))
    latents = torch.randn(20, 3, generator=torch.Generator().manual_seed(6))
    return Training(
        state,
        Pilot("fixed", steps=STEPS, knobs=game.knobs, sense_every=3 if watched else 1000),
        Streams(Points(), Points(1.2) if watched else None),
        TrainingPlan(STEPS, BATCH, sample_every=2 if watched else None, evaluate_every=4 if watched else None),
        Preview(latents, None),
        MetricEvaluation("level", Level(), None, latents, None) if watched else None,
    )


def run(one: Training) -> list[Event]:
    torch.manual_seed(7)
    np.random.seed(7)
    return list(train(one))


def differences(first: TrainingState, second: TrainingState) -> list[str]:
    values, others = first.tensors(), second.tensors()
    assert values.keys() == others.keys()
    return [name for name in values if not torch.equal(values[name], others[name])]


def test_monitoring_does_not_change_the_training() -> None:
    plain, monitored = training(model(), watched=False), training(model(), watched=True)
    plain_events = run(plain)
    assert not [event for event in plain_events if isinstance(event, Evaluated | Sampled)]
    events = run(monitored)
    held_out = [e.signals.rank_train_held_out for e in events if isinstance(e, Sensed)]
    assert sum(rank is not None for rank in held_out) == STEPS // 3, "it was monitored"
    assert len([event for event in events if isinstance(event, Evaluated)]) == STEPS // 4
    assert len([event for event in events if isinstance(event, Sampled)]) == STEPS // 2 + 1
    names = monitored.state.tensors()
    assert any("running_mean" in name for name in names)
    assert any("parametrizations.weight.0.u" in name for name in names)
    assert differences(plain.state, monitored.state) == []


def test_comparison_of_states_detects_differences() -> None:
    """States differ after one more random number or one more forward pass."""
    plain, other = training(model(), watched=False), training(model(), watched=False)
    run(plain)
    run(other)
    assert differences(plain.state, other.state) == []
    torch.rand(1, generator=other.state.generator)
    assert differences(plain.state, other.state) == ["random/moment"]
    noisy_logits(other.state.model.networks, Points().batch(0).real, other.state.moment(Knobs(), 0.0))
    changed = set(differences(plain.state, other.state))
    assert {"network/discriminator/1.running_mean", "network/discriminator/0.parametrizations.weight.0.u"} <= changed


def trained_state() -> TrainingState:
    """Return a state after three steps, whose buffers have changed."""
    game = model()
    state = initial_state(game, game.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(5))
    for _ in range(3):
        run_step(state, Points(), game.knobs, 0.0)
    return state


def copy_tensors(state: TrainingState) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.tensors().items()}


def assert_same(before: dict[str, Tensor], state: TrainingState) -> None:
    after = state.tensors()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_probe_changes_no_tensor() -> None:
    state = trained_state()
    before = copy_tensors(state)
    places = [buffer.data_ptr() for buffer in state.model.networks["discriminator"].buffers()]
    result = probe.probe_logits(state, probe.draw_batches(Points(), 0, BATCH), 0, Knobs(), 0.5)
    assert result.shape == (probe.PROBE_SAMPLES,)
    assert not result.requires_grad
    assert_same(before, state)
    assert places == [buffer.data_ptr() for buffer in state.model.networks["discriminator"].buffers()]
    assert state.model.networks["discriminator"].training


def test_probe_uses_discriminator_in_training_mode() -> None:
    """Batch statistics, spectral iterations and noise are those of training: equal to a computation by hand."""
    state, twin = trained_state(), trained_state()
    result = probe.probe_logits(state, probe.draw_batches(Points(), 2, BATCH), 2, Knobs(), 0.5)
    count = probe.PROBE_SAMPLES // BATCH
    moment = Moment(3, 3 * BATCH, 0.5, Knobs(), torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = [noisy_logits(twin.model.networks, Points().batch(2 * count + i).real, moment) for i in range(count)]
    assert torch.equal(result, torch.cat(expected))
    assert torch.equal(result, probe.probe_logits(state, probe.draw_batches(Points(), 2, BATCH), 2, Knobs(), 0.5)), (
        "deterministic"
    )
    assert not torch.equal(
        result, probe.probe_logits(state, probe.draw_batches(Points(), 3, BATCH), 3, Knobs(), 0.5)
    ), "each probe has other batches"


def test_buffers_are_unchanged_after_an_error() -> None:
    state = trained_state()
    before = copy_tensors(state)

    class ReadError(Exception):
        pass

    class Broken:
        def batch(self, index: int) -> Batch:
            if index:
                raise ReadError
            return Points().batch(0)

    with pytest.raises(ReadError):
        probe.probe_logits(state, probe.draw_batches(Broken(), 0, BATCH), 0, Knobs(), 0.5)
    assert_same(before, state)


def test_restored_buffers_restores_every_kind_of_buffer() -> None:
    network = nn.BatchNorm1d(2)
    network.register_buffer("flag", torch.tensor(True))
    network.register_buffer("hidden", torch.ones(3), persistent=False)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with probe.restored_buffers([network]):
        network(torch.randn(4, 2) + 3)
        network.flag.fill_(False)
        network.hidden.zero_()
        assert network.num_batches_tracked.item() == 1
    assert len(before) == 5
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


@pytest.mark.parametrize("batch_size", [1, 7, 20, 250])
def test_samples_come_from_the_average_for_any_batch_size(batch_size: int) -> None:
    state = trained_state()
    before = copy_tensors(state)
    latents = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    samples = probe.generate_samples(state, latents, None, batch_size)
    with torch.no_grad():
        expected = state.averages["generator"](latents)
        network = state.model.networks["generator"]
        assert not torch.allclose(network.eval()(latents), expected), "the network itself differs from its average"
        network.train()
    torch.testing.assert_close(samples, expected)
    assert samples.dtype == torch.float32
    assert not samples.requires_grad
    assert_same(before, state)


def test_labels_are_batched_with_latents() -> None:
    game = model()
    batches: list[Sequence[int]] = []

    def generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
        assert condition is not None
        batches.append(condition.tolist())
        return latent + condition[:, None]

    state = initial_state(
        Model(**{**{name: getattr(game, name) for name in game.__slots__}, "generate": generate}),
        game.knobs,
        torch.device("cpu"),
        "fp32",
        torch.Generator(),
    )
    labels = torch.arange(5)
    samples = probe.generate_samples(state, torch.zeros(5, 3), labels, 2)
    assert batches == [[0, 1], [2, 3], [4]]
    assert torch.equal(samples, labels[:, None].expand(5, 3).float())


def test_to_array_preserves_bytes() -> None:
    samples = torch.randn(4, 3, 2, 2)
    array = probe.to_array(samples)
    assert array.dtype == np.float32
    assert array.tobytes() == samples.numpy().tobytes()
