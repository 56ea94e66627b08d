"""Writing of samples to files: images, sentences, arrays, tables, sound."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from equipoise.core.data import DataSpec, TableLayout
from equipoise.errors import SettingError
from equipoise.inference.sound_files import encode_wav, to_waveforms
from equipoise.runs.artifacts import check_overwrite, encode_lines, encode_npy, encode_png, make_grid, write_bytes

SampleFormat = Literal["png", "npy", "csv", "txt", "wav"]
SampleArray = npt.NDArray[np.float32]


def write_samples(
    samples: Tensor,
    path: Path,
    spec: DataSpec,
    format: SampleFormat | None = None,
    *,
    subfolders: Sequence[str] = (),
    columns: int | None = None,
    force: bool = False,
) -> Path:
    """Write samples (N, ...), float32 in the range of training, to a file, or to a folder if `path` has no extension.

    png: a grid of all images, or in a folder one file per image, transparent if the data are. npy: the array unchanged.
    csv: points as the rows of one table; images and sequences with the rows and columns, the header and the unit of the
    data's own tables: one table each, several of them only into a folder, or one table if each row of the data is a
    sample. txt: one sentence per line. wav: sound, one file each. `format` None: by the extension of `path`; in a
    folder wav for sound, png for images, csv for points and sequences, txt for sentences. `subfolders`: of each sample
    in a folder; empty for none. `columns`: of a grid; None for a square.
    Raises SettingError if these samples cannot be written in that format, RunError if a file exists and
    `force` is not set.
    """
    resolved = _resolve_format(path, spec, format, len(samples))
    array = samples.numpy()
    if path.suffix:
        check_overwrite([path], force=force)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, _encode_all(array, resolved, spec, columns))
        return path
    names = _folder_names(len(array), resolved, spec, subfolders)
    check_overwrite([path / name for name in names], force=force)
    for name, content in zip(names, _folder_contents(array, resolved, spec, subfolders), strict=True):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path / name, content)
    return path


def to_data_unit(array: SampleArray, spec: DataSpec) -> SampleArray:
    """Map samples in [-1, 1] linearly to the unit of the data, float32; see `DataSpec.to_unit`."""
    values: SampleArray = spec.to_unit(torch.from_numpy(array)).float().numpy()
    return values


def _resolve_format(path: Path, spec: DataSpec, format: SampleFormat | None, count: int) -> SampleFormat:
    """Choose the format for `count` samples and `path`. Raises SettingError if they cannot be written in it."""
    extension = path.suffix.lower().removeprefix(".")
    supported = _supported(spec)
    if format is None and extension == "csv" and count == 1 and spec.is_image:
        format = "csv"
    if format is None:
        default = next((name for name in supported if extension in ("", name)), None)
        if default is None:
            raise SettingError(
                f"cannot write these samples to {path.name}; use a file name ending in .{supported[0]} or "
                f".{supported[1]}, or a folder{' with --format csv' * (extension == 'csv')}"
            )
        format = default
    if (format == "txt") != (spec.vocabulary is not None) and format != "npy":
        raise SettingError(f"these samples are {_noun(spec)}; use --format {supported[0]} or {supported[1]}")
    if format == "png" and not spec.is_image:
        raise SettingError(f"these samples are {_noun(spec)}, not images; use --format csv or npy")
    if format == "csv" and spec.is_image and spec.shape[0] != 1:
        raise SettingError(f"a table holds one channel, these images have {spec.shape[0]}; use --format npy or png")
    if format == "wav" and spec.sound is None:
        raise SettingError(f"these samples are {_noun(spec)}, not sound; use --format {supported[0]} or {supported[1]}")
    if (format == "wav" or (format == "csv" and _is_split(spec))) and extension and count > 1:
        kind = "sound file" if format == "wav" else "table"
        raise SettingError(f"each sample is written to its own {kind}; use a folder, not {path.name}")
    if extension not in ("", format):
        raise SettingError(
            f"--format {format} does not match {path.name}; use a file name ending in .{format}, or a folder"
        )
    return format


def _supported(spec: DataSpec) -> tuple[SampleFormat, ...]:
    """Return the formats that the extension of a file may select; the first is that of a folder by default."""
    if spec.vocabulary is not None:
        return "txt", "npy"
    image: tuple[SampleFormat, ...] = ("png", "npy") if spec.is_image else ("csv", "npy")
    return ("wav", *image) if spec.sound is not None else image


def _noun(spec: DataSpec) -> str:
    kinds = {"sentences": spec.vocabulary is not None, "images": spec.is_image, "sequences": spec.is_sequence}
    return next((noun for noun, is_kind in kinds.items() if is_kind), "points")


def _is_split(spec: DataSpec) -> bool:
    """Return whether each sample of a folder has a file of its own."""
    is_one_table = spec.table is not None and spec.table.rows == "samples"
    return spec.is_image or (spec.is_sequence and not is_one_table)


def _encode_all(array: SampleArray, format: SampleFormat, spec: DataSpec, columns: int | None = None) -> bytes:
    """Encode all samples as one file."""
    if spec.vocabulary is not None and format == "txt":
        return encode_lines([spec.vocabulary.decode(row) for row in array.tolist()])
    if format == "png":
        return encode_png(make_grid(array, columns, keeps_alpha=True))
    if format == "npy":
        return encode_npy(array)
    if format == "wav" and spec.sound is not None:
        waveforms = to_waveforms(torch.from_numpy(array), spec, spec.sound)
        return encode_wav(waveforms[0], spec.sound.sample_rate)
    return _table_csv(array, spec) if spec.is_image or spec.is_sequence else _points_csv(array)


def _folder_names(count: int, format: SampleFormat, spec: DataSpec, subfolders: Sequence[str]) -> list[str]:
    """Return the name of each file of a folder."""
    if not _is_split(spec) or format == "npy":
        table = "series.csv" if spec.is_sequence else "points.csv"
        name = {"csv": table, "txt": "sentences.txt"}.get(format, "samples.npy")
        return [f"{folder}/{name}" for folder in dict.fromkeys(subfolders)] or [name]
    prefixes = [f"{folder}/" for folder in subfolders] or [""] * count
    return [f"{prefix}{number:06d}.{format}" for number, prefix in enumerate(prefixes)]


def _folder_contents(
    array: SampleArray, format: SampleFormat, spec: DataSpec, subfolders: Sequence[str]
) -> Iterator[bytes]:
    """Yield the content of each file of a folder."""
    if _is_split(spec) and format != "npy":
        for image in array:
            yield _encode_all(image[None], format, spec)
    elif subfolders:
        for folder in dict.fromkeys(subfolders):
            rows = [row for row, name in enumerate(subfolders) if name == folder]
            yield _encode_all(array[rows], format, spec)
    else:
        yield _encode_all(array, format, spec)


def _table_csv(array: SampleArray, spec: DataSpec) -> bytes:
    """Encode a sample, or samples that are rows of one table, as their tables were: names, rows and columns, unit.

    Numbers have all digits that float32 has. The first line of an image is its top row.
    """
    layout = spec.table or TableLayout()
    values = to_data_unit(array, spec)
    if layout.rows == "samples":
        rows = values.reshape(len(values), -1)
    else:
        rows = values[0, 0] if spec.is_image else values[0] if layout.rows == "channels" else values[0].T
    lines = [",".join(map(_quoted, layout.names))] * bool(layout.names)
    return "".join(f"{line}\n" for line in (*lines, *(",".join(row) for row in rows.astype(str)))).encode()


def _quoted(name: str) -> str:
    """Return a name as a field of a table."""
    is_plain = not any(mark in name for mark in ',"\n\r')
    return name if is_plain else '"' + name.replace('"', '""') + '"'


def _points_csv(array: SampleArray) -> bytes:
    rows = array.reshape(len(array), -1)
    return "".join(",".join(f"{value:.7g}" for value in row) + "\n" for row in rows).encode()
