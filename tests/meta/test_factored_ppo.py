"""PPO with factored discrete actions: relative returns, paired runs, and improvement of choices that pay."""

import dataclasses

import numpy as np
import pytest

from equipoise.errors import SettingError
from equipoise.meta.factored_ppo import (
    DecisionBatch,
    collect_batch,
    improve_policy,
    measure_advantages,
    quality_curve,
    relative_return,
)
from equipoise.meta.tasks import TaskDistribution
from equipoise.policy.kinds import untrained_policy
from equipoise.policy.network import choice_logits

TASKS = TaskDistribution(
    {
        "data": {"name": "equipoise.meta.points", "reals": 64},
        "model": {"name": "mlp", "width": 4},
        "metric": "equipoise.meta.held_out",
        "steps": 12,
        "batch_size": 8,
        "evaluate_every": 4,
    },
    {"data.shape": ["moons", "cross"]},
)
UNTRAINED = untrained_policy("ppo_suite")


def test_returns_are_relative_to_the_base_run_and_not_discounted() -> None:
    base = quality_curve([(10, 0.4), (20, 0.2)], 20, 0.0)
    better = quality_curve([(10, 0.4), (20, 0.1)], 20, 0.0)
    early = quality_curve([(10, 0.2), (20, 0.1)], 20, 0.0)
    assert relative_return(base, base, 0.3) == 0
    assert relative_return(better, base, 0.0) == pytest.approx(np.log(2))
    assert relative_return(better, base, 0.9) == pytest.approx(np.log(2)), "the gain came after the decision"
    assert relative_return(early, base, 0.9) == pytest.approx(0.0), "the gain came before the decision"
    assert relative_return(None, base, 0.0) == -3.0
    assert relative_return(quality_curve([(20, 1e9)], 20, 0.0), base, 0.0) == -3.0


def test_batches_are_deterministic_and_explore() -> None:
    tasks = TASKS.sample_many(2, 0)
    first, again = (collect_batch(UNTRAINED, tasks, 2, 0.002, seed=5) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert first.features.shape[1] == len(UNTRAINED.feature_names)
    assert first.choices.shape == (len(first.returns), len(UNTRAINED.heads))
    assert set(first.choices.ravel()) == {0.0, 1.0, 2.0}
    assert not np.array_equal(first.choices, collect_batch(UNTRAINED, tasks, 2, 0.002, seed=6).choices)


def test_an_untrained_policy_equals_its_base() -> None:
    assert measure_advantages(UNTRAINED, TASKS.sample_many(2, 0), 0.002) == [0.0, 0.0]


def test_choices_that_pay_become_likely() -> None:
    """The second head should choose 1 where the first feature is positive; the third head is not trained."""
    generator = np.random.default_rng(0)
    policy = UNTRAINED
    for _ in range(30):
        features = generator.uniform(-1, 1, (400, len(policy.feature_names)))
        logits = choice_logits(policy.actor.layers(features)[-1])
        choices = (logits + generator.gumbel(size=logits.shape)).argmax(-1)
        returns = np.where(choices[:, 1] == 1, np.sign(features[:, 0]), 0.0)
        policy = improve_policy(
            policy, DecisionBatch(features, choices.astype(float), returns), 0.03, [False, True, False]
        )
    point = np.zeros(len(policy.feature_names))
    point[0] = 0.8
    assert policy.actor(point)[1] == 1
    point[0] = -0.8
    assert policy.actor(point)[1] != 1
    last = policy.actor.weights[-1]
    assert np.abs(last[3:6]).max() > 0
    assert np.array_equal(last[6:9], np.zeros_like(last[6:9]))
    assert np.array_equal(last[0:3], np.zeros_like(last[0:3]))


def test_tasks_need_reals_and_steps() -> None:
    task = TASKS.sample_many(1, 0)[0]
    with pytest.raises(SettingError, match=r"needs data\.reals and batch_size; add them"):
        collect_batch(UNTRAINED, [dataclasses.replace(task, batch_size=None)], 1, 0.002, 0)
    with pytest.raises(SettingError, match="needs steps; add them"):
        measure_advantages(UNTRAINED, [dataclasses.replace(task, steps=None)], 0.002)
