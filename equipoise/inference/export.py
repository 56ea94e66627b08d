"""The networks of a run for other programs, each file compared with the run's own generator before it counts.

onnx          generator.onnx: the game's generator as a graph, latent (and label) -> samples, or source -> samples
torch         generator.pth, discriminator.pth: state_dicts of plain tensors
safetensors   the same tensors, without pickle
and beside them model.json, which says what goes in and what comes out.
"""

import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from safetensors.torch import load as safetensors_load
from safetensors.torch import save
from torch import Tensor, nn

from equipoise.core.model import Model
from equipoise.errors import EquipoiseError, SettingError
from equipoise.experiment.settings import Experiment, from_values, require, versions
from equipoise.inference.generator import Generator, load_generator, load_weights
from equipoise.nn import latents
from equipoise.runs import run_folder as runs
from equipoise.training.checkpoint import check_shapes

if TYPE_CHECKING:
    from onnx import ModelProto

ExportFormat = Literal["onnx", "torch", "safetensors"]

MODEL = "model.json"
ONNX = "generator.onnx"
TRACED = 2
"""Latents that a graph is traced with: torch takes a batch of 1 for a constant."""
CHECKED = 16
"""Latents on which an exported generator is compared with the run's."""
TOLERANCE = 1e-4
"""Between samples of an ONNX graph and the generator's, on a range of 2: a fiftieth of a grey level of 256."""
MISSING = "--format onnx needs packages that are not there; install them with: pip install 'equipoise[export]'"


class ExportError(EquipoiseError):
    """A network that cannot be exported, or comes out as another."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """`files`: those written, the generator's first. `difference`: the largest between samples of the export and ours.

    Samples are compared on 16 latents, in the range of the data; 0.0 means that they are the same bit for bit.
    """

    files: tuple[Path, ...]
    difference: float


def export(folder: str | Path, format: ExportFormat, out: Path, *, force: bool = False) -> ExportResult:
    """Write the networks of a run into the folder `out`, which is made if it is not there.

    Files that are there with other content are left alone, unless `force`. Weights are float32, whatever precision the
    run computed in. Raises ExportError if an export differs or a file is in the way, CheckpointError for a run without
    weights, SettingError for another format.
    """
    if format not in get_args(ExportFormat):
        raise SettingError(f"there is no format '{format}'; there is: {', '.join(get_args(ExportFormat))}")
    run = runs.Run(Path(folder))
    experiment = from_values(run.experiment(), str(run.folder / runs.EXPERIMENT))
    generator = load_generator(folder)
    about = describe_generator(generator, experiment)
    if format == "onnx":
        contents, difference = _onnx(generator, about)
    else:
        contents, difference = _tensors(run, generator, about, format)
    contents[MODEL] = (json.dumps(about, indent=2) + "\n").encode()
    paths = {out / name: content for name, content in contents.items()}
    if not force:
        for path, content in paths.items():
            if path.exists() and path.read_bytes() != content:
                raise ExportError(f"{path} is there already and differs; choose another folder, or give --force")
    out.mkdir(parents=True, exist_ok=True)
    for path, content in paths.items():
        runs.write_bytes(path, content)
    return ExportResult(tuple(paths), difference)


def describe_generator(generator: Generator, experiment: Experiment) -> dict[str, Any]:
    """What a program must know to use the generator, as model.json has it."""
    spec, model = generator.spec, generator.model
    samples: dict[str, Any] = {"shape": ["batch", *spec.shape], "dtype": "float32"}
    if spec.is_image:
        samples |= {"axes": ["batch", "channel", "row", "column"], "lowest": -1.0, "highest": 1.0}
    if spec.vocabulary is not None:
        samples |= {"words": list(spec.vocabulary.words), "separator": spec.vocabulary.separator}
    if spec.unit:
        samples["unit"] = {"-1": spec.unit[0], "1": spec.unit[1]}
    recipe = require(experiment.model, "model")
    return {
        "model": model.name,
        "data": require(experiment.data, "data").name,
        "step": generator.step,
        "inputs": _inputs(generator),
        "outputs": {"samples": samples},
        "class_names": list(spec.class_names),
        "recipe": {"name": recipe.name, "options": recipe.options},
        "versions": versions(),
    }


def _inputs(generator: Generator) -> dict[str, Any]:
    """What the generator takes, by name."""
    model = generator.model
    if model.source is not None:
        axes = ["batch", "channel", "row", "column"]
        return {
            "source": {"shape": ["batch", *model.source], "dtype": "float32", "axes": axes, "lowest": -1, "highest": 1}
        }
    latent = generator.latents(1)
    inputs: dict[str, Any] = {"latent": {"shape": ["batch", *latent.shape[1:]], "dtype": "float32"}}
    if _is_normal(model, latent):
        inputs["latent"]["drawn_from"] = "standard normal"
    if model.num_classes:
        inputs["label"] = {"shape": ["batch"], "dtype": "int64", "lowest": 0, "highest": model.num_classes - 1}
    return inputs


def _examples(generator: Generator, count: int) -> dict[str, Tensor]:
    """Something to give to the generator, by the names of its inputs."""
    model = generator.model
    if model.source is not None:
        return {"source": torch.rand(count, *model.source, generator=torch.Generator().manual_seed(0)) * 2 - 1}
    label = generator.labels(count)
    return {"latent": generator.latents(count)} | ({} if label is None else {"label": label})


def _made(generator: Generator) -> Tensor:
    """Samples to compare an export with."""
    require = _examples(generator, CHECKED)
    if "source" in require:
        return generator.translate(require["source"])
    return generator.make(require["latent"], require.get("label"))


def _is_normal(model: Model[Any], latent: Tensor) -> bool:
    """Whether the GAN draws its latents as N(0, 1), bit for bit: what it draws cannot be asked, only seen."""
    drawn = model.latent(CHECKED, torch.Generator().manual_seed(0), None)
    normal = latents.normal(CHECKED, latent[0].numel(), torch.Generator().manual_seed(0))
    return torch.equal(drawn.flatten(1), normal)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, as they lie in a file, real numbers in float32."""
    plain = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    return {key: value.float() if value.is_floating_point() else value for key, value in plain.items()}


def _tensors(
    run: runs.Run, generator: Generator, about: Mapping[str, Any], format: ExportFormat
) -> tuple[dict[str, bytes], float]:
    """One file a network, those that samples come from first; what is compared is read from the very bytes."""
    averaged = generator.model.averaged
    contents: dict[str, bytes] = {}
    restored = dict(generator.networks)
    for name in (*averaged, *(name for name in generator.networks if name not in averaged)):
        result = load_weights(run, name, averaged=name in averaged)
        check_shapes(generator.networks[name].state_dict(), result.tensors, name, result.source)
        tensors = _plain(result.tensors)
        facts = {"network": name, "model": about["model"], "data": about["data"], "step": str(result.step)}
        first = next(iter(about["inputs"]))
        facts |= {first: _product(about["inputs"][first]), "sample": _product(about["outputs"]["samples"])}
        ending, content = (".pth", _pickled(tensors)) if format == "torch" else (".safetensors", _safe(tensors, facts))
        back = torch.load(io.BytesIO(content), weights_only=True) if format == "torch" else safetensors_load(content)
        if back.keys() != tensors.keys() or not all(torch.equal(back[key], tensors[key]) for key in tensors):
            raise ExportError(f"{name}{ending} does not hold what was written; is the memory of this machine sound?")
        contents[f"{name}{ending}"] = content
        restored[name] = copy.deepcopy(generator.networks[name])
        restored[name].load_state_dict(back)
    again = Generator(generator.model, restored, generator.spec, generator.step)
    return contents, _difference(_made(generator), _made(again), 0.0)


def _pickled(tensors: Mapping[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(tensors), buffer)
    return buffer.getvalue()


def _safe(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> bytes:
    """A safetensors file: 8 bytes that say how long the JSON is, the JSON, the numbers.

    So says https://huggingface.co/docs/safetensors. The package writes the facts in any order; here they come in ours,
    and the same tensors give the same bytes.
    """
    content = save(dict(tensors), dict(facts))
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end]) | {"__metadata__": facts}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def _product(about: Mapping[str, Any]) -> str:
    """The shape of one, without the batch: "1x32x32"."""
    return "x".join(map(str, about["shape"][1:]))


def _difference(ours: Tensor, theirs: Tensor, bound: float) -> float:
    """The largest between samples. Raises ExportError if it is above the bound, or not a number."""
    result = float((ours - theirs).abs().max())
    if ours.shape != theirs.shape or not result <= bound:
        raise ExportError(
            f"the exported generator makes other samples: they differ by {result:.1e}; nothing is written"
        )
    return result


class _Graph(nn.Module):
    """The generator of a GAN as one module: latent (B, ...), label (B,) if there are, or source -> samples (B, ...)."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.model = generator.model
        self.networks = nn.ModuleDict({name: generator.networks[name] for name in generator.model.averaged})

    def forward(self, first: Tensor, label: Tensor | None = None) -> Tensor:
        """As `Gan.generate`; `first` is the latent, or, where samples are made of them, the inputs."""
        if self.model.source is None:
            return self.model.generate(dict(self.networks), first, label)
        nothing = torch.zeros(first.shape[0], 1)
        return self.model.generate(dict(self.networks), nothing, first)


def _onnx(generator: Generator, about: Mapping[str, Any]) -> tuple[dict[str, bytes], float]:
    """The graph, run by ONNX Runtime on more latents than it was traced with."""
    if generator.spec.vocabulary is not None:
        raise ExportError("sentences are written word by word, which no graph holds; use --format torch or safetensors")
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ExportError(MISSING) from error
    if find_spec("onnxscript") is None:  # torch needs it to export
        raise ExportError(MISSING)
    feed = {name: require.numpy() for name, require in _examples(generator, CHECKED).items()}
    try:
        with _quiet():
            model = _traced(generator, tuple(feed))
        for node in model.graph.node:
            del node.metadata_props[:]  # stack traces, with the paths of this machine
        facts = {"model": about["model"], "data": about["data"], "step": str(generator.step)}
        onnx.helper.set_model_props(model, facts)
        onnx.checker.check_model(model)
        content = model.SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (made,) = session.run(None, feed)
    except Exception as error:  # Three packages, whose errors have nothing in common but this.
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        name = generator.model.name
        raise ExportError(f"{name} has no ONNX form: {reason}; --format torch takes any GAN") from error
    return {ONNX: content}, _difference(_made(generator), torch.from_numpy(made), TOLERANCE)


def _traced(generator: Generator, names: Sequence[str]) -> "ModelProto":
    """The graph, its inputs by name, with batches of any size. Raises ValueError if their size became a constant."""
    program = torch.onnx.export(
        _Graph(generator).eval(),
        tuple(_examples(generator, TRACED).values()),
        dynamo=True,
        input_names=names,
        output_names=["samples"],
        dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in names),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    if not all(end.type.tensor_type.shape.dim[0].dim_param for end in (*model.graph.input, *model.graph.output)):
        raise ValueError("its batches have a fixed size; generate must ask for latent.shape[0], not len(latent)")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """What the exporter warns of is its own inner life; what counts is that the graph makes the same samples."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
