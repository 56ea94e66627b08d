"""Published files of weights, local or downloaded; they are used only if their SHA-256 is correct."""

import importlib.util
import io
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from equipoise.core.digests import check_digest
from equipoise.errors import DataError, MissingPackageError

TIMEOUT = 20
"""Timeout of a download in seconds."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A published file of weights. `digest`: its SHA-256, or the first digits if no more were published."""

    url: str
    digest: str
    megabytes: int

    @property
    def name(self) -> str:
        """The file name."""
        return self.url.rpartition("/")[2]


def require_package(package: str, metric: str) -> None:
    """Raise MissingPackageError if a package of the extra `metrics` is not installed."""
    if importlib.util.find_spec(package) is None:
        raise MissingPackageError(
            f"{metric} needs the package {package}, which is not installed: pip install 'equipoise[metrics]'"
        )


def load_tensors(published: WeightsFile, weights: str | None, alternative: str) -> dict[str, Tensor]:
    """Load the tensors of a file: `weights` if given, otherwise from torch's hub folder, downloaded if it is missing.

    Reads tensors only, never other pickled objects. Raises DataError, which names the `alternative`, if the file is not
    available or has another digest.
    """
    file = Path(weights).expanduser() if weights else Path(torch.hub.get_dir()) / "checkpoints" / published.name
    if not weights and not file.exists():
        _download(published, file, alternative)
    remedy = f"provide the file from {published.url}" if weights else "delete it to download it again"
    content = check_digest(file, published.digest, remedy)
    tensors: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return tensors


def _download(published: WeightsFile, file: Path, alternative: str) -> None:
    partial = file.with_name(f".{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(published.url, timeout=TIMEOUT) as response, partial.open("wb") as target:
            while chunk := response.read(1 << 20):
                target.write(chunk)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        reason = getattr(error, "reason", None) or error.strerror or error
        raise DataError(
            f"{published.name} ({published.megabytes} MB) cannot be downloaded ({reason}); download {published.url} "
            f"on another machine and pass its path with --option METRIC.weights=PATH, or use {alternative}"
        ) from error
