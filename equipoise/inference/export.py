"""Export of the networks of a run for other programs, checked against the generator of the run.

onnx          generator.onnx: the generator as a graph, latent (and label or caption) or source image -> samples;
              of a diffusion model denoiser.onnx, and sample.py, see `inference/denoiser_export.py`
torch         generator.pth, discriminator.pth: state_dicts of plain tensors
safetensors   the same tensors, without pickle

Each format includes model.json: shapes, ranges and meaning of inputs and outputs.
"""

import copy
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import load as safetensors_load
from torch import Tensor, nn

from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError
from equipoise.experiment.files import parse_experiment
from equipoise.inference.denoiser_export import export_denoiser
from equipoise.inference.generator import Generator, build_generator
from equipoise.inference.graphs import CHECK_BATCH, TOLERANCE, encode_graph, largest_difference
from equipoise.inference.graphs import ExportError as ExportError
from equipoise.inference.model_description import ModelDescription, TensorDescription, describe_generator
from equipoise.inference.run_weights import RunWeights, StepChoice, select_weights
from equipoise.runs.artifacts import write_bytes
from equipoise.runs.run import EXPERIMENT_FILE
from equipoise.training.checkpoint import check_shapes
from equipoise.training.weight_files import encode_safetensors

ExportFormat = Literal["onnx", "torch", "safetensors"]

MODEL = "model.json"
ONNX = "generator.onnx"
GRAPH_SAMPLINGS = ("psi", "cutoff", "noise")
"""Options of sampling that a graph can have built in; latents are its input."""
DENOISING_SAMPLINGS = ("steps", "sampler", "guidance")
"""Options of sampling that are exported with the graph of a denoiser."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The written files, those of the generator first, and the largest difference between samples of export and run.

    Samples of 16 latents are compared, in the range of the data; 0.0 means bit-exact equality.
    """

    files: tuple[Path, ...]
    difference: float


def export(
    folder: str | Path,
    format: ExportFormat,
    out: Path,
    *,
    step: StepChoice | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
    force: bool = False,
) -> ExportResult:
    """Write the networks of a run, or of one of its checkpoints, to the folder `out`, which is created if necessary.

    `step`: see :func:`equipoise.inference.generator.load`. `sampling`: psi, cutoff and noise of a graph, which has them
    built in. Existing files with other content are replaced only with `force`. Weights are float32 for every training
    precision. Raises ExportError if the samples differ or a file exists, CheckpointError for a run without weights,
    SettingError for an unknown format, and for an option of `sampling` that has no effect in it.
    """
    if format not in get_args(ExportFormat):
        raise SettingError(f"format '{format}' does not exist; use one of: {', '.join(get_args(ExportFormat))}")
    weights = select_weights(folder, step)
    run = weights.run
    experiment = parse_experiment(run.experiment(), str(run.folder / EXPERIMENT_FILE))
    generator = build_generator(weights)
    _check_sampling(generator, format, sampling)
    description = describe_generator(generator, experiment, sampling)
    if format == "onnx":
        write_graph = _export_onnx if generator.model.denoising is None else export_denoiser
        contents, difference = write_graph(generator, description, sampling)
    else:
        contents, difference = _export_tensors(weights, generator, description, format)
    contents[MODEL] = (json.dumps(description, indent=2) + "\n").encode()
    paths = {out / name: content for name, content in contents.items()}
    if not force:
        for path, content in paths.items():
            if path.exists() and path.read_bytes() != content:
                raise ExportError(f"{path} exists with other content; use another folder, or --force to replace it")
    out.mkdir(parents=True, exist_ok=True)
    for path, content in paths.items():
        write_bytes(path, content)
    return ExportResult(tuple(paths), difference)


def _check_sampling(generator: Generator, format: ExportFormat, sampling: Sampling) -> None:
    """Raise SettingError for an option of `sampling` that has no effect in what is exported."""
    generator.check_sampling(sampling)
    for name in sampling.settings():
        if format != "onnx":
            raise SettingError(f"{name} has no effect on weights; export a graph, --format onnx, which has it built in")
        known = GRAPH_SAMPLINGS if generator.model.denoising is None else DENOISING_SAMPLINGS
        if name not in known:
            raise SettingError(f"{name} has no effect in a graph; a graph can have: {', '.join(known)}")


def _example_inputs(generator: Generator, count: int) -> dict[str, Tensor]:
    """Return example inputs for the generator, by name."""
    model = generator.model
    if model.source is not None:
        return {"source": torch.rand(count, *model.source, generator=torch.Generator().manual_seed(0)) * 2 - 1}
    label = generator.labels(count)
    condition = {} if label is None else {"label" if model.captions is None else "caption": label}
    return {"latent": generator.latents(count)} | condition


def _reference_samples(generator: Generator, sampling: Sampling = DEFAULT_SAMPLING) -> Tensor:
    """Return the samples of a generator for the example inputs."""
    inputs = _example_inputs(generator, CHECK_BATCH)
    if "source" in inputs:
        return generator.translate(inputs["source"])
    return generator.generate(inputs["latent"], inputs.get("label", inputs.get("caption")), sampling)


def _to_plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU, as contiguous tensors; convert floating point ones to float32."""
    copies = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    return {key: value.float() if value.is_floating_point() else value for key, value in copies.items()}


def _export_tensors(
    selection: RunWeights, generator: Generator, description: ModelDescription, format: ExportFormat
) -> tuple[dict[str, bytes], float]:
    """Encode one file per network, those that generate samples first, and compare samples of the encoded weights."""
    averaged = generator.model.averaged
    contents: dict[str, bytes] = {}
    restored = dict(generator.networks)
    for name in (*averaged, *(name for name in generator.networks if name not in averaged)):
        selected = selection.network(name, averaged=name in averaged)
        check_shapes(generator.networks[name].state_dict(), selected.weights.tensors, name, selected.source)
        tensors = _to_plain(selected.weights.tensors)
        file_name = f"{name}.pth" if format == "torch" else f"{name}.safetensors"
        content = (
            _encode_pickle(tensors)
            if format == "torch"
            else encode_safetensors(tensors, _metadata(name, description, selected.weights.step))
        )
        decoded = torch.load(io.BytesIO(content), weights_only=True) if format == "torch" else safetensors_load(content)
        if decoded.keys() != tensors.keys() or not all(torch.equal(decoded[key], tensors[key]) for key in tensors):
            raise ExportError(
                f"{file_name} does not contain the weights that were written; the memory may be defective"
            )
        contents[file_name] = content
        restored[name] = copy.deepcopy(generator.networks[name])
        restored[name].load_state_dict(decoded)
    exported = Generator(generator.model, restored, generator.spec, generator.step)
    return contents, largest_difference(_reference_samples(generator), _reference_samples(exported), 0.0)


def _metadata(network: str, description: ModelDescription, step: int) -> dict[str, str]:
    """Return the metadata of a safetensors file: origin, and shapes of an input and a sample without the batch."""
    first = next(iter(description["inputs"]))
    return {
        "network": network,
        "model": description["model"],
        "data": description["data"],
        "step": str(step),
        first: _format_shape(description["inputs"][first]),
        "sample": _format_shape(description["outputs"]["samples"]),
    }


def _encode_pickle(tensors: Mapping[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(tensors), buffer)
    return buffer.getvalue()


def _format_shape(description: TensorDescription) -> str:
    """Format a shape without its batch dimension: "1x32x32"."""
    return "x".join(map(str, description["shape"][1:]))


class _GeneratorModule(nn.Module):
    """A generator as one module: latent, and label (B,) or caption (B, T), or source image -> samples (B, ...)."""

    def __init__(self, generator: Generator, sampling: Sampling) -> None:
        super().__init__()
        self.model, self.sampling = generator.model, sampling
        self.networks = nn.ModuleDict({name: generator.networks[name] for name in generator.model.averaged})

    def forward(self, first: Tensor, label: Tensor | None = None) -> Tensor:
        """Compute `Model.generate`. `first`: the latent, or the source image of a model that translates images."""
        if self.model.source is None:
            return self.model.generate(dict(self.networks), first, label, self.sampling)
        no_latent = torch.zeros(first.shape[0], 1)
        return self.model.generate(dict(self.networks), no_latent, first, self.sampling)


def _export_onnx(
    generator: Generator, description: ModelDescription, sampling: Sampling
) -> tuple[dict[str, bytes], float]:
    """Encode the graph and compare its samples, computed by ONNX Runtime with a larger batch than for tracing."""
    if generator.spec.vocabulary is not None:
        raise ExportError("a graph cannot generate sentences word by word; use --format torch or safetensors")
    metadata = {"model": description["model"], "data": description["data"], "step": str(generator.step)}
    content, run_graph = encode_graph(
        _GeneratorModule(generator, sampling), lambda count: _example_inputs(generator, count), "samples", metadata
    )
    samples = run_graph(_example_inputs(generator, CHECK_BATCH))
    return {ONNX: content}, largest_difference(_reference_samples(generator, sampling), samples, TOLERANCE)
