"""Run folders written from lists of events, without training."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equipoise.core.events import Evaluated, Event, Finished, Resumed, Sampled, Saved, Sensed, Started, Turned
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Finding, Health, ScalarStats, Signals
from equipoise.core.sampling_cost import SamplingCost
from equipoise.report import film_frames, film_samples
from equipoise.report.run_history import read_history
from equipoise.report.samples import load_samples
from equipoise.report.text_rendering import TextSpan
from equipoise.runs.artifacts import encode_png
from equipoise.runs.folders import create_run
from equipoise.runs.log import Log
from equipoise.runs.run import Run

BATCH = 64
COST = SamplingCost(1000, 0.25, 0.5, 250, "cpu", 2)
EXPERIMENT: dict[str, Any] = {
    "data": {"name": "digits", "options": {"image_size": 32}},
    "model": {"name": "dcgan:lab32", "options": {"width": 16, "conditional": False}},
    "controller": {"name": "annealed", "options": {"schedules": {"augment_p": "linear(0, 0.5)"}}},
    "steps": 400,
    "batch_size": BATCH,
    "seed": 7,
    "precision": "auto",
    "knobs": {"lr_g": 0.0003},
    "versions": {"equipoise": "0.1.0", "torch": "2.14.1"},
}

HEALTHY = Health()

Maker = Callable[..., Run]


@pytest.fixture
def write_run(tmp_path: Path) -> Maker:
    """Return a function that writes a run folder from events, a name and an experiment."""

    def write(events: list[Event], name: str = "run-1", experiment: dict[str, Any] = EXPERIMENT) -> Run:
        return folder_of(events, tmp_path / name, experiment)

    return write


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every kind of event, and its report. Read only."""
    from equipoise.report.page import write_report

    run = folder_of(list(full()), tmp_path_factory.mktemp("reported") / "run-1", EXPERIMENT)
    assert write_report(run) == run.folder / "report.html"
    return run.folder


@pytest.fixture
def empty_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace figures by a 2 × 2 image to save time."""
    figure = encode_png(Image.new("L", (2, 2)))
    monkeypatch.setattr("equipoise.report.progress_figure.render_png", lambda make_figure: figure)


def folder_of(events: list[Event], folder: Path, experiment: dict[str, Any]) -> Run:
    create_run(folder, experiment)
    with Log(folder) as log:
        for event in events:
            log.record(event)
    return Run(folder)


def started(steps: int = 400) -> Started:
    networks = {"generator": 143_841, "discriminator": 42_449}
    return Started(0, 0, steps, BATCH, "bf16", networks, AdversarialKnobs().values())


def sensed(step: int, *, probability: bool = True, health: Health = HEALTHY, spike: float = 0) -> Sensed:
    level = 0.7 + 0.2 * np.sin(step / 40)
    loss = {
        "discriminator.total": ScalarStats(level, level - 0.1, level + 0.2 + spike, level),
        "generator.total": ScalarStats(2 - level, 1.8 - level, 2.3 - level, 2 - level),
    }
    signals = Signals(
        rank_train_fake=level,
        rank_train_held_out=0.1 if step % 50 == 0 else None,
        probability_real=0.8 if probability else None,
        probability_fake=0.3 if probability else None,
        gradient_norm_d=3 * level,
        gradient_norm_g=level,
    )
    return Sensed(step, step * BATCH, step / 400, step * 0.1, loss, signals, health)


def pictures(step: int) -> Sampled:
    noise = np.random.default_rng(step).uniform(-1, 1, (16, 1, 8, 8))
    return Sampled(step, step * BATCH, noise.astype(np.float32))


def points(step: int, shape: tuple[int, ...] = (200, 2)) -> Sampled:
    return Sampled(step, step * BATCH, np.random.default_rng(step).normal(size=shape).astype(np.float32))


def turned(step: int, knob: str, before: float, after: float, by: str = "annealed", why: str = "") -> Turned:
    return Turned(step, step * BATCH, knob, before, after, by, why)


def full(steps: int = 400) -> Iterator[Event]:
    """Every kind of event: knob changes by two sources, a finding, a resume, a metric with its best value inside."""
    result = Health((Finding("discriminator_overpowering", 0.8, {"rank_train_fake": 0.97}, since=140),))
    yield started(steps)
    yield pictures(0)
    for step in range(10, steps + 1, 10):
        yield sensed(step, health=result if 150 <= step <= 220 else Health())
        yield turned(step, "augment_p", (step - 10) / 800, step / 800, why=f"linear(0, 0.5) at {step / steps:.0%}")
        if step in (120, 260):
            yield turned(step, "r1_gamma", *((0, 0.3) if step == 120 else (0.3, 0)), by="you", why="slider <b>")
            yield turned(step, "discriminator_steps", *((1, 3) if step == 120 else (3, 2)), by="rank")
            yield turned(step, "beta2", *((0.999, 0.99) if step == 120 else (0.99, 0.9)), by="rank")
        if step == 200:
            yield pictures(step)
            yield Saved(step, step * BATCH, "step-00000200", True)
            yield Resumed(step, step * BATCH)
        if step % 100 == 0:
            yield Evaluated(step, step * BATCH, "kd_digits", abs(step - 300) / 1000 + 0.0625, "lower", 1000, 0.3, COST)
    yield pictures(steps)
    yield Finished(steps, steps * BATCH, "steps", "healthy", 83.0)


def renderer_of(run: Run) -> film_frames.FilmRenderer:
    history = read_history(run)
    samples = [load_samples(run, line) for line in history.events_of("sampled")]
    return film_frames.film_renderer(history, film_samples.sample_area(reversed(samples)))


def first_frame(run: Run, step: float) -> Image.Image:
    line = [line for line in run.lines("sampled") if line["step"] <= step][-1]
    return next(renderer_of(run).frames([(step, load_samples(run, line))]))


def text_of(spans: list[TextSpan]) -> str:
    return " ".join(f"{span.text} {span.value}".strip() for span in spans)
