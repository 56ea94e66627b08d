"""Loading of the trained generator of a run, and generation of samples."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.core import validation
from equipoise.core.captions import Prompt
from equipoise.core.conditions import conditions_in_turn
from equipoise.core.data import DataSpec
from equipoise.core.model import Model
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.declaration import to_python
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.resources import check_sample_memory
from equipoise.experiment.settings import build_data, build_recipe
from equipoise.inference.native_size import apply_at_native_size
from equipoise.inference.run_weights import RunWeights, StepChoice, select_weights
from equipoise.runs.run import EXPERIMENT_FILE
from equipoise.training import checkpoint

BATCH_SIZE, SENTENCES_BATCH_SIZE = 16, 250
"""Number of samples generated at once, always: kernels for batches of another size add in another order, so that a
sample would depend on how many are generated with it. 16 images are as fast as 250 on a CPU (dcgan);
sentences, which are generated word by word, need larger batches."""
BLOCK_SIZE = 64
"""Number of latents drawn at once, always, for the same reason."""
MAX_COUNT = 10**9
"""Maximum number of samples of one call."""
MAX_NAMES = 20
"""Maximum number of class names in a message."""


@dataclass(frozen=True, slots=True)
class Generator:
    """The averaged networks of a run, for sampling.

    `model`: defines how to sample. `networks`: by name. `spec`: shape of the samples. `step`: training step of the
    weights.
    """

    model: Model[Any]
    networks: dict[str, nn.Module]
    spec: DataSpec
    step: int

    def sample(
        self,
        count: int,
        *,
        label: int | str | None = None,
        prompt: str | None = None,
        truncation: float | None = None,
        seed: int = 0,
        sampling: Sampling = DEFAULT_SAMPLING,
    ) -> Tensor:
        """Generate samples (count, ...), float32 in the range of the data, [-1, 1] for images.

        Sample k of a seed is the same for every `count`. `label`: class of all samples, by name or number; None: each
        class in turn. `prompt`: what all samples show; None: examples of captions in turn. `truncation` T > 0: latents
        within [-T, T], closer to the mean sample and less diverse (Brock 2019); the same as in `sampling`, which has
        the other options. Raises SettingError for a number out of range and for an option that has no effect in the
        model, UnknownNameError for a name that does not exist.
        """
        if truncation is not None:
            sampling = replace(sampling, truncation=_validate_truncation(truncation))
        latents = self.latents(count, truncation=sampling.truncation, seed=seed)
        conditions = self.labels(len(latents), label) if prompt is None else self.captions(len(latents), prompt, label)
        return self.generate(latents, conditions, sampling)

    def latents(self, count: int, *, truncation: float | None = None, seed: int = 0) -> Tensor:
        """Draw latents (count, ...), float32. Latent k of a seed is the same for every `count`.

        Raises SettingError for a count or truncation that is not positive, for an invalid seed, and for more samples
        than fit into memory.
        """
        count, seed = validation.whole_number("count", count), validation.whole_number("seed", seed)
        if not 1 <= count <= MAX_COUNT:
            raise SettingError(f"count = {count}: it must be at {'least 1' if count < 1 else f'most {MAX_COUNT:,}'}")
        check_sample_memory(count, self.spec, self.model.latent(1, torch.Generator(), None).numel())
        validation.check_seeds(seed=seed)
        if truncation is not None:
            Sampling(truncation=_validate_truncation(truncation)).check_acts(self.model.samplings, self.model.name)
        source = torch.Generator().manual_seed(seed)
        blocks = [self.model.latent(BLOCK_SIZE, source, truncation) for _ in range(0, count, BLOCK_SIZE)]
        return torch.cat(blocks)[:count]

    def labels(self, count: int, label: int | str | None = None) -> Tensor | None:
        """Return labels (count,), int64: all `label`, or each class in turn for None; None for a model without labels.

        For a model that takes captions, examples in turn, (count, T). Raises SettingError for a number out of range,
        and for a model that translates images, UnknownNameError for a name that does not exist.
        """
        classes = self.model.num_classes
        if self.model.source is not None:
            raise SettingError(
                f"{self.model.name} translates images and needs input images; use: equipoise translate RUN FOLDER"
            )
        if label is None:
            return conditions_in_turn(self.model, count)
        if self.model.captions is not None:
            raise SettingError("this generator takes captions instead of labels; use a prompt (--prompt)")
        if not classes:
            raise SettingError("this generator was trained without labels; omit the label (--label)")
        return torch.full((count,), self.find_label(label))

    def read_prompt(self, prompt: str) -> Prompt:
        """Return a prompt as tokens, with the words that are unknown.

        Raises SettingError for a model without captions, and for a prompt without a known word.
        """
        if self.model.captions is None:
            raise SettingError("this generator was trained without captions; omit the prompt (--prompt)")
        return self.model.captions.read(prompt)

    def captions(self, count: int, prompt: str, label: int | str | None = None) -> Tensor:
        """Return captions (count, T), int64: all `prompt`. Raises SettingError as `read_prompt`, and for a label."""
        tokens = self.read_prompt(prompt).tokens
        if label is not None:
            raise SettingError("this generator takes captions instead of labels; omit the label (--label)")
        return torch.tensor(tokens).expand(count, -1)

    def class_folders(self, count: int) -> list[str]:
        """Return a folder name of the class of each of `count` samples, of each class in turn.

        Raises SettingError for a model without labels.
        """
        labels = self.labels(count)
        if labels is None or not self.model.num_classes:
            raise SettingError("this generator was trained without labels; omit the label (--label)")
        numbers = [str(number) for number in range(self.model.num_classes)]
        names = [re.sub(r"[\\/\x00-\x1f]|^\.+|^$", "_", name) for name in self.spec.class_names]
        folders = names if len(set(names)) == len(numbers) else numbers
        return [folders[label] for label in labels.tolist()]

    def find_label(self, label: int | str) -> int:
        """Return the number of a class by its name or its number; a number may be a name, too, which goes first.

        Raises SettingError for a number out of range, UnknownNameError for a name that does not exist.
        """
        names, text, classes = self.spec.class_names, str(label), self.model.num_classes
        if isinstance(label, str) and label in names:
            return names.index(label)
        if text.isascii() and text.removeprefix("-").isdigit():
            if not 0 <= int(text) < classes:
                listed = f": {', '.join(names[:MAX_NAMES])}{', …' * (len(names) > MAX_NAMES)}" if names else ""
                raise SettingError(f"label {text} does not exist; labels are 0 to {classes - 1}{listed}")
            return int(text)
        if not names:
            raise SettingError(f"the classes of this generator have no names; use a number from 0 to {classes - 1}")
        raise UnknownNameError("class", text, names)

    @property
    def batch_size(self) -> int:
        """Number of samples that are generated at once."""
        return BATCH_SIZE if self.spec.vocabulary is None else SENTENCES_BATCH_SIZE

    @property
    def log_likelihood(self) -> Callable[[Tensor], Tensor] | None:
        """Function from samples (N, ...) to log-likelihoods (N,) in nats; None for a model without likelihood."""
        log_likelihood = self.model.log_likelihood
        return None if log_likelihood is None else lambda samples: log_likelihood(self.networks, samples)

    @torch.no_grad()
    def generate(self, latents: Tensor, conditions: Tensor | None, sampling: Sampling = DEFAULT_SAMPLING) -> Tensor:
        """Generate samples (N, ...) from latents (N, ...) and labels (N,) or input images (N, ...).

        A sample from noise is the same, bit for bit, whatever it is generated with. Raises SettingError for an option
        of `sampling` that has no effect in the model.
        """
        self.check_sampling(sampling)
        return apply_in_batches(
            lambda latent, condition: self.model.generate(self.networks, latent, condition, sampling),
            latents,
            conditions,
            self.batch_size,
            fills=self.model.source is None,  # images may be large
        ).float()

    def check_sampling(self, sampling: Sampling) -> None:
        """Raise SettingError for an option of `sampling` that has no effect in the model."""
        sampling.check_acts(self.model.samplings, self.model.name)
        if sampling.cutoff is None:
            return
        if sampling.psi is None:
            raise SettingError("cutoff has no effect without psi, which acts on these layers; add a psi such as 0.7")
        if self.model.styles is not None and sampling.cutoff > (count := self.count_layers()):
            raise SettingError(f"cutoff = {sampling.cutoff}: {self.model.name} has {count} layers with a style")

    @torch.no_grad()
    def count_layers(self) -> int:
        """Return the number of layers with a style. Raises SettingError for a model without styles."""
        styles = self.model.styles
        if styles is None:
            raise SettingError(
                f"{self.model.name} has no styles, because it has no mapping network; use a run of a model that has "
                "one, such as stylegan2"
            )
        return styles.map(self.networks, self.latents(1), self.labels(1), DEFAULT_SAMPLING).shape[1]

    def translate(self, images: Tensor, *, back: bool = False) -> Tensor:
        """Translate images (N, C, H, W), float32 in [-1, 1], to (N, C', H, W), or `model.scale` times these sides.

        H and W may differ from those of training if `model.multiple` is set; see `inference/native_size.py`. `back`:
        from the target domain to the source domain, for a model trained in both directions. Raises SettingError for a
        model that does not translate images in this direction, and for images of another shape.
        """
        model = self.model
        if not isinstance(images, Tensor):
            raise SettingError(f"images must be a tensor (N, C, H, W), not {type(images).__name__}; convert them")
        shape = self.spec.shape if back else model.source
        if model.source is None or shape is None or (back and model.reverse is None):
            raise SettingError(f"{model.name} was not trained to translate images{' back' if back else ''}")
        actual = tuple(images.shape[1:])
        if images.ndim == 4 and actual[0] != shape[0]:
            channels = f"{actual[0]} channel{'s' * (actual[0] != 1)}"
            raise SettingError(f"these images have {channels}, but this generator takes {shape[0]}; convert them")
        if images.ndim != 4 or (actual != shape and model.multiple is None):
            described, expected = (" x ".join(map(str, part)) for part in (actual, shape))
            raise SettingError(f"these images are {described}, but this generator takes {expected}; resize them")
        if actual == shape or model.multiple is None:
            return self._translate_batch(images, back=back)
        return apply_at_native_size(
            lambda padded: self._translate_batch(padded, back=back), images, model.multiple, model.scale
        )

    def _repr_html_(self) -> str:
        from equipoise.inference.notebook import generator_html  # imports this module

        return generator_html(self)

    @torch.no_grad()
    def _translate_batch(self, images: Tensor, *, back: bool) -> Tensor:
        """Translate images (N, C, H, W) of a size that the networks take."""
        model = self.model
        if not back or model.reverse is None:
            return self.generate(model.latent(len(images), torch.Generator(), None), images)
        return torch.cat([model.reverse(self.networks, chunk) for chunk in torch.split(images, BATCH_SIZE)])


def apply_in_batches(
    function: Callable[[Tensor, Tensor | None], Tensor],
    values: Tensor,
    conditions: Tensor | None,
    size: int = BATCH_SIZE,
    *,
    fills: bool = True,
) -> Tensor:
    """Apply a function to batches of `values` (N, ...) and `conditions` (N, ...) or None; return the joined results.

    `fills`: the last batch repeats its last row up to `size`, so that a result is the same, bit for bit, whatever it is
    computed with.
    """
    results = []
    for start in range(0, len(values), size):
        rows = torch.arange(start, start + size).clamp(max=len(values) - 1)
        rows = rows if fills else rows.unique()
        result = function(values[rows], None if conditions is None else conditions[rows])
        results.append(result[: len(values) - start])
    return torch.cat(results)


def _validate_truncation(truncation: float) -> float:
    """Return the truncation as a Python number. Raises SettingError for one that is not a number above 0."""
    validation.check_type("truncation", to_python(truncation, float), float)
    return Sampling(truncation=float(truncation)).truncation or 0.0


def load(folder: str | Path, step: StepChoice | None = None) -> Generator:
    """Load the generator of a run, RUN, or of one of its checkpoints, RUN/checkpoints/step-N.

    `step`: a number of steps, "best" for the evaluation with the best metric, "last" for the newest weights, "chosen"
    for the step that was chosen in the studio; None for the final weights of a run, or those of its newest checkpoint
    if it has not finished. Raises RunError if the folder
    is not a run, CheckpointError if there are no such weights, or they are damaged or do not fit the model.
    """
    return build_generator(select_weights(folder, step))


def build_generator(weights: RunWeights) -> Generator:
    """Build the generator of a run with selected weights. Raises CheckpointError as :func:`load`."""
    run = weights.run
    experiment = parse_experiment(run.experiment(), str(run.folder / EXPERIMENT_FILE))
    data = build_data(experiment)
    model = build_recipe(experiment).build(data.spec, torch.Generator().manual_seed(0))
    networks = {name: model.networks[name].eval().requires_grad_(False) for name in model.averaged}
    step = 0
    for name, network in networks.items():
        selected = weights.network(name)
        checkpoint.check_shapes(network.state_dict(), selected.weights.tensors, name, selected.source)
        network.load_state_dict(selected.weights.tensors)
        step = selected.weights.step
    return Generator(model, {**model.networks, **networks}, data.spec, step)
