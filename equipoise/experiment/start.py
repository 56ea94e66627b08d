"""What a run starts from: the weights of another run, and the teacher of a model that learns from a trained one."""

import dataclasses
import json
from pathlib import Path

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.teacher import Teacher
from equipoise.errors import CheckpointError, SettingError, shell_path
from equipoise.experiment.files import load_run_experiment
from equipoise.experiment.settings import Experiment, PlugSpec, require
from equipoise.experiment.starter import STARTER, start_path
from equipoise.runs.run import CHECKPOINTS_FOLDER, DATA_FILE
from equipoise.training import checkpoint
from equipoise.training.inheritance import averaged_weights, digest_of, inherit_weights
from equipoise.training.state import TrainingState

MIN_SHARE = 0.05
"""Smallest share of a network that must fit; below it, the checkpoint is probably of another model or width."""
TEACHER = "teacher"
"""Option of a model that learns from a trained one; the program fills it in from `start_from`."""


def find_start(start: Path) -> Path:
    """Return a checkpoint, or the last one of a run. Raises CheckpointError, naming the problem, if there is none."""
    if (path := checkpoint.latest(start)) is not None:
        return path
    problem = "does not exist" if not start.exists() else "is a file" if start.is_file() else "has no checkpoint"
    raise CheckpointError(f"--from {start} {problem}; give the folder of a run, or one of its checkpoints")


def transfer_weights(state: TrainingState, start_from: str) -> dict[str, float]:
    """Load the weights of another run; returns the share of each network that was loaded, from 0 to 1.

    All that the model inherits, or else those that fit. `start_from`: a checkpoint, a run, whose last checkpoint is
    used, or "starter". Raises CheckpointError if there is none, if what is inherited does not fit, or if less than
    MIN_SHARE of every network fits.
    """
    path = find_start(start_path(start_from))
    saved = checkpoint.read(path)
    if state.model.inherits:
        return inherit_weights(state, saved, str(path))
    shares = state.transfer_weights(saved.tensors)
    if max(shares.values()) < MIN_SHARE:
        summary = " and ".join(f"{share:.0%} of the {name}" for name, share in shares.items())
        name = "the starter" if start_from == STARTER else path
        raise CheckpointError(f"{name} fits only {summary}; use the same model and width as that run")
    return shares


def run_of_checkpoint(path: Path) -> Path:
    """Return the folder of the run that a checkpoint belongs to; any other path is returned as it is."""
    return path.parents[1] if path.parent.name == CHECKPOINTS_FOLDER else path


def with_teacher(model: PlugSpec, start_from: str | None, spec: DataSpec) -> PlugSpec:
    """Return a model whose option `teacher`, if it has one, is the model of the run to start from.

    Raises SettingError without such a run, or if its samples have another shape than those of `spec`; CheckpointError
    if it has no weights.
    """
    if not catalog.has_option("models", model.name, TEACHER):
        return model
    name = catalog.split_preset(model.name)[0]
    if start_from is None:
        raise SettingError(
            f"{name} learns from a trained diffusion model; add --from RUN, such as a run of: equipoise train DATA "
            "--model edm"
        )
    path = find_start(start_path(start_from))
    folder = run_of_checkpoint(path)
    own = require(load_run_experiment(folder).model, "model")
    _check_same_shape(name, folder, spec)
    digest = digest_of(averaged_weights(checkpoint.read(path), "generator"))
    return model.with_options(teacher=dataclasses.asdict(Teacher(own.name, own.options, digest)))


def with_size_of_teacher(data: PlugSpec, experiment: Experiment) -> PlugSpec:
    """Return a data set with images of the size of the teacher that an experiment starts from, unless it names one."""
    model, start_from = experiment.model, experiment.start_from
    if experiment.image_size is not None or model is None or start_from is None:
        return data
    if not catalog.has_option("models", model.name, TEACHER) or not catalog.has_option("data", data.name, "image_size"):
        return data
    shape, _ = _recorded_shape(run_of_checkpoint(start_path(start_from)))
    if len(shape) != 3:
        return data
    return data.with_options(image_size=shape[1] if shape[1] == shape[2] else f"{shape[2]}x{shape[1]}")


def _recorded_shape(folder: Path) -> tuple[tuple[int, ...], int | None]:
    """Return the shape and the number of classes of the data of a run; the shape is empty if they are not recorded."""
    try:
        values = json.loads((folder / DATA_FILE).read_text())
        return tuple(values["shape"]), values["classes"]
    except (OSError, ValueError, KeyError, TypeError):
        return (), None


def _check_same_shape(name: str, folder: Path, spec: DataSpec) -> None:
    """Raise SettingError if a run recorded data of another shape or with another number of classes."""
    shape, classes = _recorded_shape(folder)
    if not shape:
        return  # the weights are checked, too
    if shape != spec.shape:
        theirs, ours = (" x ".join(map(str, part)) for part in (shape, spec.shape))
        has_other_size = len(shape) == len(spec.shape) == 3 and shape[0] == spec.shape[0]
        remedy = f"use --image-size {shape[2]}x{shape[1]}" if has_other_size else "use the same data"
        raise SettingError(
            f"{name} has the samples of its teacher, {theirs} in {shell_path(folder)}, but these data are {ours}; "
            f"{remedy}, or a teacher of these data"
        )
    if classes != spec.classes:
        raise SettingError(
            f"{name} has the labels of its teacher, {classes} in {shell_path(folder)}, but these data have "
            f"{spec.classes}; use the data of that run"
        )
