"""What a reader is warned of: arms that undo what they are compared in, that cannot see, and that do nothing."""

import dataclasses
from pathlib import Path

import pytest

from equipoise.comparison import execution, page, plan_runs
from equipoise.comparison.caveats import Start, find_caveats, label_arms, overwritten_knobs
from equipoise.comparison.folder import ComparisonFolder, create_or_open
from equipoise.comparison.plan import Arm, ComparisonPlan, PlugSpec, Regime, Tuning

SEARCH = {"factors.lr_d": (0.5, 2.0), "knobs.beta1": (0.3, 0.4)}


@pytest.fixture(scope="module")
def run(tiny: ComparisonPlan, tmp_path_factory: pytest.TempPathFactory) -> tuple[ComparisonPlan, ComparisonFolder]:
    """Arms that leave, multiply and set the rate that a regime spoils, and that trials try; ppo without a distance.

    And one that decides to leave everything where it is, as one does that lacks its signal.
    """
    set_outright = PlugSpec("annealed", {"schedules": {"lr_d": "linear(1e-3, 1e-4)"}})
    arms = {
        "fixed": Arm(search=SEARCH),
        "moves": Arm(controller=PlugSpec("annealed"), search=SEARCH),
        "sets": Arm(controller=set_outright, search=SEARCH),
        "ppo": Arm(controller=PlugSpec("chain", {"of": ("ppo",)}), search={"factors.lr_d": (0.5, 2.0)}),
        "stays": Arm(controller=PlugSpec("annealed", {"factors": {"lr_d": "constant(1)"}}), search=SEARCH),
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
        looks=2,
        samples=500,
    )
    folder = ComparisonFolder(tmp_path_factory.mktemp("cautious") / "out")
    create_or_open(folder, plan, "")
    execution.execute_anchors(folder, plan_runs.TaskSetting("ring"))
    for one in plan_runs.tuning_runs(plan):
        assert execution.execute_run(folder, one, lambda: False)
    execution.write_json(folder.tuned, {arm: {"trial": 0, "tried": {}, "scores": [0.0, 0.0]} for arm in arms})
    for one in plan_runs.test_runs(plan):
        assert execution.execute_run(folder, one, lambda: False)
    return plan, folder


def test_arms_that_undo_what_they_are_compared_in_are_named(run: tuple[ComparisonPlan, ComparisonFolder]) -> None:
    result = find_caveats(*run)
    assert label_arms(result) == {
        "sets": "sets (undoes mis_set, tuned in part)",
        "ppo": "ppo (undoes mis_set, not tuned, blind)",
        "stays": "stays (idle)",
    }
    texts = [one.text for one in result]
    assert "sets is not mis-set by mis_set in lr_d: its first decision sets that, wherever it stood." in texts
    assert "Trials of ppo tried lr_d in vain: its first decision sets that, wherever it stood." in texts
    assert texts[-2].startswith("ppo is blind in ring: it steers by a distance, and no live metric there is one")
    assert texts[-1].startswith("stays is idle in ring: it turned nothing in any run there")


def test_cautions_stand_on_the_page_and_beside_the_names(run: tuple[ComparisonPlan, ComparisonFolder]) -> None:
    text = page.write_report(run[1]).read_text()
    assert text.count("<strong>Caution.</strong>") == 7, "six of arms, and that nothing was learned in so few steps"
    assert "<strong>Caution.</strong> In ring half of the ways of control score below" in text
    markdown = (run[1].path / "results.md").read_text()
    assert "**Caution.** ppo is blind in ring" in markdown
    assert "| ppo (undoes mis_set, not tuned, blind) |" in markdown


def test_of_runs_that_are_not_there_nothing_is_said(
    run: tuple[ComparisonPlan, ComparisonFolder], tmp_path: Path
) -> None:
    assert find_caveats(run[0], ComparisonFolder(tmp_path)) == []


def test_a_plan_like_any_other_needs_no_caution(compared: ComparisonFolder, tiny: ComparisonPlan) -> None:
    assert find_caveats(tiny, compared) == []


def test_a_knob_is_undone_where_it_stood_apart_and_stands_alike() -> None:
    starts = [Start({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 5.0, "b": 2.0, "c": 3.0})]
    starts.append(Start({"a": 2.0, "b": 2.0, "c": 1.0}, {"a": 5.0, "b": 4.0, "c": 3.0}))
    assert overwritten_knobs(starts, ("a", "b", "c")) == ["a"], "b was moved, c was not set up differently"
    assert overwritten_knobs(starts[:1], ("a",)) == []
