"""What the form of a new run begins with: a duplicate, the twin without changes by hand, a checkpoint with advice."""

import json
from pathlib import Path

from equipoise.experiment.files import parse_experiment
from equipoise.studio.command_words import train_command
from tests.studio.test_launch_api import FAKE, RING, wait_until


def test_a_new_run_begins_at_a_checkpoint(open_studio, runs: Path) -> None:
    client = open_studio(runs)
    before = (runs / "digits" / "events.jsonl").read_bytes()
    path = runs / "digits" / "checkpoints"
    step = int(min(path.iterdir()).name.removeprefix("step-"))
    answer = client.get(f"/api/runs/digits/start?step={step}&symptom=collapse").values
    values = answer["values"]
    assert answer["title"] == f"Continue digits from step {step} as a new run"
    assert values["start_from"] == str(min(path.iterdir()))
    assert values["name"] == f"digits-from-{step}"
    assert values["knobs"]
    parse_experiment({name: value for name, value in values.items() if name != "name"}, "the form")
    assert client.get("/api/runs/digits/start?step=best").values["values"]["start_from"].startswith(str(path))
    assert "has no checkpoint of step 999" in client.get("/api/runs/digits/start?step=999").values["error"]
    assert (runs / "digits" / "events.jsonl").read_bytes() == before


def test_a_duplicate_and_a_twin(open_studio, runs: Path) -> None:
    client, file = open_studio(runs), runs / "digits" / "experiment.json"
    experiment = {**json.loads(file.read_text()), "steps": 12, "budget": 90.0, "seed": 5, "manual": "runs/other"}
    file.write_text(json.dumps(experiment))
    values = client.get("/api/runs/digits/start").values["values"]
    assert (values["minutes"], "steps" in values, "name" in values) == (1.5, False, False)
    twin = client.get("/api/runs/digits/start?twin=1").values["values"]
    assert (twin["steps"], twin["seed"], twin["name"], "minutes" in twin) == (12, 5, "digits-untouched", False)
    assert not {"format", "versions", "budget", "manual"} & {*values, *twin}
    (runs / "digits-untouched").mkdir()
    assert client.get("/api/runs/digits/start?twin=1").values["values"]["name"] == "digits-untouched-2"


def test_a_run_gets_the_name_of_the_form(open_studio, tmp_path: Path) -> None:
    client = open_studio(tmp_path, command=FAKE)
    assert client.post("/api/runs", {**RING, "name": "first-try"}).values == {"id": "first-try"}
    for name in ("first-try", "../up", ".hidden", "a b", 3):
        answer = client.post("/api/runs", {**RING, "name": name})
        assert (answer.status, answer.values["error"].split(":")[0]) == (422, "name"), name
    client.post("/api/runs/first-try/requests", {"action": "stop"})
    wait_until(lambda: not client.studio.launcher.is_alive(tmp_path / "first-try"))


def test_the_command_has_no_empty_list_and_names_the_folder() -> None:
    experiment = parse_experiment({**RING, "knobs": {}, "freeze": []}, "the form")
    command = train_command(experiment, Path("runs/one"))
    assert "--set" not in command
    assert "--freeze" not in command
    assert "--out runs/one --option width=4" in command
