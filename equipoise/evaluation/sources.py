"""Data sets of an evaluation: samples and reals, read by the same data set with the same options on both sides.

The rules, for samples in files against reals in files, do not depend on which side is which:
- size: of a side, the side of its images in pixels if all are squares of one size, otherwise the default of training;
  of both, the smaller one, at most MAX_SIZE
- colour: grey only if both sides are grey
- range of tables and of images that are not 8 bit: the union of both ranges
- words and length of texts: the union of both vocabularies, the longer of both lengths
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from equipoise.core import catalog
from equipoise.core.data import Bound, DataSet, DataSpec
from equipoise.core.image_sizes import ImageSides
from equipoise.errors import DataError, SettingError, UnknownNameError
from equipoise.experiment.data_source import detect_reader, is_path, parse_data_source, read_path_with
from equipoise.experiment.settings import PlugSpec

MAX_SIZE = 128
"""Largest size in pixels at which images are compared by default: feature networks resize them to 96 or 299."""
MAX_BYTE = 255
"""Largest value of images of 8 bits."""
FORMAT_OPTIONS = frozenset(
    {"image_size", "channels", "fit", "background", "alpha", "black", "white", "layout", "cache"}
    | {"low", "high", "window", "stride", "columns", "unit", "words", "length", "rare"}
    | {"kind", "scale", "rows_are", "missing", "group", "label", "representation", "sample_rate", "seconds", "bands"}
)
"""Options that say how files are read, not which files: those of a run apply to the reals that it is compared with."""

OUTER: Mapping[str, Callable[[Iterable[float]], float]] = {
    **dict.fromkeys(("low", "black"), min),
    **dict.fromkeys(("high", "white", "channels", "length"), max),
}
"""Options whose values on both sides are combined, and how."""

FRACTIONS = ((-1, 1), (0, 1))
"""Ranges of arrays that are scales of their own, such as that of generated samples; they are not combined."""

OptionValues = Mapping[str, object]
RequestedSplit = Literal["held_out", "train", "valid", "test"]
"""A split of the reals: held_out or train for any data; also valid or test for a folder with such subfolders."""


@runtime_checkable
class SizedImages(Protocol):
    """A data set of images whose size can be determined from the headers of its files."""

    def own_size(self) -> int:
        """Return the side of the images in pixels if they are squares of one size, otherwise the default size."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenedData:
    """A data set with its name and resolved options. `notes`: for the user. `is_whole`: nothing of it is held out."""

    plug: PlugSpec
    data: DataSet
    notes: tuple[str, ...] = ()
    is_whole: bool = False


class OpenedPair(NamedTuple):
    """Reals and samples, read alike. `samples`: None for files that the reals' own data set does not read."""

    reals: OpenedData
    samples: OpenedData | None


def open_data(plug: PlugSpec, *, is_whole: bool = False) -> OpenedData:
    """Prepare and resolve a data set. `is_whole`: use all of it, without labels, instead of holding out a share."""
    if is_whole:
        whole = {"held_out": 0.0, "labels": "none", "split": plug.options.get("split", "all")}
        plug = plug.with_options(**_known(plug.name, whole))
    data: DataSet = catalog.build("data", plug.name, plug.options)
    notes = tuple(preparation.note for preparation in data.prepare() if preparation.note)
    resolved: DataSet = data.resolve()
    return OpenedData(plug, resolved, notes, is_whole)


def select_split(plug: PlugSpec, split: RequestedSplit) -> PlugSpec:
    """Return a data set that reads a path with the split that the user named: a subfolder such as `test`.

    The default, `held_out`, is every split. Raises SettingError for `valid` or `test` of data without such subfolders.
    """
    if split == "held_out":
        return plug
    if "split" in option_names(plug.name):
        return plug.with_options(split=split)
    if split != "train":
        raise SettingError(
            f"'{plug.name}' has no subfolders that are splits, so there is no split {split}; omit --split"
        )
    return plug


def _known(name: str, values: OptionValues) -> dict[str, object]:
    """Return the options that a data set has."""
    return {option: value for option, value in values.items() if option in option_names(name)}


def option_names(name: str) -> frozenset[str]:
    """Return the names of the options of a data set."""
    return frozenset(inspect.signature(catalog.load("data", name)).parameters)


def open_for_run(
    against: str, trained: PlugSpec, spec: DataSpec, options: OptionValues, split: RequestedSplit
) -> OpenedData:
    """Open the reals that a run is compared with: in the run's size and colour, read with the run's options.

    A path is used as a whole, unless it is the text that the run was trained on.
    """
    plug = parse_data_source(against)
    check_options(options, [plug.name])
    is_own_size = trained.name == plug.name and trained.options.get("image_size", 0) is None  # that of its windows
    if spec.is_image and not is_own_size:
        plug = plug.with_options(
            **_known(plug.name, {"image_size": ImageSides(*spec.shape[1:]).setting, "channels": spec.shape[0]})
        )
    if not is_path(against):
        return open_data(plug.with_options(**options))
    plug = select_split(plug, split)
    if plug.name == "text_lines" and spec.vocabulary is not None:
        return _open_text_for_run(plug, trained, spec, options)
    if trained.name == plug.name:
        shared = {name: value for name, value in trained.options.items() if name in FORMAT_OPTIONS}
        plug = PlugSpec(plug.name, {**shared, **plug.options})
        if _is_deep(trained):  # images of 8 bits in the folder have their own scale
            plug = plug.with_options(full_scale=True)
        if isinstance(columns := shared.get("columns"), list | tuple) and "columns" not in options:
            with suppress(UnknownNameError):
                return open_data(plug.with_options(**options), is_whole=True)
            # Tables as `sample` writes them have the columns that were used only.
            every = [str(number) for number, _ in enumerate(columns, 1)]
            plug = plug.with_options(columns=every, label="none", group="none")
    return open_data(plug.with_options(**options), is_whole=True)


def _is_deep(trained: PlugSpec) -> bool:
    """Return whether images that a run was trained on have values of more than 8 bits, or fractions."""
    black, white = (trained.options.get(name) for name in ("black", "white"))
    if not isinstance(black, int | float) or not isinstance(white, int | float):
        return False
    return white > MAX_BYTE or white <= 1 or black < 0


def _open_text_for_run(plug: PlugSpec, trained: PlugSpec, spec: DataSpec, options: OptionValues) -> OpenedData:
    """Open a text with the vocabulary and the length of a run, split as in the run if it is the same text."""
    assert spec.vocabulary is not None
    if trained.name == plug.name:
        with suppress(DataError):  # The digest of another text differs.
            return open_data(trained.with_options(file=plug.options["file"], **options))
    unit = "words" if spec.vocabulary.separator else "characters"
    same = {"unit": unit, "words": spec.vocabulary.words, "length": spec.shape[0]}
    return open_data(plug.with_options(**same, **options), is_whole=True)


def open_pair(samples: Path, against: str, options: OptionValues, split: RequestedSplit) -> OpenedPair:
    """Open samples in files, and the reals that they are compared with, so that both are read alike.

    `options`: of the data set, for each side that has them. `split`: of the reals. Raises SettingError for an option
    that neither side has.
    """
    reals = parse_data_source(against)
    if is_path(against):
        reals = select_split(reals, split)
    reader = detect_sample_reader(samples)
    if not is_path(against):
        return _open_against_name(samples, reader, reals, options)
    if reader != reals.name:
        check_options(options, [reals.name])
        return OpenedPair(open_data(reals.with_options(**options), is_whole=True), None)
    check_options(options, [reals.name])
    plugs = [reals.with_options(**options), read_path_with(reader, str(samples)).with_options(**options)]
    if "image_size" not in options and "image_size" in option_names(reals.name):
        sizes = [own_size(plug) for plug in plugs]
        if None not in sizes:
            plugs = [plug.with_options(image_size=min(MAX_SIZE, *filter(None, sizes))) for plug in plugs]
    opened = [open_data(plug, is_whole=True) for plug in plugs]
    if shared := _shared_options(*(side.data for side in opened)):
        opened = [open_data(plug.with_options(**shared), is_whole=True) for plug in plugs]
    return OpenedPair(*opened)


def detect_sample_reader(samples: Path) -> str:
    """Return the name of the data set that reads samples. Raises DataError if there are none."""
    if not samples.exists():
        raise DataError(f"{samples} does not exist; give a run, or samples in a folder, an archive, an array or a text")
    return detect_reader(str(samples))[0]


def _open_against_name(samples: Path, reader: str, plug: PlugSpec, options: OptionValues) -> OpenedPair:
    """Open samples and a named data set: images of the samples get its size and colour."""
    names = option_names(plug.name)
    check_options(options, [plug.name, reader])
    plug = plug.with_options(**_known(plug.name, options))
    reals = open_data(plug)
    if reader != "image_folder" or not _is_square(reals.data.spec):
        return OpenedPair(reals, None)
    sample_plug = read_path_with(reader, str(samples))
    sample_plug = sample_plug.with_options(**_known(reader, options))
    if "image_size" in names - options.keys() and (size := own_size(sample_plug)):
        with suppress(SettingError):  # It has certain sizes only; samples are resized then.
            reals = open_data(plug.with_options(image_size=min(size, reals.data.spec.shape[-1])))
    channels, size, _ = reals.data.spec.shape
    return OpenedPair(reals, open_data(sample_plug.with_options(image_size=size, channels=channels), is_whole=True))


def _is_square(spec: DataSpec) -> bool:
    """Return whether data are grey or colour images as high as wide."""
    return spec.is_image and spec.shape[0] in (1, 3) and spec.shape[1] == spec.shape[2]


def own_size(plug: PlugSpec) -> int | None:
    """Return the size at which images of a data set are compared; None for data without such a size."""
    data: DataSet = catalog.build("data", plug.name, plug.options)
    return data.own_size() if isinstance(data, SizedImages) else None


def check_options(options: OptionValues, readers: list[str]) -> None:
    """Raise SettingError for an option of the data that none of the data sets has."""
    for name in options:
        if not any(name in option_names(reader) for reader in readers):
            raise SettingError(
                f"--option data.{name} does not exist for {' and '.join(map(repr, readers))}; see equipoise list data"
            )


def _shared_options(first: DataSet, second: DataSet) -> dict[str, object]:
    """Return the options that two data sets of one kind resolved differently, with the value that both must have."""
    result: dict[str, object] = {}
    ranges = [(getattr(data, "black", None), getattr(data, "white", None)) for data in (first, second)]
    has_own_scales = any(values in FRACTIONS for values in ranges)
    for name, choose in OUTER.items():
        if has_own_scales and name in ("black", "white"):
            continue
        values = [value for data in (first, second) if (value := getattr(data, name, None)) is not None]
        if len(values) == 2 and values[0] != values[1]:
            result[name] = _outer(values, choose, name)
    own, other = (getattr(data, "words", None) or () for data in (first, second))
    if missing := set(other) - set(own):
        result["words"] = (*own, *sorted(missing))
    elif len(own) != len(other):
        result["words"] = own
    return result


def _outer(bounds: Sequence[Bound], choose: Callable[[Iterable[float]], float], name: str) -> Bound:
    """Return the lowest or highest of several bounds; column by column for tables."""
    columns = [(bound,) if isinstance(bound, int | float) else tuple(bound) for bound in bounds]
    most = max(map(len, columns))
    columns = [row * most if len(row) == 1 else row for row in columns]
    if len({len(row) for row in columns}) > 1:
        numbers = " and ".join(str(len(row)) for row in columns)
        raise DataError(f"samples and reals have different numbers of columns ({name}: {numbers}); compare equal ones")
    result = tuple(choose(values) for values in zip(*columns, strict=True))
    return result[0] if all(isinstance(bound, int | float) for bound in bounds) else result
