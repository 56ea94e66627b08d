"""An experiment: one frozen value that says what to run. TOML in, JSON out, overrides from the command line.

What is left out (None) is what suits the data; :func:`complete` fills it in, so that a run folder holds all that is
needed to run it again.
"""

import dataclasses
import json
import os
import platform
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import BeforeValidator, TypeAdapter

from equipoise.core import catalog
from equipoise.core import validation as bounds
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment import data_source as folders
from equipoise.runs import run_folder as runs

if TYPE_CHECKING:  # The nouns with tensors import torch, for which `equipoise train --help` should not wait.
    from equipoise.core.data import DataSet, DataSpec, Preparation
    from equipoise.core.model import Recipe

FORMAT = 1
NOTHING = "none"
"""The name of the metric that measures nothing."""
FRAMES = 100
SAVE_EVERY = 250
MANY_PIXELS = 64
MOST_THREADS = 1024
COUNTS = ("steps", "images", "batch_size", "threads", "sense_every", "sample_every", "evaluate_every", "save_every")


@dataclass(frozen=True)
class PlugSpec:
    """A plug by name, and options that differ from its own. In TOML a name, or a table with `name` and the options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def with_options(self, **options: Any) -> "PlugSpec":
        """The same plug with more options; those that are None are left as they are."""
        chosen = {name: value for name, value in options.items() if value is not None}
        return PlugSpec(self.name, {**self.options, **chosen})


def _choice(value: Any) -> Any:
    if isinstance(value, str):
        return PlugSpec(value)
    if isinstance(value, Mapping) and "name" in value:
        options = value["options"] if "options" in value else {k: v for k, v in value.items() if k != "name"}
        if not isinstance(value["name"], str):
            raise ValueError("its name must be a word")
        if not isinstance(options, Mapping):
            raise ValueError("its options must be a table")
        return PlugSpec(value["name"], options)
    return value


Plug = Annotated[PlugSpec, BeforeValidator(_choice)]


def setting(help: str) -> Any:
    """A field that may be left out; the text serves the command line's help and the docs."""
    return field(default=None, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What to run. Every field may be left out but the data."""

    data: Plug | None = setting(
        "what to train on: the name of a data set, a folder of images or CSV files, a text file"
    )
    model: Plug | None = setting("which GAN, with a preset after a colon: dcgan, dcgan:lab32, wgan_gp")
    controller: Plug | None = setting("who turns the knobs: fixed, rank, annealed, annealed:r3gan, …")
    metric: Plug | None = setting("what is measured on held-out data while training; none for nothing")
    loss: str | None = setting(
        "adversarial loss: minimax, non_saturating, least_squares, hinge, wasserstein, relativistic"
    )
    constraint: str | None = setting("on the discriminator: none, weight_clipping, gradient_penalty, spectral_norm")
    options: Mapping[str, Any] | None = setting("options of the GAN: width, latent_dim, …; win over those of its table")
    steps: int | None = setting("length of the run; in a step each player makes its updates")
    images: int | None = setting("stop once so many real images were seen")
    seconds: float | None = setting("stop after so many seconds of training")
    stop_at_equilibrium: bool | None = setting("stop when the discriminator cannot tell reals from fakes any more")
    batch_size: int | None = setting("reals a step")
    image_size: int | None = setting("height and width of images, in pixels")
    seed: int | None = setting("of all randomness: same seed, same bytes")
    precision: str | None = setting("auto, fp32, bf16 or fp16; auto takes what the device has matrix units for")
    device: str | None = setting("cpu, cuda, cuda:1, mps")
    threads: int | None = setting("threads of the CPU; left out: one below 64 pixels, all cores from there on")
    start_from: str | None = setting(
        "a run, or a checkpoint of one, whose weights to start from, on other data or at another size too; its GAN if "
        "none is named"
    )
    sense_every: int | None = setting(
        "steps between two readings, at each of which health is judged and a controller may decide; left out: 50; the "
        "first 100 steps are read one by one"
    )
    sample_every: int | None = setting("steps between two sample grids")
    evaluate_every: int | None = setting(
        "steps between two measurements of the metric; left out: ten in the run, or as many as take a twentieth of it"
    )
    save_every: int | None = setting("steps between two checkpoints")
    repair: bool | None = setting("mend a run that ails: roll back, turn knobs; on unless --no-repair is given")
    track: Literal["tensorboard", "wandb", "off"] | None = setting("also log to tensorboard or wandb; off")
    knobs: Mapping[str, float] | None = setting("where the knobs stand at the start")
    untouched: tuple[str, ...] | None = setting(
        "knobs that stay where they stand: neither controller nor repair turns them"
    )
    format: int = FORMAT
    versions: Mapping[str, str] | None = setting("what it was written with")

    def __post_init__(self) -> None:
        for name in ("data", "model", "controller", "metric"):
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, _choice(value))
            except ValueError as error:
                raise SettingError(f"{name} = {value!r}: {error}") from error

    def overlaid(self, other: "Experiment") -> Self:
        """This experiment, but for what `other` says; tables of knobs and of options are merged."""
        said = {name: value for name, value in _fields(other).items() if value is not None}
        for table in ("knobs", "options"):
            if table in said:
                said[table] = {**(getattr(self, table) or {}), **said[table]}
        return dataclasses.replace(self, **said)

    @property
    def measured(self) -> PlugSpec | None:
        """The metric, None where nothing is to be measured while training: none was asked for, or none suggested."""
        return None if self.metric is None or self.metric.name == NOTHING else self.metric

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        values: dict[str, Any] = TypeAdapter(Experiment).dump_python(self, mode="json")
        return {name: value for name, value in values.items() if value is not None}


def from_values(values: Mapping[str, Any], source: str) -> Experiment:
    """An experiment from TOML or JSON. Raises UnknownNameError or SettingError, naming `source` and the key."""
    known = {field.name for field in dataclasses.fields(Experiment)}
    for name in values:
        if name not in known:
            raise UnknownNameError(f"setting in {source}", name, known)
    if (format := values.get("format", FORMAT)) != FORMAT:
        raise SettingError(f"{source} has format {format}, newer than this version reads ({FORMAT}); upgrade equipoise")
    experiment: Experiment = catalog.checked(Experiment, values, source)
    return experiment


def read_toml(path: Path) -> Experiment:
    """An experiment from a TOML file. Raises SettingError if it cannot be read, UnknownNameError for a wrong key."""
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise SettingError(f"there is no file {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path} cannot be read as TOML: {error}") from error
    return from_values(values, str(path))


def read_file(path: Path) -> Experiment:
    """An experiment from a TOML file, or the experiment.json of a run. Raises as :func:`read_toml`."""
    if path.suffix.lower() != ".json":
        return read_toml(path)
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise SettingError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise SettingError(f"{path} is not a table of settings; give a TOML file, or the experiment.json of a run")
    return from_values(values, str(path))


def complete(experiment: Experiment) -> Experiment:
    """The same experiment with nothing left out but limits that there are none of.

    The data set suggests the GAN, the length and the metric. Options of plugs are written out in full, so that a later
    version with other defaults runs the same. Raises EquipoiseError for what does not exist or cannot be.
    """
    check_numbers(experiment)
    chosen = _data(experiment)
    data: DataSet = catalog.build("data", chosen.name, chosen.options).resolve()
    suits = data.suggestion
    start_from = _checkpoint_of(experiment.start_from)
    model = experiment.model or _gan_of(start_from) or PlugSpec(suits.model)
    pairing = _pairing(model)
    if pairing == "withheld" and "train" in data.spec.paired and "paired" not in chosen.options:
        chosen = chosen.with_options(paired=False)
        data = catalog.build("data", chosen.name, chosen.options).resolve()
    metric = "paired_l1" if pairing and "held_out" in data.spec.paired else suits.metric
    if experiment.metric is None and data.count("held_out") == 0:
        metric = None
    model = model.with_options(**(experiment.options or {}))
    model = model.with_options(loss=experiment.loss, constraint=experiment.constraint)
    steps = experiment.steps or suits.steps
    return dataclasses.replace(
        experiment,
        data=_written_out(chosen.name, data),
        model=_in_full("models", model),
        controller=_in_full("controllers", _rooted(experiment.controller or PlugSpec(suits.controller))),
        metric=_in_full("metrics", _choice(experiment.metric or metric)),
        loss=None,
        constraint=None,
        options=None,
        image_size=None,
        steps=steps,
        batch_size=experiment.batch_size or suits.batch_size,
        seed=experiment.seed if experiment.seed is not None else 0,
        precision=experiment.precision or "auto",
        device=experiment.device or "auto",
        threads=experiment.threads or _threads(data.spec),
        start_from=start_from,
        stop_at_equilibrium=bool(experiment.stop_at_equilibrium),
        sample_every=experiment.sample_every or max(1, round(steps / FRAMES)),
        save_every=experiment.save_every or SAVE_EVERY,
        repair=experiment.repair is not False,
        track=experiment.track or "off",
        knobs=experiment.knobs or {},
        versions=versions(),
    )


def preparations(experiment: Experiment) -> "Iterator[Preparation]":
    """Make the data of an experiment ready, completed or not, telling how far it is."""
    chosen = _data(experiment)
    data: DataSet = catalog.build("data", chosen.name, chosen.options)
    return data.prepare()


def named_data(word: str, image_size: int | None = None) -> PlugSpec:
    """The data that a word stands for: a data set by its name, a folder of images or CSV files, or a text file."""
    if not folders.is_folder(word):
        return PlugSpec(word).with_options(image_size=image_size)
    kind, folder = folders.kind_of(word)
    return read_as(str(folder), kind).with_options(image_size=image_size)


def _data(experiment: Experiment) -> PlugSpec:
    """What to train on, by the name of a data set. Raises SettingError if nothing is said."""
    if experiment.data is None:
        raise SettingError("say what to train on: equipoise train digits, or equipoise train FOLDER")
    named = named_data(experiment.data.name, experiment.image_size)
    return named.with_options(**experiment.data.options)


def read_as(word: str, reader: str) -> PlugSpec:
    """The data that a data set makes of a path, which is the first of its options."""
    options = dataclasses.fields(catalog.load("data", reader))
    if not options or options[0].type not in ("str", str):
        raise SettingError(f"'{reader}' reads no folder and no file; leave {word} out: equipoise train {reader}")
    return PlugSpec(reader, {options[0].name: str(Path(word).expanduser())})


def _pairing(model: PlugSpec) -> Literal["needed", "withheld"] | None:
    """What a GAN makes of pairs: it needs them, or learns without and measures by them; None for one that maps none."""
    result: Literal["needed", "withheld"] | None = getattr(catalog.load("models", model.name), "pairing", None)
    return result


def _checkpoint_of(start_from: str | None) -> str | None:
    """The full path of the checkpoint to start from, which stays the same wherever and whenever it is asked for.

    Of a run that has none, the folder: whoever takes its weights tells of it.
    """
    if start_from is None:
        return None
    from equipoise.training import checkpoint

    path = Path(start_from).expanduser().resolve()
    return str(checkpoint.of(path) or path)


def _gan_of(start_from: str | None) -> PlugSpec | None:
    """The GAN of the run that a checkpoint is of: weights fit where networks are alike."""
    if start_from is None:
        return None
    path = Path(start_from)
    folder = path.parents[1] if path.parent.name == runs.CHECKPOINTS else path
    return from_values(runs.Run(folder).experiment(), str(folder)).model


def _threads(spec: "DataSpec") -> int:
    """Threads that pay: see benchmarks/throughput.md for what a second one brings to small networks."""
    return (os.cpu_count() or 1) if spec.is_image and spec.shape[-1] >= MANY_PIXELS else 1


def check_numbers(experiment: Experiment) -> None:
    """Raise SettingError for a number that cannot be, wherever it was written."""
    for name in COUNTS:
        value = getattr(experiment, name)
        if value is not None and value < 1:
            raise SettingError(f"{name} = {value}: it must be at least 1")
    if experiment.seconds is not None and not experiment.seconds > 0:
        raise SettingError(f"seconds = {experiment.seconds:g}: it must be above 0")
    if experiment.threads is not None and experiment.threads > MOST_THREADS:
        raise SettingError(f"threads = {experiment.threads}: it must be at most {MOST_THREADS}")
    if experiment.seed is not None:
        bounds.seeds(seed=experiment.seed)


T = TypeVar("T")


def require(value: T | None, name: str) -> T:
    """A setting that must be there. Raises SettingError if a file was written by hand without it."""
    if value is None:
        raise SettingError(f"the experiment does not say '{name}'; put it back, or train anew")
    return value


def data_of(experiment: Experiment) -> "DataSet":
    """The data set of a completed experiment."""
    choice = require(experiment.data, "data")
    data: DataSet = catalog.build("data", choice.name, choice.options)
    return data


def recipe_of(experiment: Experiment) -> "Recipe":
    """The recipe of a completed experiment."""
    choice = require(experiment.model, "model")
    recipe: Recipe = catalog.build("models", choice.name, choice.options)
    return recipe


def versions() -> dict[str, str]:
    """Of what decides the bytes of a run."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("equipoise", "torch", "numpy")}


def _rooted(controller: PlugSpec) -> PlugSpec:
    """The policy that it follows, if any, stays the same from wherever the run is gone on with."""
    from equipoise.policy import files

    return PlugSpec(controller.name, files.rooted(controller.options))


def _in_full(kind: catalog.Kind, choice: PlugSpec | None) -> PlugSpec | None:
    if choice is None or (kind == "metrics" and choice.name == NOTHING):
        return choice
    return _written_out(choice.name, catalog.build(kind, choice.name, choice.options))


def _written_out(name: str, plug: Any) -> PlugSpec:
    """A plug as a choice that leaves no option to its defaults."""
    options: dict[str, Any] = TypeAdapter(type(plug)).dump_python(plug, mode="json")
    return PlugSpec(name, options)


def _fields(experiment: Experiment) -> dict[str, Any]:
    return {field.name: getattr(experiment, field.name) for field in dataclasses.fields(experiment)}
