"""Starting, previewing and resuming runs from the studio."""

import asyncio
import base64
import errno
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from PIL import Image

from equipoise.core.requests import RunRequest
from equipoise.errors import RunError, SettingError
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import Experiment, PlugSpec, setting_specs
from equipoise.runs.folders import hold, is_held, require_free
from equipoise.runs.requests import write_request
from equipoise.runs.run import EVENTS_FILE, Run
from equipoise.studio import start_process
from equipoise.studio.command_words import train_command
from equipoise.studio.launch import check_own_code
from equipoise.studio.launch_api import describe_settings
from equipoise.studio.start_questions import StartQuestions

RING = {"data": "ring", "steps": 10**6, "batch_size": 8, "options": {"width": 4}, "threads": 1, "metric": "none"}
TRAINER = """
import json, sys, time
from pathlib import Path
from equipoise.runs.folders import create_run, hold
words = sys.argv[1:]
folder = Path(words[words.index("--out") + 1] if words[0] == "train" else words[1])
print("words:", json.dumps(words), flush=True)
if words[0] == "train":
    settings = json.loads(Path(words[words.index("--experiment") + 1]).read_text())
    if settings["steps"] == 13:
        print("equipoise: there is no luck; give another number", file=sys.stderr)
        sys.exit(2)
    create_run(folder, settings)
with hold(folder / "events.jsonl", ""):
    end = time.monotonic() + 30
    while time.monotonic() < end and not list(folder.glob("requests/*.json")):
        time.sleep(0.05)
"""
"""A program with the command line of `equipoise` that trains nothing, and ends at the first request."""
FAKE = (sys.executable, "-c", TRAINER)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_is_started_from_settings_and_outlives_its_request(open_studio, tmp_path: Path) -> None:
    root = tmp_path / "new"
    client = open_studio(root, command=FAKE)
    answer = client.post("/api/runs", RING)
    assert (answer.status, answer.values) == (201, {"id": "ring-1"})
    folder = root / "ring-1"
    assert json.loads((folder / "start.json").read_text())["steps"] == 10**6
    words = json.loads((folder / "output.log").read_text().partition("words: ")[2])
    assert words == ["train", "--experiment", str(folder / "start.json"), "--out", str(folder)]
    assert client.studio.launcher.is_alive(folder)
    assert client.post("/api/runs/ring-1/resume", {}).values == {"error": "ring-1 is running already; stop it first"}
    assert client.post("/api/runs/ring-1/requests", {"action": "stop"}).status == 202
    wait_until(lambda: not client.studio.launcher.is_alive(folder))


def test_the_second_stop_is_a_signal_to_a_process_that_the_studio_started(open_studio, tmp_path: Path) -> None:
    deaf = (sys.executable, "-c", TRAINER.replace("requests/*.json", "never"))
    client = open_studio(tmp_path, command=deaf)
    folder = tmp_path / client.post("/api/runs", RING).values["id"]
    path = f"/api/runs/{folder.name}/requests"
    assert client.post(path, {"action": "stop"}).values["request"]
    assert client.studio.launcher.is_alive(folder)
    assert client.post(path, {"action": "stop"}).values == {"request": None, "signal": "SIGTERM"}
    wait_until(lambda: not client.studio.launcher.is_alive(folder))


def test_a_process_of_another_program_gets_no_signal(open_studio, runs: Path) -> None:
    client = open_studio(runs)
    with hold(runs / "digits" / EVENTS_FILE, ""):
        for _ in range(3):
            assert client.post("/api/runs/digits/requests", {"action": "stop"}).values["request"]
        assert not client.studio.launcher.terminate(runs / "digits")


def test_a_run_outlives_a_studio_that_is_killed(tmp_path: Path) -> None:
    script = f"""
import asyncio, os, sys
from pathlib import Path
from equipoise.experiment.files import parse_experiment
from equipoise.studio.launch import Launcher

launcher = Launcher((sys.executable, "-c", {TRAINER!r}))
folder = launcher.start(Path(sys.argv[1]), parse_experiment({RING!r}, "the form"))
asyncio.run(launcher.wait_until_running(folder))
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=60).returncode == -9
    log = tmp_path / "ring-1" / EVENTS_FILE
    time.sleep(0.2)
    assert is_held(log)
    write_request(log.parent, RunRequest("stop"))
    wait_until(lambda: not is_held(log))


@pytest.mark.parametrize(
    ("number", "named"), [(errno.ENOSPC, "is full; free some space"), (errno.EACCES, "no permission to write")]
)
def test_a_full_disk_is_one_line_and_leaves_nothing_behind(
    open_studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, named: str
) -> None:
    def write_bytes(path: Path, content: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    answer = open_studio(tmp_path, command=FAKE).post("/api/runs", RING)
    assert answer.status == 422
    assert named in answer.values["error"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_start_leaves_nothing_behind(open_studio, tmp_path: Path) -> None:
    client = open_studio(tmp_path, command=FAKE)
    answer = client.post("/api/runs", {**RING, "steps": 13})
    assert (answer.status, answer.values) == (422, {"error": "there is no luck; give another number"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"[]", "not a table"),
        (b"{", "not JSON"),
        ({}, "no data given"),
        ({**RING, "steps": 0}, "steps = 0: it must be at least 1"),
        ({**RING, "steps": "many"}, "steps"),
        ({**RING, "stepz": 3}, "no setting 'stepz'"),
        ({**RING, "budget": 3}, "budget is written by the program"),
        ({**RING, "model": "os.path"}, "the model 'os.path' is custom code"),
        ({**RING, "model": "./evil.py"}, "is custom code"),
        ({**RING, "data": "some.module"}, "the data set 'some.module' is custom code"),
        ({**RING, "controller": {"name": "/tmp/x.py", "options": {}}}, "is custom code"),
    ],
)
def test_settings_that_are_wrong_are_one_line_and_start_nothing(
    open_studio, tmp_path: Path, body: object, named: str
) -> None:
    answer = open_studio(tmp_path, command=("false",)).post("/api/runs", body)
    assert answer.status == 422
    assert named in answer.values["error"]
    assert "\n" not in answer.values["error"]
    assert list(tmp_path.iterdir()) == []


def test_own_code_is_run_with_consent(open_studio, tmp_path: Path) -> None:
    client = open_studio(tmp_path, command=FAKE, trust_code=True)
    assert client.post("/api/runs", {**RING, "model": "./mine.py"}).values == {"id": "ring-mine-1"}
    client.post("/api/runs/ring-mine-1/requests", {"action": "stop"})
    wait_until(lambda: not client.studio.launcher.is_alive(tmp_path / "ring-mine-1"))


def test_the_model_of_a_run_to_start_from_may_not_be_own_code(runs: Path) -> None:
    path = runs / "digits" / "experiment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model": {"name": "evil.model", "options": {}}}))
    for start in (runs / "digits", runs / "digits" / "checkpoints" / "step-00000012"):
        with pytest.raises(SettingError, match=r"'evil.model' is custom code"):
            check_own_code(Experiment(data="ring", start_from=str(start)))  # type: ignore[arg-type]


def test_a_folder_of_data_is_no_code(tmp_path: Path) -> None:
    (tmp_path / "photos.v2").mkdir()
    for name in (str(tmp_path / "photos.v2"), "~/my.photos/x", "digits", "photos/a.b"):
        check_own_code(Experiment(data=PlugSpec(name)))


def test_a_run_is_resumed(open_studio, runs: Path) -> None:
    client = open_studio(runs, command=FAKE)
    assert client.post("/api/runs/digits/resume", {"steps": 24}).status == 202
    words = json.loads((runs / "digits" / "output.log").read_text().partition("words: ")[2])
    assert words == ["resume", str(runs / "digits"), "--steps", "24"]
    client.post("/api/runs/digits/requests", {"action": "stop"})
    wait_until(lambda: not client.studio.launcher.is_alive(runs / "digits"))
    for body, named in (({"steps": 0}, "steps"), ({"model": "x"}, "model")):
        answer = client.post("/api/runs/digits/resume", body)
        assert answer.status == 422
        assert named in answer.values["error"]
    assert client.post("/api/runs/none/resume", {}).status == 404


def test_a_run_of_own_code_is_resumed_with_consent_only(open_studio, runs: Path) -> None:
    path = runs / "digits" / "experiment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model": {"name": "evil.model", "options": {}}}))
    answer = open_studio(runs, command=FAKE).post("/api/runs/digits/resume", {})
    assert answer.status == 422
    assert "--trust-code" in answer.values["error"]


def test_a_studio_of_one_run_starts_no_others(open_studio, runs: Path) -> None:
    answer = open_studio(runs / "digits", command=FAKE).post("/api/runs", RING)
    assert answer.status == 422
    assert "is one run" in answer.values["error"]


def test_what_the_studio_writes_before_a_run_does_not_block_it(tmp_path: Path) -> None:
    for name in ("start.json", "output.log"):
        (tmp_path / name).write_text("x")
    require_free(tmp_path)


def test_a_real_run_is_started_turned_and_stopped(open_studio, tmp_path: Path) -> None:
    client = open_studio(tmp_path)
    answer = client.post("/api/runs", RING)
    assert answer.status == 201, answer.values
    folder = tmp_path / answer.values["id"]
    path = f"/api/runs/{folder.name}/requests"
    wait_until(lambda: Run(folder).lines("sensed") != [])
    assert client.post(path, {"action": "turn", "knob": "lr_d", "value": 1e-4}).status == 202
    wait_until(lambda: any(line["by"] == "manual" for line in Run(folder).lines("turned")))
    assert client.post(path, {"action": "stop"}).status == 202
    wait_until(lambda: not client.studio.launcher.is_alive(folder))
    (finished,) = Run(folder).lines("finished")
    assert finished["reason"] == "interrupted"


def test_a_preview_shows_data_time_and_cost() -> None:
    values = {"data": "digits", "image_size": 16, "steps": 50, "options": {"width": 4}}
    first, answer = start_process.preview(values)
    assert "seconds" not in first
    assert {name: answer[name] for name in first} == first
    assert (answer["shape"], answer["train"], answer["held_out"], answer["classes"]) == ([1, 16, 16], 4000, 1000, 10)
    assert isinstance(answer["seconds"], float)
    assert set(answer["parameters"]) == {"generator", "discriminator"}
    assert len(answer["thumbnails"]) == start_process.THUMBNAILS
    kind, _, content = answer["thumbnails"][0].partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (16, 16)
    json.dumps(answer)


def test_a_preview_lists_what_is_left_out(tmp_path: Path) -> None:
    for number in range(12):
        Image.new("RGB", (40, 30), (20 * number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    answer = next(start_process.preview({"data": str(tmp_path), "image_size": 8, "steps": 4, "batch_size": 2}))
    assert answer["skipped_count"] == 1
    assert answer["skipped"][0].startswith("broken.png: ")
    assert answer["shape"] == [3, 8, 8]


def test_a_preview_imports_no_own_code_without_consent(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'done')!r}, 'w')")
    with pytest.raises(SettingError, match="is custom code"):
        next(start_process.preview({"data": "digits", "model": str(tmp_path / "evil.py")}))
    assert not (tmp_path / "done").exists()


def test_the_page_gets_all_fields_of_a_preview_and_the_command(
    open_studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def preview(self: StartQuestions, values: object) -> AsyncIterator[dict[str, object]]:
        yield {"train": 7}
        yield {"error": "there is no data"}

    monkeypatch.setattr(StartQuestions, "preview", preview)
    answer = open_studio(tmp_path).post("/api/preview", {"data": "digits", "minutes": 2, "options": {"width": 8}})
    first, second = (json.loads(line) for line in answer.content.splitlines())
    assert (first["train"], first["error"], first["seconds"]) == (7, None, None)
    assert second["error"] == "there is no data"
    for line in (first, second):
        assert line["command"] == "equipoise train digits --minutes 2.0 --option width=8"
        assert {"shape", "train", "notes", "skipped", "thumbnails", "seconds", "memory"} <= line.keys()


def test_a_preview_that_cannot_be_started_is_an_error(
    open_studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(self: StartQuestions) -> None:
        raise RunError("the preview cannot be started: no memory")

    monkeypatch.setattr(StartQuestions, "_start_preview", nothing)
    answer = open_studio(tmp_path).post("/api/preview", {"data": "digits"})
    assert answer.values["error"] == "the preview cannot be started: no memory"
    assert answer.values["command"] == "equipoise train digits"


async def previews(questions: StartQuestions, values: dict[str, object]) -> list[object]:
    return [answer async for answer in questions.preview(values)]


ECHO = "import json, sys, time; v = json.load(sys.stdin); time.sleep(v['wait']); print(json.dumps(v))"


def test_the_newest_preview_wins() -> None:
    questions = StartQuestions((sys.executable, "-c", ECHO))

    async def both() -> list[object]:
        first = asyncio.create_task(previews(questions, {"wait": 30}))
        await asyncio.sleep(0.3)
        return [await previews(questions, {"wait": 0}), await first]

    second, first = asyncio.run(both())
    assert second == [{"wait": 0}]
    assert first == [{"error": "a newer preview has replaced this one"}]


def test_the_data_are_answered_before_the_cost_is_measured() -> None:
    script = "import time; print('{}', flush=True); print('{\"seconds\": 3}', flush=True); time.sleep(0.5)"
    questions = StartQuestions((sys.executable, "-c", script))
    assert asyncio.run(previews(questions, {})) == [{}, {"seconds": 3}]


def test_a_process_that_dies_after_the_data_is_an_error() -> None:
    script = "print('{\"train\": 7}', flush=True); raise SystemExit('killed for memory')"
    questions = StartQuestions((sys.executable, "-c", script))
    assert asyncio.run(previews(questions, {})) == [{"train": 7}, {"error": "killed for memory"}]


def test_plugs_that_cannot_be_listed_are_an_error() -> None:
    questions = StartQuestions((sys.executable, "-c", "raise SystemExit('no torch')"))
    with pytest.raises(RunError, match="cannot be listed: no torch"):
        asyncio.run(questions.plugs())


STARTS = f"import pathlib, sys, time; pathlib.Path(sys.argv[1], str(time.time_ns())).touch(); {ECHO}"


def test_a_process_waits_for_the_next_preview(tmp_path: Path) -> None:
    questions = StartQuestions((sys.executable, "-c", STARTS, str(tmp_path)))

    async def started(count: int) -> None:
        end = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < count:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)

    async def ask() -> None:
        for _ in range(2):
            await questions.prepare()
        await started(1)
        assert await previews(questions, {"wait": 0, "number": 1}) == [{"wait": 0, "number": 1}]
        await started(2)  # for the next one
        assert await previews(questions, {"wait": 0, "number": 2}) == [{"wait": 0, "number": 2}]
        await started(3)
        waiting = questions._next
        assert waiting is not None
        questions.close()
        await waiting.wait()

    asyncio.run(ask())
    assert len(list(tmp_path.iterdir())) == 3


def test_a_preview_that_fails_is_one_line() -> None:
    questions = StartQuestions((sys.executable, "-c", "raise SystemExit('killed for memory')"))
    assert asyncio.run(previews(questions, {})) == [{"error": "killed for memory"}]


def test_the_catalog_describes_every_plug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "equipoise.core.catalog.names", lambda kind: {"models": ["dcgan"], "data": ["ring"]}.get(kind, [])
    )
    catalog = start_process.describe_plugs()
    (model,) = catalog["models"]
    assert model["name"] == "dcgan"
    assert model["help"]
    assert "celeba64" in {preset["name"] for preset in model["presets"]}
    assert all(preset["help"] for preset in model["presets"])


def test_the_form_has_every_setting_with_type_and_range() -> None:
    settings = {entry["name"]: entry for entry in describe_settings()}
    assert settings.keys() == setting_specs().keys() - {"format", "versions", "budget"}
    types = {name: settings[name]["type"] for name in ("steps", "minutes", "compile", "freeze", "knobs", "image_size")}
    assert types == {
        **{"steps": "int", "minutes": "float", "compile": "bool"},
        **{"freeze": "list", "knobs": "table", "image_size": "size"},
    }
    assert settings["steps"]["minimum"] == 1
    assert settings["precision"]["choices"] == ["auto", "fp32", "bf16", "fp16"]
    assert all(entry["help"] and entry["group"] for entry in settings.values())


def test_the_command_of_a_form_gives_the_same_experiment() -> None:
    from equipoise.cli import main as cli
    from equipoise.cli.arguments import parse
    from equipoise.cli.commands.train import experiment_of

    values = {
        **{"data": "digits", "model": "dcgan", "controller": "fixed", "steps": 9, "image_size": 16, "seed": 3},
        **{"options": {"width": 8}, "knobs": {"lr_d": 1e-4}, "freeze": ["lr_g"], "repair": False, "compile": False},
    }
    experiment = parse_experiment(values, "the form")
    words = train_command(experiment).split()
    again = experiment_of(parse(cli.parser("train"), words[2:]))
    as_words = {"options": {"width": "8"}, "compile": None}
    assert vars_of(again) == {**vars_of(experiment), **as_words}


def vars_of(experiment: Experiment) -> dict[str, object]:
    return {name: getattr(experiment, name) for name in setting_specs()}
