"""Learned policies in a run: what a policy of zeros is, what is replayed, adapted and refused."""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.controllers import _adapting as adapting
from equipoise.controllers.learnable import Learnable
from equipoise.controllers.time_only import TimeOnly
from equipoise.core import catalog
from equipoise.core.events import Turned
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Controller, Health, MetricReading, Observation, Signals
from equipoise.errors import SettingError
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec, complete
from equipoise.meta.episodes import hurry, piloted
from equipoise.pilot.pilot import ModelInfo, Pilot
from equipoise.pilot.replay import observations, replay
from equipoise.policy.blank import KINDS, blank
from equipoise.policy.files import Policy, encoded
from equipoise.runs.run_folder import Run
from equipoise.training.loop import train

RING = Experiment(
    data=PlugSpec("ring"), steps=48, batch_size=8, options={"width": 4}, repair=False, metric=PlugSpec("none")
)


def wilful(kind: str, scale: float = 1.0) -> Policy:
    """A policy with weights drawn at random, that decides every ten steps at the latest."""
    policy = blank(kind)
    row = scale * np.random.default_rng(5).standard_normal(policy.actor.flat().size)
    return dataclasses.replace(policy, actor=policy.actor.with_flat(row), every=min(policy.every, 10))


def run(controller: Controller) -> tuple[list[Turned], dict[str, Tensor]]:
    """The turns of a short run, and the weights that it ended with."""
    training = launch.assemble(complete(RING), None)
    training.pilot = piloted(training, controller)
    turns = [event for event in train(training) if isinstance(event, Turned)]
    kept = {name: value for name, value in training.state.tensors().items() if not name.startswith("random/")}
    return turns, {name: value.clone() for name, value in kept.items()}


@pytest.mark.parametrize(("kind", "name"), [("residual", "rank"), ("time_only", "annealed")])
def test_a_policy_of_zeros_is_the_controller_below_it_bit_for_bit(kind: str, name: str) -> None:
    policy, plain = Learnable.steered(blank(kind)), catalog.build("controllers", name)
    (mine, weights), (theirs, expected) = run(policy), run(plain)
    assert [(one.step, one.knob, one.before, one.after) for one in mine] == [
        (one.step, one.knob, one.before, one.after) for one in theirs
    ]
    assert mine, "something was turned"
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


def test_other_weights_do_other_things() -> None:
    turned = {one.knob for one in run(Learnable.steered(wilful("residual")))[0]}
    assert turned == {"lr_g", "lr_d", "r1_gamma", "r2_gamma", "instance_noise"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_replays_every_knob(kind: str, tmp_path: Path) -> None:
    (tmp_path / "p.safetensors").write_bytes(encoded(wilful(kind)))
    name = {"residual": "learnable", "brief": "learnable:brief"}.get(kind, kind)
    controller = PlugSpec(name, {"policy": str(tmp_path / "p.safetensors")})
    for _ in launch.start(dataclasses.replace(RING, controller=controller), tmp_path / "run"):
        pass
    log = Run(tmp_path / "run")
    seen = list(observations(log, AdversarialKnobs()))
    base = AdversarialKnobs().with_values(log.named("started")[0]["knobs"])
    options = log.experiment()["controller"]
    again = replay(catalog.build("controllers", options["name"], options["options"]), seen, base)
    assert [knobs.values() for knobs in again[:-1]] == [observation.knobs.values() for observation in seen[1:]]
    assert len(set(again)) > 3


@pytest.mark.parametrize(
    ("steps", "training", "decisions"),
    [(300, True, 20), (400, False, 16), (1000, False, 22), (2500, False, 25), (2000, False, 40), (4000, False, 40)],
)
def test_decisions_come_at_readings_and_move_a_step_each(steps: int, training: bool, decisions: int) -> None:
    """A fortieth of the run apart, at the first reading after it; as the docs have it."""
    controller, base = Learnable.steered(wilful("time_only", 9.0)), AdversarialKnobs()
    rules = ModelInfo(turnable=frozenset({"lr_g", "lr_d"}))
    beside = launch.assemble(complete(dataclasses.replace(RING, steps=steps)), None)
    beside.pilot = Pilot(controller, steps=steps, knobs=base, rules=rules)
    if training:
        hurry(beside)
    state, decided = controller.initial(base), []
    for step in filter(beside.pilot.is_due, range(1, steps + 1)):
        turn = controller.update(state, Observation(step, step / steps, Signals(), Health(), base))
        if turn.state["decided"] != state["decided"]:
            decided.append(step)
        else:
            assert turn.state["positions"] == state["positions"]
        moves = [abs(a - b) for a, b in zip(turn.state["positions"], state["positions"], strict=True)]
        assert all(move <= head.step + 1e-12 for move, head in zip(moves, KINDS["time_only"].heads, strict=True))
        state = turn.state
    assert len(decided) == decisions
    assert decided[:2] == ([8, 30] if training else decided[:2])


def adapted(values: list[float], ages: list[int] | None = None) -> Iterator[dict[str, Any]]:
    state = adapting.unlearned()
    for value, age in zip(values, ages or itertools.repeat(64), strict=ages is not None):
        state = adapting.adapted(json.loads(json.dumps(state)), Signals(metrics={"fd": MetricReading(value, age)}))
        yield state


def test_a_policy_that_does_harm_is_followed_less() -> None:
    """While the whole policy is followed the metric grows, otherwise it falls: the gain of 1 is soon left."""
    state, value, gains = adapting.unlearned(), 1.0, []
    for _ in range(40):
        value *= 1.1 if adapting.gain(state) == 1 else 0.9
        state = adapting.adapted(state, Signals(metrics={"fd": MetricReading(value, 64)}))
        gains.append(adapting.gain(state))
    assert gains[0] == 1, "the first value says nothing yet"
    assert gains[-20:].count(1.0) <= 3
    assert sum(gains[:10]) / 10 > sum(gains[-10:]) / 10


def test_a_policy_that_does_good_is_followed() -> None:
    state, value, gains = adapting.unlearned(), 1.0, []
    for _ in range(40):
        value *= 0.9 if adapting.gain(state) == 1 else 1.1
        state = adapting.adapted(state, Signals(metrics={"fd": MetricReading(value, 64)}))
        gains.append(adapting.gain(state))
    assert gains[-20:].count(1.0) >= 17


def test_a_metric_counts_once() -> None:
    """It grows older until it is measured again: age 32, then 64, then 32 anew."""
    states = list(adapted([2.0, 2.0, 1.0, 1.0], [32, 64, 32, 64]))
    assert [state["pulls"] for state in states] == [0, 0, 1, 1]


def test_every_measurement_is_a_pull_however_long_ago() -> None:
    """Measured every 20 steps of a sample each and read every 50: new each time, and older and younger by turns."""
    ages = [step % 20 for step in range(50, 1050, 50)]
    states = list(adapted([1.0 / step for step in range(50, 1050, 50)], ages))
    assert [state["pulls"] for state in states] == list(range(20))


def test_the_bandit_draws_by_its_seed() -> None:
    """Which gains are tried, by seed; 0 draws what was drawn before there was one."""

    def arms(seed: int) -> list[int]:
        state, chosen = adapting.unlearned(), []
        for number in range(30):
            signals = Signals(metrics={"fd": MetricReading(1.0 + number % 2, 64)})
            state = adapting.adapted(state, signals, seed)
            chosen.append(state["arm"])
        return chosen

    assert arms(1) == arms(1) != arms(2)
    for pull in (1, 7, 300):
        before = np.random.default_rng(pull).standard_normal(3)
        assert np.array_equal(np.random.default_rng([pull, 0]).standard_normal(3), before)
    with pytest.raises(SettingError, match="seed = -1: it must be at least 0"):
        Learnable(seed=-1)


def test_without_a_metric_nothing_is_learned() -> None:
    state = adapting.unlearned()
    assert adapting.adapted(state, Signals()) == state
    assert adapting.gain(state) == 1


def test_adapting_with_no_gain_is_the_controller_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.safetensors").write_bytes(encoded(wilful("residual")))
    monkeypatch.setattr(adapting, "GAINS", (0.0, 0.0, 0.0))
    turns, _ = run(Learnable(policy=str(tmp_path / "p.safetensors"), adapt=True))
    expected, _ = run(catalog.build("controllers", "rank"))
    assert [(one.step, one.knob, one.after) for one in turns] == [(one.step, one.knob, one.after) for one in expected]


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("learnable", {"policy": "brief"}, "the policy 'brief' sees the features 'brief', not 'residual' as this"),
        ("learnable:brief", {"policy": "residual"}, "sees the features 'residual', not 'brief' as this controller"),
        ("time_only", {"policy": "residual"}, "sees the features 'residual', not 'time_only' as this controller"),
        ("ppo", {"policy": "residual"}, "sees the features 'residual', not 'ppo' as this controller"),
        ("learnable", {"knobs": ["augment_p"]}, r"the policy 'residual' does not turn 'augment_p'; it turns inst"),
        ("learnable", {"policy": "nowhere"}, "there is no policy 'nowhere': neither a file nor one of those"),
        ("ppo", {"digest": "0" * 64}, r"has the digest \w{12}…, not 000000000000… as the run began with; put the old"),
    ],
)
def test_a_policy_that_does_not_suit_is_told(name: str, options: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingError, match=line):
        catalog.build("controllers", name, options)


def test_a_knob_asked_for_by_name_must_act_and_others_are_left_alone() -> None:
    """augment_p does nothing for points: the policy of the brief does without, unless it was asked for."""
    brief = PlugSpec("learnable:brief")
    assert launch.assemble(complete(dataclasses.replace(RING, controller=brief)), None).pilot.knobs.instance_noise == 1
    asked = dataclasses.replace(RING, controller=brief.with_options(knobs=["augment_p"]))
    with pytest.raises(SettingError, match="augment_p does not act for mlp"):
        launch.assemble(complete(asked), None)


def test_the_digest_goes_into_the_experiment(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(encoded(wilful("residual")))
    whole = complete(dataclasses.replace(RING, controller=PlugSpec("learnable", {"policy": str(path)})))
    assert whole.controller is not None
    assert len(whole.controller.options["digest"]) == 64
    path.write_bytes(encoded(blank("residual")))
    with pytest.raises(SettingError, match="put the old file back, or train anew"):
        launch.assemble(whole, None)


def test_time_only_sees_nothing_but_the_clock() -> None:
    controller, base = TimeOnly(), AdversarialKnobs()
    rich = Signals(rank_train_fake=0.99, loss_g=9.0, diversity=0.1, metrics={"fd": MetricReading(3.0, 1)})
    paths = []
    for signals in (Signals(), rich):
        state, path = controller.initial(base), []
        for step in range(0, 101, 5):
            turn = controller.update(state, Observation(step, step / 100, signals, Health(), base))
            path.append(turn.knobs)
            state = turn.state
        paths.append(path)
    assert paths[0] == paths[1]
    assert len(set(paths[0])) > 10


APART = 3.0
"""Distance of the fakes N(APART, 1) of a generator that stands still from the reals N(0, 1)."""
NODES, MASSES = np.polynomial.hermite_e.hermegauss(80)


def softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


def losses(noise_var: float, weight: float, slope: float) -> tuple[float, float]:
    """loss_g and loss_d (its penalty included) of the logit D(x) = -slope (x - APART / 2), by quadrature."""
    std, mass = (1 + noise_var) ** 0.5, MASSES / MASSES.sum()
    real, fake = (-slope * (mean + std * NODES - APART / 2) for mean in (0.0, APART))
    loss_d = mass @ softplus(-real) + mass @ softplus(fake) + weight * slope**2 / 2
    return float(mass @ softplus(-fake)), float(loss_d)


def best_slope(noise_var: float, weight: float) -> float:
    """Of a discriminator that has learned all it can at these knobs: by golden section, loss_d is convex."""
    low, high, ratio = 0.0, 2 * APART, (5**0.5 - 1) / 2
    for _ in range(80):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if losses(noise_var, weight, a)[1] < losses(noise_var, weight, b)[1]:
            high = b
        else:
            low = a
    return (low + high) / 2


@pytest.mark.parametrize(("knob", "top", "far"), [("noise_var", 2.0, 2.5), ("regularization_weight", 20.0, 30.0)])
def test_going_down_the_players_own_losses_blinds_the_discriminator(knob: str, top: float, far: float) -> None:
    """Why policies are not trained by back-propagating loss_g + loss_d through the game, as meta-networks may be.

    A generator that stands still, far off. Down the gradient of both losses by a knob, through a discriminator that
    answers as well as it can, the knob goes to the top of the brief's range, where the generator's loss looks better
    than anywhere else, and the slope that the generator is to go down is least. The samples are as far off as ever: by
    the distance to held-out reals, nothing was won.
    """

    def knobs(value: float) -> tuple[float, float]:
        return (value, 0.0) if knob == "noise_var" else (0.0, value)

    def total(value: float) -> float:
        return sum(losses(*knobs(value), best_slope(*knobs(value))))

    value, path = 0.0, []
    for _ in range(30):
        downhill = total(value + 1e-3) < total(value)
        value = min(top, max(0.0, value + (top / 20 if downhill else -top / 20)))
        path.append(losses(*knobs(value), best_slope(*knobs(value)))[0])
    assert value == top
    assert path[:20] == sorted(path[:20], reverse=True), "the generator's loss falls, though it has not moved"
    before, after = best_slope(*knobs(0.0)), best_slope(*knobs(top))
    assert before == pytest.approx(APART, rel=1e-3), "the log ratio of both densities, in closed form"
    assert after < before / far


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_goes_on_deciding_when_progress_goes_back(kind: str) -> None:
    """As it does where a run that was at its end is resumed for twice as long."""
    policy, base = Learnable.steered(wilful(kind)), AdversarialKnobs()
    state, knobs, decided = policy.initial(base), base, []
    for step in range(0, 2001, 50):
        seen = Observation(step, step / (1000 if step <= 1000 else 2000), Signals(), Health(), knobs)
        look = policy.look(state, seen)
        turn = policy.decided(look, policy.policy.actor(look.vector) if look.due else None)
        state, knobs = turn.state, knobs.clamped(turn.knobs)
        decided += [step] if look.due else []
    assert decided == list(range(50, 1001, 50)) + list(range(1100 if policy.policy.every < 1 else 1050, 2001, 50))


def test_a_policy_none_of_whose_knobs_act_is_refused() -> None:
    players = {name: torch.optim.Adam([torch.zeros(1)]) for name in ("generator", "discriminator")}
    with pytest.raises(SettingError, match=r"turns augment_p, gp_weight, instance_noise, r1_gamma, none of which acts"):
        Pilot("learnable:brief", steps=10, optimizers=players)
    chain = catalog.build("controllers", "chain", {"of": ("rank", "learnable:brief")})
    with pytest.raises(SettingError, match="none of which acts here"):
        Pilot(chain, steps=10, optimizers=players)
    assert Pilot("learnable", steps=10, optimizers=players).acting == {"lr_g", "lr_d", "beta1", "beta2"}
    noise = ModelInfo(turnable=frozenset({"instance_noise"}))
    assert Pilot("learnable:brief", steps=10, knobs=AdversarialKnobs(), rules=noise).knobs.instance_noise == 1
