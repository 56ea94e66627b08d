"""Starting and resuming runs: runs the training loop and writes its events to a run folder."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from equipoise.core.events import Event, Finished, Skipped
from equipoise.core.validation import as_path
from equipoise.errors import (
    CheckpointError,
    LostProcessError,
    RunError,
    SettingError,
    resume_command,
    shell_path,
    unwritable,
)
from equipoise.experiment.assembly import (
    EVALUATIONS,
    assemble,
    check_schedules,
    seed_global_generators,
    seed_of_rank,
)
from equipoise.experiment.completion import check_data_location, complete, with_moved_data
from equipoise.experiment.connection import Connection, ReportedLossError
from equipoise.experiment.data_record import record_data, record_skipped
from equipoise.experiment.files import load_run_experiment
from equipoise.experiment.final_weights import write_final_weights
from equipoise.experiment.memory_errors import memory_errors
from equipoise.experiment.processes import check_environment, environment_size, one_share, with_devices
from equipoise.experiment.rendezvous import connect
from equipoise.experiment.resources import check_cores, check_devices, check_memory, with_processes
from equipoise.experiment.settings import Experiment, build_data, require
from equipoise.experiment.start import find_start, transfer_weights
from equipoise.experiment.starter import start_path
from equipoise.experiment.time_budget import set_steps
from equipoise.experiment.together import SharedRun, agreement, assemble_together, check_weights
from equipoise.runs.artifacts import encode_json, write_text
from equipoise.runs.folders import create_run
from equipoise.runs.knob_record import record_knobs
from equipoise.runs.log import Log
from equipoise.runs.requests import requests_of_run
from equipoise.runs.run import EXPERIMENT_FILE, Run
from equipoise.training import checkpoint, evaluation_cost
from equipoise.training.compilation import compilation_errors, compile_generators
from equipoise.training.loop import Training, restore, train
from equipoise.training.plan import never_interrupted
from equipoise.training.ranks import follow
from equipoise.training.rollback import initial_tensors

NO_CHECKPOINT = ""
"""What rank 0 sends for a run that starts from its initial weights."""


def start(
    experiment: Experiment, folder: str | Path, interrupted: Callable[[], bool] = never_interrupted
) -> Iterator[Event]:
    """Run an experiment in a new folder, yielding its events after they are logged.

    Raises EquipoiseError for an invalid experiment, before the folder is created.
    """
    folder = as_path(folder, "the run folder")
    yield from start_settled(settle(experiment), folder, interrupted)


def start_settled(
    experiment: Experiment, folder: Path, interrupted: Callable[[], bool] = never_interrupted
) -> Iterator[Event]:
    """Run an experiment that :func:`settle` returned, as `start` does, without reading and measuring it again."""
    with connect(experiment.devices or 1, folder) as connection:
        world, shared = connection.world, SharedRun(experiment, folder)
        shared.share(world)
        training = assemble_together(shared, world, interrupted)
        check_schedules(training)
        world.share_text(NO_CHECKPOINT)
        with agreement(world):
            load_initial_weights(training, experiment)
        check_weights(training)
        create_run(folder, experiment.to_json())
        seed_global_generators(require(experiment.seed, "seed"))
        with _disk_errors(folder), Log(folder) as log:
            record_data(folder, build_data(experiment).resolve())
            record_knobs(folder, training.state.model.knobs)
            yield from _record_events(training, experiment, log)


def join(
    interrupted: Callable[[], bool], ready: Callable[[], None], describe: Callable[[Exception], tuple[str, int]]
) -> None:
    """Run a rank other than 0 until the run ends; `ready`: called before the first step.

    `describe`: returns the message of an error, which rank 0 prints, and the exit code of the command.
    Raises LostProcessError if rank 0 ended without a word and this process is the one to report it; SettingError or
    RunError if it cannot connect.
    """
    check_environment()
    connection: Connection | None = None
    try:
        with connect(environment_size()) as connection:
            shared = SharedRun.receive(connection.world)
            connection.folder = shared.folder
            training = assemble_together(shared, connection.world, interrupted)
            _prepare(training, shared, connection.world.share_text(NO_CHECKPOINT))
            ready()
            with memory_errors(shared.experiment):
                follow(training)
    except ReportedLossError:
        return
    except LostProcessError:
        raise
    except Exception as error:
        if connection is None:
            raise
        connection.report(*describe(error))


def _prepare(training: Training, shared: SharedRun, saved: str) -> None:
    """Load the weights and the random state of a process, and check that all have the same; `saved`: a checkpoint."""
    world = training.state.world
    with agreement(world):
        _reload_initial_weights(training, shared.experiment, shared.folder, has_checkpoint=bool(saved))
        seed = require(shared.experiment.seed, "seed")
        seed_global_generators(seed_of_rank(seed, world.rank))
        if saved:
            _restore(training, Path(saved), reseed=shared.reseed)
        if shared.reseed:
            step = training.state.step
            training.state.generator.manual_seed(seed_of_rank(seed, world.rank, step=step + 1))
            seed_global_generators(seed_of_rank(seed, world.rank, step=step + 1))
    check_weights(training)


def settle(experiment: Experiment, *, begin: float | None = None, reserved: float = 0.0) -> Experiment:
    """Complete an experiment, and set what is measured before a run: the steps of a time budget, and how often to
    evaluate. A settled experiment is returned unchanged.

    `begin`, `reserved`: start of the time budget and seconds for the report, see
    :func:`~equipoise.experiment.time_budget.set_steps`. Raises EquipoiseError for an invalid experiment, and for one
    that needs more memory than there is.
    """
    begin = time.monotonic() if begin is None else begin
    if not isinstance(experiment, Experiment):
        raise SettingError(f"the experiment must be an equipoise.Experiment, not {type(experiment).__name__}")
    if experiment.start_from:
        find_start(start_path(experiment.start_from))  # before the data are measured
    experiment = complete(with_devices(experiment))
    check_devices(experiment)
    check_cores(experiment)
    check_memory(experiment)
    with memory_errors(experiment), compilation_errors(is_compiled=bool(experiment.compile)):
        return choose_evaluation_interval(set_steps(experiment, begin=begin, reserved=reserved))


def resume(
    folder: str | Path,
    steps: int | None = None,
    interrupted: Callable[[], bool] = never_interrupted,
    *,
    data: str | Path | None = None,
    devices: int | None = None,
    reseed: bool = False,
) -> Iterator[Event]:
    """Resume a run from its last checkpoint, or from the start if it was killed before the first one.

    `steps`: new length of the whole run, which removes its limits of images and seconds and the stop at equilibrium.
    `data`: new location of the data, which must have the same content. `devices`: another number of processes, which
    needs `reseed`: new random numbers from here on. Raises RunError if another process uses the run,
    or if its checkpoints or the weights that it starts from no longer exist.
    """
    folder = as_path(folder, "the run folder")
    run, experiment = Run(folder), load_run_experiment(folder)
    run.check_types()
    find_checkpoints(run)
    if data is not None:
        experiment = with_moved_data(experiment, as_path(data, "data"))
    check_data_location(experiment, folder)
    if steps is not None:
        experiment = dataclasses.replace(
            experiment, steps=steps, images=None, seconds=None, budget=None, stop_at_equilibrium=False
        )
    former_size, experiment = experiment.devices or 1, with_processes(experiment, devices)
    has_other_size = (experiment.devices or 1) != former_size
    with connect(experiment.devices or 1, folder) as connection:
        world, shared = connection.world, SharedRun(experiment, folder, reseed)
        shared.share(world)
        training = assemble_together(shared, world, interrupted)
        with _disk_errors(folder), Log(folder) as log:
            saved = find_checkpoints(run)  # again: another process may have saved one before it released the run
            _prepare(training, shared, world.share_text(str(saved[-1].resolve()) if saved else NO_CHECKPOINT))
            has_finished = training.state.step >= (steps or training.plan.steps)
            if has_finished and (steps is not None or reseed):
                raise SettingError(f"{folder} has finished {training.state.step} steps; give --steps a larger number")
            if steps is not None or data is not None or has_other_size:
                write_text(folder / EXPERIMENT_FILE, encode_json(experiment.to_json(), EXPERIMENT_FILE))
            yield from _record_events(training, experiment, log)


def find_checkpoints(run: Run) -> list[Path]:
    """List the checkpoints of a run, oldest first. Raises RunError if they existed and are missing or unreadable."""
    try:
        names = sorted(os.listdir(run.checkpoints))
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise RunError(
            f"{run.checkpoints} cannot be read: {error.strerror or error}; make it readable, then: "
            f"{resume_command(run.folder)}"
        ) from error
    saved = checkpoint.find(run.checkpoints) if names else []
    if saved:
        return saved
    lines = run.lines()
    last = max((line["step"] for line in lines if line["event"] == "saved"), default=None)
    has_trained = not lines or any(line["step"] for line in lines)
    weights = sorted(path.name for path in run.folder.glob("*.safetensors")) if has_trained else []
    if last is not None or weights:
        evidence = f"its log has one of step {last}" if last is not None else f"it has {weights[0]}"
        raise RunError(
            f"{run.checkpoints} has no checkpoint, but {evidence}; restore that folder (is its drive mounted?), or "
            f"start again in another folder: equipoise train --experiment {shell_path(run.folder / EXPERIMENT_FILE)}"
        )
    return []


def choose_evaluation_interval(experiment: Experiment) -> Experiment:
    """Set `evaluate_every` of a completed experiment if it is None, so that evaluations take little of the time."""
    if experiment.evaluate_every is not None:
        return experiment
    training = assemble(one_share(experiment), None)
    check_schedules(training)
    if training.evaluation is None:
        return experiment
    every = evaluation_cost.choose_evaluate_every(training, training.evaluation, EVALUATIONS)
    return dataclasses.replace(experiment, evaluate_every=every)


def load_initial_weights(training: Training, experiment: Experiment) -> None:
    """Load the weights of another run if the experiment names one; store the initial weights for rollbacks.

    Raises SettingError if the model inherits weights and the experiment names no run.
    """
    if experiment.start_from or training.state.model.inherits:
        start_from = require(experiment.start_from, "start_from")
        training.transferred = transfer_weights(training.state, start_from)
    if training.pilot.settings.repair is not None:
        training.rollback_points.initial = initial_tensors(training.state)


def _reload_initial_weights(training: Training, experiment: Experiment, folder: Path, *, has_checkpoint: bool) -> None:
    """Load the initial weights of a resumed run.

    Those of another run may be missing if the run has a checkpoint, unless networks that it does not store are among
    them. Raises RunError if weights are missing, or if a frozen network has other weights than when the run started.
    """
    try:
        load_initial_weights(training, experiment)
    except (RunError, CheckpointError) as error:
        model = training.state.model
        if any(name.partition(".")[0] in model.frozen for name in model.inherits):
            raise RunError(f"{folder} cannot be resumed without its teacher: {error}") from error
        if not has_checkpoint:
            raise RunError(
                f"{folder} has no checkpoint yet, and the weights that it starts from are no longer in "
                f"{experiment.start_from}; restore them, or start a new run"
            ) from error


def _restore(training: Training, saved: Path, *, reseed: bool) -> None:
    try:
        restore(training, saved, reseed=reseed)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"{saved.name}/{checkpoint.STATE} was altered; {checkpoint.without_checkpoint(saved)}"
        ) from error


def _record_events(training: Training, experiment: Experiment, log: Log) -> Iterator[Event]:
    if experiment.compile:
        compile_generators(training.state)
    repeat = None if experiment.manual is None else Path(experiment.manual)
    requests = requests_of_run(log.run, repeat, training.state.step)
    training.plan = dataclasses.replace(training.plan, requests=requests)
    with memory_errors(experiment), compilation_errors(is_compiled=bool(experiment.compile)):
        for event in train(training):
            if isinstance(event, Finished) and event.reason not in ("interrupted", "diverged"):
                write_final_weights(training, log.run.folder)
            if isinstance(event, Skipped):
                record_skipped(log.run.folder, event.files)
            log.record(event)
            yield event


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError into a RunError with one line for the user."""
    try:
        yield
    except OSError as error:
        raise RunError(unwritable(folder, error, then=resume_command(folder))) from error
