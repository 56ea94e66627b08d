"""Exact resume of every model: runs that are killed in the middle of a step end with the bytes of uninterrupted ones.

    python benchmarks/resume_models.py                  three forked processes per model, 2 minutes of one core
    python benchmarks/resume_models.py --models progan  some models
    python benchmarks/resume_models.py --table          rewrite resume_models.md from results/resume_models.jsonl

Method. Each model trains for 24 steps with small networks, a checkpoint every four, and learning rates that fall. One
process trains without interruption. A second one sends SIGKILL to itself in step 10, right after the first update of a
network in that step, so that one network has learned from the step and the others have not. A third process resumes
it, from the checkpoint of step 8. Networks that grow are within a fade at the checkpoint and at the kill. For one
model, the times of such kills vary over the whole run: `resume.py`.

Compared by SHA-256: the tensors and values of the last checkpoint, with all random states; all weight files; the valid
lines of the log but for times; the sample images. Expected: everything equal, for every model.
"""

import inspect
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import torch
from _model_runs import measure_models
from _results import Item, Result, Results, table, write
from resume import COMPARED, digests
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from equipoise.core import catalog
from equipoise.core.events import Stepped
from equipoise.errors import SettingError
from equipoise.experiment import launch
from equipoise.experiment.settings import NO_METRIC, Experiment, PlugSpec
from equipoise.runs.run import Run
from equipoise.training import checkpoint

STEPS, SAVE_EVERY, KILLED_AFTER = 24, 4, 9
BATCH = 8
DATA = (
    PlugSpec("digits", {"image_size": 16}),
    PlugSpec("ring"),
    PlugSpec("origin"),
    PlugSpec("sentences"),
    PlugSpec("openmoji", {"image_size": 32}),
    PlugSpec("openmoji", {"image_size": 16, "captions": True}),
)
"""A model trains on the first of these that it supports."""
SMALL: dict[str, Any] = {
    **{"width": 4, "latent_dim": 5, "embedding": 4, "hidden": 4, "maps": (3, 3), "widths": (1, 2), "feature_side": 64},
    **{"likelihood_steps": 3, "discriminator_pretraining_steps": 3, "autoencoding_steps": 3, "swapping_steps": 3},
}
"""Options that make networks small, and pre-training short."""
TEACHERS = {"distill": "edm"}
"""Models that learn from a run of another one."""
KNOBS = {"path_length_weight": 2.0, "orthogonal_weight": 1e-4, "lecam_weight": 0.1, "drift_weight": 1e-3}
"""Terms that are off by default, some with a memory."""


def experiment_of(model: str, parent: Path) -> Experiment:
    """Return a small experiment of a model. `parent`: folder of the run of a teacher, if it has one."""
    known = inspect.signature(catalog.load("models", model)).parameters
    options = {name: value for name, value in SMALL.items() if name in known}
    recipe = catalog.build("models", model, options)
    for data in DATA:
        try:
            built = recipe.build(catalog.build("data", data.name, data.options).spec, torch.Generator())
        except SettingError:
            continue
        return Experiment(
            data=data,
            model=PlugSpec(model, options),
            controller=PlugSpec("annealed"),
            metric=PlugSpec(NO_METRIC),
            knobs={name: value for name, value in KNOBS.items() if name in built.turnable},
            steps=STEPS,
            batch_size=BATCH,
            save_every=SAVE_EVERY,
            sample_every=STEPS // 2,
            start_from=str(parent / "teacher") if model in TEACHERS else None,
            seed=3,
            threads=1,
            precision="fp32",
            device="cpu",
        )
    raise SystemExit(f"{model} supports none of the data; add one that it supports to DATA")


def run(folder: Path, model: str, action: str) -> None:
    """Train, train until the kill, or resume, in this process."""
    is_armed = False

    def kill(optimizer: Optimizer, args: object, kwargs: object) -> None:
        if is_armed:
            os.kill(os.getpid(), signal.SIGKILL)

    if action == "killed":
        register_optimizer_step_post_hook(kill)
    for event in (
        launch.resume(folder) if action == "resume" else launch.start(experiment_of(model, folder.parent), folder)
    ):
        is_armed = is_armed or (isinstance(event, Stepped) and event.step == KILLED_AFTER)


def run_in_process(folder: Path, model: str, action: str, expected: int = 0) -> None:
    """Do the same in a forked process. Raises RuntimeError unless its exit code is the expected one."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(folder, model, action))
    process.start()
    process.join()
    if process.exitcode != expected:
        raise RuntimeError(f"{model}, {action}: exit code {process.exitcode}, not {expected}")


def measure(item: Item, parent: Path) -> Result:
    """Return digests of both runs, and where the killed one was."""
    model, whole, killed = item["model"], parent / "whole", parent / "killed"
    if model in TEACHERS:
        run_in_process(parent / "teacher", TEACHERS[model], "whole")
    run_in_process(whole, model, "whole")
    run_in_process(killed, model, "killed", expected=-signal.SIGKILL)
    found = [path.name for path in checkpoint.find(Run(killed).checkpoints)]
    run_in_process(killed, model, "resume")
    last = checkpoint.read(checkpoint.find(Run(whole).checkpoints)[-1])
    return {
        "data": experiment_of(model, parent).data.name,
        "tensors": len(last.tensors),
        "checkpoints_at_kill": found,
        "resumed": [line["step"] for line in Run(killed).lines("resumed")],
        "whole": digests(whole),
        "killed": digests(killed),
    }


def row(item: Item, result: Result) -> list[object]:
    """Return the table row of a model."""
    equal = ["yes" if result["whole"][part] == result["killed"][part] else "**no**" for part in COMPARED]
    resumed = ", ".join(map(str, result["resumed"])) or "the start"
    return [item["model"], result["data"], result["tensors"], resumed, *equal]


def write_table(results: Results, items: list[Item], out: Path) -> None:
    measured = [(item, result) for item in items if (result := results.result(item))]
    count = sum(result["whole"] == result["killed"] for _, result in measured)
    write(
        out / "resume_models.md",
        "# Every model, killed in the middle of a step and resumed",
        f"{results.provenance(items)} **{count} of {len(measured)} models ended with exactly the same bytes** as "
        f"without interruption. {STEPS} steps, killed by SIGKILL in step {KILLED_AFTER + 1}, after the update of one "
        "network and before the others. Method: docstring of `benchmarks/resume_models.py`.",
        table(
            ("model", "data", "tensors in a checkpoint", "resumed from step", *(f"equal {part}" for part in COMPARED)),
            [row(item, result) for item, result in measured],
        ),
    )


if __name__ == "__main__":
    measure_models(__doc__, "resume_models", measure, write_table)
