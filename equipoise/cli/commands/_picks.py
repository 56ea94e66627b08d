"""Samples chosen by number on a command line, and where pictures of them go."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.errors import SettingError

if TYPE_CHECKING:
    from equipoise.inference.latent_space import SampleId


def picks(text: str, seed: int, flag: str) -> "list[SampleId]":
    """The samples that "3,17,5/22" chooses: 3 and 17 of `seed`, and 22 of seed 5. Raises SettingError for others."""
    from equipoise.inference.latent_space import SampleId

    result = []
    for word in text.split(","):
        first, slash, second = word.strip().partition("/")
        numbers = (first, second) if slash else (str(seed), first)
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise SettingError(f"{flag} takes numbers of samples, 3,17 or 5/3 for sample 3 of seed 5, not '{word}'")
        result.append(SampleId(*map(int, numbers)))
    return result


def place(out: str, endings: Collection[str]) -> Path:
    """Where to write. Raises SettingError for another ending than these."""
    path = Path(out)
    if path.suffix.lower() not in endings:
        raise SettingError(f"cannot write this to {path.name}; name a file ending in {' or '.join(endings)}")
    return path


def put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, into a folder that is made if it is not there."""
    from equipoise.runs.run_folder import write_bytes

    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
