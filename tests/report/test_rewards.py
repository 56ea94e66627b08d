"""Rewards of a controller, from the log to the progress figure."""

import dataclasses
from pathlib import Path

from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.report import figure_panels, progress_figure
from equipoise.report.run_history import read_history
from equipoise.runs.run import Run

SMALL = Experiment(
    data=PlugSpec("equipoise.meta.points", {"reals": 64}),
    metric=PlugSpec("equipoise.meta.held_out"),
    steps=100,
    batch_size=8,
    evaluate_every=10,
    options={"width": 4},
    repair=False,
)


def run(folder: Path, controller: str) -> Run:
    for _ in launch.start(dataclasses.replace(SMALL, controller=PlugSpec(controller)), folder):
        pass
    return Run(folder)


def test_rewards_are_drawn_for_controllers_that_have_them(tmp_path: Path) -> None:
    ppo, fixed = run(tmp_path / "rewarded", "ppo"), run(tmp_path / "other", "fixed")
    lines = [line for line in ppo.lines("sensed") if line["reward"] is not None]
    assert [line["step"] for line in lines] == [50, 100]
    rewards = read_history(ppo).rewards()
    assert rewards.steps.tolist() == [50, 100]
    assert rewards.mean.tolist() == [line["reward"] for line in lines]
    assert figure_panels.rewards(read_history(ppo)) is not None
    assert figure_panels.rewards(read_history(fixed)) is None
    panel_counts = [len(progress_figure._panels(read_history(one), 3)) for one in (ppo, fixed)]
    assert panel_counts[0] > panel_counts[1]
    assert progress_figure.write_progress_figure(ppo).stat().st_size > 10_000
