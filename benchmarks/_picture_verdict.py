"""The verdict of photographs.py: samples against held-out pictures, on features that no arm was trained with."""

from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 1000


def read_pictures(folder: Path, limit: int = SAMPLES) -> np.ndarray:
    """Return the first pictures of a folder, in order of their names: (N, H, W, 3) uint8."""
    from PIL import Image

    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))[:limit]])


def to_tensor(pixels: np.ndarray) -> Any:
    """Return (N, 3, H, W) float32 in [-1, 1] of (N, H, W, 3) uint8."""
    import torch

    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def features(kind: str, samples: Any, cached: Path | None = None) -> Any:
    """Return features (N, D) of a network, from the file `cached` if it exists, otherwise written to it."""
    import torch

    from equipoise.core import catalog

    if cached and cached.exists():
        return torch.from_numpy(np.load(cached))
    values = catalog.build("metrics", f"kd_{kind}").features(samples)
    if cached:
        partial = cached.with_suffix(f".{np.random.default_rng().integers(1 << 30)}.npy")
        np.save(partial, values.numpy())
        partial.rename(cached)
    return values


def verdict(samples: Any, held_out: np.ndarray, train: Path, cached: Path) -> dict[str, float]:
    """Compare samples (N, C, H, W) in [-1, 1] with held-out pictures.

    `train`: folder of the training pictures. `cached`: folder of the features of pictures. Kernel distances on three
    kinds of features, precision and recall on those of MobileNetV2, and the share of samples whose nearest training
    picture is nearer than their nearest held-out one, from equal numbers of both: 0.5 without copies.
    """
    import torch

    from equipoise.comparison.suite.distance import RandomFeatureDistance
    from equipoise.core.data import Batch
    from equipoise.core.metric import Bootstrap, ReferenceSet
    from equipoise.metrics import _kernel
    from equipoise.metrics.precision import Precision
    from equipoise.metrics.recall import Recall

    cached.mkdir(parents=True, exist_ok=True)
    samples = samples.float().clamp(-1, 1).expand(-1, 3, -1, -1).contiguous()
    real = to_tensor(held_out)
    result = {}
    for kind in ("mobilenet_v2", "efficientnet_lite0"):
        of_real, fake = features(kind, real, cached / f"held_out_{kind}.npy"), features(kind, samples)
        result[f"kd_{kind}"] = _kernel.kernel_distance(of_real, fake)
        if kind == "mobilenet_v2":
            reference = ReferenceSet(of_real)
            result["precision"] = Precision(kind).compute(reference, fake, Bootstrap()).value
            result["recall"] = Recall(kind).compute(reference, fake, Bootstrap()).value
            of_train = features(kind, to_tensor(read_pictures(train)), cached / f"{train.name}_{kind}.npy")
            count = min(len(of_train), len(of_real))
            to_train = torch.cdist(fake, of_train[:count]).min(1).values
            to_held_out = torch.cdist(fake, of_real[:count]).min(1).values
            result["nearer_to_train"] = float((to_train < to_held_out).double().mean())
    distance = RandomFeatureDistance(seed=1)
    result["kd_random"] = distance.value(distance.statistics(Batch(real)), samples)
    return result
