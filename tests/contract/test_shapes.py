"""The training loop supports every kind of training without branches; resumed runs end bit-equal."""

import ast
import dataclasses
import importlib.util
import inspect
import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.controllers.annealed import Annealed
from equipoise.core.events import Event, Finished, Resumed, Sampled, Saved, Sensed, Stepped
from equipoise.pilot.pilot import ModelInfo, Pilot
from equipoise.training import checkpoint, loop, step
from equipoise.training.loop import Training, restore, train
from equipoise.training.plan import Preview, Streams, TrainingPlan
from equipoise.training.state import initial_state

STEPS = 12
LAST_STEP = 7


def load_shapes() -> ModuleType:
    """Load shapes.py by path, since tests are not a package."""
    spec = importlib.util.spec_from_file_location("shapes", Path(__file__).with_name("shapes.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOYS = load_shapes()
# Name of the model, and step of the checkpoint: after a reading (5), or within a window (7).
CASES = [(name, every) for name in TOYS.TOY_MODELS for every in (5, 7)]
each = pytest.mark.parametrize("name", TOYS.TOY_MODELS)


@pytest.fixture(autouse=True)
def rare_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read at steps 5 and 10 only, so that a checkpoint can be within a window; set the same seed for all tests."""
    seed_everything(0)
    monkeypatch.setattr("equipoise.pilot.pilot.DENSE_STEPS", 0)


def create_training(name: str, folder: Path, save_every: int, seed: int = 3) -> Training:
    """Create a run as in a new process."""
    model = TOYS.TOY_MODELS[name](torch.Generator().manual_seed(seed))
    state = initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed))
    stream = TOYS.STREAMS.get(name, TOYS.Points())
    controller = Annealed(factors={"lr_g": "cosine(1, 0.1)"}, schedules={"beta1": "linear(0.5, 0.2)"})
    pilot = Pilot(
        controller,
        steps=STEPS,
        knobs=model.knobs,
        model_info=ModelInfo(model.turnable, model.probability),
        sense_every=5,
    )
    preview = Preview(
        model.latent(6, torch.Generator().manual_seed(1), None),
        torch.arange(6) % 3 if model.num_classes else None,
    )
    plan = TrainingPlan(STEPS, TOYS.BATCH, sample_every=4, save_every=save_every, checkpoints=folder)
    return Training(state, pilot, Streams(stream, stream), plan, preview)


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def events_until(events: Iterator[Event], last: int) -> list[Event]:
    """Return the events up to a step and abandon the iterator, as if the process was interrupted."""
    return list(itertools.takewhile(lambda event: event.step <= last, events))


def whole_state(training: Training) -> dict[str, Tensor]:
    """Copy all tensors, including those of the pilot and the global random states."""
    pilot_tensors = {f"pilot/{name}": value for name, value in training.pilot.state()[0].items()}
    return {name: value.detach().clone() for name, value in {**training.state.tensors(), **pilot_tensors}.items()}


def values(training: Training) -> dict[str, Any]:
    """Return all other values except for times."""
    return {**training.state.values(), "seconds": None, "pilot": training.pilot.state()[1]}


def comparable_events(events: list[Event], after: int) -> list[Any]:
    """Return the events after a step without times."""
    selected = [event for event in events if event.step > after and not isinstance(event, Stepped | Saved)]
    timeless = [
        dataclasses.replace(event, **{name: None for name in ("seconds", "sampling") if hasattr(event, name)})
        for event in selected
    ]
    return [(e.step, e.samples.tobytes()) if isinstance(e, Sampled) else e for e in timeless]


def unequal(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> list[str]:
    assert tensors.keys() == expected.keys()
    return [
        name
        for name, value in tensors.items()
        if value.dtype != expected[name].dtype or not same(value, expected[name])
    ]


def same(first: Tensor, second: Tensor) -> bool:
    return first.numpy().tobytes() == second.numpy().tobytes() and first.shape == second.shape


@pytest.mark.parametrize(("name", "save_every"), sorted(CASES))
def test_resumed_run_ends_bit_equal(name: str, save_every: int, tmp_path: Path) -> None:
    seed_everything(0)
    uninterrupted = create_training(name, tmp_path / "whole", save_every)
    expected = list(train(uninterrupted))
    assert isinstance(expected[-1], Finished)
    assert (expected[-1].reason, expected[-1].step) == ("steps", STEPS)
    assert sum(isinstance(event, Sensed) for event in expected) == 2
    tensors, rest = whole_state(uninterrupted), values(uninterrupted)

    seed_everything(0)
    interrupted = create_training(name, tmp_path / "interrupted", save_every)
    events_until(train(interrupted), LAST_STEP)
    (last,) = checkpoint.find(tmp_path / "interrupted")
    assert last.name == f"step-{save_every:08d}"

    seed_everything(99)
    resumed = create_training(name, tmp_path / "interrupted", save_every, seed=4)
    restore(resumed, last)
    events = list(train(resumed))
    assert isinstance(events[0], Resumed)
    assert events[0].step == save_every
    assert unequal(whole_state(resumed), tensors) == []
    assert values(resumed) == rest
    assert comparable_events(events, save_every) == comparable_events(expected, save_every)


@each
def test_every_network_changes_and_stays_finite(name: str, tmp_path: Path) -> None:
    """Otherwise the comparison of runs would be meaningless."""
    training = create_training(name, tmp_path, 5)
    before = whole_state(training)
    list(train(training))
    after = whole_state(training)
    for network, module in training.state.model.networks.items():
        for key, _ in module.named_parameters():
            full = f"network/{network}/{key}"
            assert not torch.equal(before[full], after[full]), full
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())
    for buffer in training.state.model.memory:
        assert not torch.equal(before[f"memory/{buffer}"], after[f"memory/{buffer}"]), buffer


@each
def test_different_seed_gives_a_different_run(name: str, tmp_path: Path) -> None:
    one, other = create_training(name, tmp_path / "one", 5), create_training(name, tmp_path / "other", 5, seed=4)
    list(train(one))
    list(train(other))
    first, second = whole_state(one), whole_state(other)
    assert len([key for key in first if key.startswith("network/") and not torch.equal(first[key], second[key])]) > 4


@each
def test_toy_models_are_short(name: str) -> None:
    assert len(inspect.getsource(TOYS.TOY_MODELS[name]).splitlines()) <= 40


def phases_at(name: str, number: int, tmp_path: Path) -> set[str]:
    """Return the phases of a step."""
    training = create_training(name, tmp_path, 5)
    moment = dataclasses.replace(training.state.moment(training.pilot.knobs, 0.0), step=number)
    return {phase.name for phase in training.state.model.phases if phase.when(moment)}


def test_toy_models_have_the_phases_of_their_kind(tmp_path: Path) -> None:
    assert phases_at("growing_network", 3, tmp_path) == {"discriminator", "generator"}
    assert phases_at("growing_network", 4, tmp_path) == {"discriminator", "whole"}
    assert [len(phases_at("lazy_penalty", number, tmp_path)) for number in range(4)] == [3, 2, 2, 3]
    assert phases_at("pre_training", 5, tmp_path) == {"regression"}
    assert phases_at("pre_training", 6, tmp_path) == {"discriminator", "generator"}
    assert phases_at("simultaneous", 0, tmp_path) == {"both"}
    assert len(create_training("two_pairs", tmp_path, 5).state.optimizers) == 4


def test_memory_grows_with_the_run(tmp_path: Path) -> None:
    pool, fading = (
        create_training("image_pool", tmp_path / "a", 5),
        create_training("growing_network", tmp_path / "b", 5),
    )
    sizes, fades = [], []
    for event in train(pool):
        if isinstance(event, Stepped):
            sizes.append(len(pool.state.memory["pool"]))
    for event in train(fading):
        if isinstance(event, Stepped):
            fades.append(round(fading.state.memory["fade"].item(), 3))
    assert sizes == [8, 16, *[20] * 10]
    assert fades == [0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1]


def branches(source: str) -> list[str]:
    """Return comparisons with names of networks, phases or models, and checks of types."""
    conditions = []
    for node in ast.walk(ast.parse(source)):
        text = ast.unparse(node) if isinstance(node, ast.Compare | ast.Call) else ""
        if isinstance(node, ast.Compare) and re.search(r"\.name\b|'generator'|'discriminator'", text):
            conditions.append(text)
        if isinstance(node, ast.Call) and re.match(r"(isinstance|hasattr|getattr|type)\(", text):
            conditions.append(text)
    return conditions


@pytest.mark.parametrize("module", [loop, step], ids=["loop", "step"])
def test_training_loop_does_not_depend_on_the_model(module: ModuleType) -> None:
    result = [text for text in branches(inspect.getsource(module)) if text != "phase.name in records"]
    assert result == []


def test_branches_finds_conditions() -> None:
    assert branches("if state.model.name == 'dcgan': pass")
    assert branches("if isinstance(gan, CycleGan): pass")
    assert branches("x = 1 if name == 'generator' else 2")
