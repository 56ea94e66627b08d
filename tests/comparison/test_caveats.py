"""Caveats: arms that overwrite a regime or a trial, that are blind, idle, or under manual control."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from equipoise.comparison import execution, page, plan_runs
from equipoise.comparison.caveats import InitialKnobs, find_caveats, label_arms, overwritten_knobs
from equipoise.comparison.folder import ComparisonFolder, create_or_open
from equipoise.comparison.plan import WELL_SET, Arm, ComparisonPlan, PlugSpec, Regime, Tuning

SEARCH = {"factors.lr_d": (0.5, 2.0), "knobs.beta1": (0.3, 0.4)}


@pytest.fixture(scope="module")
def run(tiny: ComparisonPlan, tmp_path_factory: pytest.TempPathFactory) -> tuple[ComparisonPlan, ComparisonFolder]:
    """Arms that keep, multiply and set the rate that a regime and the trials change; ppo without a distance.

    The last arm has a controller that changes nothing, as if its signal were missing.
    """
    absolute = PlugSpec("annealed", {"schedules": {"lr_d": "linear(1e-3, 1e-4)"}})
    arms = {
        "fixed": Arm(search=SEARCH),
        "multiplies": Arm(controller=PlugSpec("annealed"), search=SEARCH),
        "sets": Arm(controller=absolute, search=SEARCH),
        "ppo": Arm(controller=PlugSpec("chain", {"of": ("ppo",)}), search={"factors.lr_d": (0.5, 2.0)}),
        "keeps": Arm(controller=PlugSpec("annealed", {"factors": {"lr_d": "constant(1)"}}), search=SEARCH),
    }
    task = dataclasses.replace(tiny.tasks["ring"], also=())
    grid = dataclasses.replace(task, data=PlugSpec("grid"))
    plan = dataclasses.replace(
        tiny,
        arms=arms,
        tasks={"ring": task},
        regimes={"mis_set": Regime(factors={"lr_d": 4.0, "r1_gamma": 0.5})},
        tuning=Tuning(tasks={"grid": grid}, trials=2, seeds=(5,)),
        seeds=(0,),
        evaluations=2,
        samples=500,
    )
    folder = ComparisonFolder(tmp_path_factory.mktemp("caveats") / "out")
    create_or_open(folder, plan, "")
    execution.execute_anchors(folder, plan_runs.TaskSetting("ring"))
    for one in plan_runs.tuning_runs(plan):
        assert execution.execute_run(folder, one, lambda: False)
    execution.write_json(folder.tuned, {arm: {"trial": 0, "options": {}, "scores": [0.0, 0.0]} for arm in arms})
    for one in plan_runs.compared_runs(plan):
        assert execution.execute_run(folder, one, lambda: False)
    return plan, folder


def test_arms_with_caveats_are_labelled(run: tuple[ComparisonPlan, ComparisonFolder]) -> None:
    result = find_caveats(*run)
    assert label_arms(result) == {
        "sets": "sets (overwrites mis_set, partly tuned)",
        "ppo": "ppo (overwrites mis_set, not tuned, blind)",
        "keeps": "keeps (idle)",
    }
    texts = [one.text for one in result]
    assert any(text.startswith("sets is not mis-set by mis_set in lr_d: ") for text in texts)
    assert any(text.startswith("Tuning lr_d has no effect on ppo: ") for text in texts)
    assert texts[-2].startswith("ppo is blind in ring: ")
    assert texts[-1].startswith("keeps is idle in ring: ")


def test_report_shows_caveats_and_labels(run: tuple[ComparisonPlan, ComparisonFolder]) -> None:
    text = page.write_report(run[1]).read_text()
    assert text.count("<strong>Caveat.</strong>") == 7, "six of arms, and a setting in which nothing was learned"
    assert "<strong>Caveat.</strong> In ring, the median arm scores" in text
    markdown = (run[1].path / "results.md").read_text()
    assert "**Caveat.** ppo is blind in ring" in markdown
    assert "| ppo (overwrites mis_set, not tuned, blind) |" in markdown


def test_missing_runs_have_no_caveats(run: tuple[ComparisonPlan, ComparisonFolder], tmp_path: Path) -> None:
    assert find_caveats(run[0], ComparisonFolder(tmp_path)) == []


def test_ordinary_plan_has_no_caveats(compared: ComparisonFolder, tiny: ComparisonPlan) -> None:
    assert find_caveats(tiny, compared) == []


def test_overwritten_knob_differs_before_and_agrees_after_the_first_decision() -> None:
    starts = [InitialKnobs({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 5.0, "b": 2.0, "c": 3.0})]
    starts.append(InitialKnobs({"a": 2.0, "b": 2.0, "c": 1.0}, {"a": 5.0, "b": 4.0, "c": 3.0}))
    assert overwritten_knobs(starts, ("a", "b", "c")) == ["a"], "b is moved, c was configured equally"
    assert overwritten_knobs(starts[:1], ("a",)) == []


def test_runs_that_a_person_changed_are_named(run: tuple[ComparisonPlan, ComparisonFolder], tmp_path: Path) -> None:
    plan, folder = run
    copy = ComparisonFolder(Path(shutil.copytree(folder.path, tmp_path / "out")))
    (one,) = [spec for spec in plan_runs.compared_runs(plan) if spec.arm == "keeps" and spec.setting.regime == WELL_SET]
    line = {"event": "requested", "step": 3, "images": 8, "action": "turn", "knob": "lr_d", "value": 1e-4}
    log = copy.run(one) / "events.jsonl"
    *before, finished = log.read_text().splitlines()
    log.write_text("\n".join([*before, json.dumps(line), finished, ""]))
    (caveat,) = [each for each in find_caveats(plan, copy) if each.label == "manual control"]
    assert caveat.arm == "keeps"
    assert caveat.text.startswith("A person changed knobs of keeps in 1 of 2 runs (")
    assert "\n" not in caveat.text
