"""`control`: requests to a running training from the command line."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipoise.core.events import Requested
from equipoise.core.requests import RunRequest
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.folders import hold
from equipoise.runs.requests import RequestFolder, waiting_requests, write_request
from equipoise.runs.run import EVENTS_FILE, Run


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Path]:
    """The folder of a run that is being trained, until a person stops it."""
    folder = tmp_path / "run"
    experiment = Experiment(
        data=PlugSpec("ring"), steps=10**6, batch_size=8, options={"width": 4}, threads=1, metric=PlugSpec("none"),
        freeze=("beta1",), sense_every=5,
    )  # fmt: skip
    has_started, events = threading.Event(), launch.start(experiment, folder)

    def follow() -> None:
        for event in events:
            if event.step == 3:
                has_started.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert has_started.wait(60)
    yield folder
    if thread.is_alive():
        write_request(folder, RunRequest("stop"))
    thread.join(60)
    assert not thread.is_alive()


def test_requests_reach_a_run_and_their_outcome_is_printed(training: Path, call) -> None:
    code, out, err = call("control", training, "lr_d=1e-4", "--note", "softer", "--sample", "--save")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.partition(": taken at step ")[0] for line in lines] == ["lr_d = 0.0001", "sample", "save", "note"]
    code, out, _ = call("control", training, "--release", "lr_g", "--json")
    assert code == 2, "the run has refused it"
    (entry,) = json.loads(out)["requests"]
    assert (entry["state"], entry["reason"]) == (
        "refused",
        "lr_g is not held, so it cannot be released; held knobs: lr_d",
    )
    code, out, _ = call("control", training, "--release", "lr_d", "--stop")
    assert code == 0
    assert out.splitlines()[1].startswith("stop: taken at step ")
    turned = [line for line in Run(training).lines("turned") if line["by"] == "manual"]
    assert [(line["to"], line["why"]) for line in turned] == [
        (1e-4, "held by command line"),
        (pytest.approx(turned[0]["from"], rel=0.01), "released by command line"),
    ]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("lr_d=7",), "lr_d = 7 is outside its range: 1e-06 to 0.01"),
        (("lr_d=nan",), "value must be a finite number"),
        (("lr_d=fast",), "lr_d = 'fast': it must be a number"),
        (("lr_d",), "name=value"),
        (("lr_x=1",), "lr_x has no effect in run"),
        (("--release", "lr_x"), "lr_x has no effect"),
        (("--note", "x" * 3000), "text has 3,000 characters"),
        ((), "nothing to do"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_sends_nothing(
    run_folder: Path, error_line, words: tuple[str, ...], named: str
) -> None:
    assert named in error_line("control", run_folder, *words)
    assert waiting_requests(run_folder) == []


def test_a_frozen_knob_is_refused_at_once(run_folder: Path, error_line) -> None:
    path = run_folder / "experiment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "freeze": ["lr_g"]}))
    assert "lr_g is frozen in this run by --freeze" in error_line("control", run_folder, "lr_g=1e-4")


def test_without_a_process_a_request_waits_and_the_command_says_so(cut_off: Path, call, error_line) -> None:
    code, out, _ = call("control", cut_off, "lr_d=1e-4")
    assert code == 0
    assert out.splitlines() == [
        "lr_d = 0.0001: waits",
        f"no process trains {cut_off}; it takes the requests when it is resumed: equipoise resume {cut_off}",
    ]
    assert [request.knob for request in waiting_requests(cut_off)] == ["lr_d"]
    assert "is not running, so there is nothing to stop" in error_line("control", cut_off, "--stop")
    list(launch.resume(cut_off))
    (taken,) = Run(cut_off).lines("requested")
    assert (taken["step"], taken["refused"]) == (11, "")


def test_a_run_that_takes_nothing_in_time_is_reported(run_folder: Path, call) -> None:
    with hold(run_folder / EVENTS_FILE, ""):
        code, out, _ = call("control", run_folder, "--save", "--wait", "0.2")
    assert code == 0
    assert out.splitlines() == [
        "save: waits",
        "the run has not reached its next reading yet; it takes the requests there",
    ]


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path, error_line) -> None:
    assert "is not a run" in error_line("control", tmp_path / "none", "--save")
    assert "is not a run" in error_line("control", tmp_path, "--save")


def test_a_sender_that_is_killed_changes_nothing(run_folder: Path) -> None:
    """A partial file of a process that was killed while it wrote is never read."""
    (run_folder / "requests").mkdir()
    (run_folder / "requests" / ".1-ab.json.99-1.partial").write_text('{"action": "st')
    assert list(RequestFolder(run_folder).take(1, is_reading=True)) == []


def test_diagnose_names_what_was_held(run_folder: Path, call, tmp_path: Path) -> None:
    event = Requested(6, 48, "turn", "lr_d", 1e-4, by="studio", request="1")
    values = {name: getattr(event, name) for name in ("step", "images", "action", "knob", "value", "by", "request")}
    with (run_folder / EVENTS_FILE).open("a") as file:
        file.write(json.dumps({"event": "requested", **values}) + "\n")
    text = "manual control: lr_d was held at 0.0001 from step 6 to the end"
    assert f"note: {text}" in call("diagnose", run_folder)[1]
    assert text in json.loads(call("diagnose", run_folder, "--json")[1])["notes"]


def test_train_repeats_the_requests_of_a_run(tmp_path: Path, tiny: list[str], call, error_line) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    events = launch.start(_experiment_of(tiny), first)
    for event in events:
        if event.step == 4 and type(event).__name__ == "Sensed":
            write_request(first, RunRequest("turn", "lr_d", 1e-4))
    code, _, _ = call("train", *tiny, "--manual", first, "--out", again, "--quiet")
    assert code in (0, 3)
    assert [line["step"] for line in Run(again).lines("requested")] == [4]
    assert (again / "generator.safetensors").read_bytes() == (first / "generator.safetensors").read_bytes()
    shutil.rmtree(first)
    assert "no such folder" in error_line("train", *tiny, "--manual", first, "--out", tmp_path / "more")


def _experiment_of(words: list[str]) -> Experiment:
    from equipoise.cli import main as cli
    from equipoise.cli.arguments import parse
    from equipoise.cli.commands.train import experiment_of

    return experiment_of(parse(cli.parser("train"), words))
