"""Description of a generator for other programs, the content of model.json: inputs, outputs and origin."""

from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor

from equipoise.core.data import Bound
from equipoise.core.model import Model
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.experiment.settings import Experiment, installed_versions, require
from equipoise.inference.generator import Generator
from equipoise.nn import latents

IMAGE_AXES = ("batch", "channel", "row", "column")
SEQUENCE_AXES = ("batch", "channel", "position")
NORMAL_CHECK_COUNT = 16
"""Number of latents that are compared with a standard normal distribution."""


class TensorDescription(TypedDict, total=False):
    """An input or output of the generator: shape with "batch" first, and range or meaning of its values."""

    shape: list[int | str]
    dtype: str
    axes: list[str]
    lowest: float
    highest: float
    drawn_from: str
    words: list[str]
    separator: str
    unit: dict[str, Bound]


class ModelDescription(TypedDict):
    """The content of model.json. `sampling`: options of sampling that a graph has built in.

    `denoising`: of the graph of a denoiser: inputs, noise levels, sampler, guidance and number of classes.
    """

    model: str
    data: str
    step: int
    inputs: dict[str, TensorDescription]
    outputs: dict[str, TensorDescription]
    sampling: dict[str, float | int | str]
    denoising: NotRequired[dict[str, object]]
    class_names: list[str]
    recipe: dict[str, object]
    versions: dict[str, str]


def describe_generator(
    generator: Generator, experiment: Experiment, sampling: Sampling = DEFAULT_SAMPLING
) -> ModelDescription:
    """Describe inputs, outputs and origin of a generator: the content of model.json."""
    spec, model = generator.spec, generator.model
    samples: TensorDescription = {"shape": ["batch", *spec.shape], "dtype": "float32"}
    if spec.is_image:
        samples |= {"axes": list(IMAGE_AXES), "lowest": -1.0, "highest": 1.0}
    if spec.vocabulary is not None:
        samples |= {"words": list(spec.vocabulary.words), "separator": spec.vocabulary.separator}
    if spec.unit:
        samples["unit"] = {"-1": spec.unit[0], "1": spec.unit[1]}
    if spec.is_sequence:
        samples |= {"axes": list(SEQUENCE_AXES), "lowest": -1.0, "highest": 1.0}
    recipe = require(experiment.model, "model")
    return {
        "model": model.name,
        "data": require(experiment.data, "data").name,
        "step": generator.step,
        "inputs": _inputs(generator),
        "outputs": {"samples": samples},
        "sampling": sampling.settings(),
        "class_names": list(spec.class_names),
        "recipe": {"name": recipe.name, "options": recipe.options},
        "versions": installed_versions(),
    }


def _inputs(generator: Generator) -> dict[str, TensorDescription]:
    """Describe the inputs by name."""
    model = generator.model
    if model.source is not None:
        return {
            "source": {
                "shape": ["batch", *model.source],
                "dtype": "float32",
                "axes": list(IMAGE_AXES),
                "lowest": -1,
                "highest": 1,
            }
        }
    latent = generator.latents(1)
    inputs: dict[str, TensorDescription] = {"latent": {"shape": ["batch", *latent.shape[1:]], "dtype": "float32"}}
    if _is_normal(model, latent):
        inputs["latent"]["drawn_from"] = "standard normal"
    if model.num_classes:
        inputs["label"] = {"shape": ["batch"], "dtype": "int64", "lowest": 0, "highest": model.num_classes - 1}
    if model.captions is not None:
        words = list(model.captions.vocabulary.words)
        inputs["caption"] = {"shape": ["batch", model.captions.length], "dtype": "int64", "words": words}
    return inputs


def _is_normal(model: Model[Any], latent: Tensor) -> bool:
    """Whether the model's latents are bit-exactly those of a standard normal distribution with the same seed."""
    sampled = model.latent(NORMAL_CHECK_COUNT, torch.Generator().manual_seed(0), None)
    normal = latents.normal(NORMAL_CHECK_COUNT, latent[0].numel(), torch.Generator().manual_seed(0))
    return torch.equal(sampled.flatten(1), normal)
