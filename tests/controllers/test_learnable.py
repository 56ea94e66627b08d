"""Learned policies in a run: zero policies, replay, adaptation, and refused options."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.controllers import _bandit
from equipoise.controllers._bandit import BanditState
from equipoise.controllers.learnable import Learnable
from equipoise.controllers.rank import Rank
from equipoise.controllers.time_only import TimeOnly
from equipoise.core import catalog
from equipoise.core.controller import AnyController, RunFacts
from equipoise.core.events import Turned
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, MetricReading, Observation, Signals
from equipoise.errors import SettingError
from equipoise.experiment import launch
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.meta.episodes import set_short_run_readings
from equipoise.meta.stacked import pilot_with_controller
from equipoise.pilot.pilot import ModelInfo, Pilot
from equipoise.pilot.replay import replay
from equipoise.policy.files import Policy, encode_policy
from equipoise.policy.kinds import KINDS, untrained_policy
from equipoise.runs.observations import read_observations
from equipoise.runs.run import Run
from equipoise.training.loop import train

RING = Experiment(
    data=PlugSpec("ring"), steps=48, batch_size=8, options={"width": 4}, repair=False, metric=PlugSpec("none")
)


def random_policy(kind: str, scale: float = 1.0) -> Policy:
    """A policy with random weights, which decides at least every ten steps."""
    policy = untrained_policy(kind)
    row = scale * np.random.default_rng(5).standard_normal(policy.actor.flat().size)
    return dataclasses.replace(policy, actor=policy.actor.with_flat(row), every=min(policy.every, 10))


def run(controller: AnyController) -> tuple[list[Turned], dict[str, Tensor]]:
    """The changes of knobs in a short run, and its final weights."""
    training = assemble(complete(RING), None)
    training.pilot = pilot_with_controller(training, controller)
    turns = [event for event in train(training) if isinstance(event, Turned)]
    tensors = {name: value for name, value in training.state.tensors().items() if not name.startswith("random/")}
    return turns, {name: value.clone() for name, value in tensors.items()}


@pytest.mark.parametrize(("kind", "name"), [("residual", "rank"), ("time_only", "annealed")])
def test_a_policy_of_zeros_equals_its_base_controller_bit_for_bit(kind: str, name: str) -> None:
    policy, plain = Learnable.from_policy(untrained_policy(kind)), catalog.build("controllers", name)
    (changes, weights), (expected_changes, expected) = run(policy), run(plain)
    assert [(one.step, one.knob, one.before, one.after) for one in changes] == [
        (one.step, one.knob, one.before, one.after) for one in expected_changes
    ]
    assert changes
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


def test_other_weights_change_other_knobs() -> None:
    knobs = {one.knob for one in run(Learnable.from_policy(random_policy("residual")))[0]}
    assert knobs == {"lr_g", "lr_d", "r1_gamma", "r2_gamma", "instance_noise"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_reproduces_every_knob(kind: str, tmp_path: Path) -> None:
    (tmp_path / "p.safetensors").write_bytes(encode_policy(random_policy(kind)))
    names = {"residual": "learnable", "brief": "learnable:brief", "suite": "learnable", "ppo_suite": "ppo"}
    features = {"features": "suite"} if kind.endswith("suite") else {}
    controller = PlugSpec(names.get(kind, kind), {"policy": str(tmp_path / "p.safetensors"), **features})
    for _ in launch.start(dataclasses.replace(RING, controller=controller), tmp_path / "run"):
        pass
    log = Run(tmp_path / "run")
    observations = list(read_observations(log, AdversarialKnobs()))
    base = AdversarialKnobs().with_values(log.lines("started")[0]["knobs"])
    options = log.experiment()["controller"]
    again = replay(catalog.build("controllers", options["name"], options["options"]), observations, base)
    assert [knobs.values() for knobs in again[:-1]] == [observation.knobs.values() for observation in observations[1:]]
    assert len(set(again)) > 3


@pytest.mark.parametrize(
    ("steps", "training", "decisions"),
    [(300, True, 20), (400, False, 16), (1000, False, 22), (2500, False, 25), (2000, False, 40), (4000, False, 40)],
)
def test_decisions_follow_readings_and_move_one_step(steps: int, training: bool, decisions: int) -> None:
    """Decisions are at the first reading after each fortieth of the run, as documented."""
    controller, base = Learnable.from_policy(random_policy("time_only", 9.0)), AdversarialKnobs()
    rules = ModelInfo(turnable=frozenset({"lr_g", "lr_d"}))
    training_run = assemble(complete(dataclasses.replace(RING, steps=steps)), None)
    training_run.pilot = Pilot(controller, steps=steps, knobs=base, model_info=rules)
    if training:
        set_short_run_readings(training_run)
    state, decision_steps = controller.initial(base), []
    for step in filter(training_run.pilot.is_due, range(1, steps + 1)):
        turn = controller.update(state, Observation(step, step / steps, Signals(), Health(), base))
        if turn.state.last_decision != state.last_decision:
            decision_steps.append(step)
        else:
            assert turn.state.positions == state.positions
        moves = [abs(a - b) for a, b in zip(turn.state.positions, state.positions, strict=True)]
        assert all(move <= head.step + 1e-12 for move, head in zip(moves, KINDS["time_only"].heads, strict=True))
        state = turn.state
    assert len(decision_steps) == decisions
    assert decision_steps[:2] == ([8, 30] if training else decision_steps[:2])


def bandit_states(values: list[float], ages: list[int]) -> Iterator[BanditState]:
    state = _bandit.initial_state()
    for value, age in zip(values, ages, strict=True):
        state = _bandit.update(state, Signals(metrics={"fd": MetricReading(value, age)}))
        yield state


def test_a_harmful_policy_is_followed_less() -> None:
    """The metric grows while the policy is followed with gain 1, and falls otherwise."""
    state, value, gains = _bandit.initial_state(), 1.0, []
    for _ in range(40):
        value *= 1.1 if _bandit.gain(state) == 1 else 0.9
        state = _bandit.update(state, Signals(metrics={"fd": MetricReading(value, 64)}))
        gains.append(_bandit.gain(state))
    assert gains[0] == 1, "the first value has no reward"
    assert gains[-20:].count(1.0) <= 3
    assert sum(gains[:10]) / 10 > sum(gains[-10:]) / 10


def test_a_useful_policy_is_followed() -> None:
    state, value, gains = _bandit.initial_state(), 1.0, []
    for _ in range(40):
        value *= 0.9 if _bandit.gain(state) == 1 else 1.1
        state = _bandit.update(state, Signals(metrics={"fd": MetricReading(value, 64)}))
        gains.append(_bandit.gain(state))
    assert gains[-20:].count(1.0) >= 17


def test_an_evaluation_counts_once() -> None:
    """Its age grows until the next evaluation: 32, 64, then 32 again."""
    states = list(bandit_states([2.0, 2.0, 1.0, 1.0], [32, 64, 32, 64]))
    assert [state.pulls for state in states] == [0, 0, 1, 1]


def test_every_evaluation_is_a_pull_whatever_its_age() -> None:
    """Evaluated every 20 steps and read every 50: new each time, of alternating age."""
    ages = [step % 20 for step in range(50, 1050, 50)]
    states = list(bandit_states([1.0 / step for step in range(50, 1050, 50)], ages))
    assert [state.pulls for state in states] == list(range(20))


def test_the_bandit_samples_by_its_seed() -> None:
    """Seed 0 gives the samples of versions without a seed."""

    def arms(seed: int) -> list[int]:
        state, arms_so_far = _bandit.initial_state(), []
        for number in range(30):
            signals = Signals(metrics={"fd": MetricReading(1.0 + number % 2, 64)})
            state = _bandit.update(state, signals, seed)
            arms_so_far.append(state.arm)
        return arms_so_far

    assert arms(1) == arms(1) != arms(2)
    for pull in (1, 7, 300):
        before = np.random.default_rng(pull).standard_normal(3)
        assert np.array_equal(np.random.default_rng([pull, 0]).standard_normal(3), before)
    with pytest.raises(SettingError, match="seed = -1: it must be at least 0"):
        Learnable(seed=-1)


def test_without_a_metric_nothing_is_learned() -> None:
    state = _bandit.initial_state()
    assert _bandit.update(state, Signals()) == state
    assert _bandit.gain(state) == 1


def test_adapting_with_gain_0_equals_the_base_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.safetensors").write_bytes(encode_policy(random_policy("residual")))
    monkeypatch.setattr(_bandit, "GAINS", (0.0, 0.0, 0.0))
    turns, _ = run(Learnable(policy=str(tmp_path / "p.safetensors"), adapt=True))
    expected, _ = run(catalog.build("controllers", "rank"))
    assert [(one.step, one.knob, one.after) for one in turns] == [(one.step, one.knob, one.after) for one in expected]


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        (
            "learnable",
            {"policy": "brief"},
            "the policy 'brief' uses the features 'brief', but this controller needs 'residual'",
        ),
        ("learnable:brief", {"policy": "residual"}, "uses the features 'residual', but this controller needs 'brief'"),
        ("time_only", {"policy": "residual"}, "uses the features 'residual', but this controller needs 'time_only'"),
        ("ppo", {"policy": "residual"}, "uses the features 'residual', but this controller needs 'ppo'"),
        ("learnable", {"knobs": ["augment_p"]}, r"the policy 'residual' does not change 'augment_p'; it changes inst"),
        ("learnable", {"policy": "nowhere"}, "there is no policy 'nowhere': neither a file nor a shipped policy"),
        (
            "ppo",
            {"digest": "0" * 64},
            r"has the digest \w{12}…, but the run started with 000000000000…; restore the old",
        ),
    ],
)
def test_an_incompatible_policy_is_refused(name: str, options: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingError, match=line):
        catalog.build("controllers", name, options)


def test_only_knobs_named_by_the_user_must_act() -> None:
    """augment_p has no effect on points: the policy of the brief ignores it, unless the user names it."""
    brief = PlugSpec("learnable:brief")
    assert assemble(complete(dataclasses.replace(RING, controller=brief)), None).pilot.knobs.instance_noise == 1
    explicit = dataclasses.replace(RING, controller=brief.with_options(knobs=["augment_p"]))
    with pytest.raises(SettingError, match="augment_p has no effect in mlp"):
        assemble(complete(explicit), None)


def test_the_digest_goes_into_the_experiment(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(encode_policy(random_policy("residual")))
    completed = complete(dataclasses.replace(RING, controller=PlugSpec("learnable", {"policy": str(path)})))
    assert completed.controller is not None
    assert len(completed.controller.options["digest"]) == 64
    path.write_bytes(encode_policy(untrained_policy("residual")))
    with pytest.raises(SettingError, match="restore the old file, or train a new run"):
        assemble(completed, None)


def test_time_only_depends_on_progress_alone() -> None:
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
"""Distance of the fakes N(APART, 1) of a constant generator from the reals N(0, 1)."""
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
    """The optimal slope at these knobs, by golden-section search: loss_d is convex."""
    low, high, ratio = 0.0, 2 * APART, (5**0.5 - 1) / 2
    for _ in range(80):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if losses(noise_var, weight, a)[1] < losses(noise_var, weight, b)[1]:
            high = b
        else:
            low = a
    return (low + high) / 2


@pytest.mark.parametrize(("knob", "top", "far"), [("noise_var", 2.0, 2.5), ("regularization_weight", 20.0, 30.0)])
def test_descending_the_losses_of_the_players_blinds_the_discriminator(knob: str, top: float, far: float) -> None:
    """Why policies are not trained by back-propagating loss_g + loss_d through the game, as for meta-networks.

    The generator is constant and far from the reals. Descending the gradient of both losses with respect to a knob,
    through an optimal discriminator, moves the knob to the upper bound of the brief's range, where the loss of the
    generator is lowest and the slope that it would descend is smallest. The samples have not moved: by the distance to
    held-out reals, nothing has improved.
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
    assert path[:20] == sorted(path[:20], reverse=True), "the loss of the generator falls, though it has not changed"
    before, after = best_slope(*knobs(0.0)), best_slope(*knobs(top))
    assert before == pytest.approx(APART, rel=1e-3), "the log ratio of the densities, in closed form"
    assert after < before / far


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_keeps_deciding_when_progress_decreases(kind: str) -> None:
    """As in a finished run that is resumed with twice as many steps."""
    policy, base = Learnable.from_policy(random_policy(kind)), AdversarialKnobs()
    state, knobs, decision_steps = policy.initial(base), base, []
    for step in range(0, 2001, 50):
        observation = Observation(step, step / (1000 if step <= 1000 else 2000), Signals(), Health(), knobs)
        inputs = policy.observe(state, observation)
        turn = policy.decide(inputs, policy.policy.actor(inputs.features) if inputs.is_due else None)
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        decision_steps += [step] if inputs.is_due else []
    assert decision_steps == list(range(50, 1001, 50)) + list(
        range(1100 if policy.policy.every < 1 else 1050, 2001, 50)
    )


def test_a_policy_without_an_acting_knob_is_refused() -> None:
    players = {name: torch.optim.Adam([torch.zeros(1)]) for name in ("generator", "discriminator")}
    with pytest.raises(
        SettingError, match=r"changes augment_p, gp_weight, instance_noise, r1_gamma, none of which acts"
    ):
        Pilot("learnable:brief", steps=10, optimizers=players)
    chain = catalog.build("controllers", "chain", {"of": ("rank", "learnable:brief")})
    with pytest.raises(SettingError, match="none of which acts here"):
        Pilot(chain, steps=10, optimizers=players)
    assert Pilot("learnable", steps=10, optimizers=players).turnable == {"lr_g", "lr_d", "beta1", "beta2"}
    noise = ModelInfo(turnable=frozenset({"instance_noise"}))
    assert Pilot("learnable:brief", steps=10, knobs=AdversarialKnobs(), model_info=noise).knobs.instance_noise == 1


def test_facts_of_the_run_are_filled_in_for_the_features_of_the_suite() -> None:
    facts = RunFacts(steps=200, batch_size=32, training_samples=64, held_out_samples=16)
    for name in ("learnable:suite", "ppo:suite"):
        resolved = catalog.build("controllers", name, {}).resolve(facts)
        assert (resolved.epochs, resolved.held_out_samples) == (100.0, 16)
        assert catalog.build("controllers", name, {"epochs": 7.0}).resolve(facts).epochs == 7.0, "the user's value"
        unknown = RunFacts(steps=None, batch_size=32, training_samples=None, held_out_samples=0)
        assert resolved == resolved.resolve(unknown)
    plain = Learnable()
    assert plain.resolve(facts) == plain


def test_the_guard_returns_every_head_to_the_base() -> None:
    """While the distance is three times its lowest value or more; the base is followed bit for bit at the end."""
    policy, base, knobs = Learnable.from_policy(random_policy("suite", 9.0)), Rank(), AdversarialKnobs()
    state, base_state, base_knobs = policy.initial(knobs), base.initial(knobs), knobs
    for step in range(41):
        distance = 0.1 if step < 20 else 0.4
        signals = Signals(rank_train_fake=0.9, rank_train_held_out=0.3, metrics={"kd": MetricReading(distance, 0)})
        observation = Observation(step, step / 40, signals, Health(), knobs)
        turn = policy.update(state, observation)
        alone = base.update(base_state, dataclasses.replace(observation, knobs=base_knobs))
        state, knobs, base_state = turn.state, knobs.step_towards(turn.knobs), alone.state
        base_knobs = base_knobs.step_towards(alone.knobs)
        if step == 19:
            assert max(map(abs, state.positions)) > 0.3
    assert state.positions == (0.0, 0.0, 0.0)
    assert knobs == base_knobs


def test_discrete_policies_do_not_learn_within_a_run() -> None:
    with pytest.raises(SettingError, match="the policy 'ppo_suite' cannot learn within a run; omit learn"):
        catalog.build("controllers", "ppo:suite", {"learn": True})
    with pytest.raises(SettingError, match="uses the features 'suite', but this controller needs 'ppo'"):
        catalog.build("controllers", "ppo", {"policy": "ppo_suite"})
