"""Trackers receive the events of a run, which are passed on unchanged."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from equipoise.core.events import Evaluated, Event, Finished, Resumed, Sampled, Sensed, Started, Turned
from equipoise.core.observations import Health, ScalarStats, Signals
from equipoise.errors import RunError, SettingError
from equipoise.runs import tracking

PICTURE = np.zeros((4, 1, 8, 8), np.float32)
EVENTS: tuple[Event, ...] = (
    Started(0, 0, 100, 4, "fp32", {}, {}),
    Sensed(
        10, 40, 0.1, 2.0, {"generator.total": ScalarStats(0.7, 0.5, 0.9, 0.6)}, Signals(rank_train_fake=0.25), Health()
    ),
    Turned(10, 40, "lr_g", 1e-3, 5e-4, "annealed", "cosine"),
    Evaluated(20, 80, "kd_digits", 0.125, "lower", 100, 0.1),
    Sampled(20, 80, PICTURE),
    Finished(100, 400, "steps", "healthy", 9.0),
)


def passed(name: tracking.TrackerName, folder: Path, events: tuple[Event, ...] = EVENTS) -> list[Event]:
    return list(tracking.track_events(iter(events), name, folder, {"model": "dcgan"}))


def test_tracker_off_passes_events_unchanged(tmp_path: Path) -> None:
    assert passed("off", tmp_path) == list(EVENTS)
    assert not list(tmp_path.iterdir())


def test_tensorboard_receives_every_number_with_its_step(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert passed("tensorboard", tmp_path) == list(EVENTS)
    result = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    numbers = {tag: [(one.step, one.value) for one in result.Scalars(tag)] for tag in result.Tags()["scalars"]}
    assert numbers == {
        "loss/generator.total": [(10, pytest.approx(0.7))],
        "signals/rank_train_fake": [(10, 0.25)],
        "signals/non_finite": [(10, 0.0)],
        "speed/images_per_second": [(10, 20.0)],
        "knobs/lr_g": [(10, pytest.approx(5e-4))],
        "metrics/kd_digits": [(20, 0.125)],
    }
    assert [one.step for one in result.Images("samples")] == [20]


def test_resume_purges_later_steps(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    passed("tensorboard", tmp_path)
    passed("tensorboard", tmp_path, (Resumed(15, 60), Evaluated(20, 80, "kd_digits", 0.5, "lower", 100, 0.1)))
    result = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(one.step, one.value) for one in result.Scalars("metrics/kd_digits")] == [(20, 0.5)]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A fake module that records calls."""
    record = SimpleNamespace(init={}, logged=[], finished=False)
    module: Any = ModuleType("wandb")
    module.__spec__ = SimpleNamespace(name="wandb")
    module.Image = lambda image: f"image of {image.size[0]} x {image.size[1]}"

    def init(**settings: Any) -> SimpleNamespace:
        record.init = settings
        return SimpleNamespace(
            log=record.logged.append,
            finish=lambda: setattr(record, "finished", True),
            define_metric=lambda name, step_metric: None,
        )

    module.init = init
    record.settings = SimpleNamespace(mode="online")
    record.login = lambda prompt: None
    module.setup = lambda: SimpleNamespace(settings=record.settings)
    module.login = lambda prompt: record.login(prompt)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return record


def test_wandb_receives_the_same_numbers(wandb: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    assert passed("wandb", folder) == list(EVENTS)
    assert (wandb.init["name"], wandb.init["config"], wandb.init["resume"]) == ("my run", {"model": "dcgan"}, None)
    assert wandb.logged[1:3] == [{"knobs/lr_g": 5e-4, "step": 10}, {"metrics/kd_digits": 0.125, "step": 20}]
    assert wandb.logged[3] == {"samples": "image of 18 x 18", "step": 20}
    assert wandb.finished


def test_resumed_run_has_the_same_wandb_id(wandb: SimpleNamespace, tmp_path: Path) -> None:
    passed("wandb", tmp_path / "run")
    first = wandb.init["id"]
    passed("wandb", tmp_path / "run", (Resumed(15, 60),))
    assert (wandb.init["id"], wandb.init["resume"]) == (first, "allow")


def test_closing_the_iterator_closes_the_tracker(wandb: SimpleNamespace, tmp_path: Path) -> None:
    events = tracking.track_events(iter(EVENTS), "wandb", tmp_path, {})
    next(events)
    events.close()
    assert wandb.finished


def test_missing_package_is_reported_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"--track wandb needs a package .*: pip install 'equipoise\[track\]'"):
        tracking.check_ready("wandb")


def test_wandb_without_a_key_is_reported_with_the_way_out(wandb: SimpleNamespace) -> None:
    with pytest.raises(SettingError, match=r"needs a key, and there is none; log in with: wandb login; .*offline"):
        tracking.check_ready("wandb")
    wandb.login = lambda prompt: True
    tracking.check_ready("wandb")


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_wandb_offline_needs_no_key(wandb: SimpleNamespace, mode: str) -> None:
    wandb.settings.mode = mode
    tracking.check_ready("wandb")


def test_wandb_that_cannot_log_in_is_reported_in_one_line(wandb: SimpleNamespace) -> None:
    def fail(prompt: bool) -> bool:
        raise OSError("no route to host\nTraceback of many lines")

    wandb.login = fail
    with pytest.raises(SettingError, match=r"cannot log in: no route to host; .* WANDB_MODE=offline$"):
        tracking.check_ready("wandb")


def test_tracker_that_cannot_start_names_the_command_to_resume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise ValueError("the project is read-only\nmore")

    monkeypatch.setitem(tracking.TRACKERS, "wandb", fail)
    with pytest.raises(RunError, match=r"cannot start: the project is read-only; .*then: equipoise resume .*run$"):
        passed("wandb", tmp_path / "run")
