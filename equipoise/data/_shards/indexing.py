"""Indexing: the shards of a folder, a file or a pattern, their members, and the labels next to them."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from equipoise.core.data import Preparation
from equipoise.core.files import ending, is_junk
from equipoise.core.printing import agree, format_count, format_names, printable
from equipoise.data._images.formats import ENDINGS
from equipoise.data._labels.label_files import parse_side_label
from equipoise.data._shards import index as indexes
from equipoise.data._shards.index import FILES, Pointer, ShardIndex, ShardState
from equipoise.data._shards.index_writer import IndexWriter
from equipoise.data._shards.names import Shards, check_kinds, expand, is_pattern
from equipoise.data._shards.parquet_rows import add_parquet
from equipoise.data._shards.single_files import FolderContent, SortedNames, scan_folder
from equipoise.data._shards.tar_members import Member, read_members
from equipoise.data._splits import SplitName, parse_split
from equipoise.errors import DataError

TASK = "indexing shards"
RUN = 16_384
"""Number of single files in a block."""
LABEL_ENDINGS = (".cls", ".json")
MAX_LABEL_FILE = 2**20
"""Largest size of the file of a label, in bytes."""
FURTHER = "further images of samples, which have the same name up to the first dot; data.key selects one by its ending"
MAX_IMAGE = 2**30
"""Largest size of an image file, in bytes."""


class IndexOptions(NamedTuple):
    """Options of :class:`~equipoise.data.image_shards.ImageShards` that determine the index."""

    labels: str
    label_column: str | None
    key: str | None


def find_index(location: str, options: IndexOptions, cache: Path) -> Generator[Preparation, None, ShardIndex]:
    """Return the index of a location; writes it unless no shard changed since that was done. Yields progress.

    Raises DataError if there are no images, or a shard is damaged.
    """
    key = indexes.location_key(location, options)
    pointer = indexes.load_pointer(cache, key)
    if pointer and (index := indexes.open_index(cache, pointer.digest)) and is_unchanged(pointer, location):
        return index
    with report_read_errors(location):
        content, shards = _locate(location)
        state = ShardState(_states(shards), content.folders if content else {})
        with indexes.new_entry(cache) as partial:
            writer = IndexWriter(partial, shards.kind, column=options.key)
            if content and shards.kind == FILES:
                _add_files(writer, content.images)
                yield Preparation(TASK, writer.count, writer.count)
            else:
                yield from _add_shards(writer, shards, options)
            if content:
                writer.left_out += content.others
                content.images.close()
            digest = writer.finish(options.labels)
            if not writer.count:
                raise DataError(f"{printable(location)} contains no image{_describe(writer, shards, options)}")
            indexes.publish(partial, cache, digest)
    indexes.save_pointer(cache, key, Pointer(digest, str(shards.root), state))
    result = indexes.open_index(cache, digest)
    if result is None:
        raise DataError(f"the cache {cache} was changed while it was read; run the command again")
    return result


def root_of(location: str, options: IndexOptions, cache: Path) -> Path:
    """Return the folder to which the paths of an indexed location are relative."""
    pointer = indexes.load_pointer(cache, indexes.location_key(location, options))
    if pointer is None:
        raise DataError(f"the cache {cache} was changed while it was read; run the command again")
    return Path(pointer.root)


def is_unchanged(pointer: Pointer, location: str) -> bool:
    """Return whether all shards have the size and time of when they were indexed, and none was added."""
    root, state = Path(pointer.root), pointer.state
    try:
        if is_pattern(location) and not os.path.exists(location):
            shards = expand(location)
            if shards.root != root or set(shards.paths) != state.shards.keys():
                return False
        times = all(os.stat(root / path).st_mtime_ns == time for path, time in state.folders.items())
        return times and all(_state(root / path) == each for path, each in state.shards.items())
    except OSError:
        return False


@contextmanager
def report_read_errors(location: str) -> Iterator[None]:
    """Convert errors of the file system to DataError."""
    try:
        yield
    except OSError as error:
        place = printable(str(error.filename or location))
        raise DataError(f"cannot read {place}: {error.strerror or error}") from error


def _locate(location: str) -> tuple[FolderContent | None, Shards]:
    """Return what a folder contains, None for other locations, and the shards, if any."""
    path = Path(location)
    if is_pattern(location) and not path.exists():
        return None, expand(location)
    if not path.exists():
        raise DataError(f"there is no folder or file {printable(location)}; check the path")
    if not path.is_dir():
        return None, check_kinds(path.parent, (path.name,), location)
    content = scan_folder(path)
    if content.is_sharded:
        return content, check_kinds(path, tuple(sorted(content.shards)), location)
    for shard in content.shards:
        content.others[f"{ending(shard)} next to images"] += 1
    if not content.images.count:
        kinds = ", ".join(f"{count:,} {printable(kind)}" for kind, count in content.others.most_common(3))
        raise DataError(
            f"{printable(location)} contains no shard (.tar, .parquet) and no image{': ' * bool(kinds)}{kinds}; "
            "check the path"
        )
    return content, Shards(path, (), FILES)


def _states(shards: Shards) -> dict[str, tuple[int, int]]:
    return {path: _state(shards.root / path) for path in shards.paths}


def _state(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _splits(paths: tuple[str, ...]) -> dict[str, SplitName | None]:
    """Return the split of each shard, by its name or its folders; None for all if none is for training."""
    result: dict[str, SplitName | None] = {}
    for path in paths:
        parts = [part.partition(".")[0] for part in path.split("/")]
        result[path] = next((split.split for part in reversed(parts) if (split := parse_split(part))), None)
    return result if "train" in result.values() else dict.fromkeys(paths)


def _add_shards(writer: IndexWriter, shards: Shards, options: IndexOptions) -> Iterator[Preparation]:
    splits, count = _splits(shards.paths), len(shards.paths)
    tests = [path for path, split in splits.items() if split == "test"]
    for number, path in enumerate(shards.paths):
        yield Preparation(TASK, number, count)
        split = splits[path]
        if split == "test":
            continue
        if shards.kind == ".tar":
            digest = _add_tar(writer, shards.root / path, split, options)
        else:
            digest = add_parquet(writer, shards.root / path, split, options.key, options.label_column)
        writer.add_shard(path, os.stat(shards.root / path).st_size, digest)
    if tests:
        verb = agree(len(tests), "is", "are")
        writer.notes.append(
            f"{format_count(len(tests), 'shard')} of tests {verb} never trained on: {format_names(tests)}"
        )
    if "valid" in splits.values():
        writer.notes.append("the shards called valid are held out")
    yield Preparation(TASK, count, count)


def _add_tar(writer: IndexWriter, path: Path, split: SplitName | None, options: IndexOptions) -> str:
    """Add the images of a tar; return the digest of its headers and labels."""
    digest = blake2b(digest_size=16)
    writer.add_block(0, split)
    writer.label_source = ".cls or .json files"
    with path.open("rb", buffering=0) as file:
        sample: list[Member] = []
        for member in read_members(path, digest.update, writer.left_out):
            if is_junk(member.name.removeprefix("./")):
                continue
            if sample and _stem(sample[0].name) != _stem(member.name):
                _add_sample(writer, file.fileno(), sample, options, digest.update)
                sample = []
            sample.append(member)
        _add_sample(writer, file.fileno(), sample, options, digest.update)
    return digest.hexdigest()


def _stem(name: str) -> str:
    """Return what the members of a sample share: their path up to the first dot of the name."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _add_sample(
    writer: IndexWriter, file: int, sample: list[Member], options: IndexOptions, update: Callable[[bytes], object]
) -> None:
    """Add the image of a sample, whose members are adjacent in the tar, with the label in one of the others."""
    images = [member for member in sample if ending(member.name) in ENDINGS]
    if options.key:
        chosen = f".{options.key.lower().removeprefix('.')}"
        images = [member for member in images if member.name.lower().endswith(chosen)]
    label, offsets = "", {member.offset for member in images}
    for member in sample:
        suffix = ending(member.name)
        if images and not label and suffix in LABEL_ENDINGS and member.size <= MAX_LABEL_FILE:
            content = os.pread(file, member.size, member.offset)
            update(content)
            label = parse_side_label(content, member.name)
        elif member.offset not in offsets:
            writer.left_out[suffix or "without extension"] += 1
    if len(images) > 1:
        writer.left_out[FURTHER] += len(images) - 1
    if images and images[0].size > MAX_IMAGE:
        writer.left_out[f"larger than {MAX_IMAGE // 2**30} GiB"] += 1
    elif images:
        folder = images[0].name.removeprefix("./").strip("/").rpartition("/")[0]
        writer.add(images[0].offset, images[0].size, label, folder)


def _add_files(writer: IndexWriter, names: SortedNames) -> None:
    """Add the files of a folder."""
    digest, offset = blake2b(digest_size=16), 0
    with (writer.partial / indexes.NAMES).open("wb") as file:
        for number, name in enumerate(names.merge()):
            if number % RUN == 0:
                writer.add_block(0, None)
            file.write(name)
            digest.update(name + b"\0")
            writer.add(offset, len(name), "", os.fsdecode(name).rpartition("/")[0])
            offset += len(name)
    writer.add_shard(".", 0, digest.hexdigest())


def _describe(writer: IndexWriter, shards: Shards, options: IndexOptions) -> str:
    """Return what there is in place of images, to follow a message."""
    listed = ", ".join(f"{count:,} {printable(kind)}" for kind, count in writer.left_out.most_common(3))
    key = f" that ends with .{options.key} (data.key)" if options.key and shards.kind == ".tar" else ""
    return f"{key}: {listed}" if listed else key
