"""Settings of an experiment: each is declared once, as a field of :class:`Experiment`.

The declaration gives the flag, help text and range check of the command line, the key of TOML and JSON files, the JSON
schema and the row of the reference. A setting that is None is filled in by :func:`equipoise.experiment.completion.
complete` with a value that suits the data.
"""

import dataclasses
import functools
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, get_type_hints

from pydantic import TypeAdapter

from equipoise.core import catalog
from equipoise.core.catalog import PlugKind
from equipoise.core.validation import MAX_SEED, check_type
from equipoise.errors import SettingError
from equipoise.experiment.declaration import SettingSpec, describe_wrong_plug, to_python
from equipoise.experiment.plug_spec import Options as Options
from equipoise.experiment.plug_spec import Plug as Plug
from equipoise.experiment.plug_spec import PlugSpec as PlugSpec
from equipoise.experiment.plug_spec import parse_plug as parse_plug
from equipoise.runs.migration import FORMAT

if TYPE_CHECKING:  # These types import torch, which would slow down `equipoise train --help`.
    from equipoise.core.data import DataSet
    from equipoise.core.model import Recipe

NO_METRIC = "none"
"""Value of the setting `metric` for no metric."""


def setting(help: str, *flags: str, **spec: Any) -> Any:
    """Declare an optional setting; other arguments as in :class:`SettingSpec`."""
    return field(default=None, metadata={"spec": SettingSpec(help, flags, **spec)})


def count(help: str, *flags: str, unit: str = "steps", maximum: float | None = None) -> Any:
    """Declare an optional setting that is an integer of at least 1."""
    return setting(help, *flags, metavar="N", minimum=1, maximum=maximum, unit=unit)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Settings of one experiment. All but `data` are optional."""

    data: Plug | None = setting(
        "training data: the name of a data set, a folder of images or CSV files, or a text file", plug="data"
    )
    model: Plug | None = setting(
        "model, with a preset after a colon: dcgan, dcgan:lab32, wgan_gp",
        "--model",
        "--gan",
        metavar="NAME",
        plug="models",
    )
    controller: Plug | None = setting(
        "controller, which changes knobs during training: fixed, rank, annealed, annealed:r3gan, …",
        "--controller",
        metavar="NAME",
        plug="controllers",
    )
    metric: Plug | None = setting(
        "metric computed on held-out data during training; none: no metric", "--metric", metavar="NAME", plug="metrics"
    )
    loss: str | None = setting(
        "adversarial loss, such as non_saturating or hinge; the page of each model lists all",
        "--loss",
        metavar="NAME",
    )
    constraint: str | None = setting(
        "constraint on the discriminator: none, weight_clipping, gradient_penalty, spectral_norm",
        "--constraint",
        metavar="NAME",
    )
    options: Options | None = setting(
        "options of the model: width, latent_dim, …; override those in the table of the model",
        "--option",
        flag_help="an option of the model: width=32; or of the data, controller or metric: data.fit=pad",
        metavar="NAME=VALUE",
    )
    steps: int | None = count("length of the run; in one step each network is updated in turn", "--steps")
    images: int | None = count("stop after this number of real images", "--images", unit="images")
    seconds: float | None = setting(
        "time budget: the number of steps is set from a measurement at the start, so that schedules end when the time "
        "does; with `steps`: stop after this training time",
        "--seconds",
        metavar="S",
        above=0,
        unit="seconds",
    )
    minutes: float | None = setting(
        "time budget in minutes, instead of `seconds`", "--minutes", metavar="M", above=0, unit="minutes"
    )
    budget: float | None = setting(
        "time budget that `steps` was set from; written by the program, which stops at 1.25 times this training time "
        "at the latest",
        above=0,
        unit="seconds",
    )
    stop_at_equilibrium: bool | None = setting(
        "stop when the discriminator can no longer distinguish real samples from fakes", "--stop-at-equilibrium"
    )
    batch_size: int | None = count(
        "real samples per batch; a step uses one batch, which several processes share", "--batch-size", unit="samples"
    )
    accumulate: int | None = count(
        "batches per update, whose gradients are averaged: N batches of B samples train like one of N x B, with the "
        "memory of B; default: 1",
        "--accumulate",
        unit="batches",
        maximum=4096,
    )
    image_size: int | str | None = setting(
        "size of images: a number, or width x height, such as 64x96",
        "--image-size",
        metavar="N",
        minimum=1,
        unit="pixels",
    )
    seed: int | None = setting(
        "seed of all randomness; the same seed gives the same bytes", "--seed", metavar="S", minimum=0, maximum=MAX_SEED
    )
    precision: str | None = setting(
        "number format of forward passes; auto: low precision if the device has matrix units for it",
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    compile: bool | None = setting(
        "compile the generator with torch.compile, which takes a minute at the start; the bytes of the result differ; "
        "default: false",
        "--compile",
    )
    device: str | None = setting("device: auto, cpu, cuda, cuda:1, mps", "--device", metavar="NAME")
    devices: int | None = count(
        "devices that train together, each in a process of its own with a share of every batch; default: 1",
        "--devices",
        unit="processes",
        maximum=4096,
    )
    data_processes: int | None = setting(
        "processes that decode images of image_shards ahead of training; the bytes of a run do not depend on it; "
        "default: 0: the process that trains decodes them",
        "--data-workers",
        metavar="N",
        minimum=0,
        maximum=256,
        unit="processes",
    )
    threads: int | None = count(
        "CPU threads of a process; default: one for images below 64 pixels, else all cores",
        "--threads",
        unit="threads",
        maximum=1024,
    )
    start_from: str | None = setting(
        'run or checkpoint whose weights to start from, also for other data or another size, or "starter", for '
        "weights in the package (colour images of about 64 pixels); the default model is that of this run",
        "--from",
        metavar="RUN",
    )
    sense_every: int | None = count(
        "steps between two readings, at each of which health is checked and the controller decides; default: 50; "
        "the first 100 steps are read one by one",
        "--sense-every",
    )
    sample_every: int | None = count("steps between two sample grids", "--sample-every")
    evaluate_every: int | None = count(
        "steps between two evaluations of the metric; default: ten evaluations per run, fewer if they would take more "
        "than 5 % of it",
        "--evaluate-every",
    )
    save_every: int | None = count("steps between two checkpoints", "--save-every")
    keep: Literal["best", "last"] | None = setting(
        "weights of a finished run: best: those of the evaluation with the best metric, if one was computed; last: "
        "those of the last step; default: best",
        "--keep",
        choices=("best", "last"),
    )
    repair: bool | None = setting(
        "repair an unhealthy run by rollbacks and changes of knobs; default: true",
        "--no-repair",
        flag_help="report an unhealthy run without repairing it",
    )
    track: Literal["tensorboard", "wandb", "off"] | None = setting(
        "log to this experiment tracker too", "--track", choices=("tensorboard", "wandb", "off")
    )
    knobs: Mapping[str, float | str] | None = setting(
        'initial values of knobs; with the controller annealed also schedules: "linear(0.001, 0)"',
        "--set",
        flag_help="initial value of a knob, or, with --controller annealed, its schedule: augment_p='linear(0, 0.5)'",
        metavar="KNOB=VALUE",
    )
    freeze: tuple[str, ...] | None = setting(
        "knobs that neither the controller nor repair may change", "--freeze", metavar="KNOB"
    )
    manual: str | None = setting(
        "run whose manual control to repeat: the requests that a person made during that run, at the same steps",
        "--manual",
        metavar="RUN",
    )
    format: int = field(default=FORMAT, metadata={"spec": SettingSpec("format of these keys; written by the program")})
    versions: Mapping[str, str] | None = setting("versions of the packages that determine the bytes of a run")

    def __post_init__(self) -> None:
        for name, spec in setting_specs().items():
            value, hint = getattr(self, name), setting_types()[name]
            try:
                value = to_python(value, hint) if spec.plug is None else parse_plug(value)
            except ValueError as error:
                raise SettingError(f"{name} = {value!r}: {error}") from error
            object.__setattr__(self, name, value)
            if spec.plug is None:
                check_type(name, value, hint)
            elif not isinstance(value, PlugSpec | None):
                raise SettingError(describe_wrong_plug(name, value))
        if self.knobs is not None:
            values = {name: value if isinstance(value, str) else float(value) for name, value in self.knobs.items()}
            object.__setattr__(self, "knobs", values)

    def merge(self, other: "Experiment") -> Self:
        """Return this experiment with the settings of `other` that are not None; knobs and options are merged."""
        values = {name: getattr(other, name) for name in setting_specs()}
        values = {name: value for name, value in values.items() if value is not None}
        for table in ("knobs", "options"):
            if table in values:
                values[table] = {**(getattr(self, table) or {}), **values[table]}
        if "seconds" in values or "minutes" in values:
            values = {"seconds": None, "minutes": None, **values}
            if self.budget is not None:  # `steps` was set from another budget
                values = {"steps": None, **values}
        if self.budget is not None and values.keys() & {"steps", "seconds", "minutes"}:
            values = {"budget": None, **values}
        return dataclasses.replace(self, **values)

    @property
    def training_metric(self) -> PlugSpec | None:
        """The metric computed during training; None if there is none."""
        return None if self.metric is None or self.metric.name == NO_METRIC else self.metric

    @property
    def step_images(self) -> int:
        """The number of real samples that a step of a completed experiment counts."""
        return require(self.batch_size, "batch_size") * (self.accumulate or 1)

    @property
    def initial_knobs(self) -> dict[str, float]:
        """The initial values of knobs of a completed experiment, where schedules are options of the controller."""
        return {name: value for name, value in (self.knobs or {}).items() if not isinstance(value, str)}

    def plugs(self) -> dict[PlugKind, PlugSpec]:
        """Return the plugs that are set, by kind."""
        plugs = {spec.plug: getattr(self, name) for name, spec in setting_specs().items() if spec.plug}
        return {kind: plug for kind, plug in plugs.items() if plug is not None}

    def check_ranges(self) -> None:
        """Raise SettingError for a number outside the range of its setting, UnknownNameError for an invalid choice.

        Options of plugs, whose ranges the plugs check, must be finite.
        """
        for name, spec in setting_specs().items():
            value = getattr(self, name)
            spec.check(name, value)
            for option, number in value.options.items() if isinstance(value, PlugSpec) else ():
                if isinstance(number, float) and not math.isfinite(number):
                    raise SettingError(f"{name}.{option} = {number}: it must be a finite number")

    def to_json(self) -> dict[str, object]:
        """Return the settings that are not None, as JSON values."""
        values: dict[str, object] = TypeAdapter(Experiment).dump_python(self, mode="json")
        return {name: value for name, value in values.items() if value is not None}


@functools.cache
def setting_types() -> Mapping[str, object]:
    """Return the type of each setting by name."""
    return get_type_hints(Experiment)


@functools.cache
def setting_specs() -> dict[str, SettingSpec]:
    """Return the declaration of each setting by name, in order."""
    return {field.name: field.metadata["spec"] for field in dataclasses.fields(Experiment)}


T = TypeVar("T")


def require(value: T | None, name: str) -> T:
    """Return a setting that must not be None. Raises SettingError if it was removed from an experiment.json."""
    if value is None:
        raise SettingError(f"the experiment lacks '{name}'; add it again, or start a new run")
    return value


def build_data(experiment: Experiment) -> "DataSet":
    """Build the data set of a completed experiment."""
    spec = require(experiment.data, "data")
    data: DataSet = catalog.build("data", spec.name, spec.options)
    return data


def build_recipe(experiment: Experiment) -> "Recipe":
    """Build the recipe of the model of a completed experiment."""
    spec = require(experiment.model, "model")
    recipe: Recipe = catalog.build("models", spec.name, spec.options)
    return recipe


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that determine the bytes of a run."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("equipoise", "torch", "numpy")}
