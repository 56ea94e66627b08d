"""Export of a diffusion model: its denoiser as a graph, and a script that samples with it.

denoiser.onnx   noisy images, their noise levels (and labels, -1 for none) -> estimates of the clean images
sample.py       samplers with NumPy and ONNX Runtime: the file onnx_sampling.py of this package
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from equipoise.core.model import DenoisingProcess
from equipoise.core.sampling import Sampling
from equipoise.inference import onnx_sampling
from equipoise.inference.generator import Generator
from equipoise.inference.graphs import CHECK_BATCH, TOLERANCE, RunGraph, encode_graph, largest_difference
from equipoise.inference.model_description import ModelDescription
from equipoise.inference.onnx_sampling import SAMPLER_FUNCTIONS, guide

DENOISER, SCRIPT = "denoiser.onnx", "sample.py"
RANDOM_SAMPLERS = frozenset({"ancestral"})
"""Samplers that add noise, which the script draws from another generator."""


class _DenoiserModule(nn.Module):
    """A denoiser as one module: noisy (B, ...), sigma (B,) and optionally label (B,) -> estimates (B, ...)."""

    def __init__(self, generator: Generator, process: DenoisingProcess) -> None:
        super().__init__()
        self.process = process
        self.networks = nn.ModuleDict({name: generator.networks[name] for name in generator.model.averaged})

    def forward(self, noisy: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """Compute `DenoisingProcess.denoise`."""
        return self.process.denoise(dict(self.networks), noisy, sigma, label)


def export_denoiser(
    generator: Generator, description: ModelDescription, sampling: Sampling
) -> tuple[dict[str, bytes], float]:
    """Encode the graph, and compare it with the run: estimates, and samples of samplers that add no noise.

    Adds noise levels, sampler and guidance to `description`, for the script. Raises ExportError.
    """
    process = generator.model.denoising
    assert process is not None
    levels, name = tuple(process.levels(sampling)), process.sampler(sampling)
    classes = generator.model.num_classes

    def inputs(count: int) -> dict[str, Tensor]:
        sigma = torch.tensor(levels[:-1]).repeat(count)[:count]
        noisy = sigma[:, None, None, None] * generator.latents(count)
        label = generator.labels(count)
        return {"noisy": noisy, "sigma": sigma} | ({} if label is None else {"label": label})

    metadata = {"model": description["model"], "data": description["data"], "step": str(generator.step)}
    content, run_graph = encode_graph(_DenoiserModule(generator, process), inputs, "denoised", metadata)
    values = inputs(CHECK_BATCH)
    with torch.no_grad():
        expected = process.denoise(generator.networks, values["noisy"], values["sigma"], values.get("label"))
    difference = largest_difference(expected, run_graph(values), TOLERANCE)
    if name not in RANDOM_SAMPLERS:
        latents, labels = generator.latents(CHECK_BATCH), generator.labels(CHECK_BATCH)
        samples = _sample_with_script(run_graph, name, levels, latents, labels, sampling.guidance)
        expected = generator.generate(latents, labels, sampling)
        difference = max(difference, largest_difference(expected, samples, TOLERANCE))
    description["denoising"] = {
        "sampler": name,
        "levels": list(levels),
        "guidance": sampling.guidance,
        "classes": classes,
        "inputs": ["noisy", "sigma", *(["label"] if classes else [])],
    }
    return {DENOISER: content, SCRIPT: Path(onnx_sampling.__file__).read_bytes()}, difference


def _sample_with_script(
    run_graph: RunGraph,
    name: str,
    levels: Sequence[float],
    latents: Tensor,
    labels: Tensor | None,
    guidance: float | None,
) -> Tensor:
    """Sample as the script does, from latents (N, ...)."""

    def evaluate(
        noisy: npt.NDArray[np.float32], level: float, label: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float32]:
        values = {"noisy": torch.from_numpy(noisy), "sigma": torch.full((len(noisy),), level)}
        values |= {} if label is None else {"label": torch.from_numpy(label)}
        return run_graph(values).numpy()

    denoise = guide(evaluate, None if labels is None else labels.numpy(), guidance)
    noisy = (levels[0] * latents).numpy()
    samples = SAMPLER_FUNCTIONS[name](denoise, noisy, levels, np.random.default_rng(0))
    return torch.from_numpy(samples).float().clamp(-1, 1)
