"""Contract of every model, on the smallest data that it supports."""

import dataclasses
import inspect
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.captions import Captions
from equipoise.core.conditions import conditions_in_turn
from equipoise.core.data import Batch, DataSpec, PairedBatch, TokenBatch
from equipoise.core.model import Model
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.errors import SettingError
from equipoise.training import checkpoint
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

NAMES = catalog.names("models")
WITH_PRESETS = [*NAMES, *(f"{name}:{preset}" for name in NAMES for preset in catalog.presets("models", name))]
SMALLEST = (
    DataSpec((1,)),
    DataSpec((2,), classes=3),
    DataSpec((1, 16, 16), classes=3, flips=True),
    DataSpec((3, 64, 64), classes=3),
    DataSpec((3,), vocabulary=Vocabulary((ENDING, "a", "b"))),
    DataSpec((3, 32, 32), source=(1, 32, 32), paired=("train", "held_out")),
    DataSpec((3, 16, 16), captions=Captions(Vocabulary((ENDING, "red", "heart")), 3, ("red heart", "heart"))),
)
NARROW = {
    **{"width": 4, "latent_dim": 5, "embedding": 4, "hidden": 4, "widths": (1, 2), "maps": (3, 3), "feature_side": 64},
    **{"likelihood_steps": 1, "discriminator_pretraining_steps": 1, "autoencoding_steps": 1, "swapping_steps": 1},
    "teacher": {"model": "edm", "options": {"width": 4, "attention": 0, "augment": False}},  # untrained
}
BATCH = 4

RUN_STEPS, SAVED_AT = 6, 3
ADDITIONAL_TERMS = {
    **{"path_length_weight": 2.0, "orthogonal_weight": 1e-4, "lecam_weight": 0.1, "drift_weight": 1e-3},
    **{"r2_gamma": 0.5, "feature_matching_weight": 0.1, "augment_p": 0.5, "instance_noise": 0.1},
}
"""Knobs that are 0 by default, where a model has them."""

each = pytest.mark.parametrize("name", NAMES)


@dataclasses.dataclass(frozen=True)
class Reals:
    """Batches of random samples, determined by the index."""

    spec: DataSpec

    def batch(self, index: int) -> Batch:
        source = torch.Generator().manual_seed(index)
        real = torch.rand(BATCH, *self.spec.shape, generator=source) * 2 - 1
        labels = torch.randint(self.spec.classes, (BATCH,), generator=source) if self.spec.classes else None
        if self.spec.captions is not None:
            labels = self.spec.captions.in_turn(BATCH)
        if self.spec.vocabulary is not None:
            tokens = torch.randint(1, len(self.spec.vocabulary), real.shape, generator=source)
            return TokenBatch(tokens, lengths=torch.full((BATCH,), real.shape[1]))
        if self.spec.source is None:
            return Batch(real, labels)
        return PairedBatch(real, labels, source=torch.rand(BATCH, *self.spec.source, generator=source) * 2 - 1)


def inputs_of(model: Model[Any], count: int) -> Tensor | None:
    """Return labels, captions or inputs for the generator, None if it takes only a latent."""
    if model.source is not None:
        return torch.rand(count, *model.source, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return conditions_in_turn(model, count)


def unused_knobs(name: str) -> frozenset[str]:
    """Return the knobs that the plug declares as without effect, whatever its options."""
    return getattr(catalog.load("models", name), "unused_knobs", frozenset())


def build_smallest(name: str, seed: int = 0) -> tuple[Model[Any], DataSpec]:
    """Build the model for the first of the smallest specs that it supports, with small networks."""
    options = inspect.signature(catalog.load("models", name)).parameters
    recipe = catalog.build("models", name, {option: value for option, value in NARROW.items() if option in options})
    for spec in SMALLEST:
        try:
            model = recipe.build(spec, torch.Generator().manual_seed(seed))
            return model, spec if model.scale == 1 else dataclasses.replace(spec, source=model.source)
        except SettingError:
            continue
    raise AssertionError(f"{name} supports none of the smallest specs; add one that it supports to this test")


def start_training(name: str, seed: int = 0) -> tuple[TrainingState, Reals]:
    model, spec = build_smallest(name, seed)
    state = initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed))
    return state, Reals(spec)


def run_steps(state: TrainingState, reals: Reals, steps: int = 3) -> list[Any]:
    return [run_step(state, reals, state.model.knobs, 0.0, measure=True) for _ in range(steps)]


def tensor_bytes(tensors: dict[str, Tensor]) -> dict[str, bytes]:
    """Without global random states, which depend on other tests."""
    selected = {name: value for name, value in tensors.items() if name not in ("random/torch", "random/numpy")}
    return {name: value.detach().contiguous().numpy().tobytes() for name, value in selected.items()}


@each
def test_recipe_is_a_frozen_dataclass(name: str) -> None:
    plug = catalog.load("models", name)
    assert dataclasses.is_dataclass(plug)
    assert plug.__dataclass_params__.frozen
    assert plug.__doc__
    plug()


@each
def test_module_docstring_names_a_paper(name: str) -> None:
    """An author and a year, as in "Radford, Metz and Chintala 2016"."""
    text = inspect.getdoc(inspect.getmodule(catalog.load("models", name)))
    papers = re.findall(r"[A-Z]\w+(?: et al\.)?,? ((?:19|20)\d\d)\b", text)
    assert papers, text
    assert all(1990 <= int(year) <= 2030 for year in papers)
    assert len(catalog.summary("models", name)) <= 120


@each
def test_knobs_are_within_their_ranges(name: str) -> None:
    model, _ = build_smallest(name)
    for knob, range in model.knobs.ranges().items():
        assert range.contains(getattr(model.knobs, knob)), knob
    assert model.turnable <= model.knobs.ranges().keys()
    players = [name for name in ("lr_g", "lr_d") if name not in unused_knobs(model.name)]
    assert set(players) <= model.turnable
    assert not unused_knobs(model.name) & model.turnable


@each
def test_fields_of_the_model_are_consistent(name: str) -> None:
    model, spec = build_smallest(name)
    assert model.name == name
    assert set(model.averaged) <= model.networks.keys()
    assert {
        network for phase in model.phases for network in phase.updates
    } == model.networks.keys() - model.frozen.keys()
    assert len({phase.name for phase in model.phases}) == len(model.phases)
    assert model.num_classes in (0, spec.classes)
    assert model.captions in (None, spec.captions)


@each
def test_three_steps_are_finite_and_update_every_network(name: str) -> None:
    state, reals = start_training(name)
    before = tensor_bytes(state.tensors())
    records = run_steps(state, reals)
    after = tensor_bytes(state.tensors())
    assert not any(record.non_finite.item() for record in records)
    assert all(value.isfinite().all() for value in state.tensors().values() if value.is_floating_point())
    for network in state.trained_networks:
        keys = [key for key in before if key.startswith(f"network/{network}/")]
        assert any(before[key] != after[key] for key in keys), network
    assert (state.step, state.images) == (3, 3 * BATCH)


@each
def test_shapes_of_losses_terms_and_logits(name: str) -> None:
    state, reals = start_training(name)
    (record,) = run_steps(state, reals, 1)
    for phase, result in record.phases.items():
        assert result.total.dim() == 0, phase
        assert all(term.dim() == 0 and not term.requires_grad for term in result.terms.values()), phase
        for logit in (result.logit_real, result.logit_fake):
            assert logit is None or (len(logit) == BATCH and not logit.requires_grad), phase
    moment = state.moment(state.model.knobs, 0.0)
    logits = state.model.logits
    assert logits is None or len(logits(state.model.networks, reals.batch(0), moment)) == BATCH


@each
def test_checkpoint_restores_the_state_exactly(name: str, tmp_path: Path) -> None:
    """In a new model with different weights; the following steps are equal, too."""
    state, reals = start_training(name)
    run_steps(state, reals)
    path = checkpoint.write(tmp_path, checkpoint.Checkpoint(state.step, state.tensors(), state.values()))
    loaded = checkpoint.read(path)
    fresh, _ = start_training(name, seed=7)
    fresh.restore(loaded.tensors, loaded.values, path.name)
    assert tensor_bytes(fresh.tensors()) == tensor_bytes(state.tensors())
    run_steps(state, reals, 2)
    run_steps(fresh, reals, 2)
    assert tensor_bytes(fresh.tensors()) == tensor_bytes(state.tensors())
    assert fresh.memory.keys() == state.memory.keys()


def train_run(state: TrainingState, reals: Reals, steps: range) -> None:
    """Train through steps of a run, in which networks may grow, with all additional terms."""
    model = state.model
    knobs = model.knobs.with_values({name: value for name, value in ADDITIONAL_TERMS.items() if name in model.turnable})
    for step in steps:
        run_step(state, reals, knobs, step / RUN_STEPS)


def stop_in_next_step(state: TrainingState, reals: Reals) -> None:
    """Take a step whose last phase fails, after the updates by the others."""

    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    phases, moment = [*state.model.phases], state.moment(state.model.knobs, 0.9)
    last = max(index for index, phase in enumerate(phases) if phase.when(moment))
    phases[last] = dataclasses.replace(phases[last], loss=fail)
    state.model = dataclasses.replace(state.model, phases=phases)
    with pytest.raises(KeyboardInterrupt):
        train_run(state, reals, range(state.step, state.step + 1))


@each
def test_training_resumes_exactly_after_a_stop_within_a_step(name: str, tmp_path: Path) -> None:
    """From a checkpoint before it. The same for processes that are killed: `benchmarks/resume_models.py`."""
    whole, reals = start_training(name)
    train_run(whole, reals, range(RUN_STEPS))
    stopped, _ = start_training(name)
    train_run(stopped, reals, range(SAVED_AT))
    path = checkpoint.write(tmp_path, checkpoint.Checkpoint(stopped.step, stopped.tensors(), stopped.values()))
    train_run(stopped, reals, range(SAVED_AT, SAVED_AT + 1))
    stop_in_next_step(stopped, reals)
    loaded = checkpoint.read(path)
    resumed, _ = start_training(name, seed=9)
    resumed.restore(loaded.tensors, loaded.values, path.name)
    train_run(resumed, reals, range(SAVED_AT, RUN_STEPS))
    assert tensor_bytes(resumed.tensors()) == tensor_bytes(whole.tensors())


@each
def test_seed_determines_the_initial_weights(name: str) -> None:
    one, same = (tensor_bytes(start_training(name, seed)[0].tensors()) for seed in (3, 3))
    assert one == same


@each
def test_samples_have_the_shape_and_range_of_the_data(name: str) -> None:
    state, reals = start_training(name)
    model, spec = state.model, reals.spec
    with torch.no_grad():
        samples = model.generate(
            state.sampling_networks,
            model.latent(6, torch.Generator().manual_seed(0), None),
            inputs_of(model, 6),
            DEFAULT_SAMPLING,
        )
    assert samples.shape == (6, *spec.shape)
    assert samples.dtype == torch.float32
    assert samples.isfinite().all()
    if spec.is_image:
        assert samples.abs().max() <= 1


@each
@pytest.mark.parametrize("truncation", [0.05, 0.7, 3.0])
def test_truncated_latents_are_within_the_bound(name: str, truncation: float) -> None:
    model, _ = build_smallest(name)
    latent = model.latent(500, torch.Generator().manual_seed(0), truncation)
    assert latent.abs().max() <= truncation + 1e-6
    again = model.latent(500, torch.Generator().manual_seed(0), truncation)
    assert torch.equal(latent, again)


@each
def test_optimizer_settings_follow_the_knobs(name: str) -> None:
    state, _ = start_training(name)
    changed_knobs = state.model.knobs.with_values({"lr_g": 1e-3, "lr_d": 3e-3})
    moment = dataclasses.replace(state.moment(changed_knobs, 0.0), step=1)
    rates = {network: state.model.optimizer(network, moment).lr for network in state.trained_networks}
    assert rates["generator"] == 1e-3
    assert "lr_d" in unused_knobs(name) or 0.3 * 3e-3 <= rates["discriminator"] <= 3e-3
    assert all(math.isfinite(rate) for rate in rates.values())


@pytest.mark.parametrize("name", WITH_PRESETS)
def test_models_and_presets_can_be_built(name: str) -> None:
    model, spec = build_smallest(name)
    samples = model.generate(
        model.networks, model.latent(2, torch.Generator().manual_seed(0), None), inputs_of(model, 2), DEFAULT_SAMPLING
    )
    assert samples.shape == (2, *spec.shape)


@each
def test_unsupported_data_raises(name: str) -> None:
    """The message suggests a model or a size, for data that no model supports."""
    with pytest.raises(SettingError, match="use --"):
        catalog.build("models", name).build(DataSpec((7, 17, 17)), torch.Generator().manual_seed(0))
