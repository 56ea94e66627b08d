"""Published files of weights: found, downloaded where they may be, and never used unless their digest is right."""

import hashlib
import io
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from equipoise.errors import DataError

SECONDS = 20
"""How long a server may keep silent."""


@dataclass(frozen=True, slots=True)
class Published:
    """A file of weights. `digest`: its SHA-256, or as many of its first digits as were published."""

    url: str
    digest: str
    megabytes: int

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


def read(published: Published, weights: str | None, instead: str) -> dict[str, Tensor]:
    """The tensors of a file: `weights` if it is given, else that of torch's folder, else downloaded into it.

    No pickle is opened but for tensors. Raises DataError, naming what to do `instead`, if the file cannot be had or is
    another one.
    """
    file = Path(weights).expanduser() if weights else Path(torch.hub.get_dir()) / "checkpoints" / published.name
    if not weights and not file.exists():
        _download(published, file, instead)
    hint = f"give the file of {published.url}" if weights else "delete it, and it is downloaded anew"
    content = check_digest(file, published.digest, hint)
    tensors: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return tensors


def check_digest(file: Path, digest: str, hint: str) -> bytes:
    """The bytes of a file. Raises DataError, with a hint, if it cannot be read or has another SHA-256."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the weights {file}: {error.strerror}; {hint}") from error
    result = hashlib.sha256(content).hexdigest()
    if not result.startswith(digest):
        raise DataError(f"{file} is not the published file: its SHA-256 is {result[:8]}…, not {digest[:8]}…; {hint}")
    return content


def _download(published: Published, file: Path, instead: str) -> None:
    partial = file.with_name(f".{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(published.url, timeout=SECONDS) as answer, partial.open("wb") as target:
            while chunk := answer.read(1 << 20):
                target.write(chunk)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        reason = getattr(error, "reason", None) or error.strerror or error
        raise DataError(
            f"{published.name} ({published.megabytes} MB) is needed and cannot be downloaded ({reason}); fetch "
            f"{published.url} elsewhere and give its path by --option METRIC.weights=PATH, or use {instead}"
        ) from error
