"""Sources of images: a folder, an archive, an array or a Parquet file, or a folder of these.

The content decides: a folder that contains images is read as such, one of archives, arrays or Parquet files as parts of
one data set. Every other file is left out with a reason.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from equipoise.core.files import (
    ARCHIVE_ENDINGS,
    ARRAY_ENDINGS,
    MAX_PREVIEWS,
    PARQUET_ENDINGS,
    REMEDIES,
    START_BYTES,
    ending,
    find_files,
    is_image_start,
)
from equipoise.core.printing import agree, format_count, printable
from equipoise.data._files.archives import CompressedTarStorage, open_archive
from equipoise.data._files.array_shards import open_shards_of_arrays
from equipoise.data._files.arrays import (
    is_archive_of_arrays,
    open_archive_of_arrays,
    open_array,
    open_folder_of_arrays,
)
from equipoise.data._files.listing import File
from equipoise.data._files.parquet import open_parquet
from equipoise.data._files.sources import FolderStorage, Source, Storage
from equipoise.data._images.formats import ENDINGS, HEIF_ENDINGS
from equipoise.errors import DataError

CONTAINER_ENDINGS = (*ARCHIVE_ENDINGS, *PARQUET_ENDINGS)
NOT_AN_IMAGE = "not an image"
TEXTS = frozenset({".csv", ".tsv", ".txt", ".json", ".jsonl", ".xml", ".md", ".html", ".yaml", ".yml", ".cls", ".py"})
"""Extensions whose files are not opened to see whether they are images after all."""


@dataclass(frozen=True, slots=True)
class JoinedStorage:
    """Items of several files; a path is the path of the file, and the path in it."""

    parts: Mapping[str, Storage]
    folder: FolderStorage

    def open(self, path: str) -> BinaryIO:
        """Open an item at its first byte. Raises OSError, or DataError with a short reason."""
        part = next((part for part in self.parts if path.startswith(f"{part}/")), None)
        return self.folder.open(path) if part is None else self.parts[part].open(path[len(part) + 1 :])


def open_images(path: Path, key: str | None = None) -> Source:
    """Return the images in a folder or file.

    `key`: name of the array in a .npz file or of the column in a Parquet file, if it is not certain. Raises DataError
    if there is no such file, or no image in it.
    """
    if not path.exists():
        raise DataError(f"the folder {path} does not exist")
    if path.is_dir():
        return _open_folder(path, key)
    suffix = ending(path.name)
    if suffix == ".npy":
        return open_array(path)
    if suffix == ".npz":
        return open_archive_of_arrays(path, key)
    if suffix in PARQUET_ENDINGS:
        return open_parquet(path, [path], key)
    if suffix in ARCHIVE_ENDINGS:
        archive = open_archive(path)
        if is_archive_of_arrays(path, [file.path for file in archive.files]):
            return open_archive_of_arrays(path, key)
        return _require_images(select_images(archive))
    raise DataError(
        f"{path} is a file; pass the folder that contains it, an archive (.zip, .tar), an array (.npy, .npz) or a "
        "Parquet file"
    )


def select_images(source: Source) -> Source:
    """Return a source with its images only; the other files are left out with reasons.

    Files with the extension of another kind, or without one, are opened: images may be called anything.
    """
    endings = ENDINGS if find_spec("pi_heif") else tuple(each for each in ENDINGS if each not in HEIF_ENDINGS)
    is_cheap = not isinstance(source.storage, CompressedTarStorage)
    images, left_out = [], dict(source.left_out)
    for file in source.files:
        suffix = ending(file.path)
        if suffix in endings or (
            is_cheap and suffix not in TEXTS and suffix not in REMEDIES and _is_image(source, file)
        ):
            images.append(file)
        else:
            left_out[file.path] = _reason(suffix, nested=not isinstance(source.storage, FolderStorage))
    return replace(source, files=tuple(images), left_out=left_out)


def _is_image(source: Source, file: File) -> bool:
    try:
        with source.open(file.path) as content:
            return is_image_start(content.read(START_BYTES))
    except (OSError, DataError):
        return False


def _reason(suffix: str, *, nested: bool = False) -> str:
    """Return why files of an extension are left out. `nested`: whether they are in an archive."""
    if suffix in HEIF_ENDINGS:
        return "needs pip install 'equipoise[heic]'"
    if suffix in CONTAINER_ENDINGS:
        return (
            "inside of an archive: unpack it, and give its path"
            if nested
            else "next to images: give its path to read it"
        )
    return REMEDIES.get(suffix, NOT_AN_IMAGE)


def _open_folder(folder: Path, key: str | None) -> Source:
    """Return the images in a folder: its image files, its arrays, or those in its archives or Parquet files."""
    listed, broken = [], {}
    try:
        for path, entry in find_files(str(folder), broken=True):
            if entry.is_file():
                status = entry.stat()
                listed.append(File(path, status.st_size, status.st_mtime_ns))
            else:
                broken[path] = "a link that leads to no file"
    except OSError as error:
        raise DataError(f"cannot read {error.filename or folder}: {error.strerror or error}") from error
    everything = Source(folder, tuple(sorted(listed)), FolderStorage(folder), broken)
    source = select_images(everything)
    kinds = Counter(_kind(file.path) for file in everything.files)
    arrays = [file for file in source.files if ending(file.path) in ARRAY_ENDINGS]
    pictures = len(source.files) - len(arrays)
    containers = kinds["parquet"] or kinds["archive"]
    if containers and pictures <= MAX_PREVIEWS and not arrays:
        return _open_parts(everything, "parquet" if kinds["parquet"] else "archive", key)
    if arrays and pictures > len(arrays):
        reasons = dict.fromkeys((file.path for file in arrays), "an array next to images")
        source = replace(source.select([file for file in source.files if file.path not in reasons]))
        return replace(source, left_out={**source.left_out, **reasons})
    if arrays and not pictures and (group := _open_arrays(folder, arrays, key)):
        return replace(group, left_out={**source.left_out, **group.left_out})
    return _require_images(source)


def _open_arrays(folder: Path, arrays: Sequence[File], key: str | None) -> Source | None:
    """Return the rows of arrays of images in a folder; None if every file is one image."""
    if all(ending(file.path) == ".npy" for file in arrays):
        return open_folder_of_arrays(folder, arrays, key)
    if not all(ending(file.path) == ".npz" for file in arrays):
        return None
    if len(arrays) == 1:
        return open_archive_of_arrays(folder / arrays[0].path, key)
    return open_shards_of_arrays(folder, [file.path for file in arrays], key)


def _kind(path: str) -> str:
    suffix = ending(path)
    return "parquet" if suffix in PARQUET_ENDINGS else "archive" if suffix in ARCHIVE_ENDINGS else "other"


def _open_parts(folder: Source, kind: str, key: str | None) -> Source:
    """Return the images in the archives or Parquet files of a folder."""
    names = [file.path for file in folder.files if _kind(file.path) == kind]
    left_out = {**folder.left_out} | {
        file.path: f"next to {'Parquet files' if kind == 'parquet' else 'archives'}" if is_listed else _reason(suffix)
        for file in folder.files
        if _kind(file.path) != kind
        for suffix in (ending(file.path),)
        for is_listed in (suffix in ENDINGS or suffix in ARCHIVE_ENDINGS,)
    }
    if kind == "parquet":
        return replace(
            open_parquet(folder.location, [folder.location / name for name in names], key), left_out=left_out
        )
    files: list[File] = []
    parts: dict[str, Storage] = {}
    for name in names:
        part = select_images(open_archive(folder.location / name))
        parts[name] = part.storage
        files += [file._replace(path=f"{name}/{file.path}") for file in part.files]
        left_out |= {f"{name}/{path}": reason for path, reason in part.left_out.items()}
    storage = JoinedStorage(parts, FolderStorage(folder.location))
    return _require_images(Source(folder.location, tuple(sorted(files)), storage, left_out))


def _require_images(source: Source) -> Source:
    """Return a source unchanged. Raises DataError if it has no image."""
    if not source.files:
        other = f": {format_left_out(source.left_out)}" if source.left_out else ""
        raise DataError(f"{source.location} contains no image{other}")
    return source


def format_left_out(left_out: Mapping[str, str]) -> str:
    """Describe files by kind, with one reason each: "80 files of other kinds left out: 40 .mp4 (video), 40 .md"."""
    kinds = Counter((ending(path) or "without extension", reason) for path, reason in left_out.items())
    listed = ", ".join(
        f"{count:,} {printable(kind)} ({printable(reason)})"
        for (kind, reason), count in sorted(kinds.items(), key=lambda pair: -pair[1])
    )
    number = len(left_out)
    return f"{format_count(number)} {agree(number, 'was', 'were')} left out: {listed}"
