"""Sample images from an exported denoiser, denoiser.onnx, with NumPy and ONNX Runtime alone.

    python sample.py --count 16 --seed 0 --out samples.npy

The samples are written as float32 (N, C, H, W) in [-1, 1]. Noise levels, sampler and classes are in model.json, which
is read from the folder of this file. This file does not need equipoise.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatImages = npt.NDArray[np.float32]
DenoiseImages = Callable[[FloatImages, float], FloatImages]
"""Function of noisy images (N, C, H, W) and their noise level that estimates the clean images."""
BATCH = 16


def heun(
    denoise: DenoiseImages, noisy: FloatImages, levels: Sequence[float], random: np.random.Generator
) -> FloatImages:
    """Solve by Heun's method; the step to 0 is Euler's (Karras et al. 2022, algorithm 1)."""
    for level, following in pairwise(levels):
        slope = (noisy - denoise(noisy, level)) / level
        moved = noisy + (following - level) * slope
        if following > 0:
            moved = noisy + (following - level) * (slope + (moved - denoise(moved, following)) / following) / 2
        noisy = moved
    return noisy


def dpm_2m(
    denoise: DenoiseImages, noisy: FloatImages, levels: Sequence[float], random: np.random.Generator
) -> FloatImages:
    """Solve by DPM-Solver++(2M) (Lu et al. 2022, algorithm 2)."""
    previous: FloatImages | None = None
    last_step = 0.0
    for level, following in pairwise(levels):
        estimate = denoise(noisy, level)
        step = math.log(level / following) if following > 0 else math.inf
        slanted = estimate
        if previous is not None and following > 0:
            slanted = estimate + step / (2 * last_step) * (estimate - previous)
        noisy = following / level * noisy + (1 - following / level) * slanted
        previous, last_step = estimate, step
    return noisy


def ddim(
    denoise: DenoiseImages, noisy: FloatImages, levels: Sequence[float], random: np.random.Generator
) -> FloatImages:
    """Follow DDIM (Song et al. 2021): Euler's method."""
    for level, following in pairwise(levels):
        estimate = denoise(noisy, level)
        noisy = estimate + following / level * (noisy - estimate)
    return noisy


def ancestral(
    denoise: DenoiseImages, noisy: FloatImages, levels: Sequence[float], random: np.random.Generator
) -> FloatImages:
    """Follow DDPM's reverse process (Ho et al. 2020), with noise from `random`."""
    for level, following in pairwise(levels):
        estimate, share = denoise(noisy, level), (following / level) ** 2
        noise = random.standard_normal(noisy.shape, dtype=np.float32)
        noisy = estimate + share * (noisy - estimate) + following * math.sqrt(1 - share) * noise
    return noisy


SAMPLER_FUNCTIONS = {"heun": heun, "dpm_2m": dpm_2m, "ddim": ddim, "ancestral": ancestral}


def guide(
    evaluate: Callable[[FloatImages, float, npt.NDArray[np.int64] | None], FloatImages],
    labels: npt.NDArray[np.int64] | None,
    weight: float | None,
) -> DenoiseImages:
    """Return a denoiser with classifier-free guidance of a weight; None and 1 for the conditional denoiser."""

    def denoise(noisy: FloatImages, level: float) -> FloatImages:
        conditional = evaluate(noisy, level, labels)
        if labels is None or weight in (None, 1):
            return conditional
        plain = evaluate(noisy, level, np.full_like(labels, -1))
        return plain + np.float32(weight) * (conditional - plain)

    return denoise


def open_denoiser(path: Path) -> Callable[[FloatImages, float, npt.NDArray[np.int64] | None], FloatImages]:
    """Return the denoiser of a file as a function of noisy images, a noise level, and labels or None."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def evaluate(noisy: FloatImages, level: float, labels: npt.NDArray[np.int64] | None) -> FloatImages:
        inputs: dict[str, object] = {"noisy": noisy, "sigma": np.full(len(noisy), level, np.float32)}
        (estimate,) = session.run(None, inputs if labels is None else {**inputs, "label": labels})
        result: FloatImages = estimate
        return result

    return evaluate


def main(arguments: Sequence[str] | None = None) -> None:
    """Sample from the denoiser in the folder of this file."""
    folder = Path(__file__).parent
    description = json.loads((folder / "model.json").read_text())
    sampling, shape = description["denoising"], description["outputs"]["samples"]["shape"][1:]
    parser = argparse.ArgumentParser(description="Sample images from denoiser.onnx.")
    parser.add_argument("--count", type=int, default=BATCH, help="number of samples")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise")
    parser.add_argument("--label", type=int, help="class of all samples; default: each class in turn")
    parser.add_argument("--guidance", type=float, default=sampling["guidance"], help="weight of guidance")
    parser.add_argument("--out", default="samples.npy", help="output file, float32 (N, C, H, W) in [-1, 1]")
    args = parser.parse_args(arguments)
    random, classes = np.random.default_rng(args.seed), sampling["classes"]
    levels, evaluate = sampling["levels"], open_denoiser(folder / "denoiser.onnx")
    numbers, parts = np.arange(args.count), []
    for start in range(0, args.count, BATCH):
        rows = numbers[start : start + BATCH]
        labels = (rows % classes if args.label is None else np.full_like(rows, args.label)) if classes else None
        noise = random.standard_normal((len(rows), *shape), dtype=np.float32)
        function = SAMPLER_FUNCTIONS[sampling["sampler"]]
        samples = function(guide(evaluate, labels, args.guidance), np.float32(levels[0]) * noise, levels, random)
        parts.append(np.clip(samples, -1, 1).astype(np.float32))
    np.save(args.out, np.concatenate(parts))


if __name__ == "__main__":
    main()
