"""Shared by commands on the latent space: samples selected by number, and paths of output files."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.errors import SettingError

if TYPE_CHECKING:
    from equipoise.inference.latent_space import SampleId


def parse_sample_ids(text: str, seed: int, flag: str) -> "list[SampleId]":
    """Parse "3,17,5/22": samples 3 and 17 of `seed`, and 22 of seed 5. Raises SettingError for anything else."""
    from equipoise.inference.latent_space import SampleId

    result = []
    for word in text.split(","):
        first, slash, second = word.strip().partition("/")
        numbers = (first, second) if slash else (str(seed), first)
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise SettingError(f"{flag} takes numbers of samples, 3,17 or 5/3 for sample 3 of seed 5, not '{word}'")
        result.append(SampleId(*map(int, numbers)))
    return result


def output_path(out: str, extensions: Collection[str]) -> Path:
    """Return the path of an output file. Raises SettingError if it has none of these extensions."""
    path = Path(out)
    if path.suffix.lower() not in extensions:
        raise SettingError(f"cannot write this to {path.name}; use a file name ending in {' or '.join(extensions)}")
    return path


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically, and create its folder if necessary."""
    from equipoise.runs.artifacts import write_bytes

    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
