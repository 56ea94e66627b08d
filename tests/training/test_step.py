"""One step, phase by phase: who moves, on which reals, from what was carried, and how much."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equipoise.core.data import Batch
from equipoise.core.knobs import Knobs
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.training.state import TrainingState, begin
from equipoise.training.step import run_step

SIZE = 4
OFF = Knobs().with_values({"ema_half_life": 0})


class SpyStream:
    """Batches filled with their own number, and a list of those that were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def batch(self, index: int) -> Batch:
        self.asked.append(index)
        return Batch(torch.full((SIZE, 2), float(index)))


@dataclasses.dataclass
class Spy:
    """A phase's loss, and what it was given."""

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
    """A loss in which that network alone takes part."""
    return lambda networks, batch, moment: networks[name](batch.real + 1).square().mean()


def fool(networks: Networks, batch: Batch, moment: Moment[Any]) -> Tensor:
    """A loss in which both take part."""
    return networks["discriminator"](networks["generator"](batch.real + 1)).square().mean()


def adam(network: str, moment: Moment[Any]) -> OptimizerSettings:
    return OptimizerSettings("adam", moment.knobs.lr_g if network == "generator" else moment.knobs.lr_d, 0.5, 0.9)


def sgd(network: str, moment: Moment[Any]) -> OptimizerSettings:
    return OptimizerSettings("sgd", 0.01)


def game(
    phases: Sequence[Phase], optimizer: Callable[[str, Moment[Any]], OptimizerSettings] = adam, **others: Any
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
        generate=lambda networks, latent, condition: networks["generator"](latent),
        logits=lambda networks, batch, moment: networks["discriminator"](batch.real).flatten(),
        **others,
    )


def start(model: Model[Knobs], seed: int = 0) -> TrainingState:
    return begin(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed))


def weights(state: TrainingState, name: str) -> list[Tensor]:
    return [weight.detach().clone() for weight in state.model.networks[name].parameters()]


def moved(state: TrainingState, name: str, before: Sequence[Tensor]) -> bool:
    return not all(torch.equal(a, b) for a, b in zip(before, weights(state, name), strict=True))


def moments_of(state: TrainingState, name: str) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in state.tensors().items() if key.startswith(f"optimizer/{name}/")}


def discriminator_steps(moment: Moment[Any]) -> int:
    return moment.knobs.discriminator_steps


def generator_steps(moment: Moment[Any]) -> int:
    return moment.knobs.generator_steps


def two_players() -> tuple[Model[Knobs], Spy, Spy]:
    first, second = Spy(of("discriminator"), carry="fake"), Spy(fool)
    phases = (
        Phase("discriminator", ("discriminator",), first, repeats=discriminator_steps),
        Phase("generator", ("generator",), second, repeats=generator_steps),
    )
    return game(phases), first, second


@pytest.mark.parametrize(("d", "g"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_images_count_by_step_and_every_repeat_has_reals_of_its_own(d: int, g: int) -> None:
    model, first, second = two_players()
    state, stream = start(model), SpyStream()
    knobs = OFF.with_values({"discriminator_steps": d, "generator_steps": g})
    for _ in range(3):
        record = run_step(state, stream, knobs, 0.0)
    most = max(d, g)
    assert (state.step, state.images, state.draws) == (3, 3 * SIZE, 3 * most)
    assert (record.step, record.images) == (3, 3 * SIZE)
    assert stream.asked == list(range(3 * most)), "each batch once, in order"
    assert first.reals == [step * most + i for step in range(3) for i in range(d)]
    assert second.reals == [step * most + i for step in range(3) for i in range(g)]


def test_repeats_follow_the_knobs_from_step_to_step() -> None:
    model, first, second = two_players()
    state, stream = start(model), SpyStream()
    for d in (1, 5, 2):
        run_step(state, stream, OFF.with_values({"discriminator_steps": d}), 0.0)
    assert len(first.reals) == 8
    assert len(second.reals) == 3
    assert first.reals == list(range(8))


def test_each_repeat_moves_the_weights() -> None:
    """Five repeats of plain descent on the same parabola are five steps of it."""
    stay = Phase("generator", ("generator",), Spy(lambda n, b, m: n["generator"].bias.square().sum() / 2), repeats=five)
    state = start(game((stay,), sgd))
    before = state.model.networks["generator"].bias.detach().clone()
    run_step(state, SpyStream(), OFF, 0.0)
    torch.testing.assert_close(state.model.networks["generator"].bias.detach(), before * 0.99**5)


def five(moment: Moment[Any]) -> int:
    return 5


def test_a_moment_tells_the_step_before_it_is_done() -> None:
    model, first, _ = two_players()
    state = start(model)
    for step in range(3):
        run_step(state, SpyStream(), OFF, step / 3)
    assert [(m.step, m.images, m.progress) for m in first.moments] == [
        (0, 0, 0),
        (1, SIZE, 1 / 3),
        (2, 2 * SIZE, 2 / 3),
    ]
    assert all(moment.knobs is OFF and moment.generator is state.generator for moment in first.moments)


def test_a_skipped_phase_takes_no_optimizer_step() -> None:
    """With momentum, even a step of no gradient would move the weights; none at all must not."""
    phases = (
        Phase("discriminator", ("discriminator",), Spy(of("discriminator"))),
        Phase("generator", ("generator",), Spy(fool), when=lambda moment: moment.step % 3 == 0),
    )
    state = start(game(phases))
    run_step(state, SpyStream(), OFF, 0.0)
    for _ in range(2):
        before, adam_before = weights(state, "generator"), moments_of(state, "generator")
        other = weights(state, "discriminator")
        record = run_step(state, SpyStream(), OFF, 0.0)
        assert set(record.phases) == {"discriminator"}
        assert not moved(state, "generator", before)
        assert moved(state, "discriminator", other)
        after = moments_of(state, "generator")
        assert len(adam_before) == 6
        assert after.keys() == adam_before.keys()
        assert all(torch.equal(after[key], adam_before[key]) for key in after)
    before = weights(state, "generator")
    record = run_step(state, SpyStream(), OFF, 0.0)
    assert set(record.phases) == {"discriminator", "generator"}
    assert moved(state, "generator", before)
    assert moments_of(state, "generator")["optimizer/generator/0/step"].item() == 2


def test_a_step_without_phases_is_a_step() -> None:
    never = Phase("generator", ("generator",), Spy(fool), when=lambda moment: moment.step > 0)
    state, stream = start(game((never,))), SpyStream()
    record = run_step(state, stream, OFF, 0.0)
    assert (record.step, record.phases, record.non_finite) == (1, {}, None)
    assert stream.asked == []
    assert run_step(state, stream, OFF, 0.0).phases.keys() == {"generator"}


def test_networks_that_a_phase_does_not_update_get_no_gradient() -> None:
    seen = {}

    def look(networks: Networks, batch: Batch, moment: Moment[Any]) -> Tensor:
        seen["generator"] = [weight.grad for weight in networks["generator"].parameters()]
        seen["discriminator"] = [weight.grad for weight in networks["discriminator"].parameters()]
        return networks["generator"].bias.sum()

    phases = (Phase("generator", ("generator",), Spy(fool)), Phase("look", ("generator",), Spy(look)))
    state = start(game(phases))
    before = weights(state, "discriminator")
    run_step(state, SpyStream(), OFF, 0.0)
    assert all(gradient is not None for gradient in seen["generator"])
    assert seen["discriminator"] == [None, None]
    assert not moved(state, "discriminator", before)


def test_gradients_are_of_one_phase_alone() -> None:
    """The norm of the second phase is not that of the sum with the first."""
    phases = (
        Phase("first", ("generator",), Spy(lambda n, b, m: 1000 * n["generator"].bias.sum())),
        Phase("second", ("generator",), Spy(lambda n, b, m: 3 * n["generator"].bias[0] + 4 * n["generator"].bias[1])),
    )
    record = run_step(start(game(phases)), SpyStream(), OFF, 0.0)
    assert record.phases["second"].gradient_norms["generator"].item() == pytest.approx(5)


def test_carried_tensors_reach_the_first_repeat_of_later_phases_only() -> None:
    model, first, second = two_players()
    state = start(model)
    run_step(state, SpyStream(), OFF.with_values({"discriminator_steps": 2, "generator_steps": 3}), 0.0)
    assert [sorted(moment.carried) for moment in first.moments] == [[], []]
    assert [sorted(moment.carried) for moment in second.moments] == [["fake"], [], []]
    run_step(state, SpyStream(), OFF, 0.0)
    assert sorted(first.moments[-1].carried) == [], "nothing is carried into the next step"


def test_what_is_carried_keeps_its_graph() -> None:
    """A generator moved through carried fakes ends where one moved through fresh ones does."""

    def through_carried(networks: Networks, batch: Batch, moment: Moment[Any]) -> Tensor:
        return networks["discriminator"](moment.carried["fake"]).mean()

    def afresh(networks: Networks, batch: Batch, moment: Moment[Any]) -> Tensor:
        return networks["discriminator"](networks["generator"](batch.real)).mean()

    ends = []
    for loss in (through_carried, afresh):
        phases = (
            Phase("discriminator", ("discriminator",), Spy(of("discriminator"), carry="fake")),
            Phase("generator", ("generator",), Spy(loss)),
        )
        state = start(game(phases))
        before = weights(state, "generator")
        for _ in range(3):
            run_step(state, SpyStream(), OFF, 0.0)
        assert moved(state, "generator", before)
        ends.append(weights(state, "generator"))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_one_phase_may_move_both_at_once() -> None:
    """Each gradient is taken where both stood before."""
    both = Phase(
        "both",
        ("discriminator", "generator"),
        Spy(lambda n, b, m: (n["generator"].bias * n["discriminator"].weight[0]).sum()),
    )
    state = start(game((both,), sgd))
    g, d = state.model.networks["generator"].bias, state.model.networks["discriminator"].weight
    here, there = g.detach().clone(), d.detach().clone()
    run_step(state, SpyStream(), OFF, 0.0)
    torch.testing.assert_close(g.detach(), here - 0.01 * there[0])
    torch.testing.assert_close(d.detach(), there - 0.01 * here[None])


@pytest.mark.parametrize("limit", [None, 0.05])
def test_update_ratios_by_hand(limit: float | None) -> None:
    model = game(
        (Phase("generator", ("generator",), Spy(fool)),),
        lambda network, moment: OptimizerSettings("sgd", 0.3, limit=limit),
    )
    state = start(model)
    before = torch.cat([weight.flatten() for weight in weights(state, "generator")])
    record = run_step(state, SpyStream(), OFF, 0.0, measure=True)
    after = torch.cat([weight.flatten() for weight in weights(state, "generator")])
    expected = (after - before).norm() / before.norm()
    assert expected > 1e-3
    ratios = record.phases["generator"].update_ratios
    assert ratios.keys() == {"generator"}
    torch.testing.assert_close(ratios["generator"], expected)
    assert run_step(state, SpyStream(), OFF, 0.0).phases["generator"].update_ratios == {}, "only where asked for"


def test_measuring_changes_no_byte() -> None:
    ends = []
    for measure in (False, True):
        model, _, _ = two_players()
        state = start(model)
        for _ in range(4):
            run_step(state, SpyStream(), Knobs(), 0.0, measure=measure)
        ends.append(state.tensors())
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_gradient_norms_by_hand() -> None:
    model, _, _ = two_players()
    state = start(model)
    loss = fool(state.model.networks, Batch(torch.zeros(SIZE, 2)), None)
    gradients = torch.autograd.grad(loss, list(state.model.networks["generator"].parameters()))
    expected = sum(gradient.square().sum() for gradient in gradients).sqrt()
    still = dataclasses.replace(model, phases=model.phases[1:])
    record = run_step(dataclasses.replace(state, model=still), SpyStream(), OFF, 0.0)
    torch.testing.assert_close(record.phases["generator"].gradient_norms["generator"], expected)
    torch.testing.assert_close(record.phases["generator"].total, loss.detach())
    assert not record.phases["generator"].total.requires_grad


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda total: total, False),
        (lambda total: total * torch.nan, True),
        (lambda total: total + torch.inf, True),
        (lambda total: (total - total.detach()).sqrt(), True),
    ],
    ids=["finite", "loss is not a number", "loss is infinite", "gradient alone is infinite"],
)
def test_what_is_not_finite_is_flagged_in_that_step(spoil: Callable[[Tensor], Tensor], expected: bool) -> None:
    def sometimes(networks: Networks, batch: Batch, moment: Moment[Any]) -> Tensor:
        total = fool(networks, batch, moment)
        return spoil(total) if len(first.reals) == 5 else total

    first = Spy(sometimes)
    phases = (
        Phase("first", ("generator",), first, repeats=five),
        Phase("last", ("discriminator",), Spy(of("discriminator"))),
    )
    record = run_step(start(game(phases)), SpyStream(), OFF, 0.0)
    assert record.non_finite.dtype == torch.bool
    assert record.non_finite.shape == ()
    assert bool(record.non_finite) == expected, "in whichever phase it was"


def test_a_limit_keeps_every_weight_within() -> None:
    def clipped(network: str, moment: Moment[Any]) -> OptimizerSettings:
        return OptimizerSettings("rmsprop", 0.05, limit=0.01 if network == "discriminator" else None)

    phases = (
        Phase("discriminator", ("discriminator",), Spy(of("discriminator"))),
        Phase("generator", ("generator",), Spy(fool)),
    )
    state = start(game(phases, clipped))
    assert max(weight.abs().max() for weight in weights(state, "discriminator")) > 0.01
    for _ in range(3):
        run_step(state, SpyStream(), OFF, 0.0)
        result = torch.cat([weight.flatten() for weight in weights(state, "discriminator")])
        assert result.abs().max() <= 0.01
        assert (result.abs() == torch.tensor(0.01)).any()
    assert max(weight.abs().max() for weight in weights(state, "generator")) > 0.01


def test_settings_are_those_of_the_moment() -> None:
    model, _, _ = two_players()
    state = start(model)
    run_step(state, SpyStream(), OFF, 0.0)
    before = weights(state, "generator")
    run_step(state, SpyStream(), OFF.with_values({"lr_g": 1e-6, "lr_d": 1e-2}), 0.5)
    small = max((a - b).abs().max().item() for a, b in zip(before, weights(state, "generator"), strict=True))
    assert 0 < small < 3e-6
    assert state.optimizers["discriminator"].param_groups[0]["lr"] == 1e-2


def test_memory_is_replaced_not_mutated() -> None:
    def remember(networks: Networks, batch: Batch, moment: Moment[Any]) -> Loss:
        seen.append(moment.memory["count"])
        return Loss(of("generator")(networks, batch, moment), memory={"count": moment.memory["count"] + 1})

    seen: list[Tensor] = []
    at_first = {"count": torch.zeros(()), "untouched": torch.ones(2)}
    phase = Phase("generator", ("generator",), remember, repeats=lambda moment: 2)
    model = game((phase, dataclasses.replace(phase, name="again")), memory=at_first)
    state = start(model)
    held = state.memory
    run_step(state, SpyStream(), OFF, 0.0)
    assert [value.item() for value in seen] == [0, 1, 2, 3], "each update reads what the last one wrote"
    assert state.memory["count"].item() == 4
    assert state.memory is not held
    assert held["count"].item() == 0
    assert model.memory["count"].item() == 0
    assert torch.equal(state.memory["untouched"], torch.ones(2)), "what a phase does not name stays"


def test_a_record_is_of_the_last_repeat() -> None:
    """Its total here is the number of the batch."""
    numbered = Spy(lambda n, b, m: n["discriminator"].bias.sum() * 0 + b.real[0, 0])
    phases = (Phase("discriminator", ("discriminator",), numbered, repeats=discriminator_steps),)
    record = run_step(start(game(phases)), SpyStream(), OFF.with_values({"discriminator_steps": 3}), 0.0)
    assert numbered.reals == [0, 1, 2]
    assert record.phases["discriminator"].total.item() == 2


@pytest.mark.parametrize("longest", [None, 1e-3])
def test_a_longer_gradient_is_scaled_down_and_told_as_it_was(longest: float | None) -> None:
    """Plain descent at rate 1: the weights move by the gradient, or by `longest` along it."""
    phases = (Phase("generator", ("generator",), Spy(fool)),)
    state = start(game(phases, lambda network, moment: OptimizerSettings("sgd", 1.0, longest=longest)))
    before = torch.cat([weight.flatten() for weight in weights(state, "generator")])
    record = run_step(state, SpyStream(), OFF, 0.0)
    after = torch.cat([weight.flatten() for weight in weights(state, "generator")])
    moved = (after - before).norm().item()
    norm = record.phases["generator"].gradient_norms["generator"].item()
    assert norm > 1e-3
    assert moved == pytest.approx(norm if longest is None else longest, rel=1e-3)
