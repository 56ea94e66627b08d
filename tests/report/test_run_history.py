import json
import math

import pytest

from equipoise.core.events import Evaluated, Finished, Resumed
from equipoise.core.sampling_cost import SamplingCost
from equipoise.errors import RunError
from equipoise.report.formatting import format_duration, format_number, one_line
from equipoise.report.run_history import read_history, to_number
from equipoise.report.run_summary import summarise_run
from equipoise.runs.run import Run

from .conftest import BATCH, Maker, full, sensed, started


def test_history_reads_all_events(write_run: Maker) -> None:
    history = read_history(write_run(list(full())))
    assert (history.step, history.images) == (400, 25_600)
    assert history.seconds == 83
    assert history.loss_names() == ["discriminator.total", "generator.total"]
    assert (history.loss("generator.total").low < history.loss("generator.total").high).all()
    assert history.images_at(205) == 205 * BATCH
    turns = {turns.knob: turns for turns in history.knob_histories()}
    assert turns["r1_gamma"].values == (0, 0.3, 0)
    assert turns["r1_gamma"].by == ("you", "you")
    (metric,) = history.metrics()
    assert (metric.best_index, metric.last_index) == (2, 3)
    (symptom,) = history.symptom_periods()
    assert (symptom.name, symptom.start, symptom.end) == ("discriminator_overpowering", 140, 220)


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_best_value_is_finite(write_run: Maker, better: str) -> None:
    values = (math.nan, 2.0, 1.0, math.inf)
    events = [Evaluated(step, step, "m", value, better, 9, 0.1) for step, value in enumerate(values)]  # type: ignore[arg-type]
    (metric,) = read_history(write_run(events)).metrics()
    assert metric.best_index == (2 if better == "lower" else 1)
    assert metric.last_index == 2


def test_cost_of_samples_is_that_of_the_last_evaluation(write_run: Maker) -> None:
    costs = [SamplingCost(500, seconds, 2 * seconds, 250, "cpu", 2) for seconds in (0.5, 0.25)]
    events = [Evaluated(step, step, "m", 1.0, "lower", 500, 0.9, cost) for step, cost in enumerate(costs)]
    history = read_history(write_run(events))
    assert history.sampling_cost == costs[1]
    old = read_history(write_run([Evaluated(1, 1, "m", 1.0, "lower", 500, 0.9)], "old"))
    assert old.sampling_cost is None


def test_summary_names_experiment_length_and_ending(write_run: Maker) -> None:
    text = summarise_run(read_history(write_run(list(full()))))
    assert text.startswith("The model dcgan:lab32 was trained on digits")
    for words in (
        "annealed",
        "400 steps",
        "25,600 images",
        "1 min 23 s",
        "healthy",
        "kd_digits was 0.0625",
        "step 300",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("reason", "verdict", "words"),
    [
        ("interrupted", "healthy", "interrupted while healthy"),
        ("diverged", "diverged", "because it diverged"),
        ("seconds", "unhealthy", "time limit and ended unhealthy"),
        ("fire", "unhealthy", "it ended unhealthy (fire)"),
        ("steps", "unknown", "it completed all steps; whether it is healthy is unknown"),
        ("interrupted", "unknown", "whether it is healthy is unknown"),
    ],
)
def test_summary_of_every_ending(write_run: Maker, reason: str, verdict: str, words: str) -> None:
    events = [started(), sensed(3), Finished(3, 192, reason, verdict, 2.0)]  # type: ignore[arg-type]
    assert words in summarise_run(read_history(write_run(events)))


def test_resumed_run_has_not_finished(write_run: Maker) -> None:
    events = [started(), sensed(3), Finished(3, 192, "interrupted", "healthy", 2.0), Resumed(3, 192), sensed(4)]
    text = summarise_run(read_history(write_run(events)))
    assert "4 of 400 steps" in text
    assert "it has not finished" in text


def test_missing_and_damaged_runs_raise(write_run: Maker) -> None:
    run = write_run([started(), sensed(1), sensed(2)])
    with pytest.raises(RunError, match="not a run"):
        read_history(Run(run.folder / "elsewhere"))
    path = run.folder / "events.jsonl"
    path.write_text("{broken\n" + path.read_text())
    with pytest.raises(RunError, match="line 1"):
        read_history(run)


def test_malformed_lines_are_tolerated(write_run: Maker) -> None:
    run = write_run([], experiment={"model": 3, "data": {"file": 1}, "controller": None})
    odd = [
        {"event": "started", "step": 0, "parameters": [1], "knobs": 7},
        {"event": "sensed", "step": 1, "loss": {"x.total": 3, "y.total": {"mean": "nan"}}, "health": []},
        {"event": "sensed", "step": 2, "signals": {"rank_train_fake": "inf"}, "health": {"findings": [3, {}]}},
        {"event": "turned", "step": 2}, {"event": "evaluated", "step": 2}, {"event": "sampled", "step": 2},
        {"event": "of another version", "step": 2}, {"event": "finished", "step": 10**400},
    ]  # fmt: skip
    (run.folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in odd))
    history = read_history(run)
    assert history.step == 2
    assert summarise_run(history).startswith("A model was trained for 2 steps")
    assert not any(history.loss(name) for name in history.loss_names())


def test_number_formats() -> None:
    cases = {0: "0", 2e-4: "2e-4", 1e-3: "0.001", 0.09286: "0.09286", 12345.6: "12,346", 6.4e7: "6.4e7", -3.25: "-3.25"}
    assert {value: format_number(value) for value in cases} == cases
    assert format_number(math.nan) == "not a number"
    assert [format_duration(s) for s in (0.4, 59.7, 200, 7500)] == ["0.4 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]
    assert one_line("a\n\x00b" + "c" * 99, 10) == "a bcccccc…"
    assert to_number("nan", 5) == to_number(None, 5) == to_number(10**400, 5) == 5
