"""The pilot in a custom loop: what it writes, when it reads, and that observations reproduce its decisions."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import StepLR

from equipoise.controllers.annealed import Annealed
from equipoise.core import catalog
from equipoise.core.controller import Turn, request, state_from_json, state_to_json
from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.core.model import PhaseRecord, StepRecord
from equipoise.core.observations import Health, Observation, Signals
from equipoise.core.schedules import linear, parse
from equipoise.errors import SettingError, UnknownNameError
from equipoise.pilot.pilot import EAGER, ModelInfo, Pilot
from equipoise.pilot.step import Decision

READERS = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "numpy", "cpu", "__array__", "__format__")


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


def annealed(**schedules: str) -> Annealed:
    return Annealed(schedules=schedules)


def test_annealed_writes_learning_rates_and_betas() -> None:
    loop = Loop(betas=(0.5, 0.9))
    controller = annealed(lr_g="linear(1e-3, 1e-4)", beta1="linear(0.5, 0.3)", beta2="linear(0.9, 0.99)")
    pilot = Pilot(controller, steps=20, optimizers=loop.optimizers)
    for step in range(1, 21):
        assert pilot.observe(**loop.step())
        progress = step / 20
        betas = (linear(0.5, 0.3)(progress), linear(0.9, 0.99)(progress))
        assert loop.settings("generator") == (pytest.approx(linear(1e-3, 1e-4)(progress)), pytest.approx(betas))
        assert loop.settings("discriminator") == (4e-3, pytest.approx(betas)), "lr_d has no schedule"
        assert pilot.knobs.lr_g == loop.settings("generator")[0]


def test_annealed_by_name_decays_both_rates() -> None:
    loop = Loop(betas=(0.5, 0.9))
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


def test_every_change_has_a_reason() -> None:
    loop = Loop(betas=(0.5, 0.9))
    pilot = Pilot(annealed(lr_g="linear(1e-3, 1e-4)"), steps=10, optimizers=loop.optimizers)
    assert pilot.initial_changes == (), "the schedule starts at the value of the optimizer"
    decision = pilot.observe(**loop.step())
    assert decision is not None
    (change,) = decision.changes
    assert (change.knob, change.before, change.after) == ("lr_g", 1e-3, pytest.approx(9.1e-4))
    assert change.reason == "linear(1e-3, 1e-4) at 10% of the run"


def test_start_writes_the_first_decision() -> None:
    loop = Loop(betas=(0.5, 0.9))
    pilot = Pilot(annealed(lr_g="constant(5e-3)", beta1="constant(0.9)"), steps=10, optimizers=loop.optimizers)
    assert loop.settings("generator") == (1e-3, (0.5, 0.9)), "the constructor changes nothing"
    pilot.start()
    assert loop.settings("generator") == (5e-3, (0.9, 0.9)), "limits on moves do not apply to the first value"
    assert {change.knob for change in pilot.initial_changes} == {"lr_g", "beta1"}


def test_the_base_is_the_setting_of_the_optimizers() -> None:
    loop = Loop(betas=(0.3, 0.99))
    pilot = Pilot("fixed", steps=10, optimizers=loop.optimizers)
    base = pilot.base
    assert (base.lr_g, base.lr_d, base.beta1, base.beta2) == (1e-3, 4e-3, 0.3, 0.99)
    explicit = Pilot("fixed", steps=10, optimizers=loop.optimizers, knobs=Knobs().with_values({"lr_g": 7e-4}))
    explicit.observe(**loop.step())
    assert explicit.knobs.lr_g == 7e-4
    assert loop.settings("generator")[0] == 7e-4


def test_fixed_changes_no_byte() -> None:
    plain, observed = Loop(betas=(0.5, 0.9)), Loop(betas=(0.5, 0.9))
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


def test_optimizers_without_betas_work() -> None:
    loop = Loop(SGD)
    pilot = Pilot(annealed(lr_d="linear(4e-3, 2e-3)"), steps=4, optimizers=loop.optimizers)
    for _ in range(4):
        pilot.observe(**loop.step())
    assert loop.optimizers["discriminator"].param_groups[0]["lr"] == 2e-3
    with pytest.raises(SettingError, match="beta1 has no effect in this loop; knobs that have an effect: lr_d, lr_g"):
        Pilot(annealed(beta1="constant(0.5)"), steps=4, optimizers=loop.optimizers)


def test_values_reach_the_signals() -> None:
    loop = Loop()
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


def test_a_player_with_rare_updates_has_a_loss_at_every_reading() -> None:
    """Five updates of the critic for one of the generator: Arjovsky 2017, algorithm 1."""
    loop = Loop()
    pilot = Pilot("fixed", steps=40, optimizers=loop.optimizers, sense_every=10)
    pilot.eager = 0
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


def test_nothing_is_read_from_the_device_between_readings(reads: list[str]) -> None:
    loop = Loop()
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
    assert read_at == [*range(1, EAGER + 1), 150, 200, 250, 300]
    assert max(read_times) <= 2, "the table of numbers, and the count of values that are not finite"


def test_held_out_ranks_cost_one_read(reads: list[str]) -> None:
    pilot = Pilot("fixed", steps=10, knobs=Knobs())
    probed = StepRecord(1, 4, probe_train=torch.ones(4), probe_held_out=torch.zeros(4))
    decision = pilot.observe(probed)
    assert decision is not None
    assert decision.observation.signals.rank_train_held_out == 1
    assert len(reads) == 1


@dataclass(frozen=True)
class GreedyState:
    count: int


@dataclass(frozen=True)
class Greedy:
    """Decides by the rank and its state; requests more than its limits allow."""

    def initial(self, knobs: Knobs) -> GreedyState:
        return GreedyState(0)

    def update(self, state: GreedyState, observation: Observation) -> Turn[GreedyState]:
        rank = observation.signals.rank_train_fake or 0.0
        knobs = request(observation.knobs, {"lr_g": 2e-4 * (1 + rank + state.count / 7), "beta1": 0.95})
        return Turn(knobs, GreedyState(state.count + 1), {"lr_g": "rank", "beta1": "greed"})

    def required_knobs(self) -> frozenset[str]:
        return frozenset({"lr_g", "beta1"})


def replay_by_hand(controller: Any, base: Knobs, observations: list[Observation]) -> list[Mapping[str, float]]:
    """The knobs after each decision, from the observations alone."""
    state = initial = controller.initial(base)
    start = controller.update(state, Observation(0, 0.0, Signals(), Health(), base))
    knobs, state = (
        base.with_values({n: r.clamp(getattr(start.knobs, n)) for n, r in base.ranges().items()}),
        start.state,
    )
    result = []
    for observation in observations:
        assert observation.knobs == knobs, "the observation has the replayed knobs"
        state = state_from_json(initial, json.loads(json.dumps(state_to_json(state))))
        turn = controller.update(state, observation)
        knobs, state = knobs.step_towards(turn.knobs), turn.state
        result.append(knobs.values())
    return result


def controllers() -> list[Any]:
    ready = [catalog.build("controllers", name) for name in catalog.names("controllers")]
    return [*ready, annealed(lr_g="step(1e-3, 0.5, 0.1)", augment_p="linear(0, 0.8)"), Greedy()]


@pytest.mark.parametrize("controller", controllers(), ids=lambda controller: type(controller).__name__)
def test_observations_alone_replay_every_knob(controller: Any) -> None:
    loop, base = Loop(), AdversarialKnobs()
    model_info = ModelInfo(turnable=frozenset(AdversarialKnobs.ranges()), ideal=lambda knobs: math.log(4))
    pilot = Pilot(controller, steps=160, knobs=base, optimizers=loop.optimizers, model_info=model_info, sense_every=10)
    decisions: list[Decision] = []
    values = []
    for _ in range(160):
        step_values = loop.step()
        if decision := pilot.observe(**step_values, logit_held_out=step_values["logit_real"] - 1):
            decisions.append(decision)
            values.append(pilot.knobs.values())
    assert len(decisions) == EAGER + 6
    assert replay_by_hand(controller, base, [decision.observation for decision in decisions]) == values
    assert bool(controller.required_knobs()) == (values[-1] != base.values())
    moved = {change.knob for decision in decisions for change in (*decision.changes, *pilot.initial_changes)}
    assert moved & controller.required_knobs() or not controller.required_knobs()


def test_a_decision_is_clamped_and_limited() -> None:
    pilot = Pilot(Greedy(), steps=400, knobs=Knobs(), model_info=ModelInfo(turnable=frozenset({"lr_g", "beta1"})))
    assert pilot.knobs.beta1 == 0.95, "the first value is a setting, not a change"
    pilot.restore(0, 0, {}, {**pilot.state()[1], "knobs": Knobs().values(), "target": Knobs().values()})
    path = []
    for _ in range(6):
        pilot.observe(loss_g=torch.tensor(1.0))
        path.append(pilot.knobs.beta1)
    assert path == pytest.approx([0.6, 0.7, 0.8, 0.9, 0.95, 0.95])


def test_a_required_knob_that_does_not_act_is_refused() -> None:
    loop = Loop()
    with pytest.raises(SettingError, match=r"augment_p has no effect in this loop; .*: beta1, beta2, lr_d, lr_g"):
        Pilot(annealed(augment_p="linear(0, 0.8)"), steps=10, optimizers=loop.optimizers)
    only = {"generator": loop.optimizers["generator"]}
    with pytest.raises(
        SettingError, match="lr_d has no effect in this loop; knobs that have an effect: beta1, beta2, lr_g"
    ):
        Pilot("annealed", steps=10, optimizers=only)
    acting = frozenset({"lr_g", "lr_d"})
    with pytest.raises(
        SettingError, match="r1_gamma has no effect in this model; knobs that have an effect: lr_d, lr_g"
    ):
        Pilot(
            annealed(r1_gamma="constant(1)"), steps=10, knobs=AdversarialKnobs(), model_info=ModelInfo(turnable=acting)
        )
    with pytest.raises(SettingError, match="lr_z has no effect"):
        Pilot(annealed(lr_z="constant(1)"), steps=10, optimizers=loop.optimizers)


def test_unknown_names_are_refused() -> None:
    loop = Loop()
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


@pytest.mark.parametrize("cut", [3, 18])
@pytest.mark.parametrize("sense_every", [1, 10])
def test_a_pilot_continues_from_its_state(cut: int, sense_every: int) -> None:
    """Also from the middle of a window, with values that are passed in a few steps only."""

    def run(pilot: Pilot, loop: Loop, steps: range) -> list[Decision | None]:
        pilot.eager = 0
        return [pilot.observe(**values_of(loop, step)) for step in steps]

    def values_of(loop: Loop, step: int) -> dict[str, Tensor]:
        values = loop.step()
        if step in (2, 17):
            values |= {"logit_held_out": values["logit_real"].detach() - 0.5, "real": loop.real, "fake": loop.fake}
        return values

    loop, other = Loop(), Loop()
    uninterrupted = Pilot(Greedy(), steps=20, optimizers=loop.optimizers, sense_every=sense_every)
    expected = run(uninterrupted, loop, range(20))
    first = Pilot(Greedy(), steps=20, optimizers=other.optimizers, sense_every=sense_every)
    run(first, other, range(cut))
    tensors, values = first.state()
    fresh = {
        "generator": Adam(other.generator.parameters(), lr=1e-6),
        "discriminator": Adam(other.discriminator.parameters(), lr=1e-6),
    }
    for name, optimizer in fresh.items():
        optimizer.load_state_dict(other.optimizers[name].state_dict())
    other.optimizers = fresh
    second = Pilot(Greedy(), steps=20, optimizers=fresh, knobs=first.base, sense_every=sense_every)
    second.restore(cut, 16 * cut, tensors, json.loads(json.dumps(values)))
    assert run(second, other, range(cut, 20)) == expected[cut:]
    assert second.state()[1] == uninterrupted.state()[1]
    last = expected[-1]
    assert last is not None
    assert (last.observation.signals.rank_train_held_out is None) == (sense_every == 1)
    assert (last.observation.signals.diversity is None) == (sense_every == 1)


@pytest.mark.parametrize("loaded", ["before the pilot", "after it"])
def test_restoring_keeps_the_rates_of_a_scheduler_and_of_a_second_group(loaded: str) -> None:
    """Learning rates in every step of a whole run, and of one that was stopped after step 7."""

    def start() -> tuple[Loop, StepLR]:
        loop = Loop()
        opt_g = Adam([loop.generator.weight], lr=1e-3)
        opt_g.add_param_group({"params": [loop.generator.bias], "lr": 5e-3})
        loop.optimizers["generator"] = opt_g
        return loop, StepLR(opt_g, step_size=5, gamma=0.1)

    def run(pilot: Pilot, loop: Loop, scheduler: StepLR, count: int) -> list[list[float]]:
        rates = []
        for _ in range(count):
            rates.append([group["lr"] for one in loop.optimizers.values() for group in one.param_groups])
            pilot.observe(**loop.step())
            scheduler.step()
        return rates

    controller = Annealed(factors={"lr_g": "linear(1, 0.5)", "lr_d": "linear(1, 0.5)"})
    loop, scheduler = start()
    expected = run(Pilot(controller, steps=20, optimizers=loop.optimizers), loop, scheduler, 20)
    assert expected[0] == [1e-3, 5e-3, 4e-3]
    assert expected[7] == pytest.approx([0.825e-4, 4.125e-4, 3.3e-3])

    stopped, scheduler = start()
    first = Pilot(controller, steps=20, optimizers=stopped.optimizers)
    run(first, stopped, scheduler, 7)
    (tensors, values), states = first.state(), {name: one.state_dict() for name, one in stopped.optimizers.items()}
    again, second_scheduler = start()
    again.generator.load_state_dict(stopped.generator.state_dict())
    again.discriminator.load_state_dict(stopped.discriminator.state_dict())
    again.noise = stopped.noise

    def load() -> None:
        for name, one in again.optimizers.items():
            one.load_state_dict(states[name])
        second_scheduler.load_state_dict(scheduler.state_dict())

    if loaded == "before the pilot":
        load()
    second = Pilot(controller, steps=20, optimizers=again.optimizers, knobs=first.base)
    if loaded == "after it":
        load()
    second.restore(7, 112, tensors, json.loads(json.dumps(values)))
    assert run(second, again, second_scheduler, 13) == expected[7:]
    fewer = Pilot(controller, steps=20, optimizers=Loop().optimizers)
    with pytest.raises(SettingError, match="the optimizer of the generator has 1 parameter groups, the saved state 2"):
        fewer.restore(7, 112, tensors, values)
