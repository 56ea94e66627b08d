"""Manual control in the training loop: requests, knobs, outputs, rollbacks, resume, replay and repetition."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from equipoise.core import catalog
from equipoise.core.events import (
    Evaluated,
    Event,
    Finished,
    Requested,
    Sampled,
    Saved,
    Sensed,
    Started,
    Stepped,
    Turned,
)
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Finding, Override, Remedy
from equipoise.core.requests import RunRequest
from equipoise.experiment import launch
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.launch import load_initial_weights
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.pilot.replay import replay
from equipoise.runs.observations import read_observations, read_overrides
from equipoise.runs.requests import REQUESTS_FOLDER, read_manual_changes, write_request
from equipoise.runs.run import Run
from equipoise.training.loop import Training, train

STEPS = 40
SCHEDULES = {"lr_d": "linear(1e-3, 1e-5)"}
CONTROLLER = PlugSpec("annealed", {"schedules": SCHEDULES})
TURN = RunRequest("turn", "lr_d", 5e-4, by="me", id="1")
RELEASE = RunRequest("release", "lr_d", id="2")


class Source:
    """Requests by step, for a run without a folder."""

    def __init__(self, by_step: Mapping[int, Sequence[RunRequest]]) -> None:
        self.by_step = dict(by_step)

    def take(self, step: int, *, is_reading: bool) -> Sequence[RunRequest]:
        return self.by_step.pop(step, ()) if is_reading else ()


def experiment(**settings: Any) -> Experiment:
    defaults: dict[str, Any] = {
        **{"data": PlugSpec("ring"), "controller": CONTROLLER, "steps": STEPS, "batch_size": 8},
        **{"options": {"width": 4}, "save_every": 10, "evaluate_every": 15, "sample_every": 20},
        **{"threads": 1, "precision": "fp32"},
    }
    return Experiment(**{**defaults, **settings})


def assembled(by_step: Mapping[int, Sequence[RunRequest]], folder: Path | None = None, **settings: Any) -> Training:
    completed = complete(experiment(**settings))
    training = assemble(completed, folder)
    load_initial_weights(training, completed)
    training.plan = dataclasses.replace(training.plan, requests=Source(by_step))
    return training


def of(kind: type[Event], events: Sequence[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def weights(training: Training) -> dict[str, bytes]:
    return {name: value.cpu().numpy().tobytes() for name, value in training.state.tensors().items()}


def started(
    folder: Path, send: Mapping[int, Sequence[RunRequest]] = {}, stop: Callable[[Event], bool] | None = None, **s: Any
) -> list[Event]:
    """Run an experiment in a folder; `send`: requests that a person sends after the reading of a step."""
    return follow(launch.start(experiment(**s), folder), folder, send, stop)


def follow(
    events: Iterator[Event],
    folder: Path,
    send: Mapping[int, Sequence[RunRequest]] = {},
    stop: Callable[[Event], bool] | None = None,
) -> list[Event]:
    result = []
    for event in events:
        result.append(event)
        if isinstance(event, Sensed):
            for request in send.get(event.step, ()):
                write_request(folder, request)
        if stop is not None and stop(event):
            break
    return result


def log_without_times(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "sampling")} for line in lines]


def final_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def test_a_held_knob_stands_above_the_controller_until_it_is_released() -> None:
    training = assembled({5: [TURN], 20: [RELEASE]})
    events = list(train(training))
    requested = of(Requested, events)
    assert [(r.step, r.action, r.knob, r.value, r.by, r.request, r.refused) for r in requested] == [
        (5, "turn", "lr_d", 5e-4, "me", "1", ""),
        (20, "release", "lr_d", None, "", "2", ""),
    ]
    turned = [event for event in of(Turned, events) if event.knob == "lr_d"]
    manual = [event for event in turned if event.by == "manual"]
    schedule = {step: 1e-3 + (1e-5 - 1e-3) * step / STEPS for step in range(STEPS + 1)}
    assert [(event.step, event.after) for event in manual] == [(5, 5e-4), (20, pytest.approx(schedule[20]))]
    assert (manual[0].why, manual[1].why) == ("held by me", "released")
    assert not [event for event in turned if 5 < event.step < 20], "the knob does not move while it is held"
    assert [event.step for event in turned if event.by == "annealed" and event.step > 20][:3] == [21, 22, 23]
    held = {event.step: event.held for event in of(Sensed, events)}
    assert held == {step: {"lr_d": pytest.approx(schedule[step])} if 5 < step <= 20 else {} for step in held}
    for name, event in (("turn", manual[0]), ("release", manual[1])):
        index = events.index(event)
        assert isinstance(events[index - 1], Requested), f"the request to {name} comes before its change"


def test_a_knob_that_is_turned_reaches_the_optimizer() -> None:
    training = assembled({5: [TURN]})
    rates = []
    for event in train(training):
        if isinstance(event, Stepped):
            (group,) = training.state.optimizers["discriminator"].param_groups
            rates.append(group["lr"])
    assert set(rates[5:]) == {5e-4}
    assert rates[4] != 5e-4
    assert training.pilot.manual == {"lr_d": 5e-4}
    assert training.pilot.knobs.lr_d == 5e-4
    assert training.pilot.target.lr_d == pytest.approx(1e-5, rel=1e-3)


@pytest.mark.parametrize(
    ("request_", "settings", "named"),
    [
        (RunRequest("turn", "lr_x", 1.0), {}, "no knob 'lr_x'"),
        (RunRequest("turn", "lr_d", 7.0), {}, "lr_d = 7 is outside its range: 1e-06 to 0.01"),
        (RunRequest("turn", "generator_steps", 1.5), {}, "outside its range"),
        (RunRequest("turn", "augment_p", 0.1), {}, "augment_p has no effect"),
        (RunRequest("turn", "lr_g", 1e-4), {"freeze": ("lr_g",)}, "lr_g is frozen in this run by --freeze"),
        (RunRequest("release", "lr_g"), {}, "lr_g is not held"),
        (RunRequest("evaluate"), {"metric": PlugSpec("none")}, "computes no metric"),
        (RunRequest("invalid", problem="it is not JSON"), {}, "it is not JSON"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(
    request_: RunRequest, settings: dict[str, Any], named: str
) -> None:
    training = assembled({5: [request_]}, steps=8, **settings)
    events = list(train(training))
    (requested,) = of(Requested, events)
    assert named in requested.refused
    assert not [event for event in of(Turned, events) if event.by == "manual"]
    assert training.pilot.manual == {}
    (finished,) = of(Finished, events)
    assert finished.reason == "steps"


def test_outputs_on_request_change_neither_weights_nor_the_schedule_of_the_others() -> None:
    settings = {"controller": PlugSpec("plateau", {"patience": 0.1})}
    plain, requested = assembled({}, **settings), assembled({}, **settings)
    outputs = [RunRequest(action, text="x" if action == "note" else "") for action in ("sample", "evaluate", "note")]
    requested.plan = dataclasses.replace(requested.plan, requests=Source(dict.fromkeys((3, 7, 15, 31), outputs)))
    usual, more = list(train(plain)), list(train(requested))
    assert weights(plain) == weights(requested)
    assert of(Turned, usual) == of(Turned, more)
    for kind, steps in ((Sampled, {0, 20, 40}), (Evaluated, {15, 30, 40})):
        assert [event.step for event in of(kind, usual)] == sorted(steps)
        assert [event.step for event in of(kind, more)] == sorted(steps | {3, 7, 15, 31})
    assert [event.signals for event in of(Sensed, usual)] == [event.signals for event in of(Sensed, more)]


def test_requested_checkpoints_are_kept_beside_the_last_three(tmp_path: Path) -> None:
    saves = {step: [RunRequest("save")] for step in (3, 14)}
    usual, more = assembled({}, tmp_path / "usual"), assembled(saves, tmp_path / "more")
    list(train(usual))
    events = list(train(more))
    assert [event.step for event in of(Saved, events) if event.step in (3, 14)] == [3, 14]
    kept = {folder: {path.name for path in (tmp_path / folder).iterdir()} for folder in ("usual", "more")}
    assert kept["more"] - kept["usual"] == {"step-00000003", "step-00000014"}
    assert weights(usual) == weights(more)


def test_a_stop_saves_and_ends_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    events = started(folder, {13: [RunRequest("stop", by="me")]})
    (finished,) = of(Finished, events)
    assert (finished.step, finished.reason) == (13, "interrupted")
    assert of(Saved, events)[-1].step == 13
    plain = tmp_path / "plain"
    started(plain)
    list(launch.resume(folder))
    assert final_bytes(folder) == final_bytes(plain), "resumed, it equals a run that was never stopped"


def test_an_empty_folder_of_requests_changes_no_byte(tmp_path: Path) -> None:
    for name in ("without", "with"):
        folder = tmp_path / name
        events = launch.start(experiment(), folder)
        assert isinstance(next(events), Started)
        if name == "with":
            (folder / REQUESTS_FOLDER).mkdir()
        list(events)
    without, with_folder = tmp_path / "without", tmp_path / "with"
    assert not (without / REQUESTS_FOLDER).exists()
    assert log_without_times(without) == log_without_times(with_folder)
    assert not any("held" in line for line in log_without_times(without))
    assert final_bytes(without) == final_bytes(with_folder)
    state = (without / "checkpoints" / f"step-{STEPS:08d}" / "state.json").read_text()
    assert "manual" not in state
    assert "requested_saves" not in state


def test_a_killed_run_with_a_held_knob_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    send = {5: [TURN], 26: [RELEASE, RunRequest("turn", "lr_g", 1e-3), RunRequest("sample")]}
    whole = tmp_path / "whole"
    started(whole, send)
    for kill_at in (15, 25, 33):
        killed = tmp_path / f"killed-{kill_at}"
        started(killed, send, stop=lambda event, at=kill_at: isinstance(event, Sensed) and event.step == at)
        rest = {step: requests for step, requests in send.items() if step > kill_at}
        follow(launch.resume(killed), killed, rest)
        assert final_bytes(killed) == final_bytes(whole), f"killed after step {kill_at}"
        kept = [line for line in Run(killed).lines() if line["event"] in ("requested", "turned")]
        expected = [line for line in Run(whole).lines() if line["event"] in ("requested", "turned")]
        assert [{**line, "request": ""} for line in kept] == [{**line, "request": ""} for line in expected]


def test_a_hold_survives_a_rollback_and_repair_leaves_it_alone(tmp_path: Path) -> None:
    training = assembled({5: [RunRequest("turn", "lr_d", 3e-4)]}, tmp_path)
    observe, finding = training.pilot.observe, Finding("mode_collapse", 0.9, 10, {}, 0.9)

    def observe_with_remedy(record: Any) -> Any:
        decision = observe(record)
        if decision is not None and record.step == 25:
            override = Override("lr_d", 1e-5, training.pilot.target.lr_d, 40)
            changes = training.pilot.add_overrides([override], "a remedy")
            assert changes == (), "the hand stands above repair"
            remedy = Remedy(finding, True, 0, 20, (override,), 1, 40)
            return dataclasses.replace(decision, remedy=remedy)
        return decision

    training.pilot.observe = observe_with_remedy  # type: ignore[method-assign]
    events = list(train(training))
    (remedied,) = [event for event in events if type(event).__name__ == "Remedied"]
    assert remedied.restored == 20
    assert training.pilot.manual == {"lr_d": 3e-4}
    assert training.pilot.knobs.lr_d == 3e-4


def test_the_log_reproduces_every_knob_with_manual_changes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    send = {4: [TURN], 9: [RunRequest("turn", "beta1", 0.3)], 15: [RELEASE], 22: [RunRequest("turn", "lr_x", 1.0)]}
    events = started(folder, send)
    run = Run(folder)
    base = AdversarialKnobs().with_values(run.lines("started")[0]["knobs"])
    controller = catalog.build("controllers", "annealed", {"schedules": SCHEDULES})
    observations = list(read_observations(run, AdversarialKnobs()))
    again = replay(controller, observations, base, read_overrides(run), read_manual_changes(run))
    knobs: dict[int, dict[str, float]] = {}
    current = dict(base.values())
    for event in events:
        if isinstance(event, Turned):
            current[event.knob] = event.after
        knobs[event.step] = dict(current)
    assert [knobs[observation.step] for observation in observations] == [values.values() for values in again]
    assert {values.lr_d for values in again[4:14]} == {5e-4}
    without = replay(controller, observations, base, read_overrides(run))
    assert without != again


def test_another_run_repeats_the_requests_at_the_same_steps(tmp_path: Path) -> None:
    first, second, plain = tmp_path / "first", tmp_path / "second", tmp_path / "plain"
    started(first, {5: [TURN], 18: [RELEASE, RunRequest("note", text="better")], 30: [RunRequest("stop")]})
    list(launch.resume(first))
    started(plain)
    started(second, manual=str(first))
    assert final_bytes(second) == final_bytes(first) != final_bytes(plain)
    lines = [(line["step"], line["action"]) for line in Run(second).lines("requested")]
    assert lines == [(5, "turn"), (18, "release"), (18, "note")], "all but the stop"
    assert Run(second).experiment()["manual"] == str(first.resolve())
    turned = [Run(path).lines("turned") for path in (first, second)]
    assert turned[0] == turned[1]


def test_a_checkpoint_of_an_earlier_version_loads(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    started(folder, stop=lambda event: isinstance(event, Saved) and event.step == 10)
    state = folder / "checkpoints" / "step-00000010" / "state.json"
    assert "manual" not in json.loads(state.read_text())["pilot"]
    events = list(launch.resume(folder))
    assert of(Finished, events)[0].step == STEPS
