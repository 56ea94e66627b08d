"""Files of styles, latents and directions: NumPy .npz, safetensors, and CSV for directions. Nothing is unpickled.

A file names the generator that it belongs to, by a digest of the weights: styles of another generator, or of another
step of the same run, have another meaning.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from equipoise.errors import DataError, SettingError
from equipoise.inference.generator import Generator
from equipoise.inference.style_space import StyleDirections, require_styles
from equipoise.training.weight_files import encode_safetensors

STYLE_ENDINGS = (".npz", ".safetensors")
DIRECTION_ENDINGS = (".npz", ".safetensors", ".csv")
STYLES, LATENTS, LABELS, ABOUT = "styles", "latents", "labels", "about"
"""Names of the arrays of a file: styles (N, layers, D) float32, or latents (N, ...) float32 and labels (N, ...) int64;
and the model and the digest as JSON."""
DIGEST_LENGTH = 16
MAX_BYTES = 2**30
"""Largest file of styles that is read."""


def is_style_file(text: str) -> bool:
    """Return whether a text names a file of styles, by its extension."""
    return Path(text).suffix.lower() in STYLE_ENDINGS


def generator_digest(generator: Generator) -> str:
    """Return a digest of the weights that generate samples: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for network in generator.model.averaged:
        for name, tensor in sorted(generator.networks[network].state_dict().items()):
            digest.update(f"{network}/{name}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:DIGEST_LENGTH]


def encode_styles(styles: Tensor, generator: Generator, ending: str) -> bytes:
    """Encode styles (N, layers, D) of a generator; `ending`: .npz or .safetensors."""
    return _encode({STYLES: styles.detach().float().contiguous()}, _about(generator), ending)


def read_styles(path: Path, generator: Generator) -> Tensor:
    """Read styles (N, layers, D), float32.

    Raises DataError for a file that cannot be read, SettingError for styles of another generator.
    """
    tensors, about = _read(path)
    if STYLES not in tensors:
        raise SettingError(f"{path} holds a latent z, not a style; use --space z")
    tensor = tensors[STYLES].float()
    expected = (generator.count_layers(), *require_styles(generator).mean(generator.networks).shape)
    own = _about(generator)
    if tensor.ndim != len(expected) + 1 or tuple(tensor.shape[1:]) != expected or about != own:
        other = about.get("model", "unknown")
        reason = f"the model {other}" if other != generator.model.name else "other weights of this model"
        raise SettingError(
            f"{path} holds styles of {reason}, which mean nothing to this generator; project the image again with this "
            "run, or use the run and the step that it was projected with"
        )
    return tensor


def encode_latents(latents: Tensor, labels: Tensor | None, generator: Generator) -> bytes:
    """Encode latents (N, ...) of a generator and their labels (N, ...) as safetensors."""
    tensors = {LATENTS: latents.detach().float().contiguous()}
    tensors |= {} if labels is None else {LABELS: labels.contiguous()}
    return _encode(tensors, _about(generator), ".safetensors")


def read_latents(path: Path, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Read latents (N, ...), float32, and their labels (N, ...), int64, or None.

    Raises DataError for a file that cannot be read, SettingError for one of another generator, and for styles.
    """
    tensors, about = ({}, {}) if path.suffix.lower() == ".npz" else _read(path)
    if LATENTS not in tensors:
        raise SettingError(f"{path} holds styles, which have no latent z; use --space w")
    latents, labels, example = tensors[LATENTS].float(), tensors.get(LABELS), generator.latents(1)
    own_labels = generator.labels(1)
    shapes = [None if each is None else tuple(each.shape[1:]) for each in (latents, labels, example, own_labels)]
    if about != _about(generator) or shapes[:2] != shapes[2:] or (labels is not None and len(labels) != len(latents)):
        raise SettingError(f"{path} holds latents of another model or step; use the run and the step that wrote it")
    return latents, labels


def holds_styles(path: Path) -> bool:
    """Return whether a file holds styles instead of latents. Raises DataError for a file that cannot be read."""
    return path.suffix.lower() == ".npz" or STYLES in _read(path)[0]


def encode_directions(directions: StyleDirections, generator: Generator, ending: str) -> bytes:
    """Encode directions: `mean`, `directions`, `deviations` and `shares`; in CSV a row per direction, without mean."""
    if ending == ".csv":
        return _directions_csv(directions)
    names = ("mean", "directions", "deviations", "shares")
    return _encode({name: getattr(directions, name) for name in names}, _about(generator), ending)


def _about(generator: Generator) -> dict[str, str]:
    return {"model": generator.model.name, "generator": generator_digest(generator)}


def _encode(tensors: dict[str, Tensor], about: dict[str, str], ending: str) -> bytes:
    if ending == ".safetensors":
        return encode_safetensors(tensors, about)
    content = io.BytesIO()
    arrays: dict[str, npt.NDArray[np.generic]] = {name: tensor.numpy() for name, tensor in tensors.items()}
    arrays[ABOUT] = np.array(json.dumps(about))
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file, and what it says about their generator."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        if path.suffix.lower() == ".safetensors":
            with safe_open(path, framework="pt") as file:
                names = {STYLES, LATENTS, LABELS} & set(file.keys())
                if not names & {STYLES, LATENTS}:
                    raise ValueError("neither styles nor latents")
                return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
        with path.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            about = json.loads(str(arrays[ABOUT]))
            tensors = {STYLES: torch.from_numpy(arrays[STYLES])}
        if not isinstance(about, dict):
            raise ValueError("no description")
        return tensors, about
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; equipoise project RUN IMAGE writes one") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, SafetensorError) as error:
        raise DataError(f"{path} is not a file of styles, as equipoise project writes it, or it is damaged") from error


def _directions_csv(directions: StyleDirections) -> bytes:
    """Encode directions as a table: number, standard deviation, share of the variance, numbers of the vector."""
    header = ["component", "deviation", "share", *(f"w{index}" for index in range(len(directions.mean)))]
    columns = torch.cat([directions.deviations[:, None], directions.shares[:, None], directions.directions], dim=1)
    rows = [[str(number), *row] for number, row in enumerate(columns.numpy().astype(str).tolist(), 1)]
    return "".join(f"{','.join(row)}\n" for row in (header, *rows)).encode()
