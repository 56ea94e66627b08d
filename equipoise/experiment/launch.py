"""From an experiment to a run: names become objects, the loop is driven, the run folder is written."""

import contextlib
import dataclasses
import json
import random
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from equipoise.core import catalog
from equipoise.core.data import DataSet
from equipoise.core.events import Event, Finished
from equipoise.core.knobs import check_turnable
from equipoise.core.metric import FeatureMetric, Metric, PairedMetric, ReferenceSet
from equipoise.core.model import Model
from equipoise.core.observations import Controller
from equipoise.diagnosis.remedies import Care
from equipoise.errors import CheckpointError, RunError, SettingError, UnknownNameError, unwritable
from equipoise.experiment.preview import preview, sheet
from equipoise.experiment.settings import (
    Experiment,
    PlugSpec,
    check_numbers,
    complete,
    data_of,
    from_values,
    recipe_of,
    require,
)
from equipoise.pilot.pilot import SENSE_EVERY, ModelInfo, Pilot
from equipoise.runs import run_folder as runs
from equipoise.training import checkpoint, precision, pricing, probe
from equipoise.training.loop import Evaluation, Plan, Streams, Training, never, restore, train
from equipoise.training.rollback import start_of
from equipoise.training.state import TrainingState, begin

EVALUATED = 1000
TRAINED = 20_000
"""Training sentences at most that a metric compares samples with."""
EVALUATIONS = 10
"""Measurements of the metric in a run, where they are cheap and nobody says how many."""
LEAST_SHARE = 0.05
"""Less than this of every network is not worth starting from: another GAN or width, most likely by mistake."""
FEWEST = 16
"""Held-out reals that a rank needs where they do not fill a batch: of 256 against 16 it scatters by 0.15 about 0."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """Independent seeds from the one of the experiment: weights, training, data, preview and evaluation."""

    weights: int
    moment: int
    data: int
    latents: int

    @classmethod
    def of(cls, seed: int) -> "Seeds":
        """Spread one seed into four (O'Neill's seed_seq, as numpy has it)."""
        return cls(*(int(part) for part in np.random.SeedSequence(seed).generate_state(4)))


def start(experiment: Experiment, folder: Path, interrupted: Callable[[], bool] = never) -> Iterator[Event]:
    """Run an experiment into a new folder, yielding its events as they are logged.

    Everything that can be wrong with the experiment is found before the folder is made.
    """
    experiment = paced(complete(experiment))
    training = assemble(experiment, folder / runs.CHECKPOINTS, interrupted)
    set_out(training, experiment)
    runs.create(folder, experiment.to_json())
    _seed_globals(require(experiment.seed, "seed"))
    with writing_to(folder), runs.Log(folder) as log:
        yield from _logged(training, log)


def resume(folder: Path, steps: int | None = None, interrupted: Callable[[], bool] = never) -> Iterator[Event]:
    """Go on with a run from its last checkpoint, or from the start if it has none.

    `steps` sets a new length of the whole run, and lifts whatever else would end it: the limits of images and seconds,
    and equilibrium. Raises RunError if another process is at the run, or the weights that it starts from are gone.
    """
    run, experiment = runs.Run(folder), experiment_of(folder)
    if steps is not None:
        experiment = dataclasses.replace(experiment, steps=steps, images=None, seconds=None, stop_at_equilibrium=False)
    training = assemble(experiment, run.checkpoints, interrupted)
    with writing_to(folder), runs.Log(folder) as log:
        saved = checkpoint.find(run.checkpoints)
        _set_out_again(training, experiment, folder, has_begun=bool(saved))
        _seed_globals(require(experiment.seed, "seed"))
        if saved:
            _restore(training, saved[-1])
        if steps is not None:
            done = training.state.step
            if steps <= done:
                raise SettingError(f"{folder} has done {done} steps already; give --steps a larger number")
            runs.write_text(folder / runs.EXPERIMENT, json.dumps(experiment.to_json(), indent=2) + "\n")
        yield from _logged(training, log)


def paced(experiment: Experiment) -> Experiment:
    """A completed experiment that says how often it is measured: if nobody did, as often as its time allows."""
    if experiment.evaluate_every is not None:
        return experiment
    training = assemble(experiment, None)
    if training.evaluation is None:
        return experiment
    every = pricing.evaluate_every(training, training.evaluation, EVALUATIONS)
    return dataclasses.replace(experiment, evaluate_every=every)


def set_out(training: Training, experiment: Experiment) -> None:
    """Where the run starts: with the weights of another, if it was told to; kept, to be gone back to in need."""
    if experiment.start_from:
        training.transferred = transfer_weights(training.state, Path(experiment.start_from))
    if training.pilot.care is not None:
        training.sound.start = start_of(training.state)


def _set_out_again(training: Training, experiment: Experiment, folder: Path, *, has_begun: bool) -> None:
    """The same for a run that goes on, which needs the weights of another only if it has no checkpoint of its own."""
    try:
        set_out(training, experiment)
    except (RunError, CheckpointError) as error:
        if not has_begun:
            raise RunError(
                f"{folder} has no checkpoint yet, and the weights that it starts from are not in "
                f"{experiment.start_from} any more; put them back, or train anew"
            ) from error


def _restore(training: Training, saved: Path) -> None:
    try:
        restore(training, saved)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{saved.name}/{checkpoint.STATE} was altered; delete that folder and the run goes on from the "
            f"checkpoint before it: {saved}"
        ) from error


def experiment_of(folder: Path) -> Experiment:
    """What a run folder holds a run of. Raises RunError if it is none."""
    return from_values(runs.Run(folder).experiment(), str(folder / runs.EXPERIMENT))


def _seed_globals(seed: int) -> None:
    """Nothing here draws from the global generators; a GAN or a data set of somebody else may."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _logged(training: Training, log: runs.Log) -> Iterator[Event]:
    for event in train(training):
        if isinstance(event, Finished) and event.reason not in ("interrupted", "diverged"):
            write_weights(training.state, log.run.folder)
        log.record(event)
        yield event


def assemble(experiment: Experiment, checkpoints: Path | None, interrupted: Callable[[], bool] = never) -> Training:
    """The objects of a completed experiment, ready to train."""
    check_numbers(experiment)
    data, recipe, choice = (
        data_of(experiment).resolve(),
        recipe_of(experiment),
        require(experiment.controller, "controller"),
    )
    steps, batch_size = require(experiment.steps, "steps"), require(experiment.batch_size, "batch_size")
    controller: Controller = catalog.build("controllers", choice.name, choice.options)
    seeds = Seeds.of(require(experiment.seed, "seed"))
    device = device_of(experiment.device or "auto")
    torch.set_num_threads(require(experiment.threads, "threads"))
    model = recipe.build(data.spec, torch.Generator().manual_seed(seeds.weights))
    rules = _rules(model, experiment, controller.turns())
    base = model.knobs.with_values(experiment.knobs or {})
    state = begin(
        model,
        base,
        device,
        precision.resolve(experiment.precision or "auto", device, model.mixed_precision),
        torch.Generator(device).manual_seed(seeds.moment),
    )
    return Training(
        state=state,
        pilot=Pilot(
            controller,
            steps=steps,
            knobs=base,
            rules=rules,
            care=Care() if experiment.repair is not False else None,
            sense_every=experiment.sense_every or SENSE_EVERY,
        ),
        streams=_streams(data, batch_size, seeds.data),
        plan=Plan(
            steps=steps,
            batch_size=batch_size,
            images=experiment.images,
            seconds=experiment.seconds,
            stop_at_equilibrium=bool(experiment.stop_at_equilibrium),
            sample_every=experiment.sample_every,
            evaluate_every=experiment.evaluate_every or max(1, steps // EVALUATIONS),
            save_every=experiment.save_every,
            checkpoints=checkpoints,
            interrupted=interrupted,
        ),
        preview=preview(model, data, seeds.latents),
        sheet=sheet(model, data, seeds.latents),
        evaluation=evaluation(model, data, experiment.measured, seeds),
    )


def device_of(name: str) -> torch.device:
    """The device by name; "auto" is a GPU if there is one. Raises SettingError if there is no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.Generator(device)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"there is no device '{name}' here; use --device cpu, or leave it out") from error
    return device


def _streams(data: DataSet, batch_size: int, seed: int) -> Streams:
    """Training reals, and beside them held-out ones: in batches as large, or as many at a time as there are."""
    train, count = data.stream("train", batch_size, seed), data.count("held_out")
    if count is None or count >= batch_size:
        return Streams(train, data.stream("held_out", batch_size, seed))
    if count < FEWEST:
        return Streams(train)
    few = probe.Few(data.stream("train", count, seed), data.stream("held_out", count, seed), count)
    return Streams(train, few=few)


def _rules(model: Model[Any], experiment: Experiment, turned: Set[str]) -> ModelInfo:
    """Those of the GAN, in which nothing acts that is to stay untouched. `turned`: what the controller must turn.

    Raises for a knob that does not exist, does not act, or is to be turned and to stay untouched.
    """
    untouched = frozenset(experiment.untouched or ())
    _acting(model, (*(experiment.knobs or {}), *sorted(untouched), *sorted(turned)))
    if both := sorted(untouched & turned):
        raise SettingError(f"the controller turns {both[0]}, which is to stay untouched; leave one of the two out")
    return dataclasses.replace(ModelInfo.of(model), turnable=model.turnable - untouched)


def _acting(model: Model[Any], names: Iterable[str]) -> None:
    """Raise for the name of a knob that does not exist, or does not act for this GAN."""
    known = model.knobs.ranges()
    for name in names:
        if name not in known:
            raise UnknownNameError("knob", name, known)
    check_turnable(names, model.turnable, model.name)


def evaluation(model: Model[Any], data: DataSet, choice: PlugSpec | None, seeds: Seeds) -> Evaluation | None:
    """The metric and what it is measured on. Raises SettingError if it does not suit the data."""
    if choice is None:
        return None
    metric: Metric = catalog.build("metrics", choice.name, choice.options)
    if not isinstance(metric, Metric):
        raise SettingError(f"'{choice.name}' cannot be measured while training; use equipoise evaluate afterwards")
    if not metric.suits(data.spec):
        raise SettingError(f"the metric '{choice.name}' does not suit this data; leave it out")
    if isinstance(metric, PairedMetric) and model.source is None:
        raise SettingError(f"'{choice.name}' needs samples that were made of inputs; {model.name} makes them of noise")
    available = data.count("held_out")
    if available == 0:
        raise SettingError(f"'{choice.name}' is measured on held-out data, and nothing is held out; leave --metric out")
    count = EVALUATED if available is None else min(EVALUATED, available)
    real: Any = data.stream("held_out", count, seeds.data).batch(0)
    train = None
    if isinstance(metric, FeatureMetric) and metric.needs_train:
        most = TRAINED if data.spec.vocabulary else EVALUATED  # sentences cost nothing to look at
        train = data.stream("train", min(data.count("train") or most, most), seeds.data).batch(0).real
    source = torch.Generator().manual_seed(seeds.latents + 1)
    latents = model.latent(EVALUATED if model.source is None else count, source, None)
    # Labels at random, as those of the held-out are: classes of exactly equal size would look better than reals do.
    condition = torch.randint(model.num_classes, (EVALUATED,), generator=source) if model.num_classes else None
    condition = condition if model.source is None else real.source
    return Evaluation(
        choice.name,
        metric,
        metric.statistics(ReferenceSet(real.real, real.condition, train=train, spec=data.spec)),
        latents,
        condition,
    )


def transfer_weights(state: TrainingState, start: Path) -> dict[str, float]:
    """Start from the weights of another run: what fits of a checkpoint, as a share of each network.

    `start`: the checkpoint, or a run, of which it is the last. Raises CheckpointError if there is none, or if next to
    nothing of it fits.
    """
    path = checkpoint.of(start)
    if path is None:
        raise CheckpointError(f"{start} has no checkpoint to start from; give --from the folder of a run")
    shares = state.transfer_weights(checkpoint.read(path).tensors)
    if max(shares.values()) < LEAST_SHARE:
        told = " and ".join(f"{share:.0%} of the {name}" for name, share in shares.items())
        raise CheckpointError(f"{path} fits {told} only; build the same GAN and width as that run")
    return shares


def write_weights(state: TrainingState, folder: Path) -> None:
    """The final weights, one safetensors file a network; of the generator its average."""
    for name, network in state.playing.items():
        tensors = {key: value.detach().contiguous().cpu() for key, value in network.state_dict().items()}
        partial = folder / f".{name}.safetensors.partial"
        save_file(tensors, partial, metadata={"step": str(state.step)})
        partial.chmod(0o644)  # safetensors lets nobody else read; the rest of the folder is open
        partial.replace(folder / f"{name}.safetensors")


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """What the disk refuses is told in one line."""
    try:
        yield
    except OSError as error:
        raise RunError(unwritable(folder, error)) from error
