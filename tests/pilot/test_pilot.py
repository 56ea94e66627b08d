"""The pilot in a custom loop: what it writes, when it reads, and errors."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from equipoise.controllers.annealed import Annealed
from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.core.model import PhaseRecord, StepRecord
from equipoise.core.schedules import linear, parse
from equipoise.errors import SettingError, UnknownNameError
from equipoise.pilot.pilot import DENSE_STEPS, ModelInfo, Pilot

READERS = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "numpy", "cpu", "__array__", "__format__")


def annealed(**schedules: str) -> Annealed:
    return Annealed(schedules=schedules)


def test_annealed_writes_learning_rates_and_betas(create_loop) -> None:
    loop = create_loop(betas=(0.5, 0.9))
    controller = annealed(lr_g="linear(1e-3, 1e-4)", beta1="linear(0.5, 0.3)", beta2="linear(0.9, 0.99)")
    pilot = Pilot(controller, steps=20, optimizers=loop.optimizers)
    for step in range(1, 21):
        assert pilot.observe(**loop.step())
        progress = step / 20
        betas = (linear(0.5, 0.3)(progress), linear(0.9, 0.99)(progress))
        assert loop.settings("generator") == (pytest.approx(linear(1e-3, 1e-4)(progress)), pytest.approx(betas))
        assert loop.settings("discriminator") == (4e-3, pytest.approx(betas)), "lr_d has no schedule"
        assert pilot.knobs.lr_g == loop.settings("generator")[0]


def test_annealed_by_name_decays_both_rates(create_loop) -> None:
    loop = create_loop(betas=(0.5, 0.9))
    pilot = Pilot("annealed", steps=10, optimizers=loop.optimizers)
    assert pilot.name == "annealed"
    factors = [parse(text) for text in Annealed().factors.values()]
    assert len(factors) == 2
    path = [1.0]
    for step in range(1, 11):
        pilot.observe(**loop.step())
        path.append(factors[0](step / 10))
        assert loop.settings("generator") == (pytest.approx(1e-3 * path[-1]), (0.5, 0.9))
        assert loop.settings("discriminator") == (pytest.approx(4e-3 * path[-1]), (0.5, 0.9))
    assert path == sorted(path, reverse=True)
    assert 0 < path[-1] <= 0.1


def test_every_change_has_a_reason(create_loop) -> None:
    loop = create_loop(betas=(0.5, 0.9))
    pilot = Pilot(annealed(lr_g="linear(1e-3, 1e-4)"), steps=10, optimizers=loop.optimizers)
    assert pilot.initial_changes == (), "the schedule starts at the value of the optimizer"
    decision = pilot.observe(**loop.step())
    assert decision is not None
    (change,) = decision.changes
    assert (change.knob, change.before, change.after) == ("lr_g", 1e-3, pytest.approx(9.1e-4))
    assert change.reason == "linear(1e-3, 1e-4) at 10% of the run"


def test_start_writes_the_first_decision(create_loop) -> None:
    loop = create_loop(betas=(0.5, 0.9))
    pilot = Pilot(annealed(lr_g="constant(5e-3)", beta1="constant(0.9)"), steps=10, optimizers=loop.optimizers)
    assert loop.settings("generator") == (1e-3, (0.5, 0.9)), "the constructor changes nothing"
    pilot.start()
    assert loop.settings("generator") == (5e-3, (0.9, 0.9)), "limits on moves do not apply to the first value"
    assert {change.knob for change in pilot.initial_changes} == {"lr_g", "beta1"}


def test_the_base_is_the_setting_of_the_optimizers(create_loop) -> None:
    loop = create_loop(betas=(0.3, 0.99))
    pilot = Pilot("fixed", steps=10, optimizers=loop.optimizers)
    base = pilot.base
    assert (base.lr_g, base.lr_d, base.beta1, base.beta2) == (1e-3, 4e-3, 0.3, 0.99)
    explicit = Pilot("fixed", steps=10, optimizers=loop.optimizers, knobs=Knobs().with_values({"lr_g": 7e-4}))
    explicit.observe(**loop.step())
    assert explicit.knobs.lr_g == 7e-4
    assert loop.settings("generator")[0] == 7e-4


def test_fixed_changes_no_byte(create_loop) -> None:
    plain, observed = create_loop(betas=(0.5, 0.9)), create_loop(betas=(0.5, 0.9))
    pilot = Pilot("fixed", steps=30, optimizers=observed.optimizers)
    for _ in range(30):
        plain.step()
        assert pilot.observe(**observed.step())
    for expected, network in (
        (plain.generator, observed.generator),
        (plain.discriminator, observed.discriminator),
    ):
        for key, value in expected.state_dict().items():
            assert torch.equal(value, network.state_dict()[key]), key


def test_optimizers_without_betas_work(create_loop) -> None:
    loop = create_loop(SGD)
    pilot = Pilot(annealed(lr_d="linear(4e-3, 2e-3)"), steps=4, optimizers=loop.optimizers)
    for _ in range(4):
        pilot.observe(**loop.step())
    assert loop.optimizers["discriminator"].param_groups[0]["lr"] == 2e-3
    with pytest.raises(SettingError, match="beta1 has no effect in this loop; knobs that have an effect: lr_d, lr_g"):
        Pilot(annealed(beta1="constant(0.5)"), steps=4, optimizers=loop.optimizers)


def test_values_reach_the_signals(create_loop) -> None:
    loop = create_loop()
    pilot = Pilot("fixed", steps=10, optimizers=loop.optimizers, model_info=ModelInfo(probability=torch.sigmoid))
    step_values = loop.step()
    gradients = {
        name: [w.grad for w in network.parameters()] for name, network in vars(loop).items() if name in PLAYERS
    }
    norms = {name: sum(g.square().sum().item() for g in grads) ** 0.5 for name, grads in gradients.items()}
    decision = pilot.observe(**step_values)
    assert decision is not None
    signals = decision.observation.signals
    assert signals.loss_g == pytest.approx(step_values["loss_g"].item())
    assert signals.gradient_norm_g == pytest.approx(norms["generator"])
    assert signals.gradient_norm_d == pytest.approx(norms["discriminator"])
    assert signals.probability_real == pytest.approx(step_values["logit_real"].sigmoid().mean().item())
    assert decision.loss["discriminator.total"].last == pytest.approx(step_values["loss_d"].item())
    assert (decision.observation.step, decision.observation.progress) == (1, 0.1)


PLAYERS = ("generator", "discriminator")


def test_every_value_is_optional() -> None:
    pilot = Pilot("fixed", steps=10, knobs=Knobs())
    nothing, loss = pilot.observe(), pilot.observe(loss_g=torch.tensor(2.0))
    assert nothing is not None
    assert loss is not None
    assert nothing.observation.signals.loss_g is None
    assert loss.observation.signals.loss_g == 2.0
    assert loss.observation.signals.rank_train_fake is None


def test_a_player_with_rare_updates_has_a_loss_at_every_reading(create_loop) -> None:
    """Five updates of the critic for one of the generator: Arjovsky 2017, algorithm 1."""
    loop = create_loop()
    pilot = Pilot("fixed", steps=40, optimizers=loop.optimizers, sense_every=10)
    pilot.dense_steps = 0
    losses = []
    for step in range(1, 41):
        step_values = loop.step()
        if step % 5 == 0:
            losses.append(step_values["loss_g"].item())
        else:
            del step_values["loss_g"]
        decision = pilot.observe(**step_values)
        if decision:
            assert decision.observation.signals.loss_g == pytest.approx(sum(losses[-2:]) / 2)


def test_a_loss_that_is_not_finite_is_detected() -> None:
    pilot = Pilot("fixed", steps=10, knobs=Knobs())
    decision = pilot.observe(loss_g=torch.tensor(1.0), loss_d=torch.tensor(float("inf")))
    assert decision is not None
    assert decision.observation.health.verdict == "diverged"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Calls of every method that reads a tensor from its device."""
    calls: list[str] = []
    for name in READERS:
        original = getattr(Tensor, name)

        def counted(self: Tensor, *args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
            calls.append(_name)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(Tensor, name, counted)
    return calls


def test_nothing_is_read_from_the_device_between_readings(reads: list[str], create_loop) -> None:
    loop = create_loop()
    pilot = Pilot(
        "annealed",
        steps=400,
        optimizers=loop.optimizers,
        model_info=ModelInfo(probability=torch.sigmoid),
        sense_every=50,
    )
    read_at, read_times = [], []
    for step in range(1, 301):
        step_values = loop.step()
        reads.clear()
        decision = pilot.observe(**step_values)
        assert (decision is not None) == bool(reads), step
        if decision:
            read_at.append(step)
            read_times.append(len(reads))
    assert read_at == [*range(1, DENSE_STEPS + 1), 150, 200, 250, 300]
    assert max(read_times) <= 2, "the table of numbers, and the count of values that are not finite"


def test_held_out_ranks_cost_one_read(reads: list[str]) -> None:
    pilot = Pilot("fixed", steps=10, knobs=Knobs())
    probed = StepRecord(1, 4, probe_train=torch.ones(4), probe_held_out=torch.zeros(4))
    decision = pilot.observe(probed)
    assert decision is not None
    assert decision.observation.signals.rank_train_held_out == 1
    assert len(reads) == 1


def test_a_required_knob_without_effect_is_refused(create_loop) -> None:
    loop = create_loop()
    with pytest.raises(SettingError, match=r"augment_p has no effect in this loop; .*: beta1, beta2, lr_d, lr_g"):
        Pilot(annealed(augment_p="linear(0, 0.8)"), steps=10, optimizers=loop.optimizers)
    only = {"generator": loop.optimizers["generator"]}
    with pytest.raises(
        SettingError, match="lr_d has no effect in this loop; knobs that have an effect: beta1, beta2, lr_g"
    ):
        Pilot(annealed(lr_d="cosine(1e-3, 1e-4)"), steps=10, optimizers=only)
    acting = frozenset({"lr_g", "lr_d"})
    with pytest.raises(
        SettingError, match="r1_gamma has no effect in this model; knobs that have an effect: lr_d, lr_g"
    ):
        Pilot(
            annealed(r1_gamma="constant(1)"), steps=10, knobs=AdversarialKnobs(), model_info=ModelInfo(turnable=acting)
        )
    with pytest.raises(SettingError, match="lr_z has no effect"):
        Pilot(annealed(lr_z="constant(1)"), steps=10, optimizers=loop.optimizers)


def test_unknown_names_are_refused(create_loop) -> None:
    loop = create_loop()
    with pytest.raises(SettingError, match="optimizers must be named 'generator' and 'discriminator', not 'critic'"):
        Pilot("fixed", steps=10, optimizers={**loop.optimizers, "critic": loop.optimizers["discriminator"]})
    with pytest.raises(UnknownNameError, match="there is no controller 'fixd'; did you mean 'fixed'"):
        Pilot("fixd", steps=10, optimizers=loop.optimizers)


def test_sense_every_must_be_positive() -> None:
    with pytest.raises(SettingError, match="sense_every = 0: it must be at least 1"):
        Pilot("fixed", steps=10, knobs=Knobs(), sense_every=0)


def test_progress_stops_at_one() -> None:
    pilot = Pilot(
        annealed(lr_g="linear(1e-3, 1e-4)"), steps=5, knobs=Knobs(), model_info=ModelInfo(turnable=frozenset({"lr_g"}))
    )
    decisions = [pilot.observe(loss_g=torch.tensor(1.0)) for _ in range(12)]
    assert [decision.observation.progress for decision in decisions if decision] == [0.2, 0.4, 0.6, 0.8] + [1.0] * 8
    assert pilot.knobs.lr_g == pytest.approx(1e-4)


def test_metrics_age_in_images() -> None:
    pilot = Pilot("fixed", steps=100, knobs=Knobs())
    pilot.observe(logit_real=torch.zeros(16))
    pilot.record_metric("fid", 40.0, 16)
    pilot.observe(logit_real=torch.zeros(16))
    decision = pilot.observe(logit_real=torch.zeros(16))
    assert decision is not None
    reading = decision.observation.signals.metrics["fid"]
    assert (reading.value, reading.age) == (40.0, 32)


@pytest.mark.parametrize(("level", "ends"), [(0.0, True), (3.0, False)])
def test_an_equilibrium_is_detected(level: float, ends: bool) -> None:
    """Equal logits on both sides have rank 0; logits three standard deviations apart have rank near 1."""
    pilot = Pilot("fixed", steps=50, knobs=Knobs())
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 31):
        logits = torch.randn(64, generator=generator)
        real = PhaseRecord(logit_real=logits + level, logit_fake=logits)
        pilot.observe(StepRecord(step, 64 * step, {"discriminator": real}))
        if step < 6:
            assert not pilot.at_equilibrium, "too early to tell"
    assert pilot.at_equilibrium == ends
