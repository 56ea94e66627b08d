"""One training step: phases, repeats, batches, carried tensors, gradients and records."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equipoise.core.data import Batch
from equipoise.core.knobs import Knobs
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

SIZE = 4
OFF = Knobs().with_values({"ema_half_life": 0})


class RecordingStream:
    """Batches filled with their index; the requested indices are recorded."""

    def __init__(self) -> None:
        self.indices: list[int] = []

    def batch(self, index: int) -> Batch:
        self.indices.append(index)
        return Batch(torch.full((SIZE, 2), float(index)))


@dataclasses.dataclass
class RecordingLoss:
    """A loss that records its arguments."""

    total: Callable[[Networks, Batch, Moment[Any]], Tensor]
    carry: str | None = None
    reals: list[float] = dataclasses.field(default_factory=list)
    moments: list[Moment[Any]] = dataclasses.field(default_factory=list)

    def __call__(self, networks: Networks, batch: Batch, moment: Moment[Any]) -> Loss:
        self.reals.append(batch.real[0, 0].item())
        self.moments.append(moment)
        total = self.total(networks, batch, moment)
        return Loss(total, carry={self.carry: networks["generator"](batch.real)} if self.carry else {})


def of(name: str) -> Callable[[Networks, Batch, Moment[Any]], Tensor]:
    """Return a loss that depends on one network."""
    return lambda networks, batch, moment: networks[name](batch.real + 1).square().mean()


def fool(networks: Networks, batch: Batch, moment: Moment[Any]) -> Tensor:
    """Return a loss that depends on both networks."""
    return networks["discriminator"](networks["generator"](batch.real + 1)).square().mean()


def adam(network: str, moment: Moment[Any]) -> OptimizerSettings:
    return OptimizerSettings("adam", moment.knobs.lr_g if network == "generator" else moment.knobs.lr_d, 0.5, 0.9)


def sgd(network: str, moment: Moment[Any]) -> OptimizerSettings:
    return OptimizerSettings("sgd", 0.01)


def game(
    phases: Sequence[Phase], optimizer: Callable[[str, Moment[Any]], OptimizerSettings] = adam, **fields: Any
) -> Model[Knobs]:
    torch.manual_seed(0)
    return Model(
        name="toy",
        networks={"generator": nn.Linear(2, 2), "discriminator": nn.Linear(2, 1)},
        phases=phases,
        knobs=Knobs(),
        turnable=frozenset(Knobs.ranges()),
        optimizer=optimizer,
        latent=lambda count, source, truncation: torch.randn(count, 2, generator=source),
        generate=lambda networks, latent, condition, sampling: networks["generator"](latent),
        logits=lambda networks, batch, moment: networks["discriminator"](batch.real).flatten(),
        **fields,
    )


def start(model: Model[Knobs], seed: int = 0) -> TrainingState:
    return initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed))


def weights(state: TrainingState, name: str) -> list[Tensor]:
    return [weight.detach().clone() for weight in state.model.networks[name].parameters()]


def has_changed(state: TrainingState, name: str, before: Sequence[Tensor]) -> bool:
    return not all(torch.equal(a, b) for a, b in zip(before, weights(state, name), strict=True))


def moments_of(state: TrainingState, name: str) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in state.tensors().items() if key.startswith(f"optimizer/{name}/")}


def discriminator_steps(moment: Moment[Any]) -> int:
    return moment.knobs.discriminator_steps


def generator_steps(moment: Moment[Any]) -> int:
    return moment.knobs.generator_steps


def two_networks() -> tuple[Model[Knobs], RecordingLoss, RecordingLoss]:
    first, second = RecordingLoss(of("discriminator"), carry="fake"), RecordingLoss(fool)
    phases = (
        Phase("discriminator", ("discriminator",), first, repeats=discriminator_steps),
        Phase("generator", ("generator",), second, repeats=generator_steps),
    )
    return game(phases), first, second


@pytest.mark.parametrize(("d", "g"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_images_are_counted_per_step_and_each_repeat_has_its_batch(d: int, g: int) -> None:
    model, first, second = two_networks()
    state, stream = start(model), RecordingStream()
    knobs = OFF.with_values({"discriminator_steps": d, "generator_steps": g})
    for _ in range(3):
        record = run_step(state, stream, knobs, 0.0)
    most = max(d, g)
    assert (state.step, state.images, state.draws) == (3, 3 * SIZE, 3 * most)
    assert (record.step, record.images) == (3, 3 * SIZE)
    assert stream.indices == list(range(3 * most)), "each batch once, in order"
    assert first.reals == [step * most + i for step in range(3) for i in range(d)]
    assert second.reals == [step * most + i for step in range(3) for i in range(g)]


def test_repeats_follow_the_knobs_from_step_to_step() -> None:
    model, first, second = two_networks()
    state, stream = start(model), RecordingStream()
    for d in (1, 5, 2):
        run_step(state, stream, OFF.with_values({"discriminator_steps": d}), 0.0)
    assert len(first.reals) == 8
    assert len(second.reals) == 3
    assert first.reals == list(range(8))


def test_each_repeat_updates_the_weights() -> None:
    """Five repeats of gradient descent on the same parabola are five steps of it."""
    stay = Phase(
        "generator", ("generator",), RecordingLoss(lambda n, b, m: n["generator"].bias.square().sum() / 2), repeats=five
    )
    state = start(game((stay,), sgd))
    before = state.model.networks["generator"].bias.detach().clone()
    run_step(state, RecordingStream(), OFF, 0.0)
    torch.testing.assert_close(state.model.networks["generator"].bias.detach(), before * 0.99**5)


def five(moment: Moment[Any]) -> int:
    return 5


def test_moment_holds_step_and_images_before_the_step() -> None:
    model, first, _ = two_networks()
    state = start(model)
    for step in range(3):
        run_step(state, RecordingStream(), OFF, step / 3)
    assert [(m.step, m.images, m.progress) for m in first.moments] == [
        (0, 0, 0),
        (1, SIZE, 1 / 3),
        (2, 2 * SIZE, 2 / 3),
    ]
    assert all(moment.knobs is OFF and moment.generator is state.generator for moment in first.moments)


def test_skipped_phase_takes_no_optimizer_step() -> None:
    """With momentum, an optimizer step without gradient would change the weights."""
    phases = (
        Phase("discriminator", ("discriminator",), RecordingLoss(of("discriminator"))),
        Phase("generator", ("generator",), RecordingLoss(fool), when=lambda moment: moment.step % 3 == 0),
    )
    state = start(game(phases))
    run_step(state, RecordingStream(), OFF, 0.0)
    for _ in range(2):
        before, adam_before = weights(state, "generator"), moments_of(state, "generator")
        other = weights(state, "discriminator")
        record = run_step(state, RecordingStream(), OFF, 0.0)
        assert set(record.phases) == {"discriminator"}
        assert not has_changed(state, "generator", before)
        assert has_changed(state, "discriminator", other)
        after = moments_of(state, "generator")
        assert len(adam_before) == 6
        assert after.keys() == adam_before.keys()
        assert all(torch.equal(after[key], adam_before[key]) for key in after)
    before = weights(state, "generator")
    record = run_step(state, RecordingStream(), OFF, 0.0)
    assert set(record.phases) == {"discriminator", "generator"}
    assert has_changed(state, "generator", before)
    assert moments_of(state, "generator")["optimizer/generator/0/step"].item() == 2


def test_step_without_due_phases_is_counted() -> None:
    never = Phase("generator", ("generator",), RecordingLoss(fool), when=lambda moment: moment.step > 0)
    state, stream = start(game((never,))), RecordingStream()
    record = run_step(state, stream, OFF, 0.0)
    assert (record.step, record.phases, record.non_finite) == (1, {}, None)
    assert stream.indices == []
    assert run_step(state, stream, OFF, 0.0).phases.keys() == {"generator"}


def test_networks_that_a_phase_does_not_update_get_no_gradient() -> None:
    gradients = {}

    def record_gradients(networks: Networks, batch: Batch, moment: Moment[Any]) -> Tensor:
        gradients["generator"] = [weight.grad for weight in networks["generator"].parameters()]
        gradients["discriminator"] = [weight.grad for weight in networks["discriminator"].parameters()]
        return networks["generator"].bias.sum()

    phases = (
        Phase("generator", ("generator",), RecordingLoss(fool)),
        Phase("record", ("generator",), RecordingLoss(record_gradients)),
    )
    state = start(game(phases))
    before = weights(state, "discriminator")
    run_step(state, RecordingStream(), OFF, 0.0)
    assert all(gradient is not None for gradient in gradients["generator"])
    assert gradients["discriminator"] == [None, None]
    assert not has_changed(state, "discriminator", before)


def test_gradients_belong_to_one_phase() -> None:
    """The norm of the second phase does not include the first."""
    phases = (
        Phase("first", ("generator",), RecordingLoss(lambda n, b, m: 1000 * n["generator"].bias.sum())),
        Phase(
            "second",
            ("generator",),
            RecordingLoss(lambda n, b, m: 3 * n["generator"].bias[0] + 4 * n["generator"].bias[1]),
        ),
    )
    record = run_step(start(game(phases)), RecordingStream(), OFF, 0.0)
    assert record.phases["second"].gradient_norms["generator"].item() == pytest.approx(5)


def test_carried_tensors_reach_the_first_repeat_of_later_phases_only() -> None:
    model, first, second = two_networks()
    state = start(model)
    run_step(state, RecordingStream(), OFF.with_values({"discriminator_steps": 2, "generator_steps": 3}), 0.0)
    assert [sorted(moment.carried) for moment in first.moments] == [[], []]
    assert [sorted(moment.carried) for moment in second.moments] == [["fake"], [], []]
    run_step(state, RecordingStream(), OFF, 0.0)
    assert sorted(first.moments[-1].carried) == [], "nothing is carried to the next step"


def test_carried_tensors_keep_their_graph() -> None:
    """Training the generator through carried fakes equals training it through new ones."""

    def through_carried(networks: Networks, batch: Batch, moment: Moment[Any]) -> Tensor:
        return networks["discriminator"](moment.carried["fake"]).mean()

    def through_new(networks: Networks, batch: Batch, moment: Moment[Any]) -> Tensor:
        return networks["discriminator"](networks["generator"](batch.real)).mean()

    ends = []
    for loss in (through_carried, through_new):
        phases = (
            Phase("discriminator", ("discriminator",), RecordingLoss(of("discriminator"), carry="fake")),
            Phase("generator", ("generator",), RecordingLoss(loss)),
        )
        state = start(game(phases))
        before = weights(state, "generator")
        for _ in range(3):
            run_step(state, RecordingStream(), OFF, 0.0)
        assert has_changed(state, "generator", before)
        ends.append(weights(state, "generator"))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_one_phase_can_update_both_networks() -> None:
    """Both gradients are taken at the old weights."""
    both = Phase(
        "both",
        ("discriminator", "generator"),
        RecordingLoss(lambda n, b, m: (n["generator"].bias * n["discriminator"].weight[0]).sum()),
    )
    state = start(game((both,), sgd))
    g, d = state.model.networks["generator"].bias, state.model.networks["discriminator"].weight
    old_g, old_d = g.detach().clone(), d.detach().clone()
    run_step(state, RecordingStream(), OFF, 0.0)
    torch.testing.assert_close(g.detach(), old_g - 0.01 * old_d[0])
    torch.testing.assert_close(d.detach(), old_d - 0.01 * old_g[None])


@pytest.mark.parametrize("limit", [None, 0.05])
def test_update_ratios_by_hand(limit: float | None) -> None:
    model = game(
        (Phase("generator", ("generator",), RecordingLoss(fool)),),
        lambda network, moment: OptimizerSettings("sgd", 0.3, weight_limit=limit),
    )
    state = start(model)
    before = torch.cat([weight.flatten() for weight in weights(state, "generator")])
    record = run_step(state, RecordingStream(), OFF, 0.0, measure=True)
    after = torch.cat([weight.flatten() for weight in weights(state, "generator")])
    expected = (after - before).norm() / before.norm()
    assert expected > 1e-3
    ratios = record.phases["generator"].update_ratios
    assert ratios.keys() == {"generator"}
    torch.testing.assert_close(ratios["generator"], expected)
    assert run_step(state, RecordingStream(), OFF, 0.0).phases["generator"].update_ratios == {}, "only if measured"


def test_measuring_does_not_change_the_step() -> None:
    ends = []
    for measure in (False, True):
        model, _, _ = two_networks()
        state = start(model)
        for _ in range(4):
            run_step(state, RecordingStream(), Knobs(), 0.0, measure=measure)
        ends.append(state.tensors())
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_gradient_norms_by_hand() -> None:
    model, _, _ = two_networks()
    state = start(model)
    loss = fool(state.model.networks, Batch(torch.zeros(SIZE, 2)), None)
    gradients = torch.autograd.grad(loss, list(state.model.networks["generator"].parameters()))
    expected = sum(gradient.square().sum() for gradient in gradients).sqrt()
    still = dataclasses.replace(model, phases=model.phases[1:])
    record = run_step(dataclasses.replace(state, model=still), RecordingStream(), OFF, 0.0)
    torch.testing.assert_close(record.phases["generator"].gradient_norms["generator"], expected)
    torch.testing.assert_close(record.phases["generator"].total, loss.detach())
    assert not record.phases["generator"].total.requires_grad


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda total: total, False),
        (lambda total: total * torch.nan, True),
        (lambda total: total + torch.inf, True),
        (lambda total: (total - total.detach()).sqrt(), True),
    ],
    ids=["finite", "loss is not a number", "loss is infinite", "gradient alone is infinite"],
)
def test_non_finite_values_are_flagged(damage: Callable[[Tensor], Tensor], expected: bool) -> None:
    def sometimes(networks: Networks, batch: Batch, moment: Moment[Any]) -> Tensor:
        total = fool(networks, batch, moment)
        return damage(total) if len(first.reals) == 5 else total

    first = RecordingLoss(sometimes)
    phases = (
        Phase("first", ("generator",), first, repeats=five),
        Phase("last", ("discriminator",), RecordingLoss(of("discriminator"))),
    )
    record = run_step(start(game(phases)), RecordingStream(), OFF, 0.0)
    assert record.non_finite.dtype == torch.bool
    assert record.non_finite.shape == ()
    assert bool(record.non_finite) == expected, "in any phase"


def test_weight_limit_clamps_every_weight() -> None:
    def clipped(network: str, moment: Moment[Any]) -> OptimizerSettings:
        return OptimizerSettings("rmsprop", 0.05, weight_limit=0.01 if network == "discriminator" else None)

    phases = (
        Phase("discriminator", ("discriminator",), RecordingLoss(of("discriminator"))),
        Phase("generator", ("generator",), RecordingLoss(fool)),
    )
    state = start(game(phases, clipped))
    assert max(weight.abs().max() for weight in weights(state, "discriminator")) > 0.01
    for _ in range(3):
        run_step(state, RecordingStream(), OFF, 0.0)
        result = torch.cat([weight.flatten() for weight in weights(state, "discriminator")])
        assert result.abs().max() <= 0.01
        assert (result.abs() == torch.tensor(0.01)).any()
    assert max(weight.abs().max() for weight in weights(state, "generator")) > 0.01


def test_optimizer_settings_follow_the_moment() -> None:
    model, _, _ = two_networks()
    state = start(model)
    run_step(state, RecordingStream(), OFF, 0.0)
    before = weights(state, "generator")
    run_step(state, RecordingStream(), OFF.with_values({"lr_g": 1e-6, "lr_d": 1e-2}), 0.5)
    small = max((a - b).abs().max().item() for a, b in zip(before, weights(state, "generator"), strict=True))
    assert 0 < small < 3e-6
    assert state.optimizers["discriminator"].param_groups[0]["lr"] == 1e-2


def test_memory_is_replaced_not_mutated() -> None:
    def remember(networks: Networks, batch: Batch, moment: Moment[Any]) -> Loss:
        counts.append(moment.memory["count"])
        return Loss(of("generator")(networks, batch, moment), memory={"count": moment.memory["count"] + 1})

    counts: list[Tensor] = []
    at_first = {"count": torch.zeros(()), "other": torch.ones(2)}
    phase = Phase("generator", ("generator",), remember, repeats=lambda moment: 2)
    model = game((phase, dataclasses.replace(phase, name="again")), memory=at_first)
    state = start(model)
    memory = state.memory
    run_step(state, RecordingStream(), OFF, 0.0)
    assert [value.item() for value in counts] == [0, 1, 2, 3], "each update reads the last value"
    assert state.memory["count"].item() == 4
    assert state.memory is not memory
    assert memory["count"].item() == 0
    assert model.memory["count"].item() == 0
    assert torch.equal(state.memory["other"], torch.ones(2)), "other buffers are kept"


def test_record_holds_the_last_repeat() -> None:
    """The total is the index of the batch."""
    numbered = RecordingLoss(lambda n, b, m: n["discriminator"].bias.sum() * 0 + b.real[0, 0])
    phases = (Phase("discriminator", ("discriminator",), numbered, repeats=discriminator_steps),)
    record = run_step(start(game(phases)), RecordingStream(), OFF.with_values({"discriminator_steps": 3}), 0.0)
    assert numbered.reals == [0, 1, 2]
    assert record.phases["discriminator"].total.item() == 2


@pytest.mark.parametrize("max_grad_norm", [None, 1e-3])
def test_long_gradient_is_clipped_and_its_norm_recorded(max_grad_norm: float | None) -> None:
    """With SGD at rate 1 the weights change by the gradient, or by `max_grad_norm` in its direction."""
    phases = (Phase("generator", ("generator",), RecordingLoss(fool)),)
    state = start(game(phases, lambda network, moment: OptimizerSettings("sgd", 1.0, max_grad_norm=max_grad_norm)))
    before = torch.cat([weight.flatten() for weight in weights(state, "generator")])
    record = run_step(state, RecordingStream(), OFF, 0.0)
    after = torch.cat([weight.flatten() for weight in weights(state, "generator")])
    moved = (after - before).norm().item()
    norm = record.phases["generator"].gradient_norms["generator"].item()
    assert norm > 1e-3
    assert moved == pytest.approx(norm if max_grad_norm is None else max_grad_norm, rel=1e-3)
