"""Completing an experiment: settings that are None are filled in with values that suit the data."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter

from equipoise.core import catalog
from equipoise.core.controller import AnyController, RunFacts, resolve_controller
from equipoise.errors import DataError, SettingError, resume_command
from equipoise.experiment.data_source import parse_data_source
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.processes import check_shares
from equipoise.experiment.settings import NO_METRIC, Experiment, Options, PlugSpec, installed_versions, require
from equipoise.experiment.starter import STARTER, check_starter, start_path
from equipoise.experiment.suggested import suggested_settings
from equipoise.runs.manual_control import check_repeatable
from equipoise.runs.run import CHECKPOINTS_FOLDER, Run

if TYPE_CHECKING:
    from equipoise.core.data import DataSet, DataSpec, Preparation, Suggestion

SAMPLES_PER_RUN = 100
"""Default number of sample grids in a run."""
SAVE_EVERY = 250
"""Default number of steps between two checkpoints."""
FIXED = "fixed"  # the controller that changes no knob
PATH_OPTIONS = ("folder", "file")
"""Options of data sets that hold the location of the data."""
MULTITHREADED_PIXELS = 64
"""Smallest image width at which several threads make training faster (benchmarks/throughput.md)."""


def complete(experiment: Experiment) -> Experiment:
    """Fill in every setting that is None, except limits, where None means no limit.

    The data set suggests the model, the length, the metric and the controller; schedules of knobs need `annealed`.
    Options of plugs are written out in full, so that a later version with other defaults gives the same run. With a
    time budget, the steps remain None: :func:`~equipoise.experiment.time_budget.set_steps` measures them. Raises
    EquipoiseError for invalid settings.
    """
    experiment.check_ranges()
    experiment = _with_time_limit(experiment)
    data_spec = _data_spec(experiment)
    start_from = _checkpoint_path(experiment.start_from)
    data = build_unresolved_data(data_spec).resolve()
    check_starter(start_from, data.spec)
    suggestion = suggested_settings(experiment, data)
    model = experiment.model or _model_of_checkpoint(start_from) or PlugSpec(suggestion.model)
    if _pairing(model) == "withheld" and "train" in data.spec.paired and "paired" not in data_spec.options:
        data_spec = data_spec.with_options(paired=False)
        data = build_unresolved_data(data_spec).resolve()
    if _needs_captions(model) and data_spec.options.get("captions", True) and data.spec.captions is None:
        data_spec, data = _with_captions(data_spec, data)
    model = model.with_options(**(experiment.options or {}))
    model = model.with_options(loss=experiment.loss, constraint=experiment.constraint)
    model = _with_teacher(model, start_from, data)
    knobs, schedules = _split_knobs(experiment.knobs or {})
    controller = experiment.controller or PlugSpec(_controller(suggestion, model, has_schedules=bool(schedules)))
    controller = _with_all_options("controllers", _with_absolute_policy(controller))
    completed = dataclasses.replace(
        _with_default_numbers(experiment, data.spec, suggestion),
        data=_write_out(data_spec.name, data),
        model=_with_all_options("models", model),
        controller=_with_schedules(controller, schedules) if schedules else controller,
        knobs=knobs,
        metric=_complete_metric(experiment, model, data),
        loss=None,
        constraint=None,
        options=None,
        image_size=None,
        start_from=start_from,
        manual=experiment.manual and str(check_repeatable(Path(experiment.manual).expanduser().resolve())),
        versions=installed_versions(),
    )
    check_shares(completed)
    return with_resolved_controller(completed, data)


def with_resolved_controller(experiment: Experiment, data: "DataSet") -> Experiment:
    """Return a completed experiment whose controller knows the length of the run and the number of samples."""
    spec = require(experiment.controller, "controller")
    controller: AnyController = catalog.build("controllers", spec.name, spec.options)
    facts = RunFacts(experiment.steps, experiment.step_images, data.count("train"), data.count("held_out"))
    resolved = resolve_controller(controller, facts)
    if resolved == controller:
        return experiment
    return dataclasses.replace(experiment, controller=_write_out(spec.name, resolved))


def prepare_data(experiment: Experiment) -> "Iterator[Preparation]":
    """Prepare the data of an experiment, completed or not, yielding the progress."""
    return build_unresolved_data(_data_spec(experiment)).prepare()


def with_moved_data(experiment: Experiment, location: str | Path) -> Experiment:
    """Return a completed experiment that reads its data at another location.

    Whether the content is the same is checked when the data is read. Raises SettingError if the data set reads no path,
    or recorded no digest of its content; DataError if the location does not exist.
    """
    spec = require(experiment.data, "data")
    options = list(spec.options)
    path = Path(location).expanduser().resolve()
    if not options or "digest" not in options:
        raise SettingError(f"'{spec.name}' reads no folder and no file; omit --data")
    if spec.options["digest"] is None:
        raise SettingError(
            f"this run recorded no digest of its data, so {path} cannot be compared with it; omit --data"
        )
    if not path.exists():
        raise DataError(f"there is no folder or file {location}; check the path")
    name = dataclasses.fields(catalog.load("data", spec.name))[0].name
    return dataclasses.replace(experiment, data=spec.with_options(**{name: str(path)}))


def check_data_location(experiment: Experiment, run: Path) -> None:
    """Raise DataError if the folder or file of a run's data no longer exists; names the way to give a new location."""
    options = require(experiment.data, "data").options
    for name in PATH_OPTIONS:
        location = options.get(name)
        if isinstance(location, str) and "digest" in options and not Path(location).exists():
            raise DataError(
                f"the data of this run are no longer in {location}; restore them, or give their new location: "
                f"{resume_command(run)} --data PATH"
            )


def _with_default_numbers(experiment: Experiment, spec: "DataSpec", suggestion: "Suggestion") -> Experiment:
    """Fill in the settings that are neither plugs nor options of plugs."""
    steps = experiment.steps or (None if experiment.budget else suggestion.steps)
    return dataclasses.replace(
        experiment,
        steps=steps,
        batch_size=experiment.batch_size or suggestion.batch_size,
        seed=experiment.seed if experiment.seed is not None else 0,
        accumulate=experiment.accumulate or 1,
        compile=bool(experiment.compile),
        precision=experiment.precision or "auto",
        device=experiment.device or "auto",
        devices=None if experiment.devices == 1 else experiment.devices,
        threads=experiment.threads or _default_threads(spec, experiment.devices or 1),
        stop_at_equilibrium=bool(experiment.stop_at_equilibrium),
        sample_every=experiment.sample_every or (default_sample_every(steps) if steps else None),
        save_every=experiment.save_every or SAVE_EVERY,
        keep=experiment.keep or "best",
        repair=experiment.repair is not False,
        track=experiment.track or "off",
    )


def default_sample_every(steps: int) -> int:
    """Return the default number of steps between two sample grids in a run of `steps` steps."""
    return max(1, round(steps / SAMPLES_PER_RUN))


def _with_time_limit(experiment: Experiment) -> Experiment:
    """Return the time given in seconds or minutes as a budget or, if the steps are given too, as a limit in seconds."""
    if experiment.seconds is not None and experiment.minutes is not None:
        raise SettingError("seconds and minutes are both given; use one of --seconds and --minutes")
    seconds = experiment.seconds if experiment.minutes is None else 60 * experiment.minutes
    if seconds is None:
        return experiment
    if experiment.steps is None:
        return dataclasses.replace(experiment, seconds=None, minutes=None, budget=seconds)
    return dataclasses.replace(experiment, seconds=seconds, minutes=None)


def _split_knobs(values: Mapping[str, float | str]) -> tuple[dict[str, float], dict[str, str]]:
    """Split the initial values of knobs into numbers and schedules. Raises SettingError for other text."""
    numbers, schedules = {}, {}
    for name, value in values.items():
        if not isinstance(value, str):
            numbers[name] = value
        elif "(" in value:
            schedules[name] = value
        else:
            raise SettingError(f"{name} = '{value}': it must be a number, or a schedule such as 'linear(0.1, 0)'")
    return numbers, schedules


def _with_schedules(controller: PlugSpec, schedules: Mapping[str, str]) -> PlugSpec:
    """Add schedules to those of the `annealed` controller. Raises SettingError for another controller."""
    if catalog.split_preset(controller.name)[0] != "annealed":
        name, text = next(iter(schedules.items()))
        raise SettingError(f"{name} = '{text}' is a schedule, which needs --controller annealed")
    options = controller.options
    return controller.with_options(
        schedules={**options["schedules"], **schedules},
        factors={name: text for name, text in options["factors"].items() if name not in schedules},
        # A schedule that the user gave must have an effect: it is not optional.
        optional=[name for name in options["optional"] if name not in schedules],
    )


def _complete_metric(experiment: Experiment, model: PlugSpec, data: "DataSet") -> PlugSpec | None:
    """Return the metric of the experiment, or the suggested one, with all options; None without held-out data."""
    metric: PlugSpec | None = experiment.metric
    if metric is None and data.count("held_out") != 0:
        pairing = _pairing(model)
        is_paired = pairing == "made" or (pairing and "held_out" in data.spec.paired)
        metric = PlugSpec("paired_l1") if is_paired else _suggested_metric(model, data)
    return metric if metric is None or metric.name == NO_METRIC else _with_all_options("metrics", metric)


def _suggested_metric(model: PlugSpec, data: "DataSet") -> PlugSpec | None:
    """Return the metric that the data set suggests; fd_pixels if the model trains on the features of that metric."""
    suggested = data.suggestion.metric
    frozen: frozenset[str] = getattr(catalog.load("models", model.name), "frozen_digests", frozenset())
    if suggested and frozen and catalog.build("metrics", suggested).features_digest in frozen:
        return PlugSpec("fd_pixels", {"side": 32})
    return PlugSpec(suggested) if suggested else None


def _data_spec(experiment: Experiment) -> PlugSpec:
    """Return the data set of an experiment, with samples of the size of a teacher. Raises SettingError without one."""
    from equipoise.experiment.start import with_size_of_teacher

    if experiment.data is None:
        raise SettingError("no data given; use equipoise train digits, or equipoise train FOLDER")
    spec = parse_data_source(experiment.data.name, experiment.image_size)
    return with_size_of_teacher(spec, experiment).with_options(**experiment.data.options)


def build_unresolved_data(spec: PlugSpec) -> "DataSet":
    """Build a data set without reading its files."""
    data: DataSet = catalog.build("data", spec.name, spec.options)
    return data


def _controller(suggestion: "Suggestion", model: PlugSpec, *, has_schedules: bool) -> str:
    """Return the suggested controller; `annealed` if knobs have schedules.

    Also `annealed` instead of a learned policy for models that translate images, on which no policy was measured;
    `fixed` if the controller changes knobs that the model does not have, such as those of a discriminator.
    """
    suggested = suggestion.controller
    is_learned = catalog.split_preset(suggested)[0] == "learnable"
    if has_schedules or (is_learned and _pairing(model) is not None):
        return "annealed"
    unused: frozenset[str] = getattr(catalog.load("models", model.name), "unused_knobs", frozenset())
    controller: AnyController = catalog.build("controllers", suggested)
    return FIXED if unused & controller.required_knobs() else suggested


def _pairing(model: PlugSpec) -> Literal["needed", "withheld", "made"] | None:
    """Return how a model uses pairs: "needed" for training, "withheld" for metrics only, "made" from its samples.

    None if it does not use them.
    """
    result: Literal["needed", "withheld", "made"] | None = getattr(catalog.load("models", model.name), "pairing", None)
    return result


def _needs_captions(model: PlugSpec) -> bool:
    return getattr(catalog.load("models", model.name), "captions", None) == "needed"


def _with_captions(spec: PlugSpec, data: "DataSet") -> tuple[PlugSpec, "DataSet"]:
    """Return a data set with captions, if it has an option for them, else unchanged."""
    if not hasattr(data, "captions"):
        return spec, data
    spec = spec.with_options(captions=True)
    return spec, build_unresolved_data(spec).resolve()


def _checkpoint_path(start_from: str | None) -> str | None:
    """Return the absolute path of the checkpoint to start from, so that later checkpoints of that run are not used.

    For a run without checkpoints, return its folder: the error is raised when the weights are loaded.
    """
    if start_from is None or start_from == STARTER:
        return start_from
    from equipoise.training import checkpoint

    path = Path(start_from).expanduser().resolve()
    return str(checkpoint.latest(path) or path)


def _model_of_checkpoint(start_from: str | None) -> PlugSpec | None:
    """Return the model of the run that a checkpoint belongs to."""
    if start_from is None:
        return None
    path = start_path(start_from)
    folder = path.parents[1] if path.parent.name == CHECKPOINTS_FOLDER else path
    return parse_experiment(Run(folder).experiment(), str(folder)).model


def _with_teacher(model: PlugSpec, start_from: str | None, data: "DataSet") -> PlugSpec:
    """Return a model whose teacher, if it learns from one, is the model of the run to start from."""
    from equipoise.experiment.start import with_teacher

    return with_teacher(model, start_from, data.spec)


def _default_threads(spec: "DataSpec", processes: int) -> int:
    is_small = not spec.is_image or spec.shape[-1] < MULTITHREADED_PIXELS
    return 1 if is_small else max(1, (os.cpu_count() or 1) // processes)


def _with_absolute_policy(controller: PlugSpec) -> PlugSpec:
    """Make the path of a policy file absolute, so that the run can be resumed from any folder."""
    from equipoise.policy import files

    return PlugSpec(controller.name, files.resolve_policy_paths(controller.options))


def _with_all_options(kind: catalog.PlugKind, spec: PlugSpec) -> PlugSpec:
    """Return a plug with every option written out, including those of its preset."""
    return _write_out(spec.name, catalog.build(kind, spec.name, spec.options))


def _write_out(name: str, plug: object) -> PlugSpec:
    options: Options = TypeAdapter(type(plug)).dump_python(plug, mode="json")
    return PlugSpec(catalog.absolute_name(name), options)
