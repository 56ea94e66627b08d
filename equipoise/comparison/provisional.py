"""Runs that do not exist yet, in place of which a run with initial weights is written to a temporary folder."""

import dataclasses
from pathlib import Path

from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_runs import RunSpec, build_experiment, start_run
from equipoise.experiment.assembly import assemble
from equipoise.experiment.launch import load_initial_weights
from equipoise.runs.folders import create_run
from equipoise.runs.run import CHECKPOINTS_FOLDER
from equipoise.training.loop import save


def provisional_start(plan: ComparisonPlan, run: RunSpec, folder: Path) -> Path | None:
    """Write the run that `run` starts from, with its initial weights, to a subfolder of `folder`, and return that.

    None for a run that starts from random weights.
    """
    start = start_run(plan, run)
    if start is None:
        return None
    experiment = build_experiment(plan, start, {}, provisional_start(plan, start, folder))
    training = assemble(dataclasses.replace(experiment, metric=None), None)
    load_initial_weights(training, experiment)
    path = folder / start.name
    create_run(path, experiment.to_json())
    save(training, path / CHECKPOINTS_FOLDER)
    return path
