"""The loop needs no branch: every shape of game trains, is killed, goes on in fresh objects, and ends bit-equal."""

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
from equipoise.training.loop import Preview, Streams, Training, TrainingPlan, restore, train
from equipoise.training.state import initial_state

STEPS = 12
KILLED_AFTER = 7


def shapes() -> ModuleType:
    """The toys beside this file; tests are no package, so by path."""
    place = importlib.util.spec_from_file_location("shapes", Path(__file__).with_name("shapes.py"))
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


TOYS = shapes()
# By game and the step of the checkpoint: right after a reading (5), and in the middle of a window (7).
CASES = [(name, every) for name in TOYS.GAMES for every in (5, 7)]
each = pytest.mark.parametrize("name", TOYS.GAMES)


@pytest.fixture(autouse=True)
def seldom_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings at 5 and 10 only, so that a checkpoint may fall into the middle of a window; and one start for all."""
    seed_everything(0)
    monkeypatch.setattr("equipoise.pilot.pilot.EAGER", 0)


def fresh(name: str, folder: Path, save_every: int, seed: int = 3) -> Training:
    """A run as it is assembled anew in a process that has just begun."""
    model = TOYS.GAMES[name](torch.Generator().manual_seed(seed))
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


def until(events: Iterator[Event], last: int) -> list[Event]:
    """The events up to that step; whoever consumes them is killed then."""
    return list(itertools.takewhile(lambda event: event.step <= last, events))


def whole_state(training: Training) -> dict[str, Tensor]:
    """Every tensor that there is, the pilot's and the global random states too: as they are now."""
    theirs = {f"pilot/{name}": value for name, value in training.pilot.state()[0].items()}
    return {name: value.detach().clone() for name, value in {**training.state.tensors(), **theirs}.items()}


def values(training: Training) -> dict[str, Any]:
    """Everything else, but for the clock."""
    return {**training.state.values(), "seconds": None, "pilot": training.pilot.state()[1]}


def told(events: list[Event], after: int) -> list[Any]:
    """What the events after a step say, but for the clock."""
    kept = [event for event in events if event.step > after and not isinstance(event, Stepped | Saved)]
    bare = [dataclasses.replace(event, seconds=0.0) if hasattr(event, "seconds") else event for event in kept]
    return [(e.step, e.samples.tobytes()) if isinstance(e, Sampled) else e for e in bare]


def unequal(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    assert mine.keys() == theirs.keys()
    return [name for name, value in mine.items() if value.dtype != theirs[name].dtype or not same(value, theirs[name])]


def same(mine: Tensor, theirs: Tensor) -> bool:
    return mine.numpy().tobytes() == theirs.numpy().tobytes() and mine.shape == theirs.shape


@pytest.mark.parametrize(("name", "save_every"), sorted(CASES))
def test_a_killed_run_goes_on_and_ends_bit_equal(name: str, save_every: int, tmp_path: Path) -> None:
    seed_everything(0)
    never_killed = fresh(name, tmp_path / "whole", save_every)
    expected = list(train(never_killed))
    assert isinstance(expected[-1], Finished)
    assert (expected[-1].reason, expected[-1].step) == ("steps", STEPS)
    assert sum(isinstance(event, Sensed) for event in expected) == 2
    tensors, rest = whole_state(never_killed), values(never_killed)

    seed_everything(0)
    killed = fresh(name, tmp_path / "killed", save_every)
    until(train(killed), KILLED_AFTER)
    (last,) = checkpoint.find(tmp_path / "killed")
    assert last.name == f"step-{save_every:08d}"

    seed_everything(99)
    resumed = fresh(name, tmp_path / "killed", save_every, seed=4)
    restore(resumed, last)
    events = list(train(resumed))
    assert isinstance(events[0], Resumed)
    assert events[0].step == save_every
    assert unequal(whole_state(resumed), tensors) == []
    assert values(resumed) == rest
    assert told(events, save_every) == told(expected, save_every)


@each
def test_every_network_moves_and_stays_finite(name: str, tmp_path: Path) -> None:
    """A comparison of runs that stand still would prove nothing."""
    training = fresh(name, tmp_path, 5)
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
def test_another_start_is_another_run(name: str, tmp_path: Path) -> None:
    one, other = fresh(name, tmp_path / "one", 5), fresh(name, tmp_path / "other", 5, seed=4)
    list(train(one))
    list(train(other))
    mine, theirs = whole_state(one), whole_state(other)
    assert len([key for key in mine if key.startswith("network/") and not torch.equal(mine[key], theirs[key])]) > 4


@each
def test_a_toy_is_short(name: str) -> None:
    assert len(inspect.getsource(TOYS.GAMES[name]).splitlines()) <= 40


def phases_at(name: str, number: int, tmp_path: Path) -> set[str]:
    """Which phases ran in a step."""
    training = fresh(name, tmp_path, 5)
    moment = dataclasses.replace(training.state.moment(training.pilot.knobs, 0.0), step=number)
    return {phase.name for phase in training.state.model.phases if phase.when(moment)}


def test_the_toys_have_the_shapes_that_they_are_named_for(tmp_path: Path) -> None:
    assert phases_at("growing_network", 3, tmp_path) == {"discriminator", "generator"}
    assert phases_at("growing_network", 4, tmp_path) == {"discriminator", "whole"}
    assert [len(phases_at("lazy_penalty", number, tmp_path)) for number in range(4)] == [3, 2, 2, 3]
    assert phases_at("pre_training", 5, tmp_path) == {"rote"}
    assert phases_at("pre_training", 6, tmp_path) == {"discriminator", "generator"}
    assert phases_at("simultaneous", 0, tmp_path) == {"both"}
    assert len(fresh("two_pairs", tmp_path, 5).state.optimizers) == 4


def test_memory_grows_with_the_run(tmp_path: Path) -> None:
    pool, fading = fresh("image_pool", tmp_path / "a", 5), fresh("growing_network", tmp_path / "b", 5)
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
    """Comparisons with names of networks, phases or GANs, and questions about types."""
    asked = []
    for node in ast.walk(ast.parse(source)):
        text = ast.unparse(node) if isinstance(node, ast.Compare | ast.Call) else ""
        if isinstance(node, ast.Compare) and re.search(r"\.name\b|'generator'|'discriminator'", text):
            asked.append(text)
        if isinstance(node, ast.Call) and re.match(r"(isinstance|hasattr|getattr|type)\(", text):
            asked.append(text)
    return asked


@pytest.mark.parametrize("module", [loop, step], ids=["loop", "step"])
def test_the_loop_never_asks_which_gan_it_has(module: ModuleType) -> None:
    result = [text for text in branches(inspect.getsource(module)) if text != "phase.name in records"]
    assert result == []


def test_a_question_would_be_found() -> None:
    assert branches("if state.model.name == 'dcgan': pass")
    assert branches("if isinstance(gan, CycleGan): pass")
    assert branches("x = 1 if name == 'generator' else 2")
