"""Population-based training, a halving start and paired probes: one budget, charged whole, deterministic."""

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from equipoise.comparison.suite import episode, shared_budget
from equipoise.comparison.suite.arms import METHODS, parse_method, play_arm
from equipoise.comparison.suite.candidates import UNCHANGED, Candidate, CandidateSpace
from equipoise.comparison.suite.episode import ArmSettings, EpisodeCurve
from equipoise.comparison.suite.halving import Halving, rung_sizes
from equipoise.comparison.suite.population import Population
from equipoise.comparison.suite.probes import Probes
from equipoise.comparison.suite.shared_budget import Branch, SharedBudget
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.errors import EquipoiseError, SettingError
from equipoise.experiment.settings import PlugSpec

STEPS = 27
TASK = SuiteTask("tiny", "training", "mixtures", steps=STEPS, training_images=64, model="mlp", options={"width": 8})
HALF = ArmSettings(PlugSpec("annealed", {"factors": {"lr_g": "linear(1, 0.5)"}}))
ARMS: Mapping[str, Mapping[str, object]] = {
    "population": {"method": "population", "members": 2, "rounds": 3},
    "halving": {"method": "halving", "count": 4, "start": 0.4},
    "probes": {"method": "probes", "times": [0.2, 0.6], "branch": 0.1},
}
SINGLE: Mapping[str, Mapping[str, object]] = {
    "population": {"method": "population", "members": 1},
    "halving": {"method": "halving", "count": 1},
    "probes": {"method": "probes", "times": []},
}


@lru_cache(maxsize=16)
def curve(arm: str, seed: int = 0) -> EpisodeCurve:
    return play_arm(TASK, json.loads(arm), seed)


def without_cpu(result: EpisodeCurve) -> EpisodeCurve:
    return dataclasses.replace(result, cpu=0.0)


@pytest.mark.parametrize("method", METHODS)
def test_charged_steps_add_up_to_the_budget_and_equal_seeds_give_equal_curves(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets: list[SharedBudget] = []
    trained = 0

    class Watched(SharedBudget):
        def train_branch(self, branch: Branch, step: int, *, evaluate: bool = True) -> Branch:
            nonlocal trained
            cpu = self.cpu
            result = super().train_branch(branch, step, evaluate=evaluate)
            trained += result.snapshot.step - branch.snapshot.step
            assert self.cpu > cpu
            budgets.append(self)
            return result

    monkeypatch.setattr(f"equipoise.comparison.suite.{method}.SharedBudget", Watched)
    result = play_arm(TASK, ARMS[method], 0)
    assert trained == budgets[0].steps == STEPS
    steps = [evaluation.step for evaluation in result.evaluations]
    assert steps == sorted(steps)
    assert steps[-1] == STEPS
    assert result.cpu == budgets[0].cpu
    assert without_cpu(result) == without_cpu(curve(json.dumps(ARMS[method])))


@pytest.mark.parametrize("method", METHODS)
def test_the_selected_weights_are_those_with_the_best_live_distance(method: str) -> None:
    result = curve(json.dumps(ARMS[method]))
    assert math.isfinite(result.selected)
    assert result.selected == min(result.evaluations, key=lambda entry: entry.live).distance


@pytest.mark.parametrize("method", METHODS)
def test_a_single_member_is_the_plain_run(method: str) -> None:
    plain = {"controller": "annealed"}
    expected = curve(json.dumps(plain))
    assert without_cpu(play_arm(TASK, {**plain, **SINGLE[method]}, 0)) == without_cpu(expected)


SAME = CandidateSpace({}, (0.0,))


@pytest.mark.parametrize(
    "method",
    [
        Population(members=2, rounds=2, space=SAME),
        Halving(count=2, start=0.3, candidates=[UNCHANGED]),
        Probes(times=(0.3,), branch=0.1, threshold=1e9),
    ],
    ids=["population", "halving", "probes"],
)
def test_the_survivor_ends_at_progress_one(method: Population | Halving | Probes) -> None:
    task = dataclasses.replace(TASK, steps=20)
    base = episode.open_training(task, HALF, 0).pilot.base.values()["lr_g"]
    result = method.play(task, HALF, 0)
    assert result.evaluations[-1].step == 20
    assert result.evaluations[-1].knobs["lr_g"] == pytest.approx(0.5 * base)


def test_halving_discards_an_absurd_setting() -> None:
    slow = dataclasses.replace(TASK, knobs={"lr_g": 1e-4, "lr_d": 1e-4})
    absurd = Candidate({"lr_g": 1e-3, "lr_d": 100.0})
    better = Candidate({"lr_g": 8.0, "lr_d": 8.0})
    result = Halving(count=3, start=0.6, candidates=[absurd, better]).play(slow, ArmSettings(), 0)
    assert result.evaluations[-1].knobs["lr_d"] == pytest.approx(8e-4)


def test_probes_refuse_a_harmful_change_and_keep_a_good_one() -> None:
    slow = dataclasses.replace(TASK, knobs={"lr_g": 1e-4, "lr_d": 1e-4})
    harmful = Probes(times=(0.2, 0.6), branch=0.15, changes=[Candidate({"lr_g": 1e-3, "lr_d": 100.0})])
    assert harmful.play(slow, ArmSettings(), 0).evaluations[-1].knobs["lr_d"] == pytest.approx(1e-4)
    good = Probes(times=(0.2, 0.6), branch=0.15, changes=[Candidate({"lr_g": 8.0, "lr_d": 8.0})])
    assert good.play(slow, ArmSettings(), 0).evaluations[-1].knobs["lr_d"] > 1e-4


def test_a_probe_without_an_effect_is_not_made() -> None:
    off = Probes(times=(0.3,), branch=0.1, changes=[Candidate({"augment_p": 0.0, "gp_weight": 2.0})])
    result = off.play(TASK, ArmSettings(), 0)
    assert result.evaluations[-1].step == STEPS - round(0.1 * STEPS), "its steps are not spent"


DIRAC = SuiteTask(
    "dirac", "training", "line", steps=200, model="dirac", data=str(Path(__file__).with_name("narrow_line.py"))
)


def test_probes_find_the_penalty_that_ends_the_orbit_of_dirac() -> None:
    changes = [Candidate({"lr_g": 2.0, "lr_d": 2.0}), Candidate(offsets={"r1_gamma": 0.5})]
    plain, probed = (
        method.play(DIRAC, ArmSettings(), 0)
        for method in (Probes(times=()), Probes(times=(0.1, 0.25, 0.4, 0.55), changes=changes))
    )

    def swing(result: EpisodeCurve) -> float:
        last = [entry.distance for entry in result.evaluations if entry.step > 140]
        return max(last) - min(last)

    assert probed.evaluations[-1].knobs["r1_gamma"] >= 0.5
    assert swing(probed) < 0.1 * swing(plain)


def test_the_history_of_the_result_leaves_out_the_other_copies() -> None:
    values = {**ARMS["probes"], "changes": [{"factors": {"lr_g": 0.5}}], "threshold": 1e9}
    everything = play_arm(TASK, values, 0)
    own = play_arm(TASK, {**values, "history": "result"}, 0)
    assert {entry.knobs["lr_g"] for entry in everything.evaluations} == {1e-3, 2e-3}
    assert {entry.knobs["lr_g"] for entry in own.evaluations} == {2e-3}
    assert own.evaluations[-1] == everything.evaluations[-1]


def member(live: float, name: str = "") -> Branch:
    candidate = Candidate({"lr_g": 2.0}) if name == "best" else UNCHANGED
    return Branch(snapshot=name, candidate=candidate, live=live)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lives", "quantile", "replaced"),
    [
        ((0.1, 0.3, 0.2, 0.4), 0.25, {3}),
        ((0.1, 0.3, 0.2, 0.4), 0.5, {1, 3}),
        ((0.1, 0.3, math.inf, math.inf), 0.25, {2, 3}),
        ((math.inf,) * 4, 0.25, set()),
        ((0.1, 0.3, 0.2, math.inf), 0.0, {3}),
    ],
)
def test_the_worst_members_continue_from_the_best(
    lives: tuple[float, ...], quantile: float, replaced: set[int]
) -> None:
    population = [member(live, "best" if live == 0.1 else "other") for live in lives]
    method = Population(quantile=quantile, resample=0.0, space=CandidateSpace({"lr_g": 4.0}, (0.0,)))
    order = sorted(range(4), key=lambda index: lives[index])
    result = method.next_generation(population, order, np.random.default_rng(0))
    assert {index for index in range(4) if result[index] is not population[index]} == replaced
    if quantile == 0.25 and replaced:
        for index in replaced:
            assert result[index].snapshot == "best"
            assert result[index].candidate.factors["lr_g"] in (1.6, 2.5)


@pytest.mark.parametrize(("count", "sizes"), [(1, []), (2, [2]), (4, [4, 2]), (5, [5, 3, 2]), (8, [8, 4, 2])])
def test_rungs(count: int, sizes: list[int]) -> None:
    assert rung_sizes(count) == sizes


def test_arms_are_read_from_json() -> None:
    values = {
        "method": "halving",
        "count": 2,
        "candidates": [{"factors": {"lr_d": 0.25}, "offsets": {"augment_p": 0.3}}],
        "controller": "annealed",
    }
    assert parse_method(values) == Halving(count=2, candidates=[Candidate({"lr_d": 0.25}, {"augment_p": 0.3})])
    space = {"spread": {"lr_g": 2}, "augment_p": [0, 0.5]}
    assert parse_method({"method": "population", "space": space}) == Population(
        space=CandidateSpace({"lr_g": 2.0}, [0.0, 0.5])
    )
    assert parse_method({"controller": "ada", "options": {"target": 0.1}, "knobs": {}, "repair": True}) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "populaton"}, "there is no method 'populaton'; did you mean 'population'"),
        ({"method": "population", "member": 3}, "there is no key 'member' of method 'population'"),
        ({"controler": "ada"}, "there is no key 'controler' of an arm"),
        ({"members": 3}, "there is no key 'members' of an arm"),
        ({"method": "population", "members": 0}, "members = 0: it must be at least 1"),
        ({"method": "population", "members": "many"}, "method 'population': members is not valid"),
        ({"method": "population", "quantile": 0.9}, "quantile = 0.9: it must be from 0 to 0.5"),
        ({"method": "population", "space": {"spred": {}}}, "method 'population': space.spred is not valid"),
        ({"method": "population", "space": {"spread": {"lr": 2}}}, "there is no knob 'lr'"),
        ({"method": "halving", "start": 1.5}, "start = 1.5: it must be above 0 and below 1"),
        ({"method": "halving", "candidates": []}, "there are 0 candidates for count = 4"),
        ({"method": "halving", "count": 2, "candidates": [{"factor": {}}]}, "candidates.0.factor is not valid"),
        ({"method": "probes", "changes": []}, "changes is empty"),
        ({"method": "probes", "branch": 0.0}, "branch = 0: it must be above 0"),
        ({"method": "probes", "times": [0.3, 0.35]}, "the probe before 0.35 ends at 0.4"),
        ({"method": "probes", "times": [0.95]}, "the probe before 1 ends at 1.05"),
    ],
)
def test_one_clear_line_for_what_cannot_be_used(values: dict[str, object], message: str) -> None:
    with pytest.raises(EquipoiseError, match=message) as caught:
        parse_method(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", [Population(members=8), Halving(start=0.05), Probes(branch=0.001)])
def test_a_budget_that_is_too_short(method: Population | Halving | Probes) -> None:
    with pytest.raises(SettingError, match="task 'tiny' has 27 steps: too few"):
        method.play(TASK, ArmSettings(), 0)


def test_the_reported_distance_is_not_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = SharedBudget(TASK, ArmSettings(), 0, STEPS)
    clock = iter(range(1000))
    monkeypatch.setattr(shared_budget.time, "process_time", lambda: float(next(clock)))
    monkeypatch.setattr(type(budget.test_distance), "measure", lambda test_distance, training: 0.0)
    budget.evaluate()
    assert budget.cpu == 1.0, "the live distance alone"


def test_a_copy_that_diverges_is_last_and_is_not_trained_on() -> None:
    budget = SharedBudget(TASK, ArmSettings(), 0, STEPS)
    healthy = budget.start()
    tensors = {
        name: value * math.nan if name.startswith("network/") and value.is_floating_point() else value
        for name, value in healthy.snapshot.tensors.items()
    }
    broken = dataclasses.replace(healthy, snapshot=dataclasses.replace(healthy.snapshot, tensors=tensors))
    broken = budget.train_branch(broken, 5)
    spent = budget.steps
    assert broken.diverged
    assert broken.live == math.inf
    assert spent == 1, "the first reading follows the first step"
    healthy = budget.train_branch(healthy, 5)
    assert not healthy.diverged, "the copies are independent"
    assert budget.order([broken, healthy], 1.0) == [1, 0]
    assert budget.train_branch(broken, 9).snapshot.step == 1
    result = Population(members=2).next_generation([broken, healthy], [1, 0], np.random.default_rng(0))
    assert result[0].snapshot is healthy.snapshot
    assert budget.curve(broken).diverged
